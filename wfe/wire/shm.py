"""Blocks of shared memory: a file in a memory file system, mapped by the processes that share it.

    host                                            any other process, any Python from 3.10
    ----                                            ----
    pool = Pool()
    block = pool.take(6_000_000)
    block.put(image)          # flag READY
    ... tell it block.path ...                      block = Block.attach(path)
                                                    block.wait(Flag.READY, timeout=5)
                                                    image = block.get()   # read-only view, no copy
                                                    block.flag = Flag.DONE
    block.wait(Flag.DONE, timeout=5)
    pool.give_back([block])   # kept for the next one: a new block costs forty times a copy into an old one
    pool.close()              # the files go

A block is an 8-byte header and data. Header, little-endian: 4 bytes flag (Flag), 4 bytes generation, raised by one at
each `put`, so a reader that was told a generation notices a block that was filled anew. Data: 4 bytes length of a
description, the description (JSON: kind "array" | "dict" | "pickle", and what it takes to read it), and from the next
multiple of 64 bytes on the value itself.

The files are mapped by name, not made by multiprocessing.shared_memory: its resource tracker unlinks blocks that are
still in use when any process that attached to them ends (CPython issue 82300; `track=False` is there only from 3.13
on), and a name that lives in a folder can be found again by the reaper. The host owns the life of its files: its
folder holds a lock file that the system unlocks when the host dies, in whatever way, and the next host removes folders
whose lock is free. Memory that is still mapped somewhere stays valid after its file is gone.

Knows files and mappings. Does not know who talks to whom: a wait here polls (50 us, growing to 2 ms, so it burns no
core); processes that have a pipe signal over it, which is twenty times faster than polling flags.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from wfe.wire.home import PREFIX, Home, memory, reap

__all__ = ["PREFIX", "Block", "Flag", "Pool", "Stale", "reap", "room"]

HEADER = struct.Struct("<II")
WORD = struct.Struct("<I")
ALIGNED = 64
SMALLEST = 64 * 1024


class Flag(IntEnum):
    """Who may touch the data of a block."""

    EMPTY = 0  # nothing in it; the host's
    READY = 1  # filled; for a reader to take
    PROCESSING = 2  # a reader works with it
    DONE = 3  # the reader has finished; the host's again
    ERROR = 4  # the reader gave up; the host's again


class Stale(Exception):
    """The block holds another generation than the reader was told of."""


class Block:
    """One mapped file. Made by `Pool.take` or `Block.create`, found by `Block.attach`."""

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self.mapping = mapping

    @classmethod
    def create(cls, path: Path, size: int) -> Block:
        """Make the file `path` with room for `size` bytes of data. Raises OSError (ENOSPC) without the memory."""
        whole = HEADER.size + size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                # A sparse file would be a SIGBUS at the first write when the memory file system is full (64 MB in many
                # containers); this is an error here.
                os.posix_fallocate(descriptor, 0, whole)
            else:
                os.ftruncate(descriptor, whole)
            return cls(path, _map(descriptor, whole))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def attach(cls, path: Path | str) -> Block:
        """Map the block at `path`. Raises FileNotFoundError, or ValueError when the file is no block."""
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            size = os.fstat(descriptor).st_size
            if size < HEADER.size:
                raise ValueError(f"{path}: a file of {size} bytes is no block of shared memory")
            return cls(Path(path), _map(descriptor, size))
        finally:
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Bytes of data that it has room for."""
        return len(self.mapping) - HEADER.size

    @property
    def flag(self) -> Flag:
        return Flag(HEADER.unpack_from(self.mapping)[0])

    @flag.setter
    def flag(self, flag: Flag) -> None:
        WORD.pack_into(self.mapping, 0, flag)

    @property
    def generation(self) -> int:
        """How often it has been filled, modulo 2**32."""
        return int(HEADER.unpack_from(self.mapping)[1])

    def wait(self, flag: Flag, timeout: float) -> None:
        """Wait until the flag is `flag`. Raises TimeoutError after `timeout` seconds, RuntimeError when it is ERROR."""
        end = monotonic() + timeout
        pause = 50e-6
        while (now := self.flag) != flag:
            if now is Flag.ERROR:
                raise RuntimeError(f"{self.path.name}: the other side gave up")
            rest = end - monotonic()
            if rest <= 0:
                raise TimeoutError(f"{self.path.name}: still {now.name} and not {flag.name} after {timeout:g} s")
            sleep(min(pause, rest))
            pause = min(pause * 2, 2e-3)

    # -- values

    def put(self, value: Any, *, pickles: bool = False) -> None:
        """Fill it with a NumPy array (any dtype without objects, any shape, any strides), a dict of JSON values, or,
        with `pickles`, anything that pickle takes. Ends with the flag READY. Raises ValueError when it is too small,
        TypeError.
        """
        self.store(*describe(value, pickles))

    def store(self, head: bytes, payload: Any) -> None:
        """Fill it with a value that `describe` took apart. Raises ValueError when it is too small."""
        start = _start(head)
        nbytes = _size(payload)
        if start + nbytes > self.size:
            raise ValueError(f"{self.path.name}: {start + nbytes} bytes do not fit into {self.size}")
        origin = HEADER.size
        WORD.pack_into(self.mapping, origin, len(head))
        self.mapping[origin + 4 : origin + 4 + len(head)] = head
        if isinstance(payload, bytes):
            self.mapping[origin + start : origin + start + nbytes] = payload
        elif nbytes:
            numpy = sys.modules["numpy"]
            numpy.copyto(
                _array_over(numpy, self.mapping, origin + start, payload.dtype, payload.shape, _order(payload)), payload
            )
        HEADER.pack_into(self.mapping, 0, Flag.READY, (self.generation + 1) % 2**32)

    def get(self, *, generation: int | None = None, pickles: bool = False) -> Any:
        """What is in it. An array is a read-only view of the block, which stays mapped as long as the view lives.

        Raises Stale when the block is not of `generation`, ValueError when it is empty, damaged or holds a pickle that
        `pickles` does not allow: reading one runs code.
        """
        if generation is not None and self.generation != generation:
            raise Stale(f"{self.path.name}: generation {self.generation}, not {generation}")
        origin = HEADER.size
        if self.flag is Flag.EMPTY:
            raise ValueError(f"{self.path.name}: the block is empty")
        length = WORD.unpack_from(self.mapping, origin)[0]
        head = self.mapping[origin + 4 : origin + 4 + length]
        try:
            about = json.loads(head)
            kind = about["kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path.name}: no description of a value in the block") from error
        start = origin + _start(head)
        if kind == "array":
            import numpy

            dtype = numpy.lib.format.descr_to_dtype(_tuples(about["dtype"]))
            array = _array_over(numpy, self.mapping, start, dtype, tuple(about["shape"]), about["order"])
            array.flags.writeable = False
            return array
        payload = self.mapping[start : start + about["bytes"]]
        if kind == "dict":
            return json.loads(payload)
        if not pickles:
            raise ValueError(f"{self.path.name}: a pickle; pass pickles=True to read it (it can run any code)")
        import pickle

        return pickle.loads(payload)

    def ticket(self) -> str:
        """What another process needs to read it: `path#generation`."""
        return f"{self.path}#{self.generation}"

    def close(self) -> None:
        """Unmap it; as long as a view of it lives, the mapping stays with the view."""
        with suppress(BufferError):  # a view is alive and keeps the mapping; it goes with the last one
            self.mapping.close()

    def unlink(self) -> None:
        """Remove its file. Idempotent. Windows keeps the file until nobody maps it."""
        with suppress(PermissionError):  # Windows: mapped somewhere; the reaper removes it later
            self.path.unlink(missing_ok=True)


