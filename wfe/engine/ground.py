"""The files of a project as a plan asks for them: which file a path means.

Knows links and the project's root. Does not read what is in a file.
"""

from __future__ import annotations

import os

from wfe.core.disk import Disk
from wfe.engine.project import Project

_SEPARATORS = f"{os.sep}{os.altsep or ''}"


class Ground(Disk):
    """Of one project, for one plan: a directory is looked at once, so what became a link since is not noticed."""

    def __init__(self, project: Project) -> None:
        self._root = str(project.root)
        self._folders: dict[str, str] = {}

    def place(self, text: str) -> str:
        # Not the target of a link that the path itself names: an output takes the link's own place.
        folder, name = os.path.split(os.path.join(self._root, text).rstrip(_SEPARATORS))
        if name in ("", os.curdir, os.pardir):
            folder, name = os.path.join(folder, name), ""
        real = self._folders.get(folder)
        if real is None:
            try:
                real = os.path.realpath(folder)
            except (OSError, ValueError):  # a text that cannot be a path; told when it is used as one
                real = os.path.normpath(folder)
            self._folders[folder] = real
        return os.path.normcase(os.path.join(real, name) if name else real)
