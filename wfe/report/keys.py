"""Single keys typed at the terminal while a live display is shown.

Knows how a terminal is told to hand over keys as they come, and how it is put back. Does not know what a key means.

Only echo and line editing are turned off: Ctrl-C, Ctrl-\\ and Ctrl-Z stay signals. The mode is put back by `close`, which
is also called at the interpreter's exit; after a kill that leaves no time for that, a shell puts back its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO

_AGAIN: Final = (
    0.2  # seconds between two looks whether the process is in the foreground, or (Windows) a key was pressed
)


class Keys:
    """Calls `pressed(key)` from a thread of its own for each key typed at the terminal `stream`. After `begin`.

    On a stream that is no terminal nothing is done.
    """

    def __init__(self, stream: TextIO | None, pressed: Callable[[str], object]) -> None:
        self._stream = stream
        self._pressed = pressed
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._before: list[Any] | None = None
        self._wake: tuple[int, int] | None = None
        self._closing = threading.Lock()

    @property
    def listening(self) -> bool:
        """Whether keys are heard."""
        return self._thread is not None

    def begin(self) -> None:
        """Have keys handed over from now on, if the stream is a terminal whose foreground belongs to this process."""
        if self._thread is not None or self._stream is None or self._stream.closed or not self._stream.isatty():
            return
        self._ended.clear()
        if os.name == "nt":
            target = self._read_console
        else:
            number = self._stream.fileno()
            if not _foreground(number) or not self._take(number):
                return
            self._wake = os.pipe()
            target = self._read
        atexit.register(self.close)
        self._thread = threading.Thread(target=target, name="wfe-keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Put the terminal back as it was. Idempotent, callable from any thread."""
        with self._closing:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            atexit.unregister(self.close)
            self._ended.set()
            if self._wake is not None:
                os.write(self._wake[1], b"x")
            if thread is not threading.current_thread():
                thread.join()
            if self._wake is not None:
                for number in self._wake:
                    os.close(number)
                self._wake = None
            self._give_back()

    # --- POSIX

    def _take(self, number: int) -> bool:
        import termios

        try:
            before = termios.tcgetattr(number)
            mode = termios.tcgetattr(number)
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(number, termios.TCSANOW, mode)
        except termios.error:
            return False
        self._before = before
        return True

    def _give_back(self) -> None:
        before, self._before = self._before, None
        if before is None or self._stream is None:
            return
        import termios

        # In the background the attempt itself would stop the process; the shell has its own mode in force there.
        with contextlib.suppress(termios.error, OSError, ValueError):
            if _foreground(self._stream.fileno()):
                termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, before)

    def _read(self) -> None:
        import select

        assert self._stream is not None and self._wake is not None
        number, wake = self._stream.fileno(), self._wake[0]
        while not self._ended.is_set():
            if not _foreground(number):  # to read there would stop the process
                select.select([wake], [], [], _AGAIN)
                continue
            ready, _, _ = select.select([number, wake], [], [])
            if number not in ready or not _foreground(number):
                continue
            try:
                typed = os.read(number, 64)
            except OSError:
                return  # the terminal hung up
            if not typed:
                return
            for key in typed.decode("utf-8", "ignore"):
                self._pressed(key)

    # --- Windows

    def _read_console(self) -> None:
        if sys.platform == "win32":
            import msvcrt

            while not self._ended.wait(_AGAIN):
                while msvcrt.kbhit():
                    self._pressed(msvcrt.getwch())


def _foreground(number: int) -> bool:
    """Whether this process may use the terminal: it is not its controlling one, or this process is in front."""
    try:
        return os.tcgetpgrp(number) == os.getpgrp()
    except OSError:
        return True
