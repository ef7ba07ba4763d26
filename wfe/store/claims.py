"""Claims: who is making the result of an action key right now, among all processes that share a cache.

One byte of one file stands for a key, at an offset taken from its digest, locked while the result is being made. The
kernel lets go when the holder dies, however it dies; nothing is created or removed, so a claim costs two microseconds. (A
lock file for each key, as filelock makes it, costs 60.) The size of the file counts the runs that have come: as long as it
is the same, nobody else makes anything. Knows keys; does not know what is made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from wfe.errors import EnvironmentFailure

# POSIX locks belong to the process, and closing any descriptor of the file drops them all: one descriptor for each file,
# opened once and kept. Between threads of this process the set of names held is the lock.
_guard = threading.Lock()

PATIENCE: Final = 0.5  # seconds of waiting that nobody need be told of
LONGEST_PAUSE: Final = 0.05  # seconds between two questions whether a claim is free
_TURN: Final = 10.0  # seconds that a turn takes at the most
_SEAT: Final = 1 << 61  # beyond every key
_SEATS: Final = 64
_MANY: Final = 8


class _File:
    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise EnvironmentFailure(
                f"{path} cannot be opened: {error.strerror or error}",
                "remove it, or set WFE_CACHE to another directory",
            ) from error
        self.held: set[int] = set()
        self.change = threading.Lock()

    def stands_at(self, path: Path) -> bool:
        """Whether it was not removed meanwhile, with the whole cache perhaps: others lock the file that is there."""
        try:
            return os.path.samestat(os.fstat(self.number), os.stat(path))
        except OSError:
            return False


_files: dict[str, _File] = {}


class Claims:
    """The claims of one cache directory. Raises EnvironmentFailure where the file cannot be opened, or not
    be locked."""

    def __init__(self, path: Path) -> None:
        with _guard:
            name = f"{os.getpid()}:{path}"
            known = _files.get(name)
            if known is None or not known.stands_at(path):
                known = _files[name] = _File(path)
            self._file = known
        self._path = path
        # Asked once, so that a file system without locks is told at the start and not in the middle of a run.
        if self._lock(0):
            self._unlock(0)

    def hold(self, key: str) -> Claim:
        """The claim of a key. Entered, it is held if nobody else does, and gives whether it is; never waits."""
        # 60 bits: a chance meeting of two keys would only make one wait for the other.
        return Claim(self, int(key[:15], 16) + 1)

    def wait(
        self, keys: Sequence[str], stopping: threading.Event, seconds: float, waiting: Callable[[], object]
    ) -> str:
        """Wait until nobody holds the claim of one of the keys: that one. It is not held then. Any of them when `stopping`
        is set meanwhile, "" when the seconds are over.

        waiting: called once when it takes long enough for somebody to wonder.
        """
        begin, told, pause = monotonic(), False, 0.001
        while not stopping.is_set():
            for key in keys:
                with self.hold(key) as mine:
                    if mine:
                        return key
            if not told and monotonic() - begin > PATIENCE:
                waiting()
                told = True
            # The kernel's own waiting cannot be given up when the user presses Ctrl-C, so it is asked again and again.
            left = begin + seconds - monotonic()
            if left <= 0:
                return ""
            stopping.wait(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return keys[0]

    @contextlib.contextmanager
    def seat(self) -> Iterator[int]:
        """While open, this is one of the live runs of the cache: 0 for the first of them, then 1 ... (the last number is
        shared by all that come after)."""
        with contextlib.ExitStack() as stack:
            for number in range(_SEATS):
                if stack.enter_context(Claim(self, _SEAT + number)):
                    break
            yield number

    @contextlib.contextmanager
    def turn(self, offset: int) -> Iterator[None]:
        """While open, a byte is locked that nobody holds for longer than moments: waits for it. Raises EnvironmentFailure when
        that takes too long, since its holder was stopped perhaps."""
        end = monotonic() + _TURN
        while not self.take(offset):
            if monotonic() > end:
                raise EnvironmentFailure(f"another process has held {self._path} for {_TURN:g} s", "end it")
            sleep(0.001)
        try:
            yield
        finally:
            self.give(offset)

    def take(self, offset: int) -> bool:
        """Lock a byte, if nobody else has it, in this process or another; whether it was free."""
        file = self._file
        with file.change:
            if offset in file.held:
                return False
            file.held.add(offset)
        mine = False
        try:
            mine = self._lock(offset)
        finally:
            if not mine:
                with file.change:
                    file.held.discard(offset)
        return mine

    def give(self, *offsets: int) -> None:
        """Unlock bytes that were taken: of many at once all that lie between those that are still held."""
        file = self._file
        with file.change:
            file.held.difference_update(offsets)
            if len(offsets) < _MANY or os.name == "nt":
                for offset in offsets:
                    self._unlock(offset)
                return
            at, end = min(offsets), max(offsets) + 1
            for held in (*sorted(one for one in file.held if at < one < end), end):
                self._unlock(at, held - at)
                at = held + 1

    def arrive(self) -> int:
        """Tell all who share the cache that another run is going to make results; how many were told of until now. One at a
        time, for whoever has a turn."""
        os.ftruncate(self._file.number, self.arrived() + 1)
        return self.arrived()

    def arrived(self) -> int:
        """How many runs were told of."""
        return os.fstat(self._file.number).st_size

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

    def _unlock(self, offset: int, count: int = 1) -> None:
        with contextlib.suppress(OSError):
            if os.name == "nt":
                self._unlock_windows(offset)
                return
            import fcntl

            fcntl.lockf(self._file.number, fcntl.LOCK_UN, count, offset)

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


class Claim:
    """A byte that may be locked; as a context manager, for the time of a block. No generator: a claim is taken for every step,
    and they take 8 us more."""

    __slots__ = ("_claims", "_mine", "_offset")

    def __init__(self, claims: Claims, offset: int) -> None:
        self._claims = claims
        self._offset = offset
        self._mine = False

    def take(self) -> bool:
        """Lock it, if nobody else has it; whether it is held now."""
        self._mine = self._claims.take(self._offset)
        return self._mine

    def give(self) -> None:
        """Unlock it, if it is held."""
        if self._mine:
            self._claims.give(self.leave())

    def leave(self) -> int:
        """The byte that is held, which is for somebody else to give now."""
        self._mine = False
        return self._offset

    def __enter__(self) -> bool:
        return self.take()

    def __exit__(self, *_: object) -> None:
        self.give()
