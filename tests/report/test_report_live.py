"""The live display, through a real pty of a given size and with a clock that the test moves."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from wfe.core.outcome import FanKnown, Outcome, RunStarted, StepFinished, StepLine, StepProgress, StepStarted, StepState
from wfe.report.choose import _size_of
from wfe.report.live import Live

Make = Callable[..., Any]


def _live(terminal: Any, clock: Any, **options: Any) -> Live:
    return Live(
        terminal.stream,
        _size_of(terminal.stream),
        colour=False,
        ticking=False,
        clock=clock,
        **options,
    )


@pytest.mark.parametrize("columns", [40, 120])
def test_screen_of_a_run(columns: int, terminal: Make, clock: Any, tell: Make, golden: Make) -> None:
    """The pictures at chosen moments, at two widths."""
    screen = terminal(columns, 30)
    live = _live(screen, clock, options={"again": "wfe run {workflow} {step} --inline --pdb"})
    story = tell(live.hear)
    shots: list[str] = []

    def shot(name: str) -> None:
        live.paint()
        shots.append(f"--- {name} ---\n{screen.text()}")

    story.start(
        8,
        2,
        resize=0.4,
        detect=3.0,
        histogram=0.5,
        gpu=0.1,
        draw=0.2,
        load=0.1,
        labels=0.1,
        table=0.1,
    )
    story.note("Loaded 5/5 required nodes")
    story.end("load", StepState.CURRENT)
    story.begin("resize")
    story.begin("histogram_of_a_very_long_name_that_does_not_fit", 1)
    clock.now += 0.1
    shot("too early: nothing moves yet")
    clock.now += 0.4
    live.hear(StepProgress("resize", 31, 50, "frame 31"))
    shot("two run, one says how far it is")
    story.end("resize", seconds=0.5)
    story.begin("detect")
    live.tails = True
    live.hear(StepLine("detect", "loading\rloading the model\x1b[31m 12%"))
    clock.now += 1
    shot("a step that ran stays, the last printed line is shown")
    live.tails = False
    story.fail("histogram_of_a_very_long_name_that_does_not_fit")
    shot("a failure stays above")
    story.note("boxes\n  person  11", "detect")
    story.end("detect", seconds=1.0)
    story.end("draw", StepState.BLOCKED, skip="detect failed")
    clock.now += 0.1
    story.finish()
    shots.append(f"--- over ---\n{screen.text()}")
    golden(f"live-{columns}.txt", "\n".join(shots))
    assert not screen.cursor_hidden


def test_no_line_is_wider_than_the_terminal(terminal: Make, clock: Any, tell: Make) -> None:
    """At any width, even absurd ones, with wide characters, the region's lines do not wrap."""
    for columns in (1, 5, 9, 20, 33, 61, 200):
        screen = terminal(columns, 12)
        live = _live(screen, clock)
        drawn: list[str] = []
        live._region.draw = lambda lines: drawn.extend(lines)  # type: ignore[method-assign]  # noqa: B023
        story = tell(live.hear)
        story.start(20, 20, **{"\u753b\u50cf\u51e6\u7406" * 3: 2.0})
        for number in range(4):
            story.begin("\u753b\u50cf\u51e6\u7406" * 3 + str(number), number)
            live.hear(
                StepProgress(
                    "\u753b\u50cf\u51e6\u7406" * 3 + str(number),
                    number,
                    3,
                    "\u30d5" * 30,
                )
            )
        clock.now += 5
        live.paint()
        from rich.cells import cell_len
        from rich.text import Text

        assert drawn
        assert all(cell_len(Text.from_ansi(line).plain) <= max(columns - 1, 8) for line in drawn)


def test_resizing_leaves_one_region(terminal: Make, clock: Any, tell: Make) -> None:
    """After the terminal was made narrower and wider, one region is on the screen, of the new width."""
    screen = terminal(100, 20)
    live = _live(screen, clock)
    story = tell(live.hear)
    story.start(50, 3)
    for number in range(3):
        story.begin(f"step{number}", number)
    clock.now += 1
    for columns in (100, 45, 30, 90):
        screen.resize(columns, 20)
        live.paint()
        text = screen.text()
        assert text.count("step0") == text.count("0 of 50") == 1
        assert all(len(line) < columns for line in text.splitlines())


