"""Which distributions of a new prefix need not be imported again, since just these files were imported before.

A distribution is proven when another prefix, of the same Python, was checked with it, and it and all that it requires
are file for file *the same files* (one inode) there. So what a later package overwrites, which no resolver notices, is
imported again, and so is everything where packages are cloned or copied. Importing numpy, onnxruntime and OpenCV once
more was over half of what a second environment took. What stays out of sight: an optional package, which the other
prefix did not have, that breaks the import of a proven one; then the node's own import tells.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from wfe.env.lock import Lock


def closure(lock: Lock, name: str) -> frozenset[str]:
    """`name` and all that it requires, directly or not, by the lock's record of who asked for what."""
    found = {name}
    new = {name}
    while new:
        new = {one.name for one in lock.packages if new & {who.split("[")[0] for who in one.via}} - found
        found |= new
    return frozenset(found)


def same(donor: Path, target: Path, folder: str) -> bool:
    """Whether the distribution `folder` ("name-version") has the same files in two folders of packages."""
    try:
        with (target / f"{folder}.dist-info" / "RECORD").open(encoding="utf-8", newline="") as stream:
            names = [row[0] for row in csv.reader(stream) if row]
        for name in names:
            # Scripts and the installer's own notes are written anew for each environment, and nothing imports them.
            if name.startswith("..") or "__pycache__" in name or ".dist-info/" in name:
                continue
            if not os.path.samefile(donor / name, target / name):
                return False
    except OSError:
        return False
    return True


def proven(
    lock: Lock, donor: Path, checked: frozenset[str], target: Path, folders: Mapping[str, str]
) -> frozenset[str]:
    """Those of `checked` (imported in the prefix whose packages lie in `donor`) that need no import in `target`.

    folders: distribution -> "name-version", of the target.
    """
    known: dict[str, bool] = {}

    def equal(name: str) -> bool:
        if name not in known:
            known[name] = name in folders and same(donor, target, folders[name])
        return known[name]

    held = {package.name for package in lock.packages}
    return frozenset(name for name in checked & held if all(equal(one) for one in sorted(closure(lock, name))))