def _map(descriptor: int, size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(descriptor, size)
    # Filling the page tables at once is a third of the price of one fault a page.
    return mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))


def _start(head: bytes) -> int:
    """Offset of the value within the data, so that it lies on a multiple of 64 bytes from the file's start."""
    return -(-(HEADER.size + 4 + len(head)) // ALIGNED) * ALIGNED - HEADER.size


def _order(array: Any) -> str:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _array_over(numpy: Any, mapping: mmap.mmap, offset: int, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    # numpy.ndarray(buffer=mapping) would hold the mapping by a plain reference, so that mmap.close unmaps what the
    # array still reads; numpy.frombuffer exports it. All views of the array have this one as their base (see
    # `anchor`).
    whole = numpy.frombuffer(mapping, dtype=numpy.uint8)
    return numpy.ndarray(shape, dtype, buffer=whole, offset=offset, order=order)


def anchor(array: Any) -> Any:
    """The object that lives as long as any view of an array that `Block.get` returned."""
    return array.base


def _tuples(descr: Any) -> Any:
    """JSON made lists of the tuples of a structured dtype's description."""
    if isinstance(descr, list):
        return [
            tuple(
                _tuples(part) if i == 1 else (tuple(part) if isinstance(part, list) else part)
                for i, part in enumerate(field)
            )
            for field in descr
        ]
    return descr


def describe(value: Any, pickles: bool) -> tuple[bytes, Any]:
    """A value as its description and what is to be copied: an array or bytes. Raises TypeError."""
    numpy = sys.modules.get("numpy")
    about: dict[str, Any]
    payload: Any
    if numpy is not None and isinstance(value, numpy.ndarray):
        from wfe.wire.codecs import refusal

        why = refusal(value)
        if why:
            raise TypeError(f"cannot share {why}")
        payload = numpy.asarray(value)
        about = {
            "kind": "array",
            "dtype": numpy.lib.format.dtype_to_descr(value.dtype),
            "shape": value.shape,
            "order": _order(value),
        }
    elif isinstance(value, dict):
        payload = json.dumps(value).encode()
        about = {"kind": "dict", "bytes": len(payload)}
    elif pickles:
        import pickle

        payload = pickle.dumps(value, protocol=5)
        about = {"kind": "pickle", "bytes": len(payload)}
    else:
        raise TypeError(f"cannot share a {type(value).__name__}: an array, a dict, or anything with pickles=True")
    return json.dumps(about).encode(), payload


def _size(payload: Any) -> int:
    return len(payload) if isinstance(payload, bytes) else int(payload.nbytes)


def needed(head: bytes, payload: Any) -> int:
    """Bytes of data that a block needs for a described value."""
    return _start(head) + _size(payload)


def room(value: Any, *, pickles: bool = False) -> int:
    """Bytes of data that a block needs to hold `value`."""
    head, payload = describe(value, pickles)
    return needed(head, payload)


def rounded(size: int) -> int:
    """`size` rounded up by at most an eighth, so that blocks fit values of about their size again."""
    if size <= SMALLEST:
        return SMALLEST - HEADER.size
    step = 1 << max((size - 1).bit_length() - 4, 12)
    return -(-(size + HEADER.size) // step) * step - HEADER.size


# -- the host's side


class Pool:
    """The blocks of one host: a folder of files, kept and used again, removed by `close` or after the host's death.

    folder: where the pool's own folder is made; default: the memory file system (Linux) or the temporary folder.
    spare: bytes of unused blocks that are kept. Thread-safe.
    """

    def __init__(self, folder: Path | None = None, spare: int = 1 << 30) -> None:
        import threading
        from collections import deque

        self.spare = spare
        parent = folder or memory()
        reap(parent)
        self._home = Home(parent)
        self.folder = self._home.folder
        # For what the memory file system has no room for (64 MB in many containers).
        disk = Path(tempfile.gettempdir())
        reap(disk)
        self._disk = self._home if disk == parent else Home(disk)
        self.folders = (self.folder, self._disk.folder)
        self._known: set[str] = set()  # names of the files that belong to blocks of ours
        self._lock = threading.Lock()
        self._free: list[Block] = []  # least recently used first
        # What a garbage collection gives back, which may happen in a thread that holds the lock: appending needs none.
        self._dropped: deque[Block] = deque()
        self._count = 0
        self._closed = False

    def take(self, size: int) -> Block:
        """A block with room for at least `size` bytes, an old one if one fits. Raises OSError without memory."""
        with self._lock:
            self._sweep()
            fit = [block for block in self._free if size <= block.size <= max(4 * size, SMALLEST)]
            if fit:
                best = min(fit, key=lambda block: block.size)
                self._free.remove(best)
                return best
            self._count += 1
            name = f"{self._count}"
            self._known.add(name)
        return create(self.folders, name, size)

    def fill(self, value: Any, *, pickles: bool = False) -> Block:
        """A block that holds `value`, as of Block.put."""
        head, payload = describe(value, pickles)
        block = self.take(needed(head, payload))
        block.store(head, payload)
        return block

    def offer(self, count: int = 4) -> list[Block]:
        """Up to `count` unused blocks, used last first, for another process to fill."""
        with self._lock:
            self._sweep()
            offered = [self._free.pop() for _ in range(min(count, len(self._free)))]
        for block in offered:
            block.flag = Flag.EMPTY
        return offered

    def collect(self, ticket: str, lent: list[Block]) -> Any:
        """The array that another process put into a block of `lent` (which is taken out) or of its own making.

        It is read-only and not copied; its block is used again when the array and all views of it are gone.
        """
        import weakref

        path, _, generation = ticket.rpartition("#")
        block = next((block for block in lent if str(block.path) == path), None)
        if block is None:
            block = Block.attach(path)
            with self._lock:
                self._known.add(block.path.name)
        else:
            lent.remove(block)
        array = block.get(generation=int(generation))
        weakref.finalize(anchor(array), self._dropped.append, block).atexit = False
        return array

    def give_back(self, blocks: Sequence[Block]) -> None:
        """Take blocks back that nobody uses any more."""
        with self._lock:
            self._free.extend(blocks)
            self._sweep()

    def forget(self, blocks: Sequence[Block]) -> None:
        """Remove blocks that somebody still reads: their memory goes when the reader lets go of it."""
        for block in blocks:
            self._drop(block)

    def _drop(self, block: Block) -> None:
        self._known.discard(block.path.name)
        block.unlink()
        block.close()

    def bury(self, maker: int) -> None:
        """Remove what the dead process `maker` (its number) made and never handed over."""
        with self._lock:
            for folder in self.folders:
                for path in folder.glob(f"w{maker}-*"):
                    if path.name not in self._known:
                        path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        while self._dropped:
            self._free.append(self._dropped.popleft())
        total = sum(block.size for block in self._free)
        while self._free and (self._closed or total > self.spare):
            block = self._free.pop(0)
            total -= block.size
            self._drop(block)

    def close(self) -> None:
        """Remove all files. Arrays that were collected stay valid. Idempotent."""
        with self._lock:
            self._closed = True
            self._sweep()
        self._home.close()
        self._disk.close()


def create(folders: Sequence[Path | str], name: str, size: int) -> Block:
    """A new block of about `size` bytes in the first of the folders whose file system has room for it.

    Raises OSError when none has.
    """
    for folder in folders[:-1]:
        try:
            return Block.create(Path(folder, name), rounded(size))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG}:
                raise
    return Block.create(Path(folders[-1], name), rounded(size))
