"""A text stream that may refuse characters or go away while a run goes on.

Knows encodings, closed pipes and closed streams. Does not know what is written. A run is not stopped because nobody
reads what it says: its results are the point, so a lost stream only ends the telling.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

# Windows says EINVAL where POSIX says EPIPE; a hung-up terminal says EIO.
_GONE = {errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN, errno.ECONNRESET, errno.EIO}


LAG: Final = 0.1
"""Seconds for which a text may wait for those that follow it. A reader that is woken for each of 2,000 lines a second takes
a fifth of the time of a run of trivial steps."""


def _on_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


class Outlet:
    """Writes text to a stream until the stream is gone; after that, writes nothing. Thread-safe.

    stream: None stands for a process that was started without one (`>&-`). `error` is why the stream was given up when
    that was no reader's choice (a full disk): whoever ends the run should say so.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = _on_terminal(stream)
        self.error: OSError | None = None
        self._lock = threading.RLock()
        self._flushed = 0.0  # when, monotonic seconds
        self._timer: threading.Timer | None = None

    @property
    def open(self) -> bool:
        """Whether a text written now would reach the stream."""
        return self._stream is not None

    def write(self, text: str, soon: bool = False) -> None:
        """Write `text`. What the encoding lacks becomes an escape (`\\u2014`). Raises nothing of I/O.

        It reaches the reader at once; with `soon`, where another one did just now and the stream is no terminal, within
        LAG seconds.
        """
        with self._lock:
            self._guarded(self._write, text)
            if soon and time.monotonic() - self._flushed < LAG and not self._terminal:
                self._flush_later()
            else:
                self.flush()

    def flush(self) -> None:
        """Hand all that was written to the reader. Raises nothing of I/O."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._flushed = time.monotonic()
            self._guarded(lambda stream: stream.flush())

    def _flush_later(self) -> None:
        if self._timer is None:
            # No daemon: one that still writes when the interpreter goes down crashes it.
            self._timer = threading.Timer(LAG, self.flush)
            self._timer.start()

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _guarded(self, act: Callable[..., object], *given: str) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            act(stream, *given)
        except OSError as error:
            self._lose(stream, error)
        except ValueError:
            # "I/O operation on closed file"; asked before each write instead, the check would cost every event.
            if not stream.closed:
                raise
            self._stream = None

    def _lose(self, stream: TextIO, error: OSError) -> None:
        self._stream = None
        if error.errno not in _GONE:
            self.error = error
            return
        if stream is sys.stdout or stream is sys.stderr:
            # What is left in the buffer would fail again when the interpreter flushes it at exit ("Exception ignored",
            # exit code 120); the Python documentation's note on SIGPIPE gives this remedy.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, stream.fileno())
            finally:
                os.close(nowhere)
