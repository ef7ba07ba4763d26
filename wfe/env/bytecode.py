"""Give a new prefix the compiled bytecode that others already have, as hard links.

uv links the sources of a package that two environments share, but Python would compile them again in each: on numpy,
onnxruntime and OpenCV that is half of what a second environment takes, and nearly all of its disk. A compiled file is
taken only where the source beside it is *the same file* (one inode) in both, since all that Python itself compares,
time and size, can be equal for two versions of a module. Python replaces such files and never writes into them, so that
a link is safe. Where packages are cloned or copied there is no common inode, and nothing is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def share(donors: Iterable[Path], target: Path) -> int:
    """Link the compiled modules of `donors` into `target`, all of them folders of packages (`site-packages`) of one
    minor version of Python. Returns how many were linked."""
    return sum(_share(donor, target) for donor in donors)


def _share(donor: Path, target: Path) -> int:
    linked = 0
    for folder, folders, files in os.walk(donor):
        if os.path.basename(folder) != "__pycache__":
            folders.sort()
            continue
        folders.clear()
        source = Path(folder).parent
        there = target / source.relative_to(donor)
        if not there.is_dir():
            continue
        for name in files:
            if name.endswith(".pyc") and _same(source, there, name.split(".")[0] + ".py"):
                linked += _link(Path(folder, name), there / "__pycache__" / name)
    return linked


def _same(one: Path, other: Path, name: str) -> bool:
    try:
        return os.path.samefile(one / name, other / name)
    except OSError:
        return False


def _link(source: Path, target: Path) -> int:
    try:
        target.parent.mkdir(exist_ok=True)
        os.link(source, target)
    except OSError:
        return 0  # it is there, or the file system has no links: Python compiles it on the first import
    return 1
