"""The staging directory of untrusted code: looked at, bounded while the code runs, and emptied.

What the kernel bounds is each file, not their sum, and each process, not its threads. Knows files and threads; does not
know nodes or what is done with the files. Everything here expects a tree that was made to harm whoever walks it: links,
pipes, directories without rights, ten thousand of them inside each other. Nothing is followed, and no walk recurses.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_EVERY = 0.25  # seconds between two looks; a full disk takes longer, a short trial is over before the first


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of everything in a staging directory: bytes on the disk, files and directories, levels. threads: of the process."""

    size: int = 8 << 30
    entries: int = 20_000
    depth: int = 32
    threads: int = 512


def excess(staging: Path, bounds: Bounds) -> str:
    """What in a staging directory is beyond its bounds, as an error's text; empty when nothing is."""
    return _walk(staging, bounds, plain=False)


def odd_file(staging: Path, bounds: Bounds | None = None) -> str:
    """What in a staging directory an unapproved node may not leave, as an error's text; empty when all is well.

    Left may be directories and plain files with one name: through a second one, a file could be changed after it has
    become a result. Nobody may be writing there any more.
    """
    return _walk(staging, bounds or Bounds(), plain=True)


def _walk(staging: Path, bounds: Bounds, plain: bool) -> str:
    size = entries = 0
    todo = [(str(staging), 0)]
    while todo:
        folder, depth = todo.pop()
        if depth > bounds.depth:
            return f"it left directories nested more than {bounds.depth} levels deep"
        try:
            found = list(os.scandir(folder))
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            return f"it left {_name(folder, staging)}, which cannot be looked into: {error.strerror}"
        entries += len(found)
        if entries > bounds.entries:
            return f"it left more than {bounds.entries:,} files"
        for one in found:
            with suppress(FileNotFoundError):
                told = one.stat(follow_symlinks=False)
                size += told.st_blocks * 512
                if size > bounds.size:
                    return f"it left more than {bounds.size >> 20:,} MB of files"
                if stat.S_ISDIR(told.st_mode):
                    todo.append((one.path, depth + 1))
                elif plain and not (stat.S_ISREG(told.st_mode) and told.st_nlink == 1):
                    what = "a file with one name" if stat.S_ISREG(told.st_mode) else "a plain file"
                    name = _name(one.path, staging)
                    return f"it left {name}, which is not {what}; a node that is not approved leaves only those"
    return ""


def _name(path: str, staging: Path) -> str:
    return repr(os.path.relpath(path, staging))


@contextmanager
def watched(pid: int, staging: Path, bounds: Bounds, stop: Callable[[], object]) -> Iterator[list[str]]:
    """While open, look at the files and threads of the process `pid`; call `stop` when they are beyond their bounds.

    Yields a list that then holds why.
    """
    why: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_EVERY):
            found = excess(staging, bounds) or _threads(pid, bounds.threads)
            if found:
                why.append(found)
                stop()
                return

    watcher = threading.Thread(target=look, name="watch of a sandbox", daemon=True)
    watcher.start()
    try:
        yield why
    finally:
        over.set()
        watcher.join()


def _threads(pid: int, most: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        count = sum(one.num_threads() for one in (process, *process.children(recursive=True)))
    except psutil.Error:  # ended meanwhile
        return ""
    return f"it has more than {most} threads" if count > most else ""


def clear(folder: Path) -> None:
    """Remove all that is in `folder`, however deep and of whatever rights. Nobody may be writing there any more.

    shutil.rmtree recurses: a thousand directories inside each other end it with a RecursionError. Here each directory's
    own directories are moved up before it is removed.
    """
    mark, number = uuid4().hex, 0
    while found := list(os.scandir(folder)):
        for one in found:
            if not one.is_dir(follow_symlinks=False):
                os.unlink(one.path)
                continue
            os.chmod(one.path, 0o700)
            for inner in list(os.scandir(one.path)):
                if inner.is_dir(follow_symlinks=False):
                    number += 1
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, folder / f"{mark}-{number}")
                else:
                    os.unlink(inner.path)
            os.rmdir(one.path)
