"""Keys at the live display, and the display of a real `wfe run`, through a real pty."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from space import Space, environ

from wfe.report.keys import Keys

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pty")
Make = Callable[..., Any]

NODES = """
import wfe
@workflow_node(outputs={"n": int})
def quick(n: int):
    return {"n": n}

@workflow_node(outputs={"n": int})
def waits(door: str, n: int):
    print("the first line")
    print("the last line")
    wfe.progress(1, 2, "half way")
    with open(door) as file:
        file.read()
    return {"n": n}
"""


def test_keys_come_singly_and_the_terminal_is_put_back(terminal: Make) -> None:
    screen = terminal(80)
    before = screen.mode()
    assert before[3] & termios.ICANON and before[3] & termios.ECHO
    heard: list[str] = []
    third = threading.Event()

    def pressed(key: str) -> None:
        heard.append(key)
        if len(heard) == 3:
            third.set()

    keys = Keys(screen.stream, pressed)
    for _ in range(2):
        heard.clear()
        third.clear()
        keys.begin()
        assert keys.listening
        assert not screen.mode()[3] & (termios.ICANON | termios.ECHO)
        assert screen.mode()[3] & termios.ISIG, "Ctrl-C stays a signal"
        screen.type("aé\n")
        assert third.wait(60)
        assert heard == ["a", "é", "\n"]
        keys.close()
        keys.close()
        assert screen.mode() == before
    assert screen.text() == "\n", "nothing that was typed is shown"


def test_without_a_terminal_nothing_is_done(tmp_path: Path) -> None:
    with (tmp_path / "in").open("w+") as file:
        for stream in (None, file):
            keys = Keys(stream, lambda key: pytest.fail(key))
            keys.begin()
            assert not keys.listening
            keys.close()


def test_a_process_in_the_background_leaves_the_terminal_alone(terminal: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(80)
    before = screen.mode()
    monkeypatch.setattr(os, "tcgetpgrp", lambda number: os.getpgrp() + 1)
    keys = Keys(screen.stream, lambda key: pytest.fail(key))
    keys.begin()
    assert not keys.listening
    assert screen.mode() == before


@contextmanager
def running(space: Space, screen: Any, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`wfe run` at the terminal, with a step that waits at a door."""
    door = space.root / "door"
    os.mkfifo(door)
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "quick", "inputs": {"n": 1}},
            {"id": "waits", "inputs": {"n": "$quick.n", "door": str(door)}, "resources": {"gpu": 1}},
            {"id": "late", "function": "n.quick", "inputs": {"n": "$waits.n"}},
        ],
        settings={"pools": {"gpu": 2}},
    )
    variables = {name: value for name, value in environ().items() if name != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "wfe", "run", "w", "--live", *arguments],
        cwd=space.root,
        env={**variables, "TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        stdin=screen.stream,
        stdout=screen.stream,
        stderr=screen.stream,
        start_new_session=True,
    )
    try:
        yield process, door
    finally:
        process.kill()
        process.wait()


def masked(text: str) -> str:
    """Times differ from run to run; that they are there does not."""
    return re.sub(r" *\d+(\.\d+)? (s|min \d\d s)\b", " <time>", text)


@pytest.mark.parametrize("columns", [40, 120])
def test_the_display_of_a_run(columns: int, space: Space, terminal: Make, golden: Make) -> None:
    screen = terminal(columns, 20)
    before = screen.mode()
    shots = []
    shown, hidden = ("l: hide the log\n", "l: last log lines\n") if columns == 120 else ("1 ran\n", "1 ran\n")
    with running(space, screen) as (process, door):
        shots.append(("a step runs", screen.until(lambda text: "50%" in text and text.endswith(hidden))))
        screen.type("l")
        shots.append(("l was typed", screen.until(lambda text: "the last line" in text and text.endswith(shown))))
        screen.type("xl")
        shots.append(
            (
                "l again",
                screen.until(lambda text: "last line\n" not in text and "50%" in text and text.endswith(hidden)),
            )
        )
        door.write_text("")
        assert process.wait(60) == 0
        shots.append(("over", screen.text()))
    golden(f"run-{columns}.txt", "\n".join(f"--- {name} ---\n{masked(text)}" for name, text in shots))
    assert screen.mode() == before
    assert not screen.cursor_hidden


@pytest.mark.parametrize("end", ["once", "twice", "terminated"])
def test_the_terminal_is_put_back_when_a_run_is_interrupted(end: str, space: Space, terminal: Make) -> None:
    screen = terminal(80, 20)
    before = screen.mode()
    with running(space, screen) as (process, door):
        screen.until(lambda text: "50%" in text)
        assert screen.mode() != before
        process.send_signal(signal.SIGTERM if end == "terminated" else signal.SIGINT)
        # Above the region, not through it.
        screen.until(lambda text: re.search(r"^stopping: .*\nwaits .*50%", text, re.MULTILINE) is not None)
        assert screen.text().count("waits ") == 1
        if end == "twice":
            process.send_signal(signal.SIGINT)
        else:
            door.write_text("")
        assert process.wait(60) == 130
    assert screen.mode() == before
    assert not screen.cursor_hidden


@pytest.mark.parametrize("end", ["exit", "exception"])
def test_the_terminal_is_put_back_when_the_engine_breaks(end: str, terminal: Make) -> None:
    screen = terminal(80)
    before = screen.mode()
    program = """
import os, sys, termios, time
from wfe.core.outcome import RunStarted, StepStarted
from wfe.report.choose import listeners
(live,) = listeners("live", sys.stdout, os.environ, keys=sys.stdin)
live.hear(RunStarted("r", "w", 2, 2, time.time() - 10))
live.hear(StepStarted("endless", time.time() - 10))
assert not termios.tcgetattr(0)[3] & termios.ECHO
if sys.argv[1] == "exception":
    raise ValueError("broken")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, end],
        stdin=screen.stream,
        stdout=screen.stream,
        stderr=subprocess.PIPE,
        env={**environ(TERM="xterm"), "CI": ""},
        timeout=60,
        check=False,
    )
    assert done.returncode == {"exit": 0, "exception": 1}[end], done.stderr
    assert screen.mode() == before
    assert not screen.cursor_hidden