def test_a_fan_is_one_line(terminal: Make, clock: Any, tell: Make) -> None:
    """Forty running items of one fan take one line, and the region fits a terminal of eight rows."""
    screen = terminal(80, 8)
    live = _live(screen, clock)
    story = tell(live.hear)
    story.start(10_000, 64)
    for number in range(40):
        story.begin(f"crop[{number}]", number)
    for number in range(9):
        story.begin(f"other{number}", 40 + number)
    clock.now += 1
    live.paint()
    text = screen.text()
    assert "crop[40 running]" in text
    assert "more running" in text
    assert len(text.splitlines()) <= 6


def test_what_a_node_says_cannot_steer_the_terminal(terminal: Make, clock: Any, tell: Make) -> None:
    """Names, notes, progress, output and failures with control sequences leave the screen in order."""
    screen = terminal(100, 30)
    live = _live(screen, clock, tails=True)
    story = tell(live.hear)
    evil = "\x1b[2J\x1b[H\x1b]0;title\x07\x9b31mred\x85next\u202eback\rover\x08\udc80"
    story.start(5, 2)
    story.note("before")
    story.begin(evil)
    live.hear(StepLine(evil, evil))
    live.hear(StepProgress(evil, 1, 2, evil))
    clock.now += 1
    live.paint()
    assert "before" in screen.text()
    story.note(evil, evil)
    story.fail(evil, evil, f"Traceback\n{evil}\n")
    story.finish()
    text = screen.text()
    assert text.startswith("before\n")
    assert screen.screen.title == ""
    assert "\\x1b[2J" in text and "\\u202e" in text and "\\udc80" in text


def test_nothing_to_do_shows_no_region_and_starts_no_thread(terminal: Make, clock: Any, tell: Make) -> None:
    """A run in which all is current writes one line and no control sequence, and rich is not imported for it."""
    screen = terminal(80)
    live = Live(screen.stream, lambda: (80, 24), colour=False, clock=clock)
    story = tell(live.hear)
    story.start(3)
    for step in "abc":
        story.end(step, StepState.CURRENT)
    live.paint()
    story.finish()
    assert live._thread is None
    assert screen.text() == "detect_image: 3 current in 0.00 s\n"
    assert b"\x1b[" not in screen.raw


def test_plain_encoding_gets_plain_bars(terminal: Make, clock: Any, tell: Make) -> None:
    """On a terminal that is no UTF-8 one a bar is drawn with what ASCII has."""
    screen = terminal(80, encoding="ascii")
    live = _live(screen, clock)
    story = tell(live.hear)
    story.start(2)
    story.begin("a")
    live.hear(StepProgress("a", 1, 2))
    clock.now += 1
    live.paint()
    assert "a" in screen.text() and "##########----------" in screen.text()


@pytest.mark.parametrize("end", ["exit", "exception", "interrupt"])
@pytest.mark.skipif(os.name == "nt", reason="pty")
def test_the_terminal_is_given_back(end: str, terminal: Make) -> None:
    """However the process ends, the cursor is shown again and the region is gone; painted by the real thread."""
    screen = terminal(80)
    program = textwrap.dedent("""
        import sys, threading, time, os, signal
        from wfe.core.outcome import *
        from wfe.report.choose import listeners, close
        (live,) = listeners("live", sys.stdout, os.environ)
        live.hear(RunStarted("r", "w", 2, 2, time.time() - 10))
        live.hear(StepStarted("endless", time.time() - 10))
        painted = threading.Event()
        real = live._region.draw
        def draw(lines):
            real(lines)
            painted.set()
        live._region.draw = draw
        painted.wait()
        end = sys.argv[1]
        if end == "exception":
            raise ValueError("broken")
        if end == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait()
    """)
    environ = {**os.environ, "TERM": "xterm", "CI": "", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, end],
        stdout=screen.stream,
        stderr=subprocess.PIPE,
        env=environ,
        timeout=60,
        check=False,
    )
    assert done.returncode == {"exit": 0, "exception": 1, "interrupt": -signal.SIGINT}[end]
    text = screen.text()
    assert b"endless" in screen.raw
    assert "endless" not in text
    assert not screen.cursor_hidden


def test_what_is_current_and_what_a_fan_adds_is_counted(terminal: Make, clock: Any) -> None:
    """So that the last step makes it "n of n"."""
    screen = terminal(120)
    live = _live(screen, clock)
    live.hear(RunStarted("r", "w", 5, 2, clock(), current=2))
    live.hear(StepStarted("a", clock()))
    clock.now += 1
    live.paint()
    assert "2 of 5" in screen.text() and "2 current" in screen.text()
    live.hear(FanKnown("b", 40, 3))
    live.paint()
    assert "5 of 44" in screen.text() and "5 current" in screen.text()


