"""Importing node sources: always from their text, and with a memory of what was read.

Knows the import system. Does not know calls or pipes. CPython's byte code files are checked by whole seconds and size:
an edit within one second that keeps the size would run the old code, whose result would then be stored under the new
code's key. So files below the root are compiled from source at each start (below 1 ms for a file of 300 lines), and
their text is kept, so that a warm worker can say whether what it imported is still what the files say.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, SourceFileLoader
from os import sep
from os.path import abspath, basename, dirname, exists, join, realpath
from types import ModuleType
from typing import Any

_PACKAGES = ("site-packages", "dist-packages")
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # one of them is in the folder of an environment


class Sources:
    """The source files and compiled modules below `root` that this process has imported, with the bytes they had."""

    def __init__(self, root: str) -> None:
        self.root = abspath(root)
        self.texts: dict[str, bytes] = {}
        self._looked_at = 0
        texts = self.texts

        class FromText(SourceFileLoader):
            def path_stats(self, path: str) -> Any:
                # OSError here is how SourceLoader.get_code is told neither to read nor to write byte code.
                raise OSError("node sources have no byte code")

            def get_data(self, path: str) -> bytes:
                text = super().get_data(path)
                texts[path] = text
                return text

        class Compiled(ExtensionFileLoader):
            def create_module(self, spec: ModuleSpec) -> ModuleType:
                texts[self.path] = super().get_data(self.path)
                return super().create_module(spec)

        self._finder = FileFinder.path_hook((Compiled, EXTENSION_SUFFIXES), (FromText, [".py"]))
        self._roots = (self.root, realpath(root))
        self._below = tuple(one + sep for one in self._roots)

    def hook(self, path: str) -> Any:
        """A path hook (PEP 302) for folders below the root that hold no installed packages."""
        folder = abspath(path)
        if not (folder + sep).startswith(self._below):
            raise ImportError("not below the root")
        if self._installed(folder):
            raise ImportError("installed packages")
        return self._finder(path)

    def _installed(self, folder: str) -> bool:
        """Whether it is one of the folders of installed packages, or in one, or in an environment."""
        while (folder + sep).startswith(self._below) and folder not in self._roots:
            if basename(folder) in _PACKAGES or any(exists(join(folder, mark)) for mark in _ENVIRONMENT):
                return True
            folder = dirname(folder)
        return False

    def install(self) -> None:
        """Let the root lead the import path and read what is below it from source."""
        sys.path_hooks.insert(0, self.hook)
        for known in list(sys.path_importer_cache):
            if (abspath(known) + sep).startswith(self._below):
                del sys.path_importer_cache[known]
        if self.root not in sys.path:
            sys.path.insert(0, self.root)

    def remove(self) -> None:
        """Undo `install`."""
        if self.hook in sys.path_hooks:
            sys.path_hooks.remove(self.hook)
        if self.root in sys.path:
            sys.path.remove(self.root)
        for known in list(sys.path_importer_cache):
            if (abspath(known) + sep).startswith(self._below):
                del sys.path_importer_cache[known]

    def mixed(self) -> str:
        """As `changed`, where something was imported since this was asked last, relative to the root; "" where nothing was."""
        if len(self.texts) == self._looked_at:
            return ""
        self._looked_at = len(self.texts)
        return self.changed().removeprefix(self.root + sep)

    def changed(self) -> str:
        """The first imported file whose text is no longer the imported one (or that is gone), or ""."""
        for path, text in list(self.texts.items()):
            try:
                with open(path, "rb") as file:
                    if file.read() == text:
                        continue
            except OSError:
                pass
            return path
        return ""
