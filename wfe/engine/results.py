"""The results of steps as readers outside a run want them: values with arrays and files, or JSON that tells of them.

Knows rows, traces and codecs. What stands in the workspace is read; nothing is planned and nothing is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wfe.core.document import Path as Trail
from wfe.core.result import Artifact, Missing, Result, dig_fan, gather, put
from wfe.engine.workspace import Workspace
from wfe.store.stamp import holds
from wfe.store.traces import Row

_PREVIEW = 8
"""How many of an array's numbers a preview shows."""


class Results:
    """The results that stand in a workspace for one workflow, or those of the given rows (step -> row, plain)."""

    def __init__(self, workspace: Workspace, workflow: str, rows: Mapping[str, Any] | None = None) -> None:
        self.workspace = workspace
        self.workflow = workflow
        self._rows = workspace.traces.rows(workflow) if rows is None else rows

    def steps(self) -> list[str]:
        """The steps that have a result."""
        return list(self._rows)

    def members(self, fan: str) -> list[str]:
        """The steps of a fan that have a result, by name."""
        return sorted(name for name in self._rows if name.startswith(f"{fan}[") and name.endswith("]"))

    def row(self, step: str) -> Row | None:
        """What the workspace knows of a step, None for nothing."""
        found = self._rows.get(step)
        return None if found is None else self.workspace.traces.row(found)

    def part(self, step: str, trail: Trail, members: Sequence[str] | None = None) -> Result:
        """What `$step.trail` refers to; of a fan, that output of each of its steps. Raises Missing."""
        found = self.find(step, members)
        if self.row(step) is not None:
            return found.dig(trail)
        return dig_fan([found.dig((index,)) for index in range(len(found.value))], trail)

    def find(self, step: str, members: Sequence[str] | None = None) -> Result:
        """The result of a step; of a fan, those of its steps (`members`, which may be none, else all that are there) as a list.

        Written files have "step:parameter" for a note. Raises Missing when there is none, or its files are gone.
        """
        row = self.row(step)
        if row is None:
            among = self.members(step) if members is None else members
            if not among and members is None:
                raise Missing(f"step {step!r} has no result yet")
            return gather([self.find(one) if one in self._rows else Result(None) for one in among])
        trace = self.workspace.traces.find(row.key)
        if trace is None:
            self.workspace.traces.disown(self.workflow, step, row.key)
        # Another run may have made the same anew, with another outcome: that is not what these rows tell of.
        if trace is None or trace.mark != row.mark or not self.workspace.traces.whole(trace):
            raise Missing(f"the result of step {step!r} is not in the store any more")
        from wfe.engine.workspace import result_of

        return result_of(self.workspace, trace, step)

    def path(self, one: Artifact) -> Path:
        """Where an artifact can be read: a written file where the step published it, as long as that is still the content
        meant; else the blob, whose name has no suffix."""
        if one.codec == "file":
            row = self.row(one.note.partition(":")[0])
            for file in row.files if row is not None else ():
                if file.role == "out" and file.digest == one.digest:
                    where = self.workspace.absolute(file.path)
                    if holds(file.stamp, where) or self.workspace.renew(file) is not None:
                        return Path(where)
        return Path(self.workspace.blobs.path(one.digest))


def value_of(result: Result, path: Callable[[Artifact], Path]) -> Any:
    """A result as Python values: arrays read-only and memory-mapped (any dtype, any shape), files as Path,
    bytes as bytes.

    A pickle that the node asked for (`Pickled`) is loaded, which runs its code.
    """
    from wfe.wire.codecs import CODECS

    tree = result.value
    for one in result.artifacts:
        where = path(one)
        tree = put(tree, one.trail, where if one.codec == "file" else CODECS[one.codec].read(str(where)))
    return tree


def json_of(result: Result, path: Callable[[Artifact], Path]) -> Any:
    """A result as JSON that a person can read: an array as dtype, shape and its first numbers, a file as its path."""
    tree = result.value
    for one in result.artifacts:
        tree = put(tree, one.trail, _told(one, path(one)))
    return strict(tree)


def _told(one: Artifact, where: Path) -> Any:
    if one.codec == "file":
        return str(where)
    if one.codec == "npy":
        from wfe.wire.codecs import CODECS

        array = CODECS["npy"].read(str(where))
        first = array.reshape(-1)[:_PREVIEW].tolist() if array.dtype.names is None else []
        return {
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "preview": first,
        }
    if one.codec == "bytes":
        with where.open("rb") as file:
            return {"bytes": where.stat().st_size, "preview": file.read(2 * _PREVIEW).hex()}
    return {one.codec: str(where), "bytes": where.stat().st_size}


def strict(value: Any) -> Any:
    """A value as JSON that every program reads: what it has no form for (NaN, the infinities, complex numbers, dates) as
    Python's text of it. Not null, which would say that nothing is there; and `float` and JavaScript's `Number` read "nan"."""
    if isinstance(value, dict):
        return {str(key): strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, int | bool | str) else str(value)
