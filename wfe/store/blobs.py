"""Content-addressed files: `blobs/ab/cdef...`, named by the xxh3-128 of their content, never changed once there.

Knows how a file gets in and out. Does not know what it means or who needs it. A blob is trusted as far as its stamp in
the state database goes; who finds it changed calls `drop`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import threading
from pathlib import Path

from wfe.store.hashing import file_digest
from wfe.store.stamp import Stamp, put_in_place


class Blobs:
    """The blobs under one directory.

    beneath: other blobs, which are read and never written; those that are new go under `root`.
    """

    def __init__(self, root: Path, beneath: Path | None = None) -> None:
        self.root = root
        self._base = f"{root}{os.sep}"
        self._beneath = "" if beneath is None else f"{beneath}{os.sep}"
        self._bad: set[str] = set()  # of those beneath

    def path(self, digest: str) -> str:
        if self._beneath and digest not in self._bad:
            found = f"{self._beneath}{digest[:2]}{os.sep}{digest[2:]}"
            if os.path.exists(found):
                return found
        return f"{self._base}{digest[:2]}{os.sep}{digest[2:]}"

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def intact(self, digest: str) -> bool:
        """Whether the blob is there and its content is what its name says (reads it all)."""
        try:
            return file_digest(self.path(digest)) == digest
        except OSError:
            return False

    def adopt(self, source: str, digest: str) -> str:
        """Move the file `source` (same file system) in; its content must have the digest. Returns the blob's path."""
        target = self.path(digest)
        if os.path.exists(target):
            # Somebody was faster, or it was made before. What is there may have been damaged since: ours is known good.
            if self.intact(digest):
                os.unlink(source)
                return target
            if self._beneath:
                self.drop(digest)
                target = self.path(digest)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _protect(source)
        os.replace(source, target)
        return target

    def add_copy(self, source: str, digest: str, staging: str) -> str:
        """Copy the file `source` in, by way of the path `staging` on the blobs' file system."""
        if not (self.has(digest) and self.intact(digest)):
            clone(source, staging)
            return self.adopt(staging, digest)
        return self.path(digest)

    def put(self, digest: str, target: str) -> Stamp:
        """Make `target` a file with the blob's content, atomically; its stamp. Raises FileNotFoundError for a blob that is
        not there."""
        part = f"{target}.{os.getpid()}-{threading.get_ident()}.part"
        try:
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            clone(self.path(digest), part)
            os.chmod(part, 0o666 & ~_UMASK)
            return put_in_place(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise

    def drop(self, digest: str) -> None:
        """Delete a blob (damaged, or not needed). A missing one is fine."""
        path = self.path(digest)
        if self._beneath and path.startswith(self._beneath):
            self._bad.add(digest)
            return
        try:
            if os.name == "nt":
                os.chmod(path, stat.S_IWRITE)
            os.unlink(path)
        except FileNotFoundError:
            return


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _mask()


def _protect(path: str) -> None:
    """Take write permission away, so that an editor opened by mistake says no."""
    with contextlib.suppress(OSError):
        os.chmod(path, 0o444)


def clone(source: str, target: str) -> None:
    """Copy a file, sharing its blocks where the file system can.

    No hard links: a program that edits the published file in place would then change the blob, and with it the results of
    every workflow that holds the same content.
    """
    if sys.platform == "linux":
        with open(source, "rb") as reader, open(target, "wb") as writer:
            try:
                import fcntl

                fcntl.ioctl(writer.fileno(), 0x40049409, reader.fileno())  # FICLONE, linux/fs.h
                return
            except OSError as error:
                if error.errno not in (
                    errno.EOPNOTSUPP,
                    errno.EXDEV,
                    errno.EINVAL,
                    errno.ENOTTY,
                    errno.ENOSYS,
                    errno.EPERM,
                ):
                    raise
    shutil.copyfile(source, target)
