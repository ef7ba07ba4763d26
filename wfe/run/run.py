"""One run of one workflow: what is current, what must be done for a step, and what became of each.

Knows plan, workspace and executors, and tells listeners everything. Does not order steps: the scheduler calls `decide` and
`perform` when a step's turn has come, from any thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfe.core.digest import digest, digest_of
from wfe.core.graph import closure, reverse
from wfe.core.manifest import Manifest, diff, key_of, manifest_of, value_text
from wfe.core.outcome import (
    Event,
    Failure,
    Listener,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    StepState,
    count,
)
from wfe.core.rebuild import Decision, Facts, Verdict, decide
from wfe.core.result import Missing, Result
from wfe.core.step import Binding, Step
from wfe.errors import NodeFailure
from wfe.run import inputs as inputs_
from wfe.run.index import Index
from wfe.run.inputs import Inputs
from wfe.run.look import look
from wfe.run.workspace import Workspace, result_of
from wfe.store.stamp import Stamp
from wfe.store.traces import File, Row, Trace, plain

if TYPE_CHECKING:
    from wfe.run.executors import Executors


@dataclass(slots=True)
class Pending:
    """A step whose turn has come: what was decided, and all that performing it needs."""

    decision: Decision
    inputs: Inputs = field(default_factory=Inputs)
    manifest: Manifest = ()
    key: str = ""
    trace: Trace | None = None
    row: Row | None = None
    failure: Failure | None = None
    skip: str = ""


class Run:
    """A run. `open` looks at every step; then steps are performed; `finish` counts.

    forced: ids of steps to run whatever is stored.
    """

    def __init__(
        self,
        workspace: Workspace,
        index: Index,
        executors: Callable[[], Executors],
        listeners: Sequence[Listener] = (),
        *,
        jobs: int = 1,
        forced: frozenset[str] = frozenset(),
        pools: Mapping[str, float | str] | None = None,
        run_id: str = "",
    ) -> None:
        self.workspace = workspace
        self.index = index
        self.plan = index.plan
        self.workflow = index.plan.workflow
        self._make_executors = executors
        self._executors: Executors | None = None
        self.listeners = list(listeners)
        self.jobs = jobs
        self.forced = forced
        self.id = run_id or new_id()
        self.steps: Mapping[str, Step] = self.plan.steps
        self.added: dict[str, Step] = {}  # the steps of fans
        self.members: dict[str, list[str]] = {}  # fan -> its steps in order
        self.marks: dict[str, str] = {}  # step -> mark of its result, as soon as it is known
        self.outcomes: dict[str, Outcome] = {}
        self.bugs: list[str] = []  # tracebacks of errors in wfe itself
        self.began = time.time()
        self._rows: dict[str, Any] = {}
        self._statics: dict[str, str] | None = None
        self._results: dict[str, Result | None] = {}
        self._pending: dict[str, Pending] = {}
        self.foreseen: dict[str, tuple[Stamp, str]] = {}  # files as they will be, in a run that is only foretold
        self.stopping = threading.Event()  # set when the run was asked to end
        self.sources: dict[str, tuple[Stamp, str]] = {
            path: (Stamp(*taken), known) for path, taken, known in index.sources
        }
        self._pools = {**self.plan.pools, **(pools or {})}
        self._gate: Gate | None = None
        self._priorities: dict[str, float] = {}
        self._telling = threading.RLock()
        self._finished = False

    @property
    def executors(self) -> Executors:
        """Where functions are called; made when the first step needs it, since a run that finds all current needs none."""
        with self._telling:
            if self._executors is None:
                self._executors = self._make_executors()
                if self.stopping.is_set():
                    self._executors.cancel()
            return self._executors

    def stop(self) -> None:
        """End what runs, now. Callable from any thread."""
        self.stopping.set()
        if self._executors is not None:
            self._executors.cancel()

    def close(self) -> None:
        """End the workers."""
        if self._executors is not None:
            self._executors.close()

    # --- telling

    def tell(self, event: Event) -> None:
        with self._telling:
            for listener in self.listeners:
                listener.hear(event)

    def note(self, message: str, step: str = "") -> None:
        self.tell(Note(message, step))

    # --- before

    def open(self) -> None:
        """Look at every step, and begin."""
        self._rows = self.workspace.traces.rows(self.workflow)
        marks, renewed = look(self.index, self._rows, f"{self.workspace.project.root}{os.sep}", self._renew)
        if self.forced:
            after = reverse({name: self.steps[name].needs for name in self.index.ids})
            for name in closure([one for one in self.forced if one in marks], after):
                marks.pop(name, None)
        self.marks.update(marks)
        if renewed:
            self._rows.update(renewed)
            self.workspace.state.set_many("step", renewed.items(), self.workflow)
        for name in self.marks:
            self.outcomes[name] = Outcome(name, StepState.CURRENT)

    def start(self) -> None:
        """Tell that the run begins."""
        estimates = (
            {name: row[5] for name, row in self._rows.items()}
            if any(one not in self.marks for one in self.index.ids)
            else {}
        )
        self.tell(RunStarted(self.id, self.workflow, len(self.index.ids), self.jobs, self.began, estimates))
        if self.workspace.state.note:
            self.note(self.workspace.state.note)

    def _renew(self, one: File) -> tuple[int, int, int, int, bool] | None:
        known = Stamp(*one.stamp)
        if one.role == "in":
            taken = self.workspace.files.same(one.path, known, one.digest)
            return None if taken is None else tuple(taken)
        return self.workspace.renew(one)

    # --- results of other steps (the Upstream of `inputs`)

    def step(self, name: str) -> Step:
        return self.added[name] if name in self.added else self.steps[name]

    def result(self, step: str) -> Result | None:
        if step not in self._results:
            row = self._row(step)
            trace = self.workspace.traces.find(row.key) if row else None
            if trace is None:
                raise Missing(f"the result of step {step!r} is not there")
            self._results[step] = result_of(self.workspace, trace, step)
        return self._results[step]

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

    def _row(self, step: str) -> Row | None:
        found = self._rows.get(step)
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
            self._results[name] = None
            self.members[name] = []
            return []
        if not isinstance(part.value, list):
            raise NodeFailure(f"step {name!r}: 'foreach' goes through a list, found {type(part.value).__name__}")
        from wfe.core.fan import expand

        steps = expand(step, part.value)
        self.members[name] = [one.id for one in steps]
        self.added.update({one.id: one for one in steps})
        return steps

    # --- deciding

    def ready(self, name: str) -> bool:
        """Whether everything that the step needs has a result (or was skipped)."""
        return all(other in self.marks or other in self._results for other in self.step(name).needs)

    def decide(self, name: str) -> Pending:
        """What must be done for a step whose needs are all settled. Does nothing yet."""
        pending = self._pending.get(name)
        if pending is None:
            pending = self._pending[name] = self._decide(name)
        return pending

    def _decide(self, name: str) -> Pending:
        step = self.step(name)
        run = Decision(Verdict.RUN)
        if step.absent:
            return Pending(run, skip=step.absent)
        try:
            skip = self._condition(step)
            if skip:
                return Pending(run, skip=skip)
            inputs = inputs_.resolve(step, self, self.digest)
        except (NodeFailure, Missing) as error:
            return Pending(run, failure=Failure("input", str(error)))
        if inputs.skip:
            return Pending(run, skip=inputs.skip)
        manifest = manifest_of(step, inputs.texts)
        key = key_of(manifest)
        row = self._row(name)
        traces = self.workspace.traces
        trace = traces.find(key) if step.options.cache != "never" else None
        stored = trace is not None and traces.whole(trace)
        intact = False
        if row is not None and row.key == key and stored:
            row, intact = self.workspace.intact(row)
        before = traces.find(row.key) if row is not None and row.key != key else None
        facts = Facts(
            key=key,
            manifest=manifest,
            recorded=row.key if row else "",
            before=before.manifest if before else None,
            intact=intact,
            stored=stored,
            age=time.time() - trace.made if trace else 0.0,
            force=name in self.forced or step.parent in self.forced,
        )
        decision = decide(facts, step.options.cache, step.options.ttl)
        if before is not None and any(reason.part == "code" for reason in decision.reasons):
            decision = Decision(
                decision.verdict, diff(before.manifest, manifest, self._code_parts(before.manifest, manifest))
            )
        return Pending(decision, inputs, manifest, key, trace if stored else None, row)

    def _code_parts(self, *manifests: Manifest) -> dict[str, Mapping[str, str]]:
        found = {}
        for manifest in manifests:
            code = dict(manifest)["code"]
            parts = self.workspace.state.get("memo", code, "code")
            if isinstance(parts, dict):
                found[code] = parts
        return found

    def _condition(self, step: Step) -> str:
        """Why a step's `when` keeps it from running, "" when it does not."""
        if step.when is None:
            return ""
        from wfe.core.reference import unescape
        from wfe.core.when import WhenError, evaluate

        values: dict[str, Any] = {}
        shown = []
        for (name,), other, trail in step.when.refs:
            part = inputs_.output(self, other, trail)
            values[str(name)] = None if part is None else part.value
            shown.append(
                f"{'.'.join(['$' + other, *map(str, trail)])} is {value_text(part) if part is not None else 'skipped'}"
            )
        try:
            holds = evaluate(unescape(step.when.value), values)
        except WhenError as error:
            raise NodeFailure(f"step {step.id!r}: 'when': {error}") from None
        text = step.when.value
        for (name,), other, trail in step.when.refs:
            text = text.replace(str(name), ".".join(["$" + other, *map(str, trail)]))
        return "" if holds else f"its condition {text!r} does not hold" + (f" ({', '.join(shown)})" if shown else "")

    # --- performing

    def perform(self, name: str, force: bool = False) -> Outcome:
        """Do what was decided for a step; every end of it is an Outcome. Blocks until the step is done."""
        from wfe.run.action import Action

        pending = self.decide(name)
        self._pending.pop(name, None)
        begin = time.perf_counter()
        step = self.step(name)
        state, failure, attempts = StepState.FAILED, pending.failure, 1
        reasons: tuple[Reason, ...] = pending.decision.reasons
        skip = pending.skip
        if skip:
            state = StepState.SKIPPED
        elif failure is None:
            verdict = pending.decision.verdict
            if force and verdict in (Verdict.CURRENT, Verdict.RESTORE):
                verdict, reasons = Verdict.RUN, (Reason("you asked for it"),)
            if verdict is Verdict.RUN:
                self.tell(StepStarted(name, time.time()))
            done = Action(self, step, pending).do(verdict)
            state, failure, skip, attempts = done.state, done.failure, done.skip, done.attempts
            if done.row is not None:
                self._settle(name, done.row, done.trace)
        if state is StepState.SKIPPED:
            self._results[name] = None
            self.marks[name] = "skipped"
        outcome = Outcome(name, state, time.perf_counter() - begin, reasons, failure, skip, attempts)
        self.end(outcome)
        return outcome

    def _settle(self, name: str, row: Row, trace: Trace | None) -> None:
        self._rows[name] = plain(row)
        self.marks[name] = row.mark
        if trace is not None:
            self._results[name] = result_of(self.workspace, trace, name)
        else:
            self._results.pop(name, None)

    def end(self, outcome: Outcome) -> None:
        """Record what became of a step and tell it."""
        self.outcomes[outcome.step] = outcome
        self.tell(StepFinished(outcome.step, outcome, time.time()))

    def gathered(self, name: str) -> None:
        """A fan is done: its mark is made of those of its steps."""
        self.marks[name] = digest_of([self.marks.get(one, "") for one in self.members[name]])

    # --- after

    def finish(self, chosen: Sequence[str] = (), interrupted: bool = False) -> dict[str, int]:
        """Say what became of steps that never had their turn, count, and tell that the run is over. Idempotent."""
        if self._finished:
            return count(self.outcomes)
        self._finished = True
        wanted = set(chosen) or {*self.index.ids, *self.added}
        wanted.update(one for name in list(wanted) for one in self.members.get(name, ()))
        wanted = {name for name in wanted if self.step(name).fan is None}
        bad = {
            name for name, outcome in self.outcomes.items() if outcome.state in (StepState.FAILED, StepState.BLOCKED)
        }
        for name in self.index.ids if not self.added else [*self.index.ids, *self.added]:
            if name not in wanted or name in self.outcomes:
                continue
            blocked = not interrupted and self._blocked(name, bad)
            if blocked:
                bad.add(name)
            self.end(Outcome(name, StepState.BLOCKED if blocked else StepState.CANCELLED))
        found = {name: outcome for name, outcome in self.outcomes.items() if name in wanted}
        counts = count(found)
        self.tell(RunFinished(self.id, counts, time.time() - self.began, time.time()))
        return counts

    def _blocked(self, name: str, bad: set[str]) -> bool:
        step = self.step(name)
        return any(other in bad or any(member in bad for member in self.members.get(other, ())) for other in step.needs)


def new_id() -> str:
    """A name for a run: its time, and enough of the clock's rest to be the only one."""
    moment = time.time_ns()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(moment / 1e9)) + f"-{moment % 1_000_000_000 // 1000:06d}"
