"""What a worker leaves when its engine was killed: the replies that nobody may have taken.

Else the steps would be done again whose functions had returned, and whose results were on their way to be stored. Knows
files, and replies as frames. Does not know what the engine says of a call, which goes with its reply.

Format: a file of its own, `<pid>-<nanoseconds>.left`, with a line for each reply: the CRC-32 of the rest in 8 hex digits, and
a JSON list of what was said of the call, the body of the reply's frame, and when the call was over (Unix seconds).
"""

from __future__ import annotations

import json
import os
from _thread import allocate_lock
from collections import deque
from contextlib import suppress
from time import time, time_ns

from wfe.wire.frames import HEADER
from wfe.wire.small_file import put

LEFT = ".left"
LARGEST = 64 * 1024  # bytes of a reply that is kept
_MOST = 16  # replies that may be on their way: as many calls as are sent together, and some more


def sealed(text: str) -> str:
    """A line of such a file, of a text in ASCII."""
    from zlib import crc32  # hardly ever needed

    return f"{crc32(text.encode('ascii', 'replace')):08x}{text}"


class Will:
    """The last replies of this worker. `execute` may be called from any thread."""

    def __init__(self) -> None:
        self._kept: deque[tuple[str, bytes, float]] = deque(maxlen=_MOST)
        self._lock = allocate_lock()
        self.over = False  # whether it is being executed: what is done from now on is lost

    def keep(self, bequest: str, frame: bytes) -> None:
        """Have a reply left. bequest: the folder as a JSON text, a newline, and what is left with it."""
        if len(frame) <= LARGEST:
            self._kept.append((bequest, frame, time()))

    def execute(self) -> None:
        """Write them all, once. What cannot be written is lost, and is done again."""
        with self._lock:
            if self.over:
                return
            # Also where there is nothing: whoever asked ends this process, and what came now would be cut.
            self.over = True
            if not self._kept:
                return
            folder, lines = "", []
            for bequest, frame, at in list(self._kept):
                heir, _, said = bequest.partition("\n")
                folder = json.loads(heir)
                lines.append(sealed(json.dumps([said, frame[HEADER.size :].decode(), at])))
            name = os.path.join(folder, f"{os.getpid()}-{time_ns()}")
            with suppress(OSError):
                # Under that name only when it is whole: whoever waited for the dead engine may be looking just now, and removes
                # what he has read.
                put("\n".join(lines).encode(), f"{name}.part")
                os.replace(f"{name}.part", f"{name}{LEFT}")
