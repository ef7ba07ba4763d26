"""What tells whether the main environment's packages may have changed since they were last looked at."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import wfe


def folder_time(path: str) -> int:
    """When an entry of the directory was last added or removed, in nanoseconds; 0 for one that is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def site_stamp() -> tuple[Any, ...]:
    """What tells whether the main environment's packages may have changed: installing or removing one changes the times
    of the directories that hold them. An editable install's own sources are watched by nobody (documented)."""
    paths = sysconfig.get_paths()
    folders = sorted({paths["purelib"], paths["platlib"], *(path for path in sys.path if path.endswith("-packages"))})
    return sys.version, tuple((folder, folder_time(folder)) for folder in folders)


def own_stamp() -> tuple[Any, ...]:
    """Name, time and size of each of wfe's own sources that make a plan and its memo: in a checkout they change under one
    version, and with them what is remembered. 0.2 ms."""
    found: list[tuple[str, int, int]] = []
    for part in ("", "core", "engine"):
        try:
            with os.scandir(Path(wfe.__file__).parent / part) as entries:
                told = [(one.name, one.stat()) for one in entries if one.name.endswith(".py")]
        except OSError:  # wfe in a zip file, which has one version
            continue
        found += [(name, one.st_mtime_ns, one.st_size) for name, one in told]
    return tuple(sorted(found))
