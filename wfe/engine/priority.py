"""Which of several steps goes first: the longest way to an end, by how long its steps took when they last ran.

Knows a plan's edges and recorded durations. Does not know who waits for a place.
"""

from __future__ import annotations

import threading
from typing import Final

from wfe.core.graph import reverse
from wfe.core.step import Step
from wfe.engine.known import Known

_UNKNOWN: Final = 0.1  # seconds that a step counts which never ran


class Priorities:
    """The priorities of a run's steps, found when the first is asked for. Thread-safe."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._found: dict[str, float] = {}  # of each step, and under "fan[]" what comes after the steps of a fan

    def of(self, step: Step) -> float:
        """The seconds that the longest way from the step to an end took when its steps last ran: the longest way goes
        first. A step that never ran counts a tenth of a second; a fan counts as the longest of its steps."""
        with self._lock:
            if not self._found:
                self._find()
        if step.parent:
            return self._found.get(f"{step.parent}[]", 0.0) + self._lasted(step.id)
        return self._found.get(step.id, 0.0)

    def _find(self) -> None:
        known, found = self._known, self._found
        open_ = [name for name in known.index.ids if name not in known.marks]
        after = reverse({name: known.steps[name].needs for name in open_})
        longest: dict[str, float] = {}
        for name, row in known.rows.items():
            if name.endswith("]"):
                fan = name.partition("[")[0]
                longest[fan] = max(longest.get(fan, 0.0), row[5])
        for name in reversed(open_):
            rest = max((found.get(other, 0.0) for other in after[name]), default=0.0)
            found[f"{name}[]"] = rest
            found[name] = rest + longest.get(name, self._lasted(name))

    def _lasted(self, name: str) -> float:
        rows = self._known.rows
        return float(rows[name][5]) if name in rows else _UNKNOWN
