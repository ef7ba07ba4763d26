"""What stat tells about a file, as a proof that its content is still the one that was hashed.

Size, times and inode are compared, never content. A stamp taken so soon after the file's last change that a further
change could carry the same times is not `settled`: it proves nothing, and the file is hashed again (git calls such an
entry racy). Does not know what the files are.
"""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

from wfe.wire.small_file import in_place

# The kernel's clock for file times ticks every 1 to 10 ms; where times are whole seconds, the file system has no finer
# ones (HFS+ 1 s, FAT 2 s).
_TICK_NS: Final = 20_000_000
_COARSE_NS: Final = 2_100_000_000


Plain = tuple[int, int, int, int, bool]


class Stamp(NamedTuple):
    """(mtime, ctime: nanoseconds; size: bytes; inode; settled)."""

    mtime: int
    ctime: int
    size: int
    inode: int
    settled: bool

    def plain(self) -> Plain:
        """As a tuple that marshal takes."""
        return (self.mtime, self.ctime, self.size, self.inode, self.settled)


UNPROVEN: Final = Stamp(0, 0, 0, 0, False)
"""Of a file that nobody has looked at."""


def stamp(path: str) -> Stamp:
    """The stamp of a file as it is now. Take it before hashing. Raises OSError."""
    return stamp_of(os.stat(path))


def stamp_of(found: os.stat_result) -> Stamp:
    """The same of what `os.stat` or `os.fstat` gave just now."""
    latest = max(found.st_mtime_ns, found.st_ctime_ns)
    tick = _COARSE_NS if found.st_mtime_ns % 1_000_000_000 == 0 and found.st_ctime_ns % 1_000_000_000 == 0 else _TICK_NS
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, time.time_ns() - latest > tick)


def holds(old: Plain, path: str) -> bool:
    """Whether the stamp proves that the file is unchanged."""
    if not old[4]:
        return False
    try:
        now = os.stat(path)
    except OSError:
        return False
    return now.st_mtime_ns == old[0] and now.st_size == old[2] and now.st_ino == old[3] and now.st_ctime_ns == old[1]


def put_in_place(part: str, target: str) -> Stamp:
    """Rename the finished file `part` to `target`, atomically; the stamp that the file has there, or, where somebody else put
    another one there at the same moment, the one that ours had, which will not hold. Raises OSError."""
    return stamp_of(in_place(part, target))
