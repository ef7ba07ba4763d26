"""What a call may change of its process for the next one, and how it was.

Knows the working directory, the environment, the import path, the standard streams and the umask. Does not know calls.
"""

from __future__ import annotations

import os
import sys
from typing import Any


class Surroundings:
    """What a call may change for the next one, and how it was: put back after each call."""

    def __init__(self) -> None:
        self.cwd = os.getcwd()
        self.environ = os.environ
        self.variables = dict(os.environ)
        # os.environ decodes each item it hands out (10 us for 40 variables); its raw dict compares in under 1 us.
        self.raw = dict(getattr(os.environ, "_data", {}))
        self.path = sys.path
        self.paths = list(sys.path)
        self.streams = (sys.stdin, sys.stdout, sys.stderr)
        self.spares = [(number, os.dup(number), os.fstat(number).st_ino) for number in (1, 2)]
        self.mask = os.umask(0o022)
        os.umask(self.mask)

    def restore(self) -> None:
        try:
            moved = os.getcwd() != self.cwd
        except OSError:  # the node removed the folder it stood in
            moved = True
        if moved:
            os.chdir(self.cwd)
        os.environ = self.environ  # noqa: B003 (the node put another object in its place)
        if not self.raw or getattr(os.environ, "_data", None) != self.raw:
            for name in [name for name in os.environ if name not in self.variables]:
                del os.environ[name]
            for name, value in self.variables.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
        sys.path = self.path
        if sys.path != self.paths:
            sys.path[:] = self.paths
        os.umask(self.mask)
        for number, spare, inode in self.spares:
            try:
                if os.fstat(number).st_ino == inode:
                    continue
            except OSError:  # the node closed it
                pass
            os.dup2(spare, number)
        _, stdout, stderr = self.streams
        if stdout.closed or stderr.closed:
            stdout, stderr = stream_to(1, "strict"), stream_to(2, "backslashreplace")
            self.streams = (self.streams[0], stdout, stderr)
        sys.stdin, sys.stdout, sys.stderr = self.streams

    def close(self) -> None:
        """Let go of the spare descriptors."""
        for _, spare, _ in self.spares:
            os.close(spare)
        self.spares.clear()


def stream_to(number: int, errors: str) -> Any:
    """A text stream to a descriptor, line by line, which stays open when the stream is closed."""
    return open(number, "w", encoding="utf-8", errors=errors, buffering=1, closefd=False)
