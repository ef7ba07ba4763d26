"""What a Ctrl-C that raises KeyboardInterrupt leaves behind in the interpreter, and how going on is made safe.

Knows one thing about CPython: each import takes a lock of the interpreter by a call, and an interrupt that is raised just
after that call, before the `try` that gives the lock back, leaves it held. The thread that was interrupted does not notice;
every other thread waits at its next import for ever (seen with the thread that draws the live display).
"""

from __future__ import annotations

import _imp


def settle() -> None:
    """Give back the import lock where an interrupt left it with this thread. Call it when no import is going on here."""
    while _imp.lock_held():
        try:
            _imp.release_lock()
        except RuntimeError:  # another thread holds it, which is importing
            return
