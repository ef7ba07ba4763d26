"""The processes that a node's code started in a worker, and what to do with those that it left behind.

Knows the direct children of this process. Does not know calls. Standard library only.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from time import monotonic


def has_children() -> bool:
    """Whether this process has child processes, ended ones included. Takes about 1 us."""
    if sys.platform == "win32":
        return False  # the engine's job object ends them with the worker
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        else:
            os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def end_children() -> int:
    """Kill the processes that the node left behind; 0, or 1 where this process is to be replaced: they cannot be found from
    here, or belong to a pool, which begins others in their place and waits for ever for what a killed one held.

    Orphaned grandchildren come to this process (it is their subreaper), so the rounds end when there is no child at
    all. Only those that were killed are waited for: one that came meanwhile may live long.
    """
    import signal

    pooled = not {"multiprocessing.pool", "concurrent.futures.process"}.isdisjoint(sys.modules)
    deadline = monotonic() + 2.0
    while monotonic() < deadline:
        found = children()
        if found is None:
            return 1
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with suppress(ChildProcessError):  # a thread of the node's waited for it
                os.waitpid(pid, 0)
        if not found and not has_children():
            return int(pooled)
    return 1


def children() -> list[int] | None:
    """The direct children by /proc, or None where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    mine = str(os.getpid()).encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # "pid (name) state ppid ...": the name may hold spaces and brackets, so count from its end.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[1] == mine:
            found.append(int(name))
    return found


def adopt_orphans() -> None:
    """Make this process the subreaper of its descendants (Linux): a daemon that a node starts stays findable."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
    except (ImportError, OSError, AttributeError):
        pass  # the engine's own search at the worker's end still finds them
