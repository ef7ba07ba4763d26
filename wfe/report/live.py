"""The live display on a terminal: lines that stay, above a region that is drawn anew as the run goes.

Knows the terminal's control sequences, the throttle and the thread that repaints. Does not know how a line is worded
(`lines`) or how the region looks (`screen`). rich is imported when the region is painted for the first time, so a run
that is over before that, or has nothing to do, never pays for it.

Why not rich.live: it finds its region by counting lines up from the end, which is wrong after the terminal was made
narrower and has wrapped them anew. Here the cursor rests at the region's first character: a terminal keeps the cursor
with its text when it wraps lines, so "erase from here down" is right at any width. And a line that stays costs one
write, since the region's text is kept.
"""

from __future__ import annotations

import atexit
import io
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from wfe.core.outcome import (
    Event,
    RunFinished,
    StepLine,
    StepProgress,
    StepStarted,
    StepState,
)
from wfe.report.board import Board
from wfe.report.keys import Keys
from wfe.report.lines import Lines
from wfe.report.outlet import Outlet

if TYPE_CHECKING:
    from wfe.report.screen import Screen

DELAY = 0.3  # seconds; a region that is gone before it can be read is a flash
FASTEST = 0.125  # seconds between two paintings: 8 a second
SHARE = 0.02  # of one core, at most, goes into painting: a slow one is followed by a longer pause

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CODES = {
    StepState.RAN: "34",
    StepState.RESTORED: "35",
    StepState.CURRENT: "90",
    StepState.SKIPPED: "33",
    StepState.FAILED: "1;31",
    StepState.BLOCKED: "31",
    StepState.CANCELLED: "31",
}


