"""A small file, written whole, and what stat says of it. Does not know what is in it."""

from __future__ import annotations

import os
from _thread import get_ident
from contextlib import suppress


def put(data: bytes, path: str) -> os.stat_result:
    """Make `path` a file of these bytes. One that is there already is replaced at once, by its new name. Raises OSError.

    A new one is written under its own name, since nobody vouches for it yet: of half a file that a kill leaves, no row says
    that it is whole. To create and rename it took a fifth of a trivial step.
    """
    try:
        return _write(path, data, os.O_EXCL)
    except FileExistsError:
        part = f"{path}.{os.getpid()}-{get_ident()}.part"
        _write(part, data, os.O_TRUNC)
        return in_place(part, path)


def in_place(part: str, target: str) -> os.stat_result:
    """Rename the finished file `part` to `target`, atomically; what stat says of it there.

    When somebody else puts another file there at the same moment, it is what stat said of ours: that will not hold, and must
    never vouch for what they wrote. Raises OSError.
    """
    mine = os.stat(part)
    os.replace(part, target)
    there = os.stat(target)
    return there if there.st_ino == mine.st_ino else mine


def _write(path: str, data: bytes, how: int) -> os.stat_result:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | how | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = data[os.write(number, data) :]
        while left:
            left = left[os.write(number, left) :]
        return os.fstat(number)
    except OSError:
        with suppress(OSError):
            os.unlink(path)  # a half of it, for want of space, is of no use
        raise
    finally:
        os.close(number)
