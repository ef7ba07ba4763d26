"""A text stream that may refuse characters or go away while a run goes on.

Knows encodings, closed pipes and closed streams. Does not know what is written. A run is not stopped because nobody
reads what it says: its results are the point, so a lost stream only ends the telling.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

# Windows says EINVAL where POSIX says EPIPE; a hung-up terminal says EIO.
_GONE = {errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN, errno.ECONNRESET, errno.EIO}


class Outlet:
    """Writes text to a stream at once (each text flushed), until the stream is gone; after that, writes nothing.

    stream: None stands for a process that was started without one (`>&-`). `error` is why the stream was given up when
    that was no reader's choice (a full disk): whoever ends the run should say so.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.error: OSError | None = None

    @property
    def open(self) -> bool:
        """Whether a text written now would reach the stream."""
        return self._stream is not None

    def write(self, text: str) -> None:
        """Write and flush `text`. What the encoding lacks becomes an escape (`\\u2014`). Raises nothing of I/O."""
        stream = self._stream
        if stream is None:
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
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
