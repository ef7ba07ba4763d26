"""What a step prints: into its log file up to a bound, and live as lines up to a rate.

Knows bytes, lines and the file. Does not know pipes or processes. A node that prints a gigabyte must neither fill the
disk or the memory nor keep the engine busy: beyond the bounds bytes are counted and dropped, which takes about 0.1 s a
gigabyte.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import BinaryIO

from wfe.engine.executor import Emit

LOG_LIMIT = 64 * 1024 * 1024  # bytes
LINES_A_SECOND = 200
LONGEST_LINE = 8 * 1024  # bytes of a line that are shown live
TAIL = 4096  # bytes of stderr that are kept for the message when the worker dies


class Printed:
    """Takes the pieces that a call's worker prints. Not thread-safe: one thread feeds it."""

    def __init__(self, log: str, emit: Emit, limit: int = LOG_LIMIT) -> None:
        self._log = log
        self._emit = emit
        self._limit = limit
        self._file: BinaryIO | None = None
        self._written = 0
        self._dropped = 0
        self._begun: dict[str, bytes] = {}  # stream -> a line that has no end yet
        self._second = 0.0
        self._shown = 0
        self._hidden = 0
        self.tail = b""  # the end of stderr

    def add(self, stream: str, piece: bytes) -> None:
        """Take one piece of `stream` ("stdout" or "stderr"), cut anywhere."""
        if stream == "stderr":
            self.tail = (self.tail + piece)[-TAIL:]
        self._keep(piece)
        self._show(stream, piece)

    def _keep(self, piece: bytes) -> None:
        if not self._log:
            return
        if self._file is None and piece:
            # Opened at the first byte, since most calls print nothing and an open costs more than a call.
            try:
                self._file = open(self._log, "ab", buffering=0)  # noqa: SIM115
            except FileNotFoundError:  # somebody has removed the cache meanwhile
                os.makedirs(os.path.dirname(self._log), exist_ok=True)
                self._file = open(self._log, "ab", buffering=0)  # noqa: SIM115
            self._written = self._file.tell()
        room = self._limit - self._written
        if room < len(piece):
            self._dropped += len(piece) - max(room, 0)
            piece = piece[: max(room, 0)]
        if self._file is not None and piece:
            self._file.write(piece)
            self._written += len(piece)

    def _show(self, stream: str, piece: bytes) -> None:
        now = monotonic()
        if now - self._second >= 1.0:
            self._tell_hidden()
            self._second, self._shown = now, 0
        if self._shown >= LINES_A_SECOND:
            self._begun.pop(stream, None)
            self._hidden += piece.count(b"\n")
            return
        lines = (self._begun.pop(stream, b"") + piece).split(b"\n")
        last = lines.pop()
        if len(last) > LONGEST_LINE:
            lines.append(last)
        elif last:
            self._begun[stream] = last
        for index, line in enumerate(lines):
            if self._shown >= LINES_A_SECOND:
                self._hidden += len(lines) - index
                break
            self._line(stream, line)

    def _line(self, stream: str, line: bytes) -> None:
        # A bar that redraws itself with carriage returns is one line: its last state.
        text = line.rstrip(b"\r").rpartition(b"\r")[2][:LONGEST_LINE].decode("utf-8", "replace")
        self._shown += 1
        self._emit("line", {"stream": stream, "line": text})

    def _tell_hidden(self) -> None:
        if self._hidden:
            self._emit("line", {"stream": "stderr", "line": f"[{self._hidden} lines not shown; the log has them]"})
            self._hidden = 0

    def close(self) -> None:
        """End the open lines and the file."""
        for stream, line in self._begun.items():
            self._line(stream, line)
        self._begun.clear()
        self._tell_hidden()
        if self._file is not None:
            if self._dropped:
                mark = (
                    f"\n[log cut off here: {self._dropped} more bytes were printed; a log holds {self._limit} bytes]\n"
                )
                self._file.write(mark.encode())
            self._file.close()
            self._file = None
