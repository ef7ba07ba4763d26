"""How a worker process ended, in words.

Knows exit codes and what stands at the end of a stderr. Does not know processes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import wfe

# Of those that a program gets by its own fault (SIGSEGV, SIGABRT ...), none.
_FROM_OUTSIDE: Final = frozenset(
    int(getattr(signal, name))
    for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU")
    if hasattr(signal, name)
)


def own_words(text: str) -> str:
    """The end of a worker's stderr without the frames of ours that faulthandler lists after a crash."""
    ours = f'  File "{Path(wfe.__file__).parent}{os.sep}'
    kept: list[str] = []
    for line in text.splitlines():
        if line.startswith((ours, "Extension modules:")):
            continue
        if not line.strip() and kept and kept[-1].startswith(("Thread 0x", "Current thread 0x")):
            kept.pop()  # a thread of ours alone
        elif line.strip():
            kept.append(line)
    return "\n".join(kept)


def ending(code: int | None) -> str:
    """How a process ended, in words: `killed by SIGSEGV (a crash in native code)`."""
    if code is None:
        return "still running"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        reasons = {
            "SIGSEGV": " (a crash in native code)",
            "SIGBUS": " (a crash in native code, or a mapped file that was cut short)",
            "SIGABRT": " (native code gave up)",
            "SIGKILL": " (by somebody, or by the system for want of memory)",
        }
        return f"killed by {name}{reasons.get(name, '')}"
    if code >= 0xC0000000:  # Windows: an NTSTATUS
        names = {0xC0000005: "access violation", 0xC00000FD: "stack overflow", 0xC0000017: "no memory"}
        return f"ended by {names.get(code, 'a fault')} (0x{code:08X})"
    return f"ended with exit code {code} (os._exit, or native code that exits)"


def slain(code: int | None) -> bool:
    """Whether a process was ended from outside: by a person, or by the system for want of memory or time."""
    return code is not None and -code in _FROM_OUTSIDE
