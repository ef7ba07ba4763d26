"""Which steps failed in the last run of a workflow, and why: read from the record that every run leaves.

Knows the record's lines (the form is described where it is written, in wfe.report.ndjson). Whoever ran the workflow, and
in which process, does not matter. The texts come from nodes: they are no more to be believed than an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_BYTES = 16 << 20
_PATH = re.compile(r'(File ")[^"]*[/\\]([^"/\\]+)(?=")')
_FRAMES = 12
"""Lines of a traceback that are told, counted from its end, which says what happened."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A step that failed: its id, the kind and text of the exception, its traceback, what it was called with."""

    step: str
    kind: str
    message: str
    traceback: str
    inputs: tuple[tuple[str, str], ...]

    @property
    def where(self) -> str:
        """The last lines of the traceback, with paths cut to their names: the model has no use for this machine's."""
        lines = (line.rstrip() for line in self.traceback.splitlines()[-_FRAMES:])
        return "\n".join(_PATH.sub(r"\1\2", line) for line in lines)


def records(cache: Path) -> frozenset[str]:
    """The names of the records that there are: those that a run adds are its own."""
    return frozenset(path.name for path in (cache / "runs").glob("*.ndjson"))


def failures(cache: Path, before: frozenset[str], workflow: str) -> Sequence[Failed]:
    """The steps that failed in the newest run of `workflow` whose record is not among `before`."""
    for path in sorted((cache / "runs").glob("*.ndjson"), reverse=True):
        if path.name in before:
            continue
        lines = _lines(path)
        if any(line.get("event") == "run-started" and line.get("workflow") == workflow for line in lines):
            return [_failed(line) for line in lines if line.get("event") == "step-finished" and line.get("failure")]
    return []


def _lines(path: Path) -> list[Mapping[str, Any]]:
    with path.open("rb") as stream:
        text = stream.read(_MOST_BYTES).decode("utf-8", "replace")
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if isinstance(value, dict):
            found.append(value)
    return found


def _failed(line: Mapping[str, Any]) -> Failed:
    told = line["failure"]
    inputs = tuple((str(name), str(text)) for name, text in told.get("inputs", ()))
    return Failed(str(line["step"]), str(told["kind"]), str(told["message"]), str(told["traceback"]), inputs)
