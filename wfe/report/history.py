"""What past runs tell: which there were, how each went, and how long each step takes.

Knows the recordings' folder. Does not know the runs that are going on: a recording without an end may be one.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from wfe.core.outcome import Outcome, RunFinished, RunStarted, StepState
from wfe.errors import WfeError, nearest
from wfe.report.ndjson import event_of, events
from wfe.report.recording import recordings
from wfe.report.retold import Retold, ending, retell

_END = 4096  # bytes; a last line has some 250


@dataclass(frozen=True, slots=True)
class Past:
    """One recorded run: id, workflow, start (Unix seconds), and of one that came to its end, counts and seconds."""

    run: str
    workflow: str
    steps: int
    time: float
    path: Path
    counts: dict[str, int] | None = None
    seconds: float | None = None

    @property
    def ending(self) -> str:
        """As `retold.ending`."""
        return ending(self.counts)


def past(folder: Path, workflow: str = "", most: int | None = None) -> list[Past]:
    """The recorded runs, newest first, of one workflow or of all, at most `most`. Reads each file's two ends only."""
    found: list[Past] = []
    for path in recordings(folder):
        if most is not None and len(found) >= most:
            break
        one = _ends(path)
        if one is not None and workflow in ("", one.workflow):
            found.append(one)
    return found


def find(folder: Path, run: str = "", workflow: str = "") -> Past:
    """The run whose id is `run` or alone begins with it; the newest for "".

    Raises WfeError when there is none, or several.
    """
    runs = past(folder, workflow, most=None if run else 1)
    exact = [one for one in runs if one.run == run]
    found = exact or [one for one in runs if one.run.startswith(run)]
    if not found:
        of = f" of workflow {workflow!r}" if workflow else ""
        if not run:
            raise WfeError(
                f"no run{of} is recorded in {folder}",
                f"run it first: wfe run {shlex.quote(workflow)}"
                if workflow
                else "run a workflow first: wfe run WORKFLOW",
            )
        raise WfeError(
            f"no recorded run{of} has the id {run!r}",
            nearest(run, [one.run for one in runs]),
        )
    if len(found) > 1:
        several = ", ".join(one.run for one in found[:5])
        raise WfeError(
            f"{len(found)} recorded runs have ids that begin with {run!r}",
            f"give more of one: {several}",
        )
    return found[0]


def read(path: Path) -> Retold:
    """The whole recorded run in `path`; a cut or damaged line is left out. Raises WfeError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return retell(events(file))
    except OSError as error:
        raise WfeError(f"cannot read the recording {path}: {error.strerror}") from error


def last_of(folder: Path, workflow: str, step: str) -> Outcome | None:
    """What became of a step in the last recorded run of `workflow`; None where that tells nothing of it."""
    newest = past(folder, workflow, most=1)
    if not newest:
        return None
    named = json.dumps(step).encode()
    try:
        with newest[0].path.open("rb") as file:
            # Only these lines: to parse all of a run of 10,000 steps takes longer than to show a value.
            told = retell(events(raw for raw in file if named in raw))
    except OSError:
        return None  # another run dropped it meanwhile
    stay = told.stays.get(step)
    return stay.outcome if stay is not None else None


def durations(folder: Path, workflow: str, last: int = 10, steps: Iterable[str] = ()) -> dict[str, float]:
    """Step -> median of the seconds that it ran in the last `last` recorded runs of `workflow` that ran anything.

    steps: reading stops early once each of these has a value; without it, `last` runs are read.
    """
    taken: dict[str, list[float]] = {}
    wanted = set(steps)
    runs = 0
    for one in past(folder, workflow):
        if runs >= last or (wanted and wanted <= taken.keys() and runs >= 3):
            break
        if one.counts is not None and not one.counts.get(StepState.RAN.value):
            continue
        runs += 1
        try:
            text = one.path.read_bytes()
        except OSError:
            continue  # another run dropped it meanwhile
        for raw in text.splitlines():
            # Parsing only these lines halves the time: most lines of a long run tell of starts and current steps.
            if b'"state":"ran"' in raw:
                try:
                    found = json.loads(raw)
                    taken.setdefault(str(found["step"]), []).append(float(found["seconds"]))
                except (ValueError, KeyError, TypeError):
                    continue
    return {step: median(values) for step, values in taken.items()}


def _ends(path: Path) -> Past | None:
    try:
        with path.open("rb") as file:
            first = file.readline()
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
            last = file.read().splitlines()
    except OSError:
        return None  # another run dropped it meanwhile
    begun, ended = next(events([first]), None), None
    if not isinstance(begun, RunStarted):
        return None
    if last:
        try:
            ended = event_of(json.loads(last[-1]))
        except ValueError:
            ended = None  # the cut last line of a killed run
    if isinstance(ended, RunFinished):
        counts, seconds = dict(ended.counts), ended.seconds
        return Past(begun.run, begun.workflow, begun.steps, begun.time, path, counts, seconds)
    return Past(begun.run, begun.workflow, begun.steps, begun.time, path)
