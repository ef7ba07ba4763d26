"""Plain lines: what they say, on which forge, to which stream."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wfe.core.outcome import Event, Outcome, StepFinished, StepLine, StepState
from wfe.errors import ExitCode, WfeError
from wfe.report.choose import close, listeners
from wfe.report.lines import Lines
from wfe.report.live import Live
from wfe.report.ndjson import Json
from wfe.report.outlet import Outlet
from wfe.report.recording import Recording
from wfe.report.wording import clean, duration, last_line, one_line, share, shortened

Make = Callable[..., Any]


def told(
    events: list[Event],
    mode: str = "plain",
    environ: dict[str, str] | None = None,
    **options: Any,
) -> str:
    stream = io.StringIO()
    for listener in listeners(mode, stream, environ or {}, **options):
        for event in events:
            listener.hear(event)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("plain", {}),
        ("github", {"GITHUB_ACTIONS": "true"}),
        ("gitlab", {"GITLAB_CI": "true"}),
    ],
)
def test_a_run_in_lines(name: str, environ: dict[str, str], whole: list[Event], clock: Any, golden: Make) -> None:
    """The whole text of a run, plain and on each forge."""
    golden(
        f"lines-{name}.txt",
        told(whole, environ=environ, clock=clock).replace("\x1b", "<ESC>").replace("\r", "<CR>"),
    )


def test_quiet_says_only_what_went_wrong(whole: list[Event], clock: Any, tell: Make) -> None:
    """Failures and the last line of a bad run; nothing of a good one."""
    text = told(whole, "quiet")
    assert text.startswith("failed    detect") and text.splitlines()[-1].startswith("detect_image: ")
    assert "ran       " not in text and "Loaded" not in text
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    story.end("a")
    story.finish()
    assert told(events, "quiet") == ""


def test_verbose_shows_what_steps_print(tell: Make) -> None:
    """With the step's name, harmless, the last version of a line that was drawn over."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    story.begin("a")
    story.hear(StepLine("a", " 10%\r 50%\x1b[1m"))
    assert told(events, verbose=True) == "started   a\na |  50%\n"


def test_crowds_are_counted(tell: Make) -> None:
    """Thousands of current and blocked steps take a few lines; each step that ran has its own."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(3000)
    for number in range(1000):
        story.end(f"old{number}", StepState.CURRENT)
    story.end("new")
    story.fail("bad")
    for number in range(1998):
        story.end(f"after{number}", StepState.BLOCKED, skip="bad failed")
    story.finish()
    lines = told(events).splitlines()
    assert lines[0] == "current   1,000 steps so far"
    assert lines[1] == "ran       new  0.00 s"
    assert lines[-2] == "blocked   and 1,988 more"
    assert lines[-1] == "detect_image: 1 ran, 1,000 current, 1 failed (bad), 1,998 blocked in 0.00 s"
    assert len(lines) < 25


def test_a_node_gives_no_orders_to_a_forge(tell: Make) -> None:
    """No line that holds a node's text starts with a workflow command, in whichever field the text comes."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    evil = "::set-output name=x::y"
    for text in (
        evil,
        f"  {evil}",
        f"two\n{evil}",
        f"two\n \t{evil}",
        "say ##[error]x",
    ):
        story.note(text)
        story.note(text, "a")
        story.fail(evil, text, f"Traceback\n{text}\n")
    story.finish()
    text = told(events, environ={"GITHUB_ACTIONS": "true"})
    ours = ("::group::", "::endgroup::", "::error title=")
    commands = [line for line in text.splitlines() if line.strip().startswith("::")]
    assert commands and all(line.startswith(ours) for line in commands)
    assert "##[" not in text


