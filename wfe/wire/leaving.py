"""The end of a process of ours: as the interpreter ends, but without taking every module and object down.

That takes 20 ms, with large packages ten times that, and a third of a second after 10,000 steps; somebody waits for it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def leave(code: int) -> None:
    """Wait for the threads that are no daemons, do what was registered for the end, flush, and end with this exit code."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    if "atexit" in sys.modules:
        sys.modules["atexit"]._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError, AttributeError):
            stream.flush()
    os._exit(code)
