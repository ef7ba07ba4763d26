"""The journal: rows that are on their way into the state database, and in the kernel's hands already.

A commit of SQLite writes some six pages, 60 us of a trivial step; a record here is one write. So a run puts the rows of a
step here when the step is done, and many of them into the database at once when it has time. What a killed run left here,
whoever opens the cache next brings home. Knows records and files; does not know what a row means.

Format: any number of records, each 4 bytes length, 8 bytes checksum (xxh3-64; both little endian) and so many bytes, a list
of (table, scope, name, body) as marshal writes it. The first record that is not sound ends it: the write that a kill or a
full disk cut short.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wfe.core.digest import checksum
from wfe.store.claims import Claims
from wfe.store.stamp import UNPROVEN, holds, stamp
from wfe.wire.will import LEFT

Row = tuple[str, str, str, bytes]
"""(table, scope, name, body)."""

_HEAD: Final = struct.Struct("<IQ")
MARSHAL: Final = 4  # every Python from 3.4 on reads it
_FIRST: Final = 1 << 60  # in the file of claims, beyond every key and before the seats
_MOST: Final = 64
HOMEWARD: Final = _FIRST + _MOST
"""The claim of whoever brings journals home."""


class Journal:
    """The journal of one open state: the file `number` in `folder`, whose lock among `claims` is held. Not thread-safe.

    Files are numbered and never removed: one that was removed could be open, and just about to be locked, elsewhere.
    """

    def __init__(self, folder: Path, claims: Claims, number: int) -> None:
        self.path = folder / str(number)
        self._claims = claims
        self._lock = _FIRST + number
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)

    @classmethod
    def mine(cls, folder: Path, claims: Claims) -> Journal | None:
        """The first that nobody holds, and that can be opened; None when there is none. What a killed run left may stand in it.
        Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        return next((found for number in range(_MOST) if (found := cls._taken(folder, claims, number))), None)

    @classmethod
    def left(cls, folder: Path, claims: Claims) -> Iterator[Journal]:
        """Those in which something stands and that nobody holds: each is held until the next one is asked for."""
        for number in _used(folder):
            found = cls._taken(folder, claims, number)
            if found is not None:
                try:
                    yield found
                finally:
                    found.close()

    @classmethod
    def others(cls, folder: Path, claims: Claims, mine: Journal | None) -> bool:
        """Whether somebody else has a journal, or something stands in one that nobody has."""
        lock = -1 if mine is None else mine._lock
        for entry in os.scandir(folder):
            if entry.name.isdecimal() and (one := _FIRST + int(entry.name)) != lock:
                if not claims.take(one):
                    return True
                claims.give(one)
                if entry.stat().st_size:
                    return True
        return False

    @classmethod
    def _taken(cls, folder: Path, claims: Claims, number: int) -> Journal | None:
        if not claims.take(_FIRST + number):
            return None
        try:
            return cls(folder, claims, number)
        except OSError:  # of another user, or no file
            claims.give(_FIRST + number)
            return None

    def add(self, rows: list[Row]) -> None:
        """Add a record. Raises OSError when there is no room for all of it; what was added before stays."""
        content = marshal.dumps(rows, MARSHAL)
        record = _HEAD.pack(len(content), checksum(content)) + content
        sent = os.write(self._file, record)
        while sent < len(record):
            try:
                sent += os.write(self._file, record[sent:])
            except OSError:
                os.ftruncate(self._file, os.fstat(self._file).st_size - sent)
                raise

    def rows(self) -> Iterator[Row]:
        """The rows of all sound records, oldest first."""
        data = self.path.read_bytes()
        place = 0
        while place + _HEAD.size <= len(data):
            length, told = _HEAD.unpack_from(data, place)
            place += _HEAD.size
            content = data[place : place + length]
            place += length
            if len(content) != length or checksum(content) != told:
                return
            yield from marshal.loads(content)

    def clear(self) -> None:
        """Forget everything: it stands in the database."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Let go of it, with what stands in it. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._claims.give(self._lock)


class Folder:
    """The journals of a cache, and what workers left there, asked before each step whether something stands in one: a stat for
    each, not a listing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listed = UNPROVEN
        self._files: list[str] = []

    def any_left(self, mine: str = "") -> bool:
        """Whether something stands in a journal other than `mine`, be it of a run that goes on."""
        try:
            if not holds(self._listed, str(self.path)):
                self._listed = stamp(str(self.path))
                names = os.listdir(self.path)
                self._files = [str(self.path / one) for one in names if one.isdecimal() or one.endswith(LEFT)]
            return any(os.stat(one).st_size for one in self._files if one != mine)
        except OSError:
            return False


def _used(folder: Path) -> list[int]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(int(one.name) for one in entries if one.name.isdecimal() and one.stat().st_size)
    return []