def test_a_long_failure_is_shortened_with_a_count(tell: Make) -> None:
    """A traceback of 5,000 lines keeps its ends; a message of 10 MB stays one line."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    story.fail("a", "x" * 10_000_000, "\n".join(f"line {n}" for n in range(5000)))
    lines = told(events).splitlines()
    assert len(lines[0]) < 500
    assert "  line 0" in lines and "  line 4999" in lines and "  ... 4920 lines left out ..." in lines
    assert len(lines) < 100


def test_the_command_that_runs_a_step_again_is_quoted(tell: Make) -> None:
    """A step of a fan has brackets in its name, which a shell would take for a pattern."""
    events: list[Event] = []
    story = tell(events.append)
    story.start(1)
    story.fail("crop['a b']")
    assert "again, alone: wfe run detect_image 'crop['\"'\"'a b'\"'\"']' --inline --pdb\n" in told(events)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.00 s"),
        (0.123, "0.12 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (99.96, "1 min 40 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    """Each size in its unit, with no jump at the borders."""
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("used", "size", "said"),
    [
        (1, 2, "1 of 2"),
        (0.5, 20_000, "0.5 of 20000"),
        (4.5e9, 16e9, "4.5 of 16 GB"),
        (2**29, 2**30, "0.5369 of 1.074 GB"),
        (0, 500e6, "0 of 500 MB"),
        (10e9, 2**60, "10 of 1152921505 GB"),
    ],
)
def test_shares_of_a_pool(used: float, size: float, said: str) -> None:
    assert share(used, size) == said


def test_texts_are_made_harmless() -> None:
    """No control character is left but tab and newline; ordinary text of any script is untouched."""
    every = "".join(map(chr, [*range(0x11000), *range(0xE0000, 0xE0200)]))
    cleaned = clean(every)
    left = {c for c in cleaned if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000}
    assert left == {"\t", "\n"}
    assert not set("\u202e\u2066\u2028\ufeff") & set(cleaned)
    for text in ("\u00e9\u4f60\u597d \U0001f468\u200d\U0001f469", "a\tb\nc"):
        assert clean(text) == text
    assert clean("\x1b[1;31mred\x1b[0m\r\nnext") == "red\nnext"
    assert one_line("\n  \n a\tb \nc") == "a b"
    assert one_line("x" * 500, 10) == "xxxxxxx..."
    assert last_line("a\rb\r\n") == "b"
    assert shortened([str(n) for n in range(10)], 2, 2) == [
        "0",
        "1",
        "... 6 lines left out ...",
        "8",
        "9",
    ]


def test_what_an_encoding_lacks_is_escaped(whole: list[Event]) -> None:
    """A stream in Latin-1 shows an escape for what it cannot."""
    raw = io.BytesIO()
    outlet = Outlet(io.TextIOWrapper(raw, "latin-1", write_through=True))
    outlet.write("caf\u00e9 \u4f60\n")
    assert raw.getvalue() == "caf\u00e9 \\u4f60\n".encode("latin-1")
    assert outlet.open


@pytest.mark.parametrize("mode", ["plain", "json", "quiet"])
def test_a_process_without_output_runs_on(mode: str, whole: list[Event]) -> None:
    """`>&-` leaves no stdout at all, and a stream may be closed meanwhile."""
    gone = io.StringIO()
    gone.close()
    for stream in (None, gone):
        for listener in listeners(mode, stream, {}):
            for event in whole:
                listener.hear(event)
            close([listener])


@pytest.mark.skipif(os.name == "nt", reason="head and sh")
@pytest.mark.parametrize("mode", ["plain", "json"])
def test_a_reader_that_leaves_ends_the_telling_not_the_run(mode: str, tmp_path: Path) -> None:
    """`| head -1`: no traceback, no complaint at exit, exit code 0, and the run comes to its end."""
    program = textwrap.dedent(f"""
        import sys
        from wfe.core.outcome import *
        from wfe.report.choose import listeners
        (listener,) = listeners({mode!r}, sys.stdout, {{}})
        listener.hear(RunStarted("r", "w", 10000, 1, 0.0))
        for n in range(10000):
            listener.hear(StepFinished(f"s{{n}}", Outcome(f"s{{n}}", StepState.RAN), 0.0))
        print("a last word of someone else")
        sys.stdout.flush()
        open("done", "w").close()
    """)
    (tmp_path / "program.py").write_text(program)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = f"({sys.executable} program.py; echo $? > code) | head -1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert (tmp_path / "code").read_text() == "0\n"
    assert (tmp_path / "done").exists()


def test_a_full_disk_is_remembered(whole: list[Event]) -> None:
    """Output to a full disk ends the telling, and whoever ends the run can say why."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    outlet = Outlet(Full())
    lines = Lines(outlet)
    for event in whole:
        lines.hear(event)
    assert not outlet.open
    assert outlet.error is not None and outlet.error.errno == errno.ENOSPC


