"""Perform one step: restore its result, or call its function, publish what it left and record it.

Knows the order in which these must happen for a kill at any moment to lose at most this step. Does not decide what is to
be done, and does not know which step comes next.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from wfe.core.amount import amount
from wfe.core.digest import canonical, digest
from wfe.core.outcome import NOTHING, Failure, StepLine, StepProgress, StepStarted, StepState
from wfe.core.rebuild import Verdict
from wfe.core.retry import Retry
from wfe.core.step import Step
from wfe.engine.executor import Call, Died, Outdated, Raised, Reply, Returned, Skipped
from wfe.engine.gate import ONLY, Only, Place
from wfe.engine.inputs import holes_of, said_of, staged
from wfe.engine.left import Looks, bequest
from wfe.engine.returned import BadReturn, result_of
from wfe.engine.workspace import REMOVED
from wfe.errors import EnvironmentFailure, WfeError
from wfe.store.hashing import DIRECTORY
from wfe.store.traces import File, Row, Trace

if TYPE_CHECKING:
    from wfe.engine.decide import Pending
    from wfe.engine.run import Run
    from wfe.store.claims import Claim


_AT_ONCE: Final = 0.005  # seconds that it takes at most to read a reply
_LONG: Final = 100  # characters of an input in the words about a failure
_TOLD: Final = 4000  # characters of the traceback of an attempt that is followed by another


@dataclass(slots=True)
class Done:
    """How performing a step ended."""

    state: StepState
    row: Row | None = None
    trace: Trace | None = None
    failure: Failure | None = None
    skip: str = ""
    attempts: int = 1
    pause: float | None = None  # seconds after which it is to be tried again
    outdated: bool = False  # nothing was done: a file that it reads was written to since it was decided about


class Action:
    """One step of one run."""

    def __init__(self, run: Run, step: Step, pending: Pending) -> None:
        self.run = run
        self.step = step
        self.pending = pending
        self.workspace = run.workspace
        self.log = self.workspace.log_file(run.workflow, step.id)
        self.place: Place | Only | None = None  # where it runs; given back as soon as the function has returned
        self.attempts = 0
        self.began = time.perf_counter()
        self._free = 0.0  # from when on there was nothing to do but to wait for its reply
        self.due = 0.0  # time.monotonic() from which on it may be tried again; 0 while another run makes its result
        self.forced = False
        self.printed = False  # whether it has printed something
        self._started = False  # whether its start was told
        self.wary = True  # whether to look at its files once more just before it is called
        self._staging = ""
        self._soiled = False  # whether something may have been left there
        self._places: Mapping[str, str] = {}
        self._call: Call | None = None
        self._claim: Claim | None = None
        self._alone = False  # whether nobody had made the result when the claim was taken

    def do(self, verdict: Verdict) -> Done | None:
        """Bring the step to its end, or, where it must be tried again after a while, to that of an attempt.

        None: another run is making its result just now. Waits for neither: whoever waits should hold no place.
        """
        if not self.attempts and not self.begun:
            self.began = time.perf_counter()
        if verdict is Verdict.CURRENT:
            return self._told(self.current)
        return self._told(self.restore if verdict is Verdict.RESTORE else self.execute)

    def prepare(self) -> Done | None:
        """Make ready what the function is called with, before there is a place for it. Not None when that failed."""
        return self._told(self._prepare) if self._call is None else None

    def _told(self, act: Callable[[], Done | None]) -> Done | None:
        """How it ended; errors of the surroundings as a failure."""
        try:
            done = act()
        except EnvironmentFailure as error:
            done = Done(StepState.FAILED, failure=Failure("environment", str(error), log=self._log()))
        except OSError as error:
            told = f"{error.strerror or error}: {error.filename or self.workspace.project.cache}{self.workspace.advice(error)}"
            done = Done(StepState.FAILED, failure=Failure("environment", told))
        if done is not None:
            done.attempts = max(self.attempts, 1)
            if done.failure is not None:
                done.failure = done.failure._replace(inputs=self.shown())
        return done

    def current(self) -> Done:
        """The workspace has it; only what the row remembers of the way there may be out of date."""
        pending = self.pending
        assert pending.row is not None
        made = tuple(one for one in pending.row.files if one.role != "in")
        read = tuple(
            File(path, "in", taken.plain(), content) for path, (taken, content) in pending.inputs.files.items()
        )
        row = pending.row._replace(
            static=self.run.static(self.step), ups=self.run.ups(self.step), files=(*read, *made), at=time.time()
        )
        self.workspace.traces.save(self.run.workflow, self.step.id, row, None)
        return Done(StepState.CURRENT, row, pending.trace)

    def restore(self) -> Done:
        trace = self.pending.trace
        assert trace is not None
        return Done(StepState.RESTORED, self.publish(trace, fresh=False), trace)

    def publish(self, trace: Trace, fresh: bool, written: File | None = None) -> Row:
        run, pending = self.run, self.pending
        if fresh and (pending.trace is not None or self.step.options.cache == "never"):
            self.workspace.traces.outdate(pending.key, trace.mark)
        return self.workspace.publish(
            run.workflow,
            self.step.id,
            run.static(self.step),
            pending.key,
            trace,
            pending.inputs,
            run.ups(self.step),
            fresh,
            written,
        )

    # --- running

    def _prepare(self) -> None:
        self._staging = self.workspace.take_staging()
        self._places = staged(self.pending.inputs, self._staging)
        for path in self._places.values():
            os.makedirs(os.path.dirname(path), exist_ok=True)
        files = self.pending.inputs.files
        for path in self.pending.inputs.published:
            taken, content = files[path]
            files[path] = self.workspace.put_back(path, taken, content), content
        module, _, function = self.step.function.rpartition(".")
        options = self.step.options
        looks = self._as_decided() if self.wary else ()
        self._call = Call(
            step=self.step.id,
            module=module,
            function=function,
            root=str(self.workspace.project.root),
            inputs=self.pending.inputs.tree,
            said=said_of(self.pending.inputs),
            holes=holes_of(self.pending.inputs, self._staging, self.workspace.absolute),
            staging=self._staging,
            log=self.log,
            # A file that it is to write becomes a part of the result only here.
            result=""
            if self._places or not self.run.ahead.worker_writes()
            else self.workspace.result_place(self.run.workflow, self.step.id),
            code=self.step.code,
            seed=options.seed,
            timeout=options.timeout,
            lasts=self.run.ahead.lasts(self),
            files=looks,
            bequest=self._bequest(looks),
        )

    def _bequest(self, looks: Looks) -> str:
        """What a worker is to leave with its reply; "" where nobody could tell later what that is worth."""
        pending = self.pending
        given = pending.inputs.files
        if self._places or not self.wary or self.step.options.cache == "never" or len(looks) < len(given):
            return ""
        proved = self.run.proof(self.step)
        if not proved or (given and not all(taken.settled for taken, _ in given.values())):
            return ""
        step = (self.run.workflow, self.step.id)
        return bequest(self.workspace.heir, step, pending.key, pending.told, looks, proved)

    def _as_decided(self) -> Looks:
        """The files that it reads, as they were. Not directories, whose own times change with what lies in them for a moment."""
        files = self.pending.inputs.files.items()
        return tuple(
            (self.workspace.absolute(path), *taken[:4])
            for path, (taken, content) in files
            if not content.startswith(DIRECTORY)
        )

    def release(self) -> None:
        """Give back what one turn had, after it: the next one is prepared anew."""
        if self._staging:
            self.workspace.give_staging(self._staging, self._soiled)
        self._staging, self._soiled = "", False
        self._call = None
        self.place = None

    def begin_at_once(self, place: Place | Only) -> None:
        """Send the call, now that there is a place for it. Callable from any thread."""
        began = time.perf_counter()
        if self.may_begin():
            with contextlib.suppress(WfeError, OSError):
                self.run.executors.begin(self.step, self.call_in(place))
            if self.begun:
                self.began = began
                self.tell_started(place)
            else:
                self.unclaim()

    def go_on(self) -> None:
        """The step before has just returned, where one runs at a time: send the call, or tell that it runs by now."""
        if self.begun:
            self.began = time.perf_counter()
            self.tell_started(ONLY)
        elif not self.step.options.resources:
            self.begin_at_once(ONLY)

    @property
    def begun(self) -> bool:
        """Whether its call is on its way, or was answered, and nobody has asked for the reply yet."""
        return self._call is not None and self._call.sent

    def may_begin(self) -> bool:
        """Whether nothing holds it up: nobody else makes the result, or has made it meanwhile. Then its claim is held. What goes
        wrong here is met again, and told, when the step itself goes on."""
        if self._alone:
            return not self.run.stopping.is_set()
        with contextlib.suppress(WfeError, OSError):
            if self.may_claim() and self.newer() is None:
                self._alone = self._claim is not None
                return True
        self.unclaim()
        return False

    def may_claim(self) -> bool:
        """The same, where the result may have been made meanwhile."""
        return not self.attempts and self._call is not None and not self.run.stopping.is_set() and self.claim()

    def call_in(self, place: Place | Only) -> Call:
        """The call, told of the slots that it has there; the same object each time, by which a call that was sent is known."""
        assert self._call is not None
        if place.slots and self._call.slots != place.slots:
            self._call = replace(self._call, slots=place.slots)
        return self._call

    def tell_started(self, place: Place | Only) -> None:
        """Tell that it begins, once."""
        if self._started:
            return
        self._started = True
        takes = (
            {pool: amount(given) for pool, given in self.step.options.resources}
            if self.step.options.resources
            else NOTHING
        )
        self.run.tell(StepStarted(self.step.id, time.time(), place.number, takes), held=True)

    def claim(self) -> bool:
        """Hold the claim of the key; whether nobody else does."""
        claims = self.workspace.claims
        if claims is None or self.step.options.cache == "never" or self._claim is not None:
            return True
        claim = claims.hold(self.pending.key)
        if claim.take():
            self._claim = claim
        return self._claim is not None

    def unclaim(self) -> None:
        claim, self._claim, self._alone = self._claim, None, False
        claims = self.workspace.claims
        if claim is not None and claims is not None:
            self.workspace.state.then(claims.give, claim.leave())  # not before others can see the result

    def newer(self) -> Trace | None:
        """The result, if another run made it since this step was decided: it may have been here and gone."""
        if self.forced or self._claim is None:
            return None
        before = self.pending.trace
        key = self.pending.key
        trace = self.workspace.traces.find(key) if self.workspace.made([key]) else None
        if trace is None or not (before is None or trace.made > before.made):
            return None
        return trace if self.workspace.traces.whole(trace) else None

    def execute(self) -> Done | None:
        """Make the result, unless another run is just making it."""
        if not self.claim():
            return None
        try:
            trace = None if self.begun else self.newer()
            if trace is not None:
                self.pending.trace = trace
                return self.restore()
            return self.again(self.attempt())
        finally:
            self.unclaim()

    def again(self, done: Done) -> Done:
        """Say after which pause to try again, if `retries` allows it."""
        if done.failure is None:
            return done
        retry = Retry.of(self.step.options.retries)
        if not self.run.stopping.is_set() and retry.again(self.attempts, done.failure.kind, self._bases):
            done.pause = retry.pause(self.attempts)
            first = done.failure.message.partition("\n")[0]
            told = f"{done.failure.kind}: {first}; trying again in {done.pause:g} s"
            self.run.note(told, self.step.id, held=True)
            self._keep(f"{done.failure.traceback[-_TOLD:]}[attempt {self.attempts}: {told}]\n")
        return done

    def cancelled(self) -> Done:
        """It was not begun, since the run was asked to end."""
        return Done(StepState.CANCELLED)

    def waits(self) -> None:
        """Say that another run is making the result."""
        self.run.note("it is being made already; waiting for that", self.step.id)

    _bases: tuple[str, ...] = ()

    def attempt(self) -> Done:
        """Call the function."""
        self.attempts += 1
        place = self.place
        assert place is not None
        call = self.call_in(place)
        if self.attempts == 1:
            self.workspace.drop_log(self.log)
        self.tell_started(place)
        ahead = call.sent
        asked = time.perf_counter()
        executor = self.run.executors.of(self.step)
        try:
            reply = executor.call(call, self.emit)
        except EnvironmentFailure:  # no worker came up
            self._suspect()
            raise
        now = time.perf_counter()
        if ahead and now - asked < _AT_ONCE:
            # The reply was there: how long it lay here, while the result of the step before was stored, nobody knows.
            self.began = max(self.began, now - reply.seconds)
        if self._places or not isinstance(reply, Returned) or reply.holes:
            self._soiled = True
        if isinstance(reply, Returned):
            self.run.ahead.took(self, reply.seconds)
            self.run.ahead.waited(now - self._free)
            self.run.ahead.hand_on()
            place.hand_on()
        return self.end(reply, self._places, self._staging)

    def end(self, reply: Reply, places: Any, staging: str) -> Done:
        self._bases = ()
        if isinstance(reply, Returned):
            changed = self.changed(reply)
            if changed:
                return self.refused(reply, "changed", changed)
            try:
                result = result_of(self.step, reply, places, self.workspace, self.pending.key)
            except BadReturn as error:
                if self._robbed(staging):
                    return self.refused(reply, "environment", f"{error}; {REMOVED}")
                return self.refused(reply, "output", str(error))
            trace = self.workspace.traces.trace_of(
                result, reply.text or result.text(), staging, self.pending.manifest, reply.seconds, time.time()
            )
            written = None
            if reply.stat is not None:
                # Nothing was proved by stat so soon after it was written: it is looked at again.
                name = self.workspace.result_file(self.run.workflow, self.step.id)
                content = digest(reply.text.encode("utf-8", "surrogatepass") + b"\n")
                written = File(name, "out", (*reply.stat, False), content)
            return Done(StepState.RAN, self.publish(trace, fresh=True, written=written), trace)
        if isinstance(reply, Skipped):
            return Done(StepState.SKIPPED, skip=reply.reason)
        if isinstance(reply, Raised | Died) and reply.kind not in ("refused", "cancelled"):
            self._suspect()
        if isinstance(reply, Raised):
            self._bases = reply.bases
            if reply.kind == FileNotFoundError.__name__ and self._robbed(staging):
                failure = Failure("environment", f"{reply.message}; {REMOVED}", log=self._log())
                return Done(StepState.FAILED, failure=failure)
            return Done(StepState.FAILED, failure=Failure(reply.kind, reply.message, reply.traceback, self._log()))
        if isinstance(reply, Outdated):
            self.attempts -= 1
            return Done(StepState.CANCELLED, outdated=True)
        assert isinstance(reply, Died)
        state = StepState.CANCELLED if reply.kind == "cancelled" else StepState.FAILED
        return Done(
            state, failure=Failure(reply.kind, reply.message, log=self._log()) if state is StepState.FAILED else None
        )

    def _robbed(self, staging: str) -> bool:
        """Whether a place in the cache is gone that the call was given: the function's author knows none of them."""
        own = [hole.path for hole in self._call.holes if hole.codec not in ("path", "output")] if self._call else []
        return not all(map(os.path.exists, (staging, *own)))

    def _suspect(self) -> None:
        """Look whether it failed for what somebody did to its environment."""
        why = self.run.executors.suspect(self.step)
        if why:
            told = f"its environment is damaged: {why}; the next run makes it anew, and so does `wfe env sync`"
            self.run.note(told, self.step.id, held=True)

    def refused(self, reply: Returned, kind: str, why: str) -> Done:
        """What it returned is no result: nor may it stand where one is looked for."""
        if reply.stat is not None and self._call is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._call.result)
        return Done(StepState.FAILED, failure=Failure(kind, why, log=self._log()))

    def changed(self, reply: Returned) -> str:
        """What changed under the step while it ran; "" when nothing did: its result belongs to no known content then."""
        for path, (taken, content) in self.pending.inputs.files.items():
            if reply.still and taken.settled and self.wary and not content.startswith(DIRECTORY):
                continue  # as the worker saw; by now the step after it may have written there
            if not self.workspace.files.at_rest(path, taken, content):
                return f"its input {path} changed while it ran; its result was not kept: run again"
        source = self.run.changed_source(self.step, reply.at)
        return f"its source {source} while it ran; its result was not kept: run again" if source else ""

    def shown(self) -> tuple[tuple[str, str], ...]:
        """The step's inputs as a person would name them: paths for files, the start of long values."""
        inputs = self.pending.inputs
        found = []
        for name, text in inputs.texts:
            paths = [hole.path for hole in inputs.holes if hole.trail[0] == name and hole.codec == "path"]
            if name in inputs.outputs:
                text = f"to be written: {inputs.outputs[name]}"
            elif paths:
                text = ", ".join(paths[:3]) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")
            elif text.startswith("#") and inputs.tree.get(name) is not None:
                text = canonical(inputs.tree.get(name))
            found.append((name, text if len(text) <= _LONG else f"{text[:_LONG]}..."))
        return tuple(found)

    def emit(self, kind: str, what: dict[str, Any]) -> None:
        """What a running call says, as events."""
        step = self.step.id
        if kind == "sent":
            self.run.ahead.look(self)
            self._free = time.perf_counter()
        elif kind == "waits":
            self.run.ahead.let_go()
            self.run.rest(held=True)
        elif kind == "progress":
            self.run.tell(StepProgress(step, what["done"], what.get("total") or 0.0, what.get("note", "")), held=True)
        elif kind == "line":
            self.printed = True
            self.workspace.logs.add(self.log)
            self.run.tell(StepLine(step, what["line"], what.get("stream", "stdout")), held=True)
        elif kind == "note":
            self.run.note(what["message"], step, held=True)

    def _keep(self, text: str) -> None:
        """Add to the log, of which the next attempt's is a part. It is for people: a disk that is full is told elsewhere."""
        self.workspace.logs.add(self.log)
        with contextlib.suppress(OSError), open(self.log, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)

    def _log(self) -> str:
        return os.path.relpath(self.log, self.workspace.project.root) if os.path.exists(self.log) else ""
