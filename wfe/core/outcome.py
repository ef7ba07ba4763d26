"""What becomes of a step, and the events by which a run tells about itself. Pure data; nothing here prints or schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class StepState(Enum):
    """The end of a step in one run."""

    CURRENT = "current"  # its result in the workspace is the one its action key asks for; nothing was done
    RESTORED = "restored"  # the store had the result of this action key; its files were put in place again
    RAN = "ran"  # its function was called and returned
    SKIPPED = "skipped"  # its function raised Skip, its `when` was false, or what it needs was skipped
    FAILED = "failed"  # its function raised, died, timed out, or returned what it must not
    BLOCKED = "blocked"  # not tried, since a step that it depends on failed or was blocked
    CANCELLED = "cancelled"  # it was running or waiting when the run was interrupted


@dataclass(frozen=True, slots=True)
class Reason:
    """One component of an action key that differs: `part` ("input 'conf'", "code"), old and new value as short texts."""

    part: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        if self.old or self.new:
            return f"{self.part}: {self.old or '(none)'} -> {self.new or '(none)'}"
        return self.part


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed. `kind` is the exception's type name, or "died", "timeout", "output"; texts are for people.

    inputs: (parameter, short text) of what the step was called with.
    """

    kind: str
    message: str
    traceback: str = ""
    log: str = ""
    inputs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step: state, seconds it took, why, and the failure or the reason of a skip where there is one."""

    step: str
    state: StepState
    seconds: float = 0.0
    reasons: tuple[Reason, ...] = ()
    failure: Failure | None = None
    skip: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins: its id, the workflow, how many steps it has, and how many may run at once. `time`: Unix seconds.
    pools: name -> size of the pools that its steps take from."""

    run: str
    workflow: str
    steps: int
    jobs: int
    time: float
    estimates: Mapping[str, float] = field(default_factory=dict)  # step -> seconds its last run took
    pools: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins to run on `worker` (0-based index of the slot). takes: pool -> how much of it."""

    step: str
    time: float
    worker: int = 0
    takes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a running step says it is, `done` of `total` (0: unknown)."""

    step: str
    done: float
    total: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepLine:
    """One line that a running step printed (`stream` is "stdout" or "stderr")."""

    step: str
    line: str
    stream: str = "stdout"


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step is done with."""

    step: str
    outcome: Outcome
    time: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line that belongs to no step's result ("Loaded 3/3 required nodes", "Installing 2 ...")."""

    message: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over. `counts` holds every StepState's value, zero included; `seconds` is wall time."""

    run: str
    counts: Mapping[str, int]
    seconds: float
    time: float


Event = RunStarted | StepStarted | StepProgress | StepLine | StepFinished | Note | RunFinished


class Listener(Protocol):
    """Hears every event of a run, in order, one call at a time (the engine serialises them)."""

    def hear(self, event: Event) -> None: ...


def count(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """How many steps ended in each state: every state's value is a key."""
    found = Counter(outcome.state.value for outcome in outcomes.values())
    return {state.value: found.get(state.value, 0) for state in StepState}