class _Pipe(io.StringIO):
    """A stream that counts how often it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = threading.Semaphore(0)

    def flush(self) -> None:
        self.flushes.release()

    def heard(self) -> int:
        """How many flushes there were since this was asked last."""
        count = 0
        while self.flushes.acquire(blocking=False):
            count += 1
        return count


def just_flushed(outlet: Outlet) -> None:
    """However slow this machine is, the last flush was now."""
    outlet._flushed = float("inf")


def test_lines_that_follow_fast_wake_the_reader_once() -> None:
    stream = _Pipe()
    outlet = Outlet(stream)
    outlet.write("first\n", soon=True)
    assert stream.heard() == 1
    just_flushed(outlet)
    outlet.write("second\n", soon=True)
    outlet.write("third\n", soon=True)
    assert stream.heard() == 0
    assert stream.flushes.acquire(timeout=60), "nothing follows, so they are let out after a while"
    assert stream.getvalue() == "first\nsecond\nthird\n"
    just_flushed(outlet)
    outlet.write("fourth\n", soon=True)
    outlet.write("failed\n")
    assert stream.heard() == 1
    assert outlet._timer is None


def test_a_terminal_gets_each_line_at_once() -> None:
    class Terminal(_Pipe):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    outlet = Outlet(stream)
    just_flushed(outlet)
    outlet.write("a\n", soon=True)
    outlet.write("b\n", soon=True)
    assert stream.heard() == 2


@pytest.mark.parametrize("mode", ["plain", "json"])
def test_a_run_without_an_end_lets_out_what_it_told(mode: str) -> None:
    stream = _Pipe()
    (listener,) = listeners(mode, stream, {})
    just_flushed(listener._outlet)  # type: ignore[attr-defined]
    listener.hear(StepFinished("a", Outcome("a", StepState.RAN), 0.0))
    assert stream.heard() == 0
    close([listener])
    assert stream.heard() == 1


def test_the_common_path_imports_little() -> None:
    """Choosing and telling plain lines, loads neither rich nor json nor the forms of other reports."""
    program = textwrap.dedent("""
        import io, sys, threading
        import wfe.errors
        from wfe.core.outcome import *
        before = set(sys.modules)
        from wfe.report.choose import listeners
        (listener,) = listeners("auto", io.StringIO(), {})
        listener.hear(RunStarted("r", "w", 1, 1, 0.0))
        listener.hear(StepFinished("a", Outcome("a", StepState.RAN), 0.0))
        print(*sorted(set(sys.modules) - before))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) == {
        f"wfe.report{name}" for name in ("", ".choose", ".forge", ".lines", ".outlet", ".wording")
    }


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_modes_choose_listeners(tmp_path: Path) -> None:
    """A terminal gets the live display unless something speaks against it; a pipe gets lines."""
    good = {"TERM": "xterm"}
    assert [type(one) for one in listeners("auto", _Tty(), good)] == [Live]
    for environ in ({"TERM": "dumb"}, {**good, "CI": "true"}):
        assert [type(one) for one in listeners("auto", _Tty(), environ)] == [Lines]
    assert [type(one) for one in listeners("auto", io.StringIO(), good)] == [Lines]
    assert [type(one) for one in listeners("plain", _Tty(), good)] == [Lines]
    chosen = listeners("json", _Tty(), good, record=tmp_path)
    assert [type(one) for one in chosen] == [Recording, Json]
    with pytest.raises(WfeError, match=r"unknown output mode 'jsn'; did you mean 'json'\?") as caught:
        listeners("jsn", None, {})
    assert caught.value.code is ExitCode.USAGE
    with pytest.raises(WfeError, match="not possible here: TERM is dumb"):
        listeners("live", _Tty(), {"TERM": "dumb"})
