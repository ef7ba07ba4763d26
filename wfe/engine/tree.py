"""Ending a process with all that it started, on every system.

Knows sessions and /proc (POSIX) and job objects (Windows). Does not know what the processes do. A worker leads a
session of its own, so a Ctrl-C in the terminal does not reach it, and carries a mark in its environment that its
descendants inherit: by it even a daemon that left the session and whose parents are gone is found (Linux).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

MARK = "WFE_WORKER"


class Tree:
    """A started process and its descendants. `mark`: the unique value of the variable MARK in its environment."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.process = process
        self.mark = mark
        self._lock = threading.Lock()
        self._job: Any = _job_of(process) if sys.platform == "win32" else None

    def kill(self) -> None:
        """Kill all of it and reap the process itself. Idempotent, callable from any thread."""
        with self._lock:
            self._kill()
            self.process.wait()

    def _kill(self) -> None:
        if sys.platform == "win32":
            if self._job is not None:
                self._job.close()
            self.process.kill()
        else:
            below: list[int] = []
            if self.process.returncode is None:
                # Not reaped yet, so its number, dead or alive, cannot have been given to a stranger.
                below = _below(self.process.pid)
                _signal_group(self.process.pid)
                self.process.kill()
            for pid in {*below, *self.strays()}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def strays(self) -> list[int]:
        """The processes that carry the mark (Linux), those still in the session (other POSIX)."""
        if sys.platform.startswith("linux"):
            return _marked(f"{MARK}={self.mark}".encode())
        import psutil

        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid:
                    found.append(process.pid)
            except OSError:
                continue
        return found


def _below(pid: int) -> list[int]:
    """The processes that come from a process, which is stopped so that none is added: those too that have a session of their
    own and none of its variables."""
    if sys.platform == "win32":
        return []
    import psutil

    try:
        os.kill(pid, signal.SIGSTOP)
        return [one.pid for one in psutil.Process(pid).children(recursive=True)]
    except (ProcessLookupError, psutil.Error):
        return []


def _signal_group(group: int) -> None:
    if sys.platform == "win32":
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: macOS, of a group of zombies
        os.killpg(group, signal.SIGKILL)


def _marked(mark: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            variables = (folder / "environ").read_bytes()
        except OSError:  # of another user, or gone
            continue
        if mark in variables.split(b"\0"):
            found.append(int(folder.name))
    return found


def _job_of(process: subprocess.Popen[bytes]) -> Any:
    """Put a process into a Windows job object that kills all its processes when its last handle closes.

    https://learn.microsoft.com/windows/win32/procthread/job-objects (JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE).
    """
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    class Basic(ctypes.Structure):
        _fields_ = [
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        ]

    class Extended(ctypes.Structure):
        _fields_ = [
            ("Basic", Basic),
            ("Io", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        ]

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    job = kernel.CreateJobObjectW(None, None)
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
    limits = Extended()
    limits.Basic.LimitFlags = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    information = 9  # JobObjectExtendedLimitInformation
    done = kernel.SetInformationJobObject(
        wintypes.HANDLE(job), information, ctypes.byref(limits), ctypes.sizeof(limits)
    ) and kernel.AssignProcessToJobObject(wintypes.HANDLE(job), wintypes.HANDLE(int(process._handle)))
    if not done:
        raise ctypes.WinError(ctypes.get_last_error())
    return _Handle(kernel, job)


class _Handle:
    """An open Windows handle; closed at most once."""

    def __init__(self, kernel: Any, handle: int) -> None:
        self._kernel = kernel
        self._handle: int | None = handle

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._kernel.CloseHandle(handle)