def test_pools_stand_beside_the_slots(terminal: Make, clock: Any) -> None:
    """What the running steps take, of what there is; where there is no room, what comes last is cut."""
    screen = terminal(120)
    live = _live(screen, clock)
    live.hear(RunStarted("r", "w", 3, 2, clock(), pools={"gpu": 2.0, "memory": 16e9, "disk": 1.0}))
    live.hear(StepStarted("a", clock(), takes={"gpu": 1.0}))
    live.hear(StepStarted("b", clock(), takes={"gpu": 1.0, "memory": 4.5e9}))
    clock.now += 1
    live.paint()
    assert "2 of 2 slots  gpu 2 of 2  memory 4.5 of 16 GB  disk 0 of 1" in screen.text()
    live.hear(StepFinished("a", Outcome("a", StepState.RAN, 1.0), clock()))
    live.paint()
    assert "1 of 2 slots  gpu 1 of 2  memory 4.5 of 16 GB" in screen.text()
    screen.resize(40, 24)
    live.paint()
    assert "gpu" not in screen.text()


def test_no_colour_means_no_colour(clock: Any, tell: Make) -> None:
    """With colour off no sequence sets one; with it on the state's word has one."""
    for colour in (False, True):
        stream = io.StringIO()
        live = Live(stream, lambda: (80, 24), colour=colour, ticking=False, clock=clock)
        tell(live.hear).whole()
        assert ("\x1b[34mran" in stream.getvalue()) is colour
        assert ("m" in stream.getvalue() and "\x1b[1;31m" in stream.getvalue()) is colour


def test_the_rest_is_estimated_from_earlier_runs(clock: Any, tell: Make) -> None:
    """Work left over slots, no less than the longest running step needs, and no guess from too little."""
    from wfe.report.board import Board

    board = Board()
    story = tell(board.hear)
    story.start(4, 2, a=4.0, b=10.0, c=2.0, d=2.0)
    assert board.left(clock()) == pytest.approx(10 / 2 + 4)
    story.begin("a")
    clock.now += 1
    assert board.left(clock()) == pytest.approx(17 / 2)
    clock.now += 100  # longer than it ever took: nothing of it is left, but nothing is taken off the others
    assert board.left(clock()) == pytest.approx(14 / 2)
    story.end("a")
    story.begin("b")
    assert board.left(clock()) == pytest.approx(10.0)
    story.start(4, 2, a=4.0)
    assert board.left(clock()) is None


def test_what_is_written_to_stderr_meanwhile_stays(
    terminal: Make, clock: Any, tell: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning stands above the region, not in it, and the stream is the old one afterwards."""
    screen = terminal(80)
    monkeypatch.setattr(sys, "stderr", screen.stream)
    live = Live(screen.stream, lambda: (80, 24), colour=False, clock=clock)
    story = tell(live.hear)
    story.start(2)
    story.begin("a")
    clock.now += 1
    live.paint()
    print("a warning", file=sys.stderr)
    sys.stderr.write("half of")
    live.paint()
    text = screen.text()
    assert text.startswith("a warning\na ") and "0 of 2" in text
    story.finish()
    assert sys.stderr is screen.stream
    assert screen.text() == "a warning\ndetect_image: no step in 1.00 s\nhalf of\n"


def test_one_display_serves_run_after_run(terminal: Make, clock: Any, tell: Make) -> None:
    """A watcher tells the same listener of many runs; each begins afresh."""
    screen = terminal(80)
    live = Live(screen.stream, lambda: (80, 24), colour=False, clock=clock)
    for number in range(3):
        story = tell(live.hear)
        story.start(1)
        story.begin(f"step{number}")
        clock.now += 1
        live.paint()
        assert f"step{number} " in screen.text() and "0 of 1" in screen.text()
        story.end(f"step{number}", seconds=1.0)
        clock.now = story.clock.now - 1
        story.finish()
        assert live._thread is None and not screen.cursor_hidden
    assert screen.text().splitlines() == [
        line for n in range(3) for line in (f"ran       step{n}  1.00 s", "detect_image: 1 ran in 0.00 s")
    ]
