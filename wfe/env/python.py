"""The Pythons of this machine, and which one an environment gets.

uv does the finding; where it misses the versions that pyenv keeps (its shims fail for every version but the global
one), they are looked up in pyenv's own folder. Does not know what is installed in any of them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wfe.env.uv import Uv
from wfe.errors import EnvironmentFailure, Place, Problem

OLDEST = Version("3.10")
"""The oldest Python that wfe's worker runs on."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython: its full version and its executable. `own`: it is the one that wfe itself runs on."""

    version: Version
    path: Path
    own: bool = False

    @property
    def minor(self) -> str:
        """Like "3.12": what a lock is bound to, as compiled packages are."""
        return f"{self.version.major}.{self.version.minor}"


def own() -> Interpreter:
    """The Python that runs this process."""
    return Interpreter(Version(platform.python_version()), Path(sys.executable), own=True)


def found(uv: Uv) -> list[Interpreter]:
    """All that can be found, this process's own first, then the newest first; one for each version."""
    ran = uv.run(["python", "list", "--only-installed", "--output-format", "json"], offline=False)
    listed = []
    if ran.status == 0:
        for entry in json.loads(ran.stdout):
            if entry.get("implementation") == "cpython" and entry.get("variant") == "default" and entry.get("path"):
                listed.append((entry["version"], Path(entry["path"])))
    listed += _pyenv()
    by_version: dict[Version, Interpreter] = {}
    for text, path in listed:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        by_version.setdefault(version, Interpreter(version, path))
    mine = own()
    by_version.pop(mine.version, None)
    return [mine, *sorted(by_version.values(), key=lambda one: one.version, reverse=True)]


def _pyenv() -> list[tuple[str, Path]]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    result = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        executable = folder / ("python.exe" if os.name == "nt" else "bin/python")
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and executable.exists():
            result.append((folder.name, executable))
    return result


def choose(specifier: str, known: Sequence[Interpreter], *, prefer: str = "") -> Interpreter | None:
    """The Python for an environment that asks for `specifier` (PEP 440, "" for any), or None.

    A Python of the minor version `prefer` (what a lock was made for) wins; then the one that wfe runs on, since what it
    has installed is most likely in uv's cache; then the newest that is no pre-release. Never one older than `OLDEST`.
    """
    asked = SpecifierSet(specifier)
    fit = [one for one in known if one.version >= OLDEST and asked.contains(one.version, prereleases=True)]
    fit.sort(key=lambda one: (one.minor == prefer, one.own, not one.version.is_prerelease, one.version), reverse=True)
    return fit[0] if fit else None


def missing(specifier: str, known: Sequence[Interpreter], place: Place | None = None) -> EnvironmentFailure:
    """The error for a Python that is not here: what was asked for, what was found, the command that mends it."""
    have = ", ".join(str(one.version) for one in sorted(known, key=lambda one: one.version)) or "none"
    plain = re.search(r"\d+\.\d+", specifier)
    hint = f"uv python install {plain.group() if plain else '3.12'}"
    fact = f"no Python {specifier} was found (found: {have}"
    fact += f"; an isolated environment needs {OLDEST} or newer)" if any(one.version < OLDEST for one in known) else ")"
    return EnvironmentFailure(Problem(fact, place or Place(), hint))
