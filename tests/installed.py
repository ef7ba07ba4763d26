"""What is installed, read once for all tests of a process.

A run in a fresh project asks for the version and the packages of every distribution, which was nine tenths of its time.
Told anew as soon as a directory of the import path has another time, so that a test may install something.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

Told = tuple[list[Any], dict[str, list[str]]]
"""(distributions, package -> names of distributions), of one directory."""

_distributions = metadata.distributions
_packages_distributions = metadata.packages_distributions
_known: dict[tuple[str, int], Told] = {}


class _Read:
    """A distribution whose name and version were read; for the rest it is asked itself (`entry_points`)."""

    def __init__(self, real: metadata.Distribution) -> None:
        self._real = real
        self.metadata = real.metadata
        self.version = real.version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _told(folder: str) -> Told:
    try:
        key = (folder, os.stat(folder or ".").st_mtime_ns)
    except OSError:
        return [], {}
    if key not in _known:
        found = [one for one in _distributions(path=[folder]) if one.metadata["Name"]]
        before, metadata.distributions = metadata.distributions, lambda: found  # type: ignore[assignment,misc]
        try:
            packages = dict(_packages_distributions())
        finally:
            metadata.distributions = before  # type: ignore[misc]
        _known[key] = ([_Read(one) for one in found], packages)
    return _known[key]


def distributions(**how: Any) -> Iterable[Any]:
    """As importlib.metadata's."""
    return _distributions(**how) if how else _all()


def _all() -> Iterator[Any]:
    for folder in sys.path:
        yield from _told(folder)[0]


def packages_distributions() -> dict[str, list[str]]:
    """As importlib.metadata's."""
    found: dict[str, list[str]] = {}
    for folder in sys.path:
        for package, names in _told(folder)[1].items():
            found.setdefault(package, []).extend(names)
    return found
