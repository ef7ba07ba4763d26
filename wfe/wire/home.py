"""The folders in which hosts keep their shared-memory blocks, and the removal of those whose host is dead.

Knows folders and file locks. Does not know what a block is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path


def memory() -> Path:
    shared = Path("/dev/shm")
    if sys.platform.startswith("linux") and os.access(shared, os.W_OK):
        return shared
    return Path(tempfile.gettempdir())


PREFIX = "wfe-blocks-"


class Home:
    """A folder of blocks with a locked file in it, by which others see that its host lives."""

    def __init__(self, parent: Path) -> None:
        while True:
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            try:
                self._lock: int | None = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue  # reaped: this process was stopped for a minute just here
            if _try_lock(self._lock) and (self.folder / "lock").exists():
                return
            os.close(self._lock)

    def close(self) -> None:
        if self._lock is not None:
            _remove(self.folder)
            os.close(self._lock)
            self._lock = None
            _remove(self.folder)  # Windows removes no open file


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def reap(parent: Path | None = None) -> list[Path]:
    """Remove the folders of dead hosts, found by their free lock; returns them. Never touches a living host's."""
    removed = []
    for folder in (parent or memory()).glob(PREFIX + "*"):
        try:
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                continue
            try:
                descriptor = os.open(folder / "lock", os.O_RDWR)
            except FileNotFoundError:
                # Made a moment ago and about to be locked, unless it is old.
                if time.time() - folder.stat().st_mtime > 60:
                    _remove(folder)
                    removed.append(folder)
                continue
        except OSError:
            continue
        try:
            if _try_lock(descriptor):
                _remove(folder)
                removed.append(folder)
        finally:
            os.close(descriptor)
    return removed
