"""xxh3-128 of files and of directories."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from xxhash import xxh3_128

# Small enough to stay in the processor's cache from the reading to the hashing: 4 MiB at once took a third longer. (A mapped
# file would be faster still, and end this process when somebody cuts it short meanwhile.)
_CHUNK: Final = 256 * 1024
DIRECTORY: Final = "directory-"  # how the digest of one begins


def file_digest(path: str | Path, told: os.stat_result | None = None) -> str:
    """The digest of a file's content, or of a directory: the names and contents of all that is under it, sorted.

    told: what stat said of it just now, if that was asked. Raises OSError (a missing file, no permission).
    """
    told = told or os.stat(path)
    if stat.S_ISDIR(told.st_mode):
        return directory_digest(Path(path), lambda entry: file_digest(os.path.join(path, entry)))
    if not stat.S_ISREG(told.st_mode):  # a pipe would be waited on for ever, a device has no end
        raise OSError(errno.EINVAL, "it is no file", str(path))
    state = xxh3_128()
    with open(path, "rb", buffering=0) as file:
        size = min(max(told.st_size + 1, 4096), _CHUNK)
        piece = memoryview(bytearray(size))
        while count := file.readinto(piece):
            state.update(piece[:count])
    return state.hexdigest()


def directory_digest(path: Path, digest: Callable[[str], str]) -> str:
    """The digest of a directory: no file has it, not one that holds the same listing either. digest: of a file in it, by its
    path there."""
    state = xxh3_128()
    for entry, other in sorted(_under(path).items()):
        state.update(f"{len(entry)} {entry} {other or digest(entry)}\n".encode("utf-8", "surrogateescape"))
    return f"{DIRECTORY}{state.hexdigest()}"


def _under(path: Path) -> dict[str, str]:
    """All that is under a directory, by /-separated paths relative to it: what else it is than a file, "" for a file. Links to
    directories are followed, each directory once."""
    found: dict[str, str] = {}
    seen: dict[tuple[int, int], str] = {}
    for folder, inner, names in os.walk(path, followlinks=True):
        told = os.stat(folder)
        here = Path(folder).relative_to(path)
        own = here.as_posix()
        first = seen.setdefault((told.st_dev, told.st_ino or -len(seen)), own)
        if first != own:
            found[own] = f"directory as {first}"
            inner.clear()
            continue
        found[own] = "directory"
        inner.sort()  # which of two ways to a directory comes first must not depend on the system
        for name in names:
            where = os.path.join(folder, name)
            if os.path.exists(where):
                found[(here / name).as_posix()] = ""
            elif os.path.islink(where):
                found[(here / name).as_posix()] = "link to nothing"
    return found
