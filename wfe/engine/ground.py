"""The files of a project as a plan asks for them: which file a path means, and which no step may write.

Knows links, the project's root and what lies in its cache. Does not read what is in a file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from typing import Final

from wfe.core.disk import Disk
from wfe.engine.project import SUFFIXES, Project

_SEPARATORS: Final = f"{os.sep}{os.altsep or ''}"
# What wfe itself keeps in the cache. Steps may write beside it: cache/results is where most do.
_KEPT: Final = ("blobs", "environments", "logs", "runs", "staging", "steps")
_KEPT_FILES: Final = ("state.db", "claims.lock")  # and what SQLite puts beside: state.db-wal
LONGEST: Final = 220
"""Bytes of an output's name. File systems take 255, and a file that replaces one is written beside it under a longer name."""


class Ground(Disk):
    """Of one project, for one plan: a directory is looked at once, and where each leads can be asked for (`links`).

    documents: paths of workflow documents that lie elsewhere than in workflows/.
    """

    def __init__(self, project: Project, documents: Collection[str] = ()) -> None:
        self._root = str(project.root)
        self._documents = documents
        self._folders: dict[str, str] = {}
        self._leads: dict[str, str] = {}
        self._cache, self._flows, self._nodes = (
            self._inside(str(one)) for one in (project.cache, project.workflows, project.root / "nodes")
        )

    def place(self, text: str) -> str:
        # Not the target of a link that the path itself names: an output takes the link's own place.
        folder, name = os.path.split(os.path.join(self._root, text).rstrip(_SEPARATORS))
        if name in ("", os.curdir, os.pardir):
            folder, name = os.path.join(folder, name), ""
        real = self._inside(folder)
        return os.path.join(real, os.path.normcase(name)) if name else real

    def leads(self, text: str) -> str:
        # Of a directory it is remembered that it is no link, since it may become one. A file that becomes one is not
        # noticed: to look at every input file would be a tenth of a run in which all is current.
        found = self._leads.get(text)
        if found is None:
            where = os.path.join(self._root, text).rstrip(_SEPARATORS)
            try:
                kind = stat.S_IFMT(os.lstat(where).st_mode)
            except (OSError, ValueError):  # not there, or a text that cannot be a path
                kind = 0
            found = self._inside(where) if kind in (stat.S_IFLNK, stat.S_IFDIR) else self.place(text)
            self._leads[text] = found
        return found

    def _inside(self, folder: str) -> str:
        """The place of what lies in a directory: for one that is a link, where it leads."""
        real = self._folders.get(folder)
        if real is None:
            try:
                real = os.path.realpath(folder)
            except (OSError, ValueError):  # a text that cannot be a path; told when it is used as one
                real = os.path.normpath(folder)
            real = self._folders[folder] = os.path.normcase(real)
        return real

    def links(self, folders: Iterable[str] | None = None) -> tuple[tuple[str, str], ...]:
        """Directories, and where they lead; both relative to the project, if they are in it. By default those that were asked
        for so far."""
        real = self._inside(self._root)
        asked = list(self._folders) if folders is None else [os.path.join(self._root, one) for one in folders]
        return tuple(sorted((_shorter(one, self._root), _shorter(self._inside(one), real)) for one in asked))

    def barred(self, text: str) -> str:
        if len(os.path.basename(text).encode(errors="surrogatepass")) > LONGEST:
            return f"longer than the {LONGEST} bytes that its name may have"
        place = self.place(text)
        parts = _below(self._cache, place)
        if parts is not None and (not parts or parts[0] in _KEPT or parts[0].startswith(_KEPT_FILES)):
            return "wfe's own in the cache"
        parts = _below(self._flows, place)
        if (parts is not None and len(parts) == 1 and parts[0].endswith(SUFFIXES)) or place in map(
            self.place, self._documents
        ):
            return "a workflow document"
        parts = _below(self._nodes, place)
        if parts is not None and (not parts or parts[-1].endswith(".py")):
            return "a source of the nodes"
        if place == self.place("dodo.py"):
            return "the project's own"
        return in_the_way(os.path.join(self._root, text))

    def holds_cache(self, text: str) -> bool:
        where = os.path.join(self._root, text)
        # Of the thousands of files that this is asked of, none is a directory to remember.
        return os.path.isdir(where) and _below(self._inside(where), self._cache) is not None


def in_the_way(where: str) -> str:
    """What stands where a file is to be written and must not be replaced: a directory, or what is no plain file, as a device. ""
    for a file, a link to a directory, and nothing."""
    try:
        kind = stat.S_IFMT(os.stat(where).st_mode)
    except (OSError, ValueError):
        return ""
    if kind == stat.S_IFDIR:
        return "" if os.path.islink(where) else "a directory"
    return "" if kind == stat.S_IFREG else "no plain file"


def _shorter(path: str, root: str) -> str:
    return "" if path == root else path.removeprefix(root.rstrip(os.sep) + os.sep)


def _below(folder: str, place: str) -> list[str] | None:
    """The parts of a place under a directory; None for one that is not under it."""
    if place == folder:
        return []
    start = folder.rstrip(os.sep) + os.sep
    return place[len(start) :].split(os.sep) if place.startswith(start) else None
