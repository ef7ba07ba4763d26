"""The digests of input files, remembered by stamp so that an unchanged file is read once.

Knows paths relative to a root. Does not know which step reads what.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from pathlib import Path

from wfe.store.hashing import directory_digest, file_digest
from wfe.store.stamp import Stamp, holds, stamp_of
from wfe.store.state import State


class TooLong(Exception):
    """To read it takes longer than may be waited."""


class Files:
    """Digests of files under `root` (or anywhere, by absolute path)."""

    def __init__(self, state: State, root: Path) -> None:
        self._state = state
        self._base = f"{root}{os.sep}"
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._lock = threading.Lock()

    def absolute(self, path: str) -> str:
        return path if os.path.isabs(path) else self._base + path

    def digest(self, path: str, most: float = math.inf) -> tuple[Stamp, str]:
        """(stamp, digest) of a file's content now; of a directory, of all files in it. Raises OSError.

        most: bytes that may be read for it. Raises TooLong where it would take more, and for a directory.
        A directory's own times do not tell of changes inside its files, so its stamp is never settled.
        """
        where = self.absolute(path)
        told = os.stat(where)
        taken = stamp_of(told)
        if stat.S_ISDIR(told.st_mode):
            if most < math.inf:
                raise TooLong(path)
            return taken._replace(settled=False), self._directory(path, where)
        name = path.encode("utf-8", "backslashreplace").decode()  # what the database calls it: not every name is UTF-8
        with self._lock:
            known = self._known.get(path)
        if known is None:
            row = self._state.get("file", name)
            known = (Stamp(*row[0]), row[1]) if row else None
        if known is not None and known[0].settled and known[0][:4] == taken[:4]:
            return known
        if told.st_size > most:
            raise TooLong(path)
        found = (taken, file_digest(where, told))
        with self._lock:
            self._known[path] = found
        if taken.settled:  # one that is not proves nothing the next time
            self._state.remember("file", name, (taken.plain(), found[1]))
        return found

    def _directory(self, path: str, where: str) -> str:
        return directory_digest(Path(where), lambda entry: self.digest(f"{path}/{entry}")[1])

    def same(self, path: str, known: Stamp, digest: str) -> Stamp | None:
        """The stamp that proves that the file still has this content (a new one if need be), None when it has not."""
        if holds(known, self.absolute(path)):
            return known
        try:
            taken, now = self.digest(path)
        except OSError:
            return None
        return taken if now == digest else None

    def at_rest(self, path: str, known: Stamp, digest: str) -> bool:
        """Whether nobody touched the file since it had this stamp. The same content is not enough: it may have been another
        one meanwhile. Of a directory it must do, whose own times change with what lies in it for a moment."""
        try:
            told = os.stat(self.absolute(path))
        except OSError:
            return False
        if not stat.S_ISDIR(told.st_mode):
            if stamp_of(told)[:4] != known[:4]:
                return False
            if known.settled:
                return True
        return self.same(path, known, digest) is not None
