"""What becomes of a step, and the events by which a run tells about itself. Pure data; nothing here prints or schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

# These are named tuples, not dataclasses: a dataclass is made of text that is compiled at each start, 1 ms of it for one.
NOTHING: Final[Mapping[Any, Any]] = {}


class StepState(Enum):
    """The end of a step in one run."""

    CURRENT = "current"  # its result in the workspace is the one its action key asks for; nothing was done
    RESTORED = "restored"  # the store had the result of this action key; its files were put in place again
    RAN = "ran"  # its function was called and returned
    SKIPPED = "skipped"  # its function raised Skip, its `when` was false, or what it needs was skipped
    FAILED = "failed"  # its function raised, died, timed out, or returned what it must not
    BLOCKED = "blocked"  # not tried, since a step that it depends on failed or was blocked
    CANCELLED = "cancelled"  # it was running or waiting when the run was interrupted


class Reason(NamedTuple):
    """One component of an action key that differs: `part` ("input 'conf'", "code"), old and new value as short texts."""

    part: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        if self.old or self.new:
            return f"{self.part}: {self.old or '(none)'} -> {self.new or '(none)'}"
        return self.part


class Failure(NamedTuple):
    """Why a step failed. `kind` is the exception's type name, or "died", "timeout", "output"; texts are for people.

    inputs: (parameter, short text) of what the step was called with.
    """

    kind: str
    message: str
    traceback: str = ""
    log: str = ""
    inputs: tuple[tuple[str, str], ...] = ()


class Outcome(NamedTuple):
    """What became of one step: state, seconds it took, why, and the failure or the reason of a skip where there is one."""

    step: str
    state: StepState
    seconds: float = 0.0
    reasons: tuple[Reason, ...] = ()
    failure: Failure | None = None
    skip: str = ""
    attempts: int = 1


class RunStarted(NamedTuple):
    """A run begins: its id, the workflow, how many steps it has, and how many may run at once. `time`: Unix seconds.
    pools: name -> size of the pools that its steps take from. current: how many of the steps need nothing done."""

    run: str
    workflow: str
    steps: int
    jobs: int
    time: float
    estimates: Mapping[str, float] = NOTHING  # step -> seconds its last run took
    pools: Mapping[str, float] = NOTHING
    current: int = 0


class FanKnown(NamedTuple):
    """The items of a fan became known: it counted as one step, and is `steps` of them from now on, of which so many are
    current."""

    step: str
    steps: int
    current: int = 0


class StepStarted(NamedTuple):
    """A step begins to run on `worker` (0-based index of the slot). takes: pool -> how much of it."""

    step: str
    time: float
    worker: int = 0
    takes: Mapping[str, float] = NOTHING


class StepProgress(NamedTuple):
    """How far a running step says it is, `done` of `total` (0: unknown)."""

    step: str
    done: float
    total: float = 0.0
    note: str = ""


class StepLine(NamedTuple):
    """One line that a running step printed (`stream` is "stdout" or "stderr")."""

    step: str
    line: str
    stream: str = "stdout"


class StepFinished(NamedTuple):
    """A step is done with."""

    step: str
    outcome: Outcome
    time: float


class Note(NamedTuple):
    """Something worth a line that belongs to no step's result ("Loaded 3/3 required nodes", "Installing 2 ..."). `time`: Unix
    seconds, 0 where it is not known."""

    message: str
    step: str = ""
    time: float = 0.0


class RunFinished(NamedTuple):
    """A run is over. `counts` holds every StepState's value, zero included; `seconds` is wall time."""

    run: str
    counts: Mapping[str, int]
    seconds: float
    time: float


Event = RunStarted | FanKnown | StepStarted | StepProgress | StepLine | StepFinished | Note | RunFinished


class Listener(Protocol):
    """Hears every event of a run, in order, one call at a time (the engine serialises them).

    `close`, if it has that, is called when all is over. One with a method `rest` is told when there is nothing to do for a
    moment; the results that it hears of may stand in the database only then, unless it has `prompt` set. One without may run
    something himself when he hears of a step.
    """

    def hear(self, event: Event) -> None: ...


def count(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """How many steps ended in each state: every state's value is a key."""
    found = Counter(outcome.state.value for outcome in outcomes.values())
    return {state.value: found.get(state.value, 0) for state in StepState}
