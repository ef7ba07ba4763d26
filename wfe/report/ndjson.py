"""Events as JSON, one object a line: what `--json` prints and what a recorded run holds.

Knows the form, both ways. Does not know where lines go to or how long they are kept. The form (a field that is not
listed as optional is always there; times are Unix seconds, durations seconds; a reader must ignore fields and events
that it does not know):

    {"event": "run-started", "format": 1, "run", "workflow", "steps", "jobs", "time"
        optional: "pools": {name: size}, "current" (absent: 0): how many of the steps need nothing done}
    {"event": "fan-known", "step", "steps", "current"}                a fan counted as one step, now as so many
    {"event": "step-started", "step", "time", "worker", optional: "takes": {pool: amount}}
    {"event": "step-progress", "step", "done", "total", "note"}       total 0: unknown; a number that JSON lacks: null
    {"event": "step-line", "step", "stream", "line"}
    {"event": "step-finished", "step", "state", "seconds", "time"
        optional: "reasons": [{"part", "old", "new"}], "failure": {"kind", "message", "traceback", "log", "inputs"?}, "skip",
        "attempts" (absent: 1)}
    {"event": "note", "message", "step", optional: "time"}            step "": of the run
    {"event": "run-finished", "run", "ran", "restored", "current", "skipped", "failed", "blocked", "cancelled",
        "seconds", "time"}

Every line is ASCII, so no stream's encoding matters. The estimates of a run's start are not written: they are read from
earlier runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from wfe.core.outcome import (
    Event,
    Failure,
    FanKnown,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepProgress,
    StepStarted,
    StepState,
)
from wfe.report.outlet import Outlet
from wfe.report.wording import ORDER

FORMAT = 1

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_quote = json.encoder.encode_basestring_ascii


def line(event: Event) -> str:
    """The event as one line of JSON, ended by a newline."""
    # The two kinds that nearly all lines of a run are of. Written by hand they cost a fifth of the general way, and a
    # run with 10,000 steps would otherwise spend a quarter of a second here (tests/bench/report.py).
    if type(event) is StepFinished:
        outcome = event.outcome
        plain = outcome.failure is None and not outcome.skip and outcome.attempts == 1
        if plain and math.isfinite(outcome.seconds):
            why = _why(outcome.reasons) if outcome.reasons else ""
            return (
                f'{{"event":"step-finished","step":{_quote(event.step)},"state":"{outcome.state.value}",'
                f'"seconds":{outcome.seconds:.6f},"time":{event.time:.6f}{why}}}\n'
            )
    elif type(event) is StepStarted and not event.takes:
        return (
            f'{{"event":"step-started","step":{_quote(event.step)},"time":{event.time:.6f},"worker":{event.worker}}}\n'
        )
    return _encode(record(event)) + "\n"


@lru_cache(maxsize=64)
def _why(reasons: tuple[Reason, ...]) -> str:
    """The reasons as a part of a line: most steps of a run have the same."""
    return f',"reasons":{_encode([why._asdict() for why in reasons])}'


def record(event: Event) -> dict[str, Any]:
    """The event as an object of JSON values."""
    match event:
        case StepFinished(step, outcome, time):
            found: dict[str, Any] = {
                "event": "step-finished",
                "step": step,
                "state": outcome.state.value,
                "seconds": _number(outcome.seconds),
                "time": _number(time),
            }
            if outcome.reasons:
                found["reasons"] = [why._asdict() for why in outcome.reasons]
            if (failure := outcome.failure) is not None:
                found["failure"] = {
                    "kind": failure.kind,
                    "message": failure.message,
                    "traceback": failure.traceback,
                    "log": failure.log,
                    **({"inputs": [list(one) for one in failure.inputs]} if failure.inputs else {}),
                }
            if outcome.skip:
                found["skip"] = outcome.skip
            if outcome.attempts != 1:
                found["attempts"] = outcome.attempts
            return found
        case StepStarted(step, time, worker, takes):
            return {
                "event": "step-started",
                "step": step,
                "time": _number(time),
                "worker": worker,
                **({"takes": dict(takes)} if takes else {}),
            }
        case StepProgress(step, done, total, note):
            return {
                "event": "step-progress",
                "step": step,
                "done": _number(done),
                "total": _number(total),
                "note": note,
            }
        case StepLine(step, text, stream):
            return {"event": "step-line", "step": step, "stream": stream, "line": text}
        case Note(message, step, time):
            return {"event": "note", "message": message, "step": step, **({"time": _number(time)} if time else {})}
        case FanKnown(step, steps, current):
            return {"event": "fan-known", "step": step, "steps": steps, "current": current}
        case RunStarted(run, workflow, steps, jobs, time, _, pools, current):
            return {
                "event": "run-started",
                "format": FORMAT,
                "run": run,
                "workflow": workflow,
                "steps": steps,
                "jobs": jobs,
                "time": _number(time),
                **({"pools": dict(pools)} if pools else {}),
                **({"current": current} if current else {}),
            }
        case RunFinished(run, counts, seconds, time):
            numbers = {state.value: counts.get(state.value, 0) for state in ORDER}
            return {
                "event": "run-finished",
                "run": run,
                **numbers,
                "seconds": _number(seconds),
                "time": _number(time),
            }


def event_of(found: Any) -> Event | None:
    """The event that an object stands for; None for one of a kind or a shape that this version does not know."""
    if not isinstance(found, dict):
        return None
    try:
        return _event(found)
    except (KeyError, TypeError, ValueError, AttributeError):
        # A line that was damaged but is still JSON: like a cut line, it is left out and the rest is read.
        return None


def _failure(found: dict[str, Any]) -> Failure:
    kind, message, traceback, log = (str(found[key]) for key in ("kind", "message", "traceback", "log"))
    return Failure(kind, message, traceback, log, tuple((str(a), str(b)) for a, b in found.get("inputs", ())))


def _amounts(found: Any) -> dict[str, float]:
    return {str(pool): float(amount) for pool, amount in (found or {}).items()}


def _event(found: dict[str, Any]) -> Event | None:
    match found.get("event"):
        case "step-finished":
            failure = found.get("failure")
            outcome = Outcome(
                str(found["step"]),
                StepState(found["state"]),
                float(found["seconds"] or 0),
                tuple(Reason(str(why["part"]), str(why["old"]), str(why["new"])) for why in found.get("reasons", ())),
                None if failure is None else _failure(failure),
                str(found.get("skip", "")),
                int(found.get("attempts", 1)),
            )
            return StepFinished(outcome.step, outcome, float(found["time"] or 0))
        case "step-started":
            return StepStarted(
                str(found["step"]), float(found["time"] or 0), int(found["worker"]), _amounts(found.get("takes"))
            )
        case "step-progress":
            done, total = float(found["done"] or 0), float(found["total"] or 0)
            return StepProgress(str(found["step"]), done, total, str(found["note"]))
        case "step-line":
            return StepLine(str(found["step"]), str(found["line"]), str(found["stream"]))
        case "note":
            return Note(str(found["message"]), str(found["step"]), float(found.get("time") or 0))
        case "run-started":
            run, workflow = str(found["run"]), str(found["workflow"])
            return RunStarted(
                run,
                workflow,
                int(found["steps"]),
                int(found["jobs"]),
                float(found["time"] or 0),
                pools=_amounts(found.get("pools")),
                current=int(found.get("current", 0)),
            )
        case "fan-known":
            return FanKnown(str(found["step"]), int(found["steps"]), int(found["current"]))
        case "run-finished":
            counts = {state.value: int(found.get(state.value, 0)) for state in StepState}
            return RunFinished(
                str(found["run"]),
                counts,
                float(found["seconds"] or 0),
                float(found["time"] or 0),
            )
    return None


def events(lines: Iterable[str | bytes]) -> Iterator[Event]:
    """The events of lines of JSON, in order. A line that is cut, damaged or of an unknown kind is left out."""
    for text in lines:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        event = event_of(found)
        if event is not None:
            yield event


class Json:
    """Writes every event to an Outlet: `--json`. Whoever reads that may look for the result of a step as soon as he hears of
    it."""

    prompt = True

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def hear(self, event: Event) -> None:
        """Write the event as a line."""
        self._outlet.write(line(event), soon=not isinstance(event, RunFinished))

    def rest(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Let out what was not let out yet, of a run that stops without its last event. Idempotent."""
        self._outlet.flush()


def _number(value: float) -> float | None:
    # A node may say `progress(nan)`; NaN and Infinity are no JSON.
    return round(value, 6) if math.isfinite(value) else None
