"""Whether processes that a test knows by number are gone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="signals and fork")


def exists(pid: int) -> bool:
    """Whether the process runs (a zombie that nobody reaped yet does not)."""
    if Path("/proc").is_dir():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ends(pid: int) -> bool:
    """Wait (event by event, no longer than 10 s) until a process that was killed is gone."""
    gone = threading.Event()
    for _ in range(1000):
        if not exists(pid):
            return True
        gone.wait(0.01)
    return False