class Live:
    """A listener that shows a run on the terminal `stream`, `size()` columns by rows.

    colour: whether to use any. tails: whether running steps' last printed lines are shown; may be changed at any time.
    keys: the terminal at which the key `l` shows them or hides them, None for none.
    ticking: False leaves painting to whoever calls `paint` (tests, with a clock of their own). clock: Unix seconds.
    options go to Lines.
    """

    def __init__(
        self,
        stream: TextIO,
        size: Callable[[], tuple[int, int]],
        *,
        colour: bool = True,
        tails: bool = False,
        keys: TextIO | None = None,
        ticking: bool = True,
        clock: Callable[[], float] = time.time,
        options: Mapping[str, str | bool | int | None] | None = None,
    ) -> None:
        self.tails = tails
        self._stream = stream
        self._size = size
        self._colour = colour
        self._clock = clock
        self._ticking = ticking
        self._board = Board()
        self._region = _Region(Outlet(stream))
        chosen = {"current_up_to": 0, "ran_up_to": 40, **(options or {})}
        self._lines = Lines(self._region, styled=_styled if colour else None, **chosen)  # type: ignore[arg-type]
        # Nothing is written for these, and the board only replaces a value, so they need no lock: a node that counts to
        # a million costs half a microsecond a count less.
        self._quick: set[type[Event]] = {StepProgress} if chosen.get("verbose") else {StepProgress, StepLine}
        self._lock = threading.RLock()
        self._screen: Screen | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._aside: _Aside | None = None
        self._keys = Keys(keys, self._pressed)

    def hear(self, event: Event) -> None:
        """Take the event in; what stays on the screen is written at once, the region at its next painting."""
        if type(event) in self._quick:
            self._board.hear(event)
            return
        with self._lock:
            self._board.hear(event)
            if isinstance(event, RunFinished):
                self._region.remove()
            self._lines.hear(event)
        if isinstance(event, StepStarted):
            if self._ticking and self._thread is None:
                self._begin()
        elif isinstance(event, RunFinished):
            self.close()

    def rest(self) -> None:
        """Nothing is held back."""

    def paint(self) -> None:
        """Draw the region as it is now, unless it is too early for one or nothing runs."""
        with self._lock:
            board = self._board
            now = self._clock()
            if board.finished or not self._region.open or now - board.since < DELAY:
                return
            if not board.running and not self._region.shown:
                return
            columns, rows = self._size()
            hint = "" if not self._keys.listening else "l: hide the log" if self.tails else "l: last log lines"
            self._region.draw(self._drawn_by().draw(board, now, columns, rows, self.tails, hint))

    def close(self) -> None:
        """Take the region away and give the terminal back as it was. Idempotent, callable from any thread."""
        self._stop.set()
        self._keys.close()
        with self._lock:
            self._region.remove()
            self._lines.close()
            aside, self._aside = self._aside, None
            if aside is not None:
                aside.end()
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.close)
            if thread is not threading.current_thread():
                thread.join()

    def _begin(self) -> None:
        self._stop.clear()
        # An exception that ends the process passes by here too, and the cursor comes back.
        atexit.register(self.close)
        # A warning, or the traceback of a thread, would be written into the region and erased with it. rich does the
        # same to stdout too; ours is left alone, since doit swaps it as well and in no known order.
        if sys.stderr is not None and sys.stderr.isatty():
            self._aside = _Aside(sys.stderr, self._write_above)
            sys.stderr = self._aside
        self._thread = threading.Thread(target=self._tick, name="wfe-live", daemon=True)
        self._thread.start()
        self._keys.begin()

    def _pressed(self, key: str) -> None:
        if key in "lL":
            self.tails = not self.tails
            self.paint()

    def _write_above(self, text: str) -> None:
        with self._lock:
            self._region.write(text)

    def _tick(self) -> None:
        pause = max(DELAY - (self._clock() - self._board.since), FASTEST)
        while not self._stop.wait(min(pause, 2.0)):
            first = self._screen is None
            before = time.thread_time()
            self.paint()
            # The first painting imports rich: a cost of once says nothing about the next.
            pause = FASTEST if first else max((time.thread_time() - before) / SHARE, FASTEST)

    def _drawn_by(self) -> Screen:
        if self._screen is None:
            from rich.console import Console

            from wfe.report.screen import Screen

            console = Console(
                file=self._stream,
                force_terminal=True,
                no_color=not self._colour,
                highlight=False,
                markup=False,
            )
            self._screen = Screen(
                console,
                (self._stream.encoding or "").lower().replace("-", "") == "utf8",
            )
        return self._screen


class _Region(Outlet):
    """Lines at the end of what was written that can be taken away and drawn again. What is written goes above them."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(None)
        self._outlet = outlet
        self._text = ""

    @property
    def open(self) -> bool:
        return self._outlet.open

    @property
    def shown(self) -> bool:
        return bool(self._text)

    def write(self, text: str, soon: bool = False) -> None:
        if self._text and text:
            text = f"\r\x1b[J{text}{self._text}"
        self._outlet.write(text, soon)

    def flush(self) -> None:
        self._outlet.flush()

    def draw(self, lines: list[str]) -> None:
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        text = "\n".join(lines) + "\r" + up
        begin = f"\r{_HIDE}" if not self._text else "\r"
        self._text = text
        self._outlet.write(f"{begin}\x1b[J{text}")

    def remove(self) -> None:
        if self._text:
            self._text = ""
            self._outlet.write(f"\r\x1b[J{_SHOW}")


class _Aside(io.TextIOBase):
    """Stands in for sys.stderr while a region may be shown: whole lines are written above it."""

    def __init__(self, real: TextIO, above: Callable[[str], None]) -> None:
        self._real = real
        self._above = above
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._real.fileno()

    def write(self, text: str) -> int:
        whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._above(whole + newline)
        return len(text)

    def end(self) -> None:
        """Put the real one back, unless someone else has put in another meanwhile."""
        if sys.stderr is self:
            sys.stderr = self._real
        if self._rest:
            self._above(self._rest + "\n")
            self._rest = ""


def _styled(state: StepState, word: str) -> str:
    return f"\x1b[{_CODES[state]}m{word}\x1b[0m"
