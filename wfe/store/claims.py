"""Claims: who is making the result of an action key right now, among all processes that share a cache.

One byte of one file stands for a key, at an offset taken from its digest, locked while the result is being made. The
kernel lets go when the holder dies, however it dies; nothing is created or removed, so a claim costs two microseconds. (A
lock file for each key, as filelock makes it, costs 60.) Knows keys; does not know what is made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from wfe.errors import EnvironmentFailure

# POSIX locks belong to the process, and closing any descriptor of the file drops them all: one descriptor for each file,
# opened once and kept. Between threads of this process the set of names held is the lock.
_guard = threading.Lock()


class _File:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self.held: set[int] = set()
        self.change = threading.Condition()


_files: dict[str, _File] = {}


class Claims:
    """The claims of one cache directory. Raises EnvironmentFailure where the file system cannot lock."""

    def __init__(self, path: Path) -> None:
        with _guard:
            name = f"{os.getpid()}:{path}"
            if name not in _files:
                _files[name] = _File(path)
            self._file = _files[name]
        # Asked once, so that a file system without locks is told at the start and not in the middle of a run.
        if self._lock(0):
            self._unlock(0)

    @contextlib.contextmanager
    def hold(self, key: str, stopping: threading.Event, waiting: Callable[[], object]) -> Iterator[bool]:
        """Hold the claim of a key. Yields whether somebody else held it before (then the result is probably there now).

        waiting: called once when it has to be waited for. When `stopping` is set while waiting, the claim is not held;
        the caller looks at `stopping`.
        """
        offset = int(key[:15], 16) + 1  # 60 bits: a chance meeting of two keys would only make one wait for the other
        waited = False
        file = self._file
        with file.change:
            while offset in file.held and not stopping.is_set():
                if not waited:
                    waiting()
                waited = True
                file.change.wait(0.1)
            if stopping.is_set():
                yield waited
                return
            file.held.add(offset)
        try:
            pause = 0.001
            while not self._lock(offset) and not stopping.is_set():
                if not waited:
                    waiting()
                waited = True
                # A blocking lock cannot be given up when the user presses Ctrl-C, so it is asked for again and again.
                stopping.wait(pause)
                pause = min(pause * 1.5, 0.05)
            yield waited
        finally:
            self._unlock(offset)
            with file.change:
                file.held.discard(offset)
                file.change.notify_all()

    def _lock(self, offset: int) -> bool:
        try:
            if os.name == "nt":
                return self._lock_windows(offset)
            import fcntl

            fcntl.lockf(self._file.number, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return False
            raise EnvironmentFailure(
                f"the file system of the cache directory cannot lock files ({error.strerror})",
                "set WFE_CACHE to a directory on a local disk",
            ) from error
        return True

    def _unlock(self, offset: int) -> None:
        with contextlib.suppress(OSError):
            if os.name == "nt":
                self._unlock_windows(offset)
                return
            import fcntl

            fcntl.lockf(self._file.number, fcntl.LOCK_UN, 1, offset)

    def _lock_windows(self, offset: int) -> bool:
        import msvcrt

        with _guard:  # the position of the descriptor is shared
            os.lseek(self._file.number, offset, os.SEEK_SET)
            getattr(msvcrt, "locking")(self._file.number, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009 - not on POSIX
        return True

    def _unlock_windows(self, offset: int) -> None:
        import msvcrt

        with _guard:
            os.lseek(self._file.number, offset, os.SEEK_SET)
            getattr(msvcrt, "locking")(self._file.number, getattr(msvcrt, "LK_UNLCK"), 1)  # noqa: B009 - not on POSIX
