"""What a run knows of its steps: their rows, the marks and values of their results, and the items of fans.

This is the Upstream that `inputs` asks. Grows while steps are done. Does not decide or perform anything, and tells nobody.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import wfe
from wfe.core.digest import digest, digest_of
from wfe.core.disk import Disk
from wfe.core.graph import closure
from wfe.core.result import Artifact, Missing, Result
from wfe.core.step import Binding, Step
from wfe.engine import inputs as inputs_
from wfe.engine.index import Index
from wfe.engine.project import SUFFIXES
from wfe.engine.workspace import Workspace, result_of
from wfe.errors import EnvironmentFailure, NodeFailure
from wfe.store.stamp import UNPROVEN, Plain, Stamp, holds
from wfe.store.traces import File, Row, Trace

if TYPE_CHECKING:
    from wfe.core.document import Path as Trail
    from wfe.core.fan import Writer

_KEPT: Final = 2_000  # values of results held in memory; others are read from their traces again


class Known:
    """steps: the plan's. added: the steps of fans. members: fan -> its steps in order. marks: step -> mark of its result,
    as soon as that is known. rows: step -> its row as a tuple. foreseen: files as they will be, in a run that is
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
        self._looked_at: dict[str, float] = {}  # function -> when all of its sources were as the plan knows them
        self._proofs: dict[str, str] = {}  # function -> what is to hold of its sources
        self._statics: dict[str, str] | None = None
        self._results: OrderedDict[str, Result] = OrderedDict()  # the oldest first
        self._kept = threading.Lock()

    # --- results of other steps (the Upstream of `inputs`)

    def step(self, name: str) -> Step:
        """A step of the plan or of a fan whose steps are known. Raises KeyError."""
        if not name.endswith("]"):
            return self.steps[name]
        fan = name.partition("[")[0]
        if name not in self.added and fan in self.members:  # so far only the names were needed
            self.expand(fan)
        return self.added[name]

    def has(self, name: str) -> bool:
        """Whether a step of the plan is called so, or the fan that such a step would be an item of."""
        return name.partition("[")[0] in self.steps

    def result(self, step: str) -> Result | None:
        """The result of a step, None when it was skipped. Raises NodeFailure when it is lost: not Missing, which an
        injected input takes for an output that the step never had, and would leave out."""
        if step in self.skipped:
            return None
        found = self._results.get(step)
        if found is None:
            found = result_of(self.workspace, self.trace(step) or self.remade(step), step)
            self.keep(step, found)
        return found

    def trace(self, step: str) -> Trace | None:
        """The trace that a step's row tells of: None when it was damaged, or another workflow has made it anew since, with
        another result."""
        row = self.row(step)
        found = self.workspace.traces.find(row.key) if row else None
        return found if found is not None and row is not None and found.mark == row.mark else None

    def remade(self, step: str) -> Trace:
        """The trace of a step whose row stands though its trace does not. Raises NodeFailure."""
        raise NodeFailure(f"the result of step {step!r} is not in the store any more")

    def fan(self, step: str) -> Sequence[str] | None:
        if step in self.skipped:
            return None
        if step not in self.members and step in self.steps and self.steps[step].fan is not None:
            raise Missing(f"the items of step {step!r} are not known")
        return self.members.get(step)

    def target(self, step: str, parameter: str) -> str:
        return self.step(step).targets()[parameter]

    def stamp(self, step: str, path: str, digest: str) -> Stamp:
        row = self.row(step)
        for file in row.files if row is not None else ():
            if file.role == "out" and file.path == path and file.digest == digest:
                return Stamp(*file.stamp)
        return UNPROVEN

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
        marks = self.marks
        return tuple([marks.get(name, "") for name in step.needs])

    def renew(self, one: File) -> Plain | None:
        """The stamp that proves that a file of a row is unharmed, None when it is not."""
        known = Stamp(*one.stamp)
        if one.role == "in":
            taken = self.workspace.files.same(one.path, known, one.digest)
            return None if taken is None else taken.plain()
        renewed = self.workspace.renew(one)
        return None if renewed is None else renewed.plain()

    def changed_source(self, step: Step, at: float) -> str:
        """Which source of a step is not, or was not `at` some moment (monotonic seconds), what the plan was made from, and what
        became of it; "" when none."""
        if self._looked_at.get(step.function, 0.0) > at:
            return ""  # of several calls that returned together, the look after the first one tells of all
        now = monotonic()
        for path in step.module_files:
            known = self.sources.get(path)
            if known is not None and not holds(known[0], self.workspace.absolute(path)) and not self.same_source(path):
                return f"{path} changed"
        for path in step.lacking:
            if os.path.exists(self.workspace.absolute(path)):
                return f"{path} came"
        self._looked_at[step.function] = now
        return ""

    def proof(self, step: Step) -> str:
        """What must hold of a step's sources for a result of it that is found later, as a part of a bequest; "" where their
        stamps prove nothing yet."""
        found = self._proofs.get(step.function)
        if found is None:
            from wfe.engine.left import proof  # a run that finds all current needs none of it

            known = [(path, self.sources[path][0]) for path in step.module_files if path in self.sources]
            looks = [(self.workspace.absolute(path), *taken[:4]) for path, taken in known if taken.settled]
            absent = [self.workspace.absolute(path) for path in step.lacking]
            found = ""
            if len(looks) == len(known):
                with contextlib.suppress(EnvironmentFailure):  # where there is no room, nothing is left
                    found = proof(self.workspace.state, step.function, looks, absent)
            self._proofs[step.function] = found
        return found

    def same_source(self, path: str) -> bool:
        """Whether a source file still has the content that the plan was made from."""
        try:
            return digest(Path(self.workspace.absolute(path)).read_bytes()) == self.sources[path][1]
        except OSError:
            return False

    def settle(self, name: str, row: Row, trace: Trace | None) -> None:
        """The result of a step is there."""
        self.rows[name] = row
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
        fan, inside = step.fan, None
        try:
            part = inputs_.part(step, "foreach", Binding("value", fan.items, fan.refs), self)
            if fan.inner is not None and not isinstance(part, inputs_.Skipped):
                known = tuple(ref for ref in fan.inner[1] if ref in fan.steps)
                inside = inputs_.part(step, "foreach", Binding("value", fan.inner[0], known), self)
        except Missing as error:
            raise NodeFailure(f"step {name!r}: 'foreach': {error}") from None
        if isinstance(part, inputs_.Skipped) or isinstance(inside, inputs_.Skipped):
            self.skip(name)
            return []
        from wfe.core.fan import expand  # a plan without fans needs none of it
        from wfe.core.kind import describe
        from wfe.engine.ground import Ground

        if not isinstance(part.value, list):
            found = part.artifacts[0].kind if part.artifacts else describe(part.value)
            raise NodeFailure(f"step {name!r}: 'foreach' goes through a list, found {found}")

        try:
            fans = {one for _, one, _ in fan.steps if self.fan(one) is not None}
            documents = [one for one, _, _ in self.index.sources if one.endswith(SUFFIXES)]
            disk = Ground(self.workspace.project, documents)
            inner = None if inside is None else inside.seen(self._file_name)
            steps = expand(step, part.seen(self._file_name), fans, inner, disk, self._writer(step, disk))
        except (ValueError, Missing) as error:
            raise NodeFailure(f"step {name!r}: 'foreach': {error}") from None
        self._check_targets(name, steps, disk)
        self.members[name] = [one.id for one in steps]
        self.added.update({one.id: one for one in steps})
        return steps

    def _writer(self, fan: Step, disk: Disk) -> Writer | None:
        """What tells which step writes a file that an item of the fan reads; None where none does."""
        if not fan.places or not fan.reads_files:
            return None
        before = set(fan.needs)
        if any(other not in before for other, _, _ in fan.places):
            ids = self.index.ids
            before = {ids[one] for one in closure([ids.index(fan.id)], dict(enumerate(self.index.needs)))}
        written: dict[str, tuple[str, Trail]] = {}
        for other, parameter, path in fan.places:
            if self.steps[other].fan is None:
                written[disk.place(path)] = (other, (parameter,))
            elif other in before:
                for index, one in enumerate(self.members.get(other, ())):
                    written[disk.place(self.target(one, parameter))] = (other, (index, parameter))

        def writer(path: str) -> tuple[str, Trail] | None:
            found = written.get(disk.place(path)) or written.get(disk.leads(path))
            if found is not None and found[0] not in before:
                raise ValueError(
                    f"an item reads {path!r}, which step {found[0]!r} writes; name that under 'depends_on'"
                )
            return found

        return writer if written else None

    def _file_name(self, artifact: Artifact) -> str:
        """The name of the file that an artifact is, without its directory; "" for another artifact."""
        if artifact.codec != "file":
            return ""
        step, _, parameter = artifact.note.partition(":")
        return self.target(step, parameter).replace("\\", "/").rpartition("/")[2]

    def _check_targets(self, fan: str, steps: Sequence[Step], disk: Disk) -> None:
        """Raises NodeFailure when a step of a fan writes what a step outside of it writes: what the fan's steps write is not
        known before its items are, so the plan cannot tell."""
        mine = [(path, one) for one in steps for path in one.targets().values()]
        if not mine:
            return
        written = {
            disk.place(path): other.id
            for other in (*self.steps.values(), *self.added.values())
            if other.fan is None and other.parent != fan
            for path in other.targets().values()
        }
        for path, one in mine:
            other_step = written.get(disk.place(path))
            if other_step is not None:
                raise NodeFailure(
                    f"step {fan!r}: {one.id!r} writes {path!r}, and so does step {other_step!r}; give one another path"
                )

    def names_of(self, fan: str, marks: Mapping[str, str]) -> tuple[Sequence[str], Sequence[str], str] | None:
        """The ids and the static digests of a fan's steps, and what tells where they write, given the marks of what it needs;
        None when one of those is missing. Written down, since to make 10,000 steps takes half a second and to read their
        names a millisecond."""
        step = self.steps[fan]
        ups = [marks.get(other) for other in step.needs]
        if None in ups:
            return None
        token = digest_of([wfe.__version__, self.static(step), ups])
        scope = f"fan:{self.workflow}"
        memo = self.workspace.state.get("memo", fan, scope)
        if memo is not None and memo[0] == token and len(memo) == 4:  # one of an older wfe has no places
            self.members[fan] = list(memo[1])
            return memo[1], memo[2], memo[3]
        try:
            found = self.expand(fan)
        except (NodeFailure, Missing):
            return None  # told when its turn comes
        names, statics = tuple(one.id for one in found), tuple(one.static for one in found)
        places = self._places(fan) if found else ""
        self.workspace.state.set("memo", fan, (token, names, statics, places), scope)
        return names, statics, places

    def ready(self, name: str) -> bool:
        """Whether everything that the step needs has a result (or was skipped)."""
        return self.marks.keys() >= set(self.step(name).needs)

    def gathered(self, name: str) -> None:
        """A fan is done: its mark is made of those of its steps."""
        marks = [self.marks.get(one, "") for one in self.members[name]]
        self.marks[name] = mark_of_fan(marks, self._places(name))

    def _places(self, fan: str) -> str:
        """What tells where the steps of a fan write; "" where they write no file."""
        if not self.steps[fan].targets():
            return ""
        return digest_of([sorted(self.step(one).targets().items()) for one in self.members[fan]])


def mark_of_fan(marks: Sequence[str], places: str) -> str:
    """The mark of a fan whose steps have these, and write their files there: who reads them may be told the paths."""
    return digest_of([*marks, places] if places else list(marks))
