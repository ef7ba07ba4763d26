"""Who uses a prefix now, and when it was used last, told by small files beside it.

    leases/<lock digest>/<process id>-<token>   a process that uses the prefix, {"pid", "started", "host"}
    leases/<lock digest>/used                   modification time: the last use

A process is known by its id *and* its start time, since ids come again. A lease of another machine (a cache directory
on a network disk) counts for a day, since nobody here can know. Locks of the operating system (filelock: fcntl on
POSIX, msvcrt on Windows, with every branch kept by its maintainers; free of the stale files that a lock made of a
file's existence leaves after a kill -9) keep two makers, or a maker and a remover, apart.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

from wfe.errors import Interrupted

if TYPE_CHECKING:
    from filelock import FileLock

# filelock and psutil are imported where they are used: together they take half of what this package takes to import,
# and a run that makes no environment needs neither.
_DAY = 86400.0


def _lock(root: Path, name: str) -> FileLock:
    from filelock import FileLock

    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # Not thread-local: each caller has an instance of its own, and a lock file is never removed, since a process that
    # waits on a removed file and one that makes it anew would both hold "the" lock.
    return FileLock(folder / f"{name}.lock", thread_local=False)


@contextmanager
def holding(
    root: Path,
    name: str,
    stop: Event | None = None,
    waiting: Callable[[], object] | None = None,
    patience: float = math.inf,
) -> Iterator[None]:
    """Hold the lock called `name` between processes, and between threads; the death of its holder frees it.

    `waiting` is called once when another has it. Raises Interrupted when `stop` is set meanwhile, TimeoutError after `patience`
    seconds.
    """
    from filelock import Timeout

    lock = _lock(root, name)
    end = time.monotonic() + patience
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            if waiting:
                waiting()
                waiting = None
            if time.monotonic() > end:
                raise TimeoutError(f"another has held {lock.lock_file} for {patience:g} s") from None
            if stop is not None and stop.is_set():
                raise Interrupted("interrupted while another run prepared an environment") from None
    try:
        yield
    finally:
        lock.release()


def try_holding(root: Path, name: str) -> FileLock | None:
    """That lock, held, or None when another has it. Release it with `.release()`."""
    from filelock import Timeout

    lock = _lock(root, name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _folder(root: Path, digest: str) -> Path:
    return root / "leases" / digest


def take(root: Path, digest: str) -> Path:
    """Say that this process uses the prefix. Call it inside `holding(root, digest)`; give back with `give`."""
    import psutil

    folder = _folder(root, digest)
    folder.mkdir(parents=True, exist_ok=True)
    me = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": platform.node()}
    path = folder / f"{os.getpid()}-{uuid4().hex[:8]}"
    path.write_text(json.dumps(me), encoding="utf-8")
    touch(root, digest)
    return path


def give(path: Path) -> None:
    """End a lease. Idempotent."""
    path.unlink(missing_ok=True)


def touch(root: Path, digest: str) -> None:
    """Note that the prefix is used now."""
    folder = _folder(root, digest)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "used").touch()


def last_used(root: Path, digest: str) -> float:
    """When it was used last (Unix seconds), 0.0 when never."""
    try:
        return (_folder(root, digest) / "used").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def users(root: Path, digest: str) -> list[int]:
    """Ids of the living processes that use the prefix, sorted. Leases of dead ones are taken away on the way."""
    folder = _folder(root, digest)
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name == "used":
            continue
        try:
            lease = json.loads(path.read_text(encoding="utf-8"))
            alive = _alive(int(lease["pid"]), float(lease["started"]), str(lease["host"]), path)
            who = int(lease["pid"])
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):
            alive, who = (False, 0)  # written half by a process that died over it: it uses nothing
        if alive:
            found.append(who)
        else:
            give(path)
    return sorted(found)


def _alive(pid: int, started: float, host: str, path: Path) -> bool:
    import psutil

    if host != platform.node():
        return time.time() - path.stat().st_mtime < _DAY
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def forget(root: Path, digest: str) -> None:
    """Take away what is known of a prefix that is gone."""
    folder = _folder(root, digest)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        path.unlink(missing_ok=True)
    if folder.is_dir():
        folder.rmdir()
