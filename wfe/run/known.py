"""What a run knows of its steps: their rows, the marks and values of their results, and the items of fans.

This is the Upstream that `inputs` asks. Grows while steps are done. Does not decide or perform anything, and tells nobody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wfe.core.digest import digest, digest_of
from wfe.core.result import Missing, Result
from wfe.core.step import Binding, Step
from wfe.errors import NodeFailure
from wfe.run import inputs as inputs_
from wfe.run.index import Index
from wfe.run.workspace import Workspace, result_of
from wfe.store.stamp import Stamp
from wfe.store.traces import Row, Trace, plain

_KEPT: Final = 2_000  # values of results held in memory; others are read from their traces again


class Known:
    """steps: the plan's. added: the steps of fans. members: fan -> its steps in order. marks: step -> mark of its result,
    as soon as that is known. rows: step -> its row as a plain tuple. foreseen: files as they will be, in a run that is
    only foretold."""

    def __init__(self, workspace: Workspace, index: Index) -> None:
        self.workspace = workspace
        self.index = index
        self.plan = index.plan
        self.workflow = index.plan.workflow
        self.steps: Mapping[str, Step] = self.plan.steps
        self.added: dict[str, Step] = {}
        self.members: dict[str, list[str]] = {}
        self.marks: dict[str, str] = {}
        self.rows: dict[str, Any] = {}
        self.skipped: set[str] = set()
        self.foreseen: dict[str, tuple[Stamp, str]] = {}
        self.sources: dict[str, tuple[Stamp, str]] = {
            path: (Stamp(*taken), known) for path, taken, known in index.sources
        }
        self._statics: dict[str, str] | None = None
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._kept = threading.Lock()

    # --- results of other steps (the Upstream of `inputs`)

    def step(self, name: str) -> Step:
        return self.added[name] if name in self.added else self.steps[name]

    def result(self, step: str) -> Result | None:
        if step in self.skipped:
            return None
        with self._kept:
            found = self._results.get(step)
        if found is None:
            row = self.row(step)
            trace = self.workspace.traces.find(row.key) if row else None
            if trace is None:
                raise Missing(f"the result of step {step!r} is not there")
            found = result_of(self.workspace, trace, step)
            self.keep(step, found)
        return found

    def fan(self, step: str) -> Sequence[str] | None:
        if step not in self.members and step in self.steps and self.steps[step].fan is not None:
            raise Missing(f"the items of step {step!r} are not known")
        return self.members.get(step)

    def target(self, step: str, parameter: str) -> str:
        return self.step(step).targets()[parameter]

    def blob(self, digest: str) -> str:
        return self.workspace.blobs.path(digest)

    def digest(self, path: str) -> tuple[Stamp, str]:
        """The stamp and digest of an input file. Raises OSError."""
        return self.foreseen.get(path) or self.workspace.files.digest(path)

    def row(self, step: str) -> Row | None:
        found = self.rows.get(step)
        return None if found is None else self.workspace.traces.row(found)

    def static(self, step: Step) -> str:
        """The static digest of a step; those of the plan are known."""
        if self._statics is None:
            self._statics = dict(zip(self.index.ids, self.index.statics, strict=True))
        return self._statics.get(step.id) or step.static

    def ups(self, step: Step) -> tuple[str, ...]:
        return tuple(self.marks.get(name, "") for name in step.needs)

    def same_source(self, path: str) -> bool:
        """Whether a source file still has the content that the plan was made from."""
        try:
            return digest(Path(self.workspace.absolute(path)).read_bytes()) == self.sources[path][1]
        except OSError:
            return False

    def settle(self, name: str, row: Row, trace: Trace | None) -> None:
        """The result of a step is there."""
        self.rows[name] = plain(row)
        self.marks[name] = row.mark
        if trace is not None:
            self.keep(name, result_of(self.workspace, trace, name))

    def keep(self, name: str, result: Result) -> None:
        """Hold a result in memory for a while; the steps that read it usually come soon."""
        with self._kept:
            self._results[name] = result
            self._results.move_to_end(name)
            if len(self._results) > _KEPT:
                self._results.popitem(last=False)

    def skip(self, name: str) -> None:
        """A step was skipped: those that need it get nothing."""
        self.skipped.add(name)
        self.marks[name] = "skipped"

    # --- fans

    def expand(self, name: str) -> list[Step]:
        """The steps of a fan, now that what it goes through is known. Raises NodeFailure."""
        step = self.steps[name]
        assert step.fan is not None
        try:
            part = inputs_.part(step, "foreach", Binding("value", step.fan.items, step.fan.refs), self)
        except Missing as error:
            raise NodeFailure(f"step {name!r}: 'foreach': {error}") from None
        if isinstance(part, inputs_.Skipped):
            self.skip(name)
            self.members[name] = []
            return []
        if not isinstance(part.value, list):
            raise NodeFailure(f"step {name!r}: 'foreach' goes through a list, found {type(part.value).__name__}")
        from wfe.core.fan import expand  # a plan without fans needs none of it

        steps = expand(step, part.value)
        self.members[name] = [one.id for one in steps]
        self.added.update({one.id: one for one in steps})
        return steps

    def ready(self, name: str) -> bool:
        """Whether everything that the step needs has a result (or was skipped)."""
        return all(other in self.marks for other in self.step(name).needs)

    def gathered(self, name: str) -> None:
        """A fan is done: its mark is made of those of its steps."""
        self.marks[name] = digest_of([self.marks.get(one, "") for one in self.members[name]])
