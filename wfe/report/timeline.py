"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open: one row a worker slot.

Knows a retold run and the trace's form. Does not know where it is written to.
Form: "Trace Event Format" of the Chromium project; complete events ("X"), instants ("i"), metadata ("M"); times in
microseconds since the run's start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wfe.core.outcome import Note
from wfe.report.retold import Retold, Stay

_PROCESS = 1
_ENGINE = 0  # the row of what happens outside any slot; slot n has row n + 1


def timeline(told: Retold) -> str:
    """The run as a JSON document. Each step is a bar on its slot's row; one that never began is an instant."""
    named = f"wfe {told.workflow} {told.run}".rstrip()
    events = [
        _meta("process_name", _ENGINE, named),
        _meta("thread_name", _ENGINE, "engine"),
    ]
    slots = {stay.worker for stay in told.stays.values() if stay.began is not None}
    events += [_meta("thread_name", slot + 1, f"slot {slot}") for slot in sorted(slots | set(range(told.jobs)))]
    last = told.time + told.seconds
    for stay, end in _ends(told):
        events.append(_step(stay, told.time, last if end is None else end))
    events += [_note(note, told.time) for note in told.notes]
    whole = {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"run": told.run, **told.counts},
    }
    return json.dumps(whole, separators=(",", ":"))


def _ends(told: Retold) -> Iterator[tuple[Stay, float | None]]:
    """Each step with the time at which its bar ends, None where that is not known.

    A slot is given on as soon as the function has returned, while the engine still stores the result: bars of one row that
    overlap would be drawn over each other.
    """
    following: dict[int, float] = {}
    found: list[tuple[Stay, float | None]] = []
    for stay in reversed(told.stays.values()):  # in the order in which they began
        end = stay.ended
        if stay.began is not None:
            later = following.get(stay.worker)
            if end is not None and later is not None:
                end = min(end, later)
            following[stay.worker] = stay.began
        found.append((stay, end))
    return reversed(found)


def _step(stay: Stay, start: float, end: float) -> dict[str, Any]:
    event: dict[str, Any] = {
        "name": stay.step,
        "cat": stay.state,
        "pid": _PROCESS,
        "args": _args(stay),
    }
    if stay.began is None:
        at = stay.ended if stay.ended is not None else start
        return {
            **event,
            "ph": "i",
            "s": "t",
            "tid": _ENGINE,
            "ts": _microseconds(at - start),
        }
    length = _microseconds(end - stay.began)
    return {
        **event,
        "ph": "X",
        "tid": stay.worker + 1,
        "ts": _microseconds(stay.began - start),
        "dur": length,
    }


def _args(stay: Stay) -> dict[str, Any]:
    args: dict[str, Any] = {"state": stay.state}
    outcome = stay.outcome
    if outcome is not None:
        args["seconds"] = outcome.seconds
        if outcome.reasons:
            args["why"] = [str(reason) for reason in outcome.reasons]
        if outcome.attempts != 1:
            args["attempts"] = outcome.attempts
        if outcome.skip:
            args["skip"] = outcome.skip
        if outcome.failure is not None:
            args["failure"] = f"{outcome.failure.kind}: {outcome.failure.message}"[:2000]
    return args


def _note(note: Note, start: float) -> dict[str, Any]:
    # One of a run that an earlier version recorded has no time; it stands at the run's start.
    return {
        "name": "note",
        "cat": "note",
        "ph": "i",
        "s": "t",
        "pid": _PROCESS,
        "tid": _ENGINE,
        "ts": _microseconds(note.time - start),
        "args": {"message": note.message, "step": note.step},
    }


def _meta(kind: str, row: int, name: str) -> dict[str, Any]:
    return {
        "name": kind,
        "ph": "M",
        "pid": _PROCESS,
        "tid": row,
        "args": {"name": name},
    }


def _microseconds(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1e6, 3)
