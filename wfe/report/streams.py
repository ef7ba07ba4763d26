"""stdin, stdout and stderr as the verbs find them: always there, stdout taking any text and remembering that it was lost;
and a stdout that others hold already, which loses its reader without a word.

Knows the streams of the process. Does not know verbs, commands nor exit codes.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


class Stdout(io.FileIO):
    """The file that stdout writes to. lost: why it could not be written, where that was no reader's choice. Kept here, since
    who writes may go on without a word, as a run does, and without a buffer nothing is left that would fail again.
    """

    lost: ClassVar[OSError | None] = None

    def write(self, data: ReadableBuffer, /) -> int:
        """As in FileIO. Raises OSError."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            Stdout.lost = error
            raise


def prepare() -> None:
    """Make the streams ready for a verb. Idempotent."""
    out = sys.stdout
    # Not where a test or a notebook put something else there, nor a Windows console, which takes text, not bytes.
    if isinstance(out, io.TextIOWrapper) and type(getattr(out.buffer, "raw", out.buffer)) is io.FileIO:
        out.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(Stdout(out.fileno(), "wb", closefd=False)),
            encoding=out.encoding,
            errors="backslashreplace",  # a node may give half a character; in JSON the escape means the same
            line_buffering=out.line_buffering or out.write_through,
        )
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            # Closed by whoever began the process (`>&-`). The lowest free number is just the stream's own, which else some
            # file of ours would get, and a child would write into that.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process lives


def silence() -> None:
    """Let what stdout still holds go nowhere."""
    # The interpreter flushes stdout once more at exit and would complain; the note on SIGPIPE in Python's documentation
    # gives this remedy.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def heedless() -> None:
    """Let whoever writes to stdout go on when its reader has gone away, or when there is no room for it, which is told and kept
    in `Stdout.lost`. For a program that would show a traceback, and that has put stdout aside before it can be replaced, as
    doit's commands do."""
    for name in ("write", "flush") if sys.stdout is not None else ():
        setattr(sys.stdout, name, _going_on(getattr(sys.stdout, name)))


def _going_on(act: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        try:
            return act(*given)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                Stdout.lost = error
                if sys.stderr is not None:
                    sys.stderr.write(f"stdout cannot be written: {error.strerror}\n")
            silence()
            return act(*given)

    return call
