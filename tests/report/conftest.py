"""A run's events made by hand, and a terminal: a real pty whose other end feeds an emulator."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest

from wfe.core.outcome import (
    Event,
    Failure,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    StepState,
)

START = 1_763_870_000.0
WRITE = os.environ.get("WFE_GOLDENS") == "write"  # now: a test sees no variable of the user's
TRACEBACK = """\
Traceback (most recent call last):
  File "nodes/vision/detect.py", line 42, in detect
    raise ValueError(f"expected 3 channels, got {channels}")
ValueError: expected 3 channels, got 4
"""


class Clock:
    """Unix seconds that stand still until told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Story:
    """Makes the events of a run, at the clock's time, and tells them to a listener."""

    def __init__(self, clock: Clock, hear: Callable[[Event], None]) -> None:
        self.clock = clock
        self.hear = hear
        self.counts = {state.value: 0 for state in StepState}

    def start(
        self,
        steps: int = 8,
        jobs: int = 2,
        workflow: str = "detect_image",
        **estimates: float,
    ) -> None:
        self.hear(RunStarted("20251123-035320-ab12", workflow, steps, jobs, self.clock(), estimates))

    def begin(self, step: str, worker: int = 0) -> None:
        self.hear(StepStarted(step, self.clock(), worker))

    def end(
        self,
        step: str,
        state: StepState = StepState.RAN,
        seconds: float = 0.0,
        **facts: Any,
    ) -> None:
        self.counts[state.value] += 1
        self.hear(StepFinished(step, Outcome(step, state, seconds, **facts), self.clock()))

    def fail(
        self,
        step: str,
        message: str = "expected 3 channels, got 4",
        traceback: str = TRACEBACK,
    ) -> None:
        failure = Failure("ValueError", message, traceback, f"cache/logs/{step}.log")
        self.end(step, StepState.FAILED, 0.84, failure=failure)

    def note(self, message: str, step: str = "") -> None:
        self.hear(Note(message, step, self.clock()))

    def finish(self) -> None:
        self.hear(
            RunFinished(
                "20251123-035320-ab12",
                dict(self.counts),
                round(self.clock() - START, 6),
                self.clock(),
            )
        )

    def whole(self) -> None:
        """A run with one step of each kind but cancelled."""
        self.start()
        self.note("Loaded 5/5 required nodes")
        self.end("load", StepState.CURRENT)
        self.end("labels", StepState.RESTORED, 0.01)
        self.begin("resize")
        self.begin("histogram", 1)
        self.clock.now += 0.33
        self.note("frame  persons\n  1      11", "resize")
        self.end(
            "resize",
            seconds=0.33,
            reasons=(Reason("input 'size'", "320", "640"), Reason("code")),
        )
        self.begin("detect")
        self.clock.now += 0.2
        self.end("histogram", seconds=0.53)
        self.end("gpu", StepState.SKIPPED, 0.02, skip="no CUDA device")
        self.clock.now += 0.71
        self.fail("detect")
        self.end("draw", StepState.BLOCKED, skip="detect failed")
        self.finish()


class Terminal:
    """A pty of some size: `stream` is a program's end; `text()` what its user sees, once all was written."""

    def __init__(self, columns: int, rows: int, encoding: str = "utf-8") -> None:
        import pyte
        from pyte.screens import HistoryScreen

        self._master, slave = os.openpty()
        self.stream: TextIO = open(slave, "w", encoding=encoding, newline="")  # noqa: SIM115 - closed by close()
        self.screen = HistoryScreen(columns, rows, history=10_000)
        self._feed = pyte.ByteStream(self.screen)
        self.raw = b""
        self._seen = threading.Condition()
        self._marks = 0
        self.resize(columns, rows)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def resize(self, columns: int, rows: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def text(self) -> str:
        """History and screen, without blanks at line ends and empty lines at the end."""
        self._settle()
        width = self.screen.columns
        history = ["".join(line[x].data for x in range(width)) for line in self.screen.history.top]
        lines = [line.rstrip() for line in [*history, *self.screen.display]]
        return "\n".join(lines).rstrip() + "\n"

    @property
    def cursor_hidden(self) -> bool:
        self._settle()
        return bool(self.screen.cursor.hidden)

    def until(self, good: Callable[[str], bool]) -> str:
        """Wait until what is on the screen is good; that."""

        def shown() -> str:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip() + "\n"

        with self._seen:
            assert self._seen.wait_for(lambda: good(shown()), timeout=60), shown()
            return shown()

    def type(self, keys: str) -> None:
        """What the user types."""
        os.write(self._master, keys.encode())

    def mode(self) -> list[Any]:
        """Whether the terminal echoes, hands over whole lines, and so on."""
        import termios

        return termios.tcgetattr(self._master)

    def close(self) -> None:
        self.stream.close()
        self._thread.join()
        os.close(self._master)

    def _settle(self) -> None:
        # A mark that no terminal shows, behind everything that was written: when it has come, so has the rest.
        self._marks += 1
        self.stream.write(f"\x1b]777;{self._marks}\x07")
        self.stream.flush()
        with self._seen:
            mark = f"\x1b]777;{self._marks}\x07".encode()
            assert self._seen.wait_for(lambda: mark in self.raw, timeout=30)

    def _read(self) -> None:
        while True:
            try:
                got = os.read(self._master, 65536)
            except OSError:
                return  # Linux says EIO when the last program's end is closed
            if not got:
                return
            with self._seen:
                self.raw += got
                self._feed.feed(got)
                self._seen.notify_all()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tell(clock: Clock) -> Callable[[Callable[[Event], None]], Story]:
    """`tell(listener.hear)` makes a Story for it."""
    return lambda hear: Story(clock, hear)


@pytest.fixture
def whole(clock: Clock) -> list[Event]:
    """The events of `Story.whole`."""
    events: list[Event] = []
    Story(clock, events.append).whole()
    return events


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """`terminal(columns, rows)` opens one."""
    if not hasattr(os, "openpty"):
        pytest.skip("no pty on this system")
    made: list[Terminal] = []

    def make(columns: int, rows: int = 24, encoding: str = "utf-8") -> Terminal:
        made.append(Terminal(columns, rows, encoding))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: text equals goldens/name; WFE_GOLDENS=write writes it anew (look at the diff)."""
    folder = request.path.parent / "goldens"

    def check(name: str, text: str) -> None:
        path = folder / name
        if WRITE:
            path.write_text(text, encoding="utf-8", newline="\n")
        assert text == path.read_text(encoding="utf-8")

    return check
