"""Whether the packages of an environment are still as they were installed: each file that a package's own record names is
there, and of the size that the record says.

A stat for each file, 10 to 50 ms for some thousand of them: too much for every run, which looks at the names in the folder
of packages alone (`prefix.look`). So this is asked where an environment is made, listed or synced, and where a step has
failed in it. Not noticed: a file that was changed and kept its size, one of which two packages say something, scripts,
bytecode, and what no record names.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection
from pathlib import Path


def wrong(site: Path, known: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """What is wrong with the packages in the folder `site`: path relative to it -> (its distribution, what is wrong, as a
    sentence). known: paths that were never as they should be."""
    said: dict[str, tuple[str, int]] = {}
    twice = set(known)
    found: dict[str, tuple[str, str]] = {}
    for info in sorted(site.glob("*.dist-info")):
        name = info.name.removesuffix(".dist-info").rpartition("-")[0].replace("_", "-").lower()
        try:
            with (info / "RECORD").open(encoding="utf-8", newline="") as stream:
                rows = [row for row in csv.reader(stream) if len(row) == 3]
        except (OSError, UnicodeDecodeError, csv.Error):
            path = f"{info.name}/RECORD"
            found[path] = (name, f"{path} of {name} is gone or cannot be read")
            continue
        for path, _, text in rows:
            if path.startswith("..") or "__pycache__" in path or not text.isdigit():
                continue
            if path in said:
                twice.add(path)
            said[path] = (name, int(text))
    for path, (name, size) in said.items():
        if path in twice:
            continue
        try:
            has = os.stat(site / path).st_size
        except OSError:
            found[path] = (name, f"{path} of {name} is gone")
            continue
        if has != size:
            found[path] = (name, f"{path} of {name} has {has} bytes instead of {size}")
    return {path: one for path, one in found.items() if path not in twice}


def told(found: dict[str, tuple[str, str]]) -> str:
    """The first thing that is wrong, and how much more is; "" when nothing is."""
    if not found:
        return ""
    more = len(found) - 1
    return next(iter(found.values()))[1] + (f", and {more} more file{'s' * (more > 1)} of its packages" if more else "")
