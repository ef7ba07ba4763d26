"""How many processors there are for this process. Knows what the system tells; does not know what they are for."""

from __future__ import annotations

import os


def processors() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
