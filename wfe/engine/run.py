"""One run of one workflow: what is current, what must be done for a step, and what became of each.

Knows plan, workspace and executors, and tells listeners everything. Does not order steps: the scheduler calls `decide` and
`perform` when a step's turn has come, from any thread.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from wfe.core.outcome import (
    Event,
    FanKnown,
    Listener,
    Note,
    Outcome,
    Reason,
    RunFinished,
    RunStarted,
    StepFinished,
    StepState,
    count,
)
from wfe.core.rebuild import Verdict
from wfe.core.step import Step
from wfe.engine import counted, leftover
from wfe.engine.ahead import Ahead
from wfe.engine.decide import Pending, pending_of
from wfe.engine.forced import unmark
from wfe.engine.gate import ONLY, Gate, Only, Place, sizes
from wfe.engine.index import Index
from wfe.engine.known import Known
from wfe.engine.look import look
from wfe.engine.priority import Priorities
from wfe.engine.telling import Telling
from wfe.engine.workspace import Workspace
from wfe.errors import EnvironmentFailure, NodeFailure, WfeError, WorkflowError
from wfe.store.stamp import Stamp
from wfe.store.traces import Trace

if TYPE_CHECKING:
    from wfe.engine.action import Action, Done
    from wfe.engine.executors import Executors


EMPTY: Final = "it has no items"  # of a fan
_DECIDED: Final = 3  # times that a step is decided about, whose files others write to again and again


class Run(Known):
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
        super().__init__(workspace, index)
        self._make_executors = executors
        self._executors: Executors | None = None
        self._telling = Telling(listeners, self._settle)
        self.jobs = jobs
        self.forced = forced
        self.id = run_id or new_id()
        self.outcomes: dict[str, Outcome] = {}
        self.bugs: list[str] = []  # tracebacks of errors in wfe itself
        self.began = time.time()
        self.chosen: set[str] | None = None  # what was asked for, and all that it needs; None: every step
        self.only: dict[str, set[str]] = {}  # fan -> its steps that were asked for, where it was not asked for itself
        self.everything = False  # whether current steps are performed too
        self.pending: dict[str, Pending] = {}  # what was decided for steps that are not done yet
        self.goes_on = True  # whether steps are begun after one that failed
        self.stopping = threading.Event()  # set when the run was asked to end
        self._pools = {**self.plan.pools, **(pools or {})}
        self._gate: Gate | None = None
        self.priorities = Priorities(self)
        self._making = threading.RLock()
        self._remaking = threading.RLock()
        self.begun = False  # whether steps may be performed; else they are only looked at
        self._finished = False
        self.ahead = Ahead(self)
        self._aside: dict[str, Action] = {}  # steps that wait for another attempt, or for another run
        self.seat = 0  # how many other runs of this cache were live when this one began
        self._seated = contextlib.ExitStack()
        self._sat = False

    @property
    def executors(self) -> Executors:
        """Where functions are called; made when the first step needs it, since a run that finds all current needs none."""
        if self._executors is not None:
            return self._executors
        with self._making:
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

    def interrupted(self) -> bool:
        """Asked by the handler of a signal: whether `stop` wants it to interrupt what runs in the main thread itself."""
        return self._executors is not None and self._executors.interrupted()

    def close(self) -> None:
        """End the workers, and give the seat up; nothing begins any more."""
        if self._gate is not None:
            self._gate.shut()
        if self._executors is not None:
            self._executors.close()
        self._seated.close()

    def sit(self) -> None:
        """Take a seat among the live runs of this cache, and let workers start: before the scheduler is made ready.
        Idempotent."""
        if self._sat:
            return
        self._sat = True
        claims = self.workspace.claims
        if claims is not None:
            self.seat = self._seated.enter_context(claims.seat())
            # doit tells nobody that it will not run anything, after a step's name that is none; when the modules are
            # taken down, a seat cannot be given up any more.
            weakref.finalize(self, self._seated.close)
        self._warm()

    # --- telling

    @property
    def listeners(self) -> list[Listener]:
        """Who hears of what is done."""
        return self._telling.listeners

    def tell(self, event: Event, held: bool = False) -> None:
        """As in Telling."""
        self._telling.tell(event, held)

    def rest(self, held: bool = False) -> None:
        """There is nothing to do for a moment: write what waits to be written. Callable from any thread; held: as in Telling."""
        self._settle()
        self._telling.tell(None, held)

    def _settle(self) -> None:
        with contextlib.suppress(EnvironmentFailure):  # it stands in the journal, and is tried again
            self.workspace.state.settle()

    def note(self, message: str, step: str = "", held: bool = False) -> None:
        self.tell(Note(message, step, time.time()), held)

    # --- before

    def open(self) -> None:
        """Look at every step, and begin."""
        self.rows = self.workspace.traces.rows(self.workflow)
        base = f"{self.workspace.project.root}{os.sep}"
        marks, renewed, fans = look(self.index, self.rows, base, self.renew, self.names_of)
        if self.forced:
            unmark(self, marks)
        self.marks.update(marks)
        self.members = {name: list(names) for name, names in fans.items() if name in marks}
        if renewed:
            self.rows.update(renewed)
            self.workspace.state.set_all(("step", name, row, self.workflow) for name, row in renewed.items())
        for name in self.marks:
            if not fans.get(name):
                self.outcomes[name] = Outcome(name, StepState.CURRENT, skip=EMPTY if name in fans else "")

    def check(self, everything: bool = False) -> None:
        """Raises WorkflowError when a step asks for more than a pool has, EnvironmentFailure when the cache lies where files
        cannot be locked; neither where all is current, unless `everything` is to be run."""
        self.everything = everything
        if self._open():
            _ = self.gate, self.workspace.claims

    def _open(self) -> bool:
        return self.everything or any(name not in self.marks for name in self.index.ids)

    def start(self) -> None:
        """Tell that the run begins."""
        self.begun = True
        open_ = self._open()
        if open_:
            self.workspace.gather()
            self.workspace.traces.remember(sum(1 for name in self.index.ids if self._is_open(name)))
        estimates = {name: row[5] for name, row in self.rows.items() if self._is_open(name)} if open_ else {}
        pools = self.gate.pools if open_ else {}
        steps, current = counted.counts(self)
        self.tell(RunStarted(self.id, self.workflow, steps, self.jobs, self.began, estimates, pools, current))
        if self.workspace.state.note:
            self.note(self.workspace.state.note)

    def _is_open(self, name: str) -> bool:
        return counted.asked(self, name) and (self.everything or name not in self.marks)

    def _warm(self) -> None:
        """Let workers start while the scheduler is made ready: both take as long. Only when a step will surely be run, for one
        that was never done, or was, from other inputs; after a changed parameter all may be restored."""
        new = []
        for name, static in zip(self.index.ids, self.index.statics, strict=True):
            row = None if name in self.marks else self.rows.get(name, ())
            if row == () or (row and row[0] == static):
                new.append(self.steps[name])
                if len(new) == self.jobs:
                    break
        with contextlib.suppress(WfeError):  # told by the step that needs it
            if new:
                self.executors.warm(new)

    def expand(self, name: str) -> list[Step]:
        """As in Known; told when it is news."""
        news = self.begun and name not in self.members
        steps = super().expand(name)
        if news and steps and counted.asked(self, name):
            self.tell(FanKnown(name, *counted.counts_of(self, name)))
        return steps

    def choose(self, names: Sequence[str]) -> None:
        """Let the run be of these steps and all that they need; of a fan perhaps of some of its steps. Raises WorkflowError for
        a name that no step has."""
        fans = [name.partition("[")[0] for name in names]
        self.chosen = self.plan.select(fans)
        for name, fan in zip(names, fans, strict=True):
            self.check_item(name, fan)
        self.only = {}
        for fan in set(fans) - set(names):
            # What needs the fan needs all of its steps.
            if fan not in self.plan.select([one for one in fans if one != fan]):
                self.only[fan] = {name for name, of in zip(names, fans, strict=True) if of == fan}

    @property
    def wanted(self) -> Collection[str]:
        """The steps of the plan that were chosen: all of them, if none were."""
        return self.index.ids if self.chosen is None else self.chosen

    def check_item(self, name: str, fan: str) -> None:
        """Raises WorkflowError for a step of a fan that is none, or whose items are known and that has no such step. What another
        has is known at its turn, and told then."""
        known = self.members.get(fan)
        if name != fan and (self.steps[fan].fan is None or (known is not None and name not in known)):
            raise WorkflowError([self.plan.no_step(name, [fan, *(known or ())])])

    def has_all(self, fan: str, more: Sequence[str] = ()) -> None:
        """Raises NodeFailure when a fan whose items are known lacks a step that was asked for, to be run or to be forced."""
        forced = [name for name in self.forced if name.startswith(f"{fan}[")]
        known = self.members.get(fan, ())
        missing = sorted({*self.only.get(fan, ()), *forced, *more} - set(known))
        if missing:
            raise NodeFailure(self.plan.no_step(missing[0], known))

    # --- deciding

    def digest(self, path: str) -> tuple[Stamp, str]:
        """As in Known; raises TooLong as in Ahead, before a step's turn."""
        early = self.ahead.looking == threading.get_ident()
        return self.ahead.digest(path) if early else super().digest(path)

    def decide(self, name: str) -> Pending:
        """What must be done for a step whose needs are all settled. Does nothing yet."""
        pending = self.pending.get(name)
        if pending is None:
            pending = self.pending[name] = pending_of(self, name, self.is_forced(self.step(name)))
        return pending

    def is_current(self, name: str) -> bool:
        """Whether there is nothing to do for a step whose turn has come."""
        if name in self.marks:
            return name not in self.forced
        if self.jobs > 1 and name not in self.pending:
            self.ahead.decide_on(name)
        return (name in self.pending or self.ready(name)) and self.decide(name).decision.verdict is Verdict.CURRENT

    # --- performing

    @functools.cached_property
    def action(self) -> Callable[[Step, Pending], Action]:
        """What makes the action of a step; imported by the first that is performed, since all may be current."""
        from wfe.engine.action import Action

        return functools.partial(Action, self)

    def perform(self, name: str, force: bool = False) -> Outcome:
        """Do what was decided for a step; every end of it is an Outcome. Blocks until the step is done."""
        outcome = self.try_to(name, force, patient=True)
        assert outcome is not None
        return outcome

    def try_to(self, name: str, force: bool, *, patient: bool) -> Outcome | None:
        """The same, but patient says whether to wait where another run is just making the step's result, or for its next
        attempt: if not, it is None then, and the step is to be tried again after `free` said so."""
        early = self.ahead.early.pop(name, None)
        if early is not None:
            return early
        if self.stopping.is_set() and not self.ahead.runs(name):
            outcome = Outcome(name, StepState.CANCELLED)
        else:
            found = self._perform(name, self.decide(name), force, patient)
            if found is None:
                return None
            outcome = found
        self.pending.pop(name, None)
        if outcome.state is StepState.SKIPPED:
            self.skip(name)
        self.end(outcome)
        return outcome

    def _perform(self, name: str, pending: Pending, force: bool, patient: bool = True) -> Outcome | None:
        action: Action | None = None
        left = _DECIDED
        while True:
            left -= 1
            verdict, reasons = pending.decision.verdict, pending.decision.reasons
            if pending.skip:
                return Outcome(name, StepState.SKIPPED, skip=pending.skip)
            if pending.failure is not None:
                return Outcome(name, StepState.FAILED, failure=pending.failure)
            if force and verdict is not Verdict.RUN:
                verdict, reasons = Verdict.RUN, (Reason("you asked for it"),)
            ready = self.ahead.take(name)
            action = action or self._aside.pop(name, None) or ready or self.action(self.step(name), pending)
            action.wary = left > 0
            if verdict is Verdict.RUN:
                done = self._turns(action, force or self.is_forced(action.step), patient)
            else:
                done = action.do(verdict)
            if done is None:
                self._aside[name] = action
                return None
            if not done.outdated:
                break
            self.note("a file that it reads was written to meanwhile; it is decided about again", name)
            self.stopping.wait(0.03)  # or its stamp would prove nothing yet, and a step after it may write there too
            pending = self.pending[name] = action.pending = pending_of(self, name, self.is_forced(action.step))
        if done.row is not None:
            self.settle(name, done.row, done.trace)
        seconds = time.perf_counter() - action.began
        return Outcome(name, done.state, seconds, reasons, done.failure, done.skip, done.attempts)

    def _turns(self, action: Action, forced: bool, patient: bool) -> Done | None:
        """Let a step run, in as many turns as it takes: while it waits for its next attempt, or for another run that is
        making the same result, others have its place."""
        action.forced = forced
        while True:
            try:
                wrong = action.prepare()
                if wrong is not None:
                    return wrong
                with action.place or self.place(action) as place:
                    if place.number < 0 or (self.stopping.is_set() and not action.begun):
                        return action.cancelled()
                    action.place = place
                    done = action.do(Verdict.RUN)
                    if not self.goes_on and done is not None and done.failure is not None and done.pause is None:
                        self.halt()  # before the place is given to a step that waits for it
            except BaseException:  # a listener's, perhaps: nobody must wait for this key as long as this process lives
                action.unclaim()
                raise
            finally:
                action.release()
            if done is not None and done.pause is None:
                return done
            action.due = 0.0 if done is None or done.pause is None else time.monotonic() + done.pause
            if not patient:
                return None
            self.free([action.step.id], {action.step.id: action})
            self.ahead.take(action.step.id)  # what was begun when it returned has the only worker

    def place(self, action: Action) -> Place | Only:
        """A place for a step, to be waited for."""
        step = action.step
        if self.jobs == 1 and not step.options.resources:
            return ONLY
        return self.gate.enter(self.priorities.of(step), step.options.resources, self.stopping, action.begin_at_once)

    def free(self, names: Sequence[str], aside: Mapping[str, Action] | None = None) -> str:
        """Wait until one of these steps, which were put aside, may be tried again: that one. Any of them when the run was
        asked to end."""
        self.rest()  # the claims of what is done are given up then, for which somebody may be waiting
        found = [(aside or self._aside)[name] for name in names]
        resting = min((one for one in found if one.due), key=lambda one: one.due, default=None)
        seconds = float("inf") if resting is None else max(resting.due - time.monotonic(), 0.0)
        claimed = {one.pending.key: one for one in found if not one.due}
        claims = self.workspace.claims
        if not claimed or claims is None:
            assert resting is not None
            self.stopping.wait(seconds)
            return resting.step.id
        first = next(iter(claimed.values()))
        key = claims.wait(list(claimed), self.stopping, seconds, first.waits)
        return claimed[key].step.id if key or resting is None else resting.step.id

    def remade(self, name: str) -> Trace:
        """Make a step again whose row stands though its trace does not: the look at every step reads no traces."""
        if not self.begun or self.ahead.looking == threading.get_ident():
            return super().remade(name)  # `doit info` must not run anything
        with self._remaking:
            found = self.trace(name)
            if found is None:
                row = self.row(name)
                anew = row is not None and self.workspace.traces.find(row.key) is not None
                self.note(f"its stored result was {'made anew' if anew else 'damaged; it is made again'}", name)
                self.workspace.gather()
                outcome = self._perform(name, pending_of(self, name, not anew), not anew)
                assert outcome is not None
                self.end(outcome)
                found = self.trace(name)
                if found is None:
                    what = outcome.failure.message if outcome.failure else outcome.skip or outcome.state.value
                    raise NodeFailure(f"the result of step {name!r} was damaged, and could not be made again: {what}")
            return found

    def is_forced(self, step: Step) -> bool:
        return step.id in self.forced or step.parent in self.forced

    @property
    def gate(self) -> Gate:
        """Who may run now. Raises WorkflowError when a step asks for more than a pool has."""
        with self._making:
            if self._gate is None:
                # Of current steps too: one whose result was damaged is made again.
                asked = {name: self.steps[name].options.resources for name in self.index.ids}
                self._gate = Gate(self.jobs, sizes(self._pools, asked))
            return self._gate

    def halt(self) -> None:
        """Begin no further step; what runs goes on. Callable from any thread."""
        self.gate.shut()
        self.hold()

    def hold(self) -> bool:
        """Let no worker begin by itself what was sent to it already; True. Callable from any thread."""
        if self._executors is not None:
            self._executors.hold()
        return True

    def end(self, outcome: Outcome) -> None:
        """Record what became of a step and tell it."""
        self.outcomes[outcome.step] = outcome
        self.tell(StepFinished(outcome.step, outcome, time.time()))

    # --- after

    def finish(self, interrupted: bool = False) -> dict[str, int]:
        """Say what became of steps that never had their turn, count, and tell that the run is over. Idempotent."""
        if self._finished:
            return count(self.outcomes)
        interrupted = interrupted or self.stopping.is_set()
        self._finished = True
        self.ahead.drop()
        wanted = counted.each(self)
        bad = {
            name for name, outcome in self.outcomes.items() if outcome.state in (StepState.FAILED, StepState.BLOCKED)
        }
        for name in [*self.index.ids, *self.added]:
            if name not in wanted or name in self.outcomes:
                continue
            blocked = not interrupted and self._blocked(name, bad)
            if blocked:
                bad.add(name)
            self.end(Outcome(name, StepState.BLOCKED if blocked else StepState.CANCELLED))
        leftover.tell(self, bad)
        found = {
            name: outcome
            for name, outcome in self.outcomes.items()
            if name in wanted or outcome.state is StepState.FAILED  # a fan, perhaps: of no such step
        }
        counts = count(found)
        self.rest()  # whoever hears that it is over finds everything
        self._telling.end(RunFinished(self.id, counts, time.time() - self.began, time.time()))
        return counts

    def _blocked(self, name: str, bad: set[str]) -> bool:
        step = self.step(name)
        return any(other in bad or any(member in bad for member in self.members.get(other, ())) for other in step.needs)


def new_id() -> str:
    """A name for a run: its time, and enough of the clock's rest to be the only one."""
    moment = time.time_ns()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(moment / 1e9)) + f"-{moment % 1_000_000_000 // 1000:06d}"
