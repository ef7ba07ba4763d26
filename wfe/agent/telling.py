"""Events of a generation as lines for a terminal or a log. Knows wording; does not know what is done about it.

What a model says is shown without control characters: an escape sequence in an answer must not reach the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from wfe.agent.events import AgentEvent, Answered, Asked, GivenUp, Heard, Judged, Kept, Pulled, Said


class Teller:
    """Writes events to `stream`; with `live`, what the model says is shown on one line while it comes."""

    def __init__(
        self, stream: TextIO, project: Path, live: bool, clock: Callable[[], float] = time.monotonic, width: int = 100
    ) -> None:
        self.stream = stream
        self.project = project
        self.live = live
        self.clock = clock
        self.width = width
        self._heard = 0
        self._tail = ""
        self._shown = -1.0
        self._open = False

    def __call__(self, event: AgentEvent) -> None:
        """Tell one event."""
        if isinstance(event, Heard):
            self._hear(event)
        elif isinstance(event, Pulled):
            share = f" {100 * event.done // event.total} %" if event.total else ""
            self._live(f"  {event.status}{share}")
        elif isinstance(event, Asked):
            self._heard, self._tail = 0, ""
            what = f" for {event.what}" if event.what else ""
            again = f", try {event.attempt}" if event.attempt > 1 else ""
            self._line(f"{event.subject}: asking the model{what}{again}")
        elif isinstance(event, Answered):
            self._clear()
        elif isinstance(event, Judged):
            if event.problem:
                self._line(f"  {event.gate}: {printable(event.problem)[:400]}")
        elif isinstance(event, Kept):
            self._line(f"  wrote {self._name(event.path)}")
            if event.diff:
                self._line("  you have edited the node, so it was left alone; the difference:")
                for line in event.diff.splitlines():
                    self._line(f"    {printable(line)}")
        elif isinstance(event, GivenUp):
            self._line(f"  given up: no draft passed; the best one and why it failed: {self._name(event.path)}")
        elif isinstance(event, Said):
            self._line(printable(event.message))

    def _hear(self, event: Heard) -> None:
        self._heard += len(event.text)
        self._tail = (self._tail + event.text)[-self.width :]
        now = self.clock()
        if now - self._shown > 0.05:
            self._shown = now
            self._live(f"  {self._heard:6d} characters  {printable(self._tail)[-self.width + 26 :]}")

    def _live(self, text: str) -> None:
        if self.live:
            self.stream.write(f"\r\x1b[K{text[: self.width]}")
            self.stream.flush()
            self._open = True

    def _clear(self) -> None:
        if self._open:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._open = False

    def _line(self, text: str) -> None:
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.project).as_posix() if path.is_relative_to(self.project) else str(path)


def printable(text: str) -> str:
    """`text` with every character that is not for printing as a space."""
    return "".join(char if char.isprintable() else " " for char in text)
