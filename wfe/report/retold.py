"""A whole run put together from its events, as reports that look back need it.

Knows what each step went through and when. Does not know files or forms of output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wfe.core.outcome import (
    Event,
    Note,
    Outcome,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    StepState,
)


@dataclass(slots=True)
class Stay:
    """One step in a run: when it began on which slot, when it ended, and how. Times are Unix seconds.

    began: None when nothing of it ran (current, blocked). ended and outcome: None when the run stopped before its end.
    """

    step: str
    began: float | None = None
    worker: int = 0
    ended: float | None = None
    outcome: Outcome | None = None

    @property
    def state(self) -> str:
        """The state's value, or "unfinished"."""
        return self.outcome.state.value if self.outcome else "unfinished"


@dataclass(slots=True)
class Retold:
    """A run: its first event's facts, every step in the order of the first event about it, notes, and how it ended.

    counts and seconds are those of the last event; of a run without one (it was killed), those that can be told from
    the rest, and `finished` is False.
    """

    run: str = ""
    workflow: str = ""
    steps: int = 0
    jobs: int = 0
    time: float = 0.0
    seconds: float = 0.0
    finished: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    stays: dict[str, Stay] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def of(self, state: StepState) -> list[Outcome]:
        """The outcomes of the steps that ended in `state`."""
        return [stay.outcome for stay in self.stays.values() if stay.outcome and stay.outcome.state is state]

    @property
    def ending(self) -> str:
        """As `ending`."""
        return ending(self.counts if self.finished else None)

    @property
    def well(self) -> bool:
        """Whether the run came to its end with nothing failed, blocked or cancelled."""
        return self.ending == "ok"

    @property
    def verdict(self) -> str:
        """The ending as a headline has it."""
        return _VERDICTS[self.ending]


_VERDICTS = {
    "ok": "succeeded",
    "failed": "failed",
    "interrupted": "was interrupted",
    "unfinished": "did not finish",
}


def ending(counts: Mapping[str, int] | None) -> str:
    """How a run with these counts ended: "ok", "failed", "interrupted", or, without any, "unfinished" (killed, or still going
    on)."""
    if counts is None:
        return "unfinished"
    # Asked first: a failure cancels what had not begun, unless the others were to go on.
    if counts.get("failed") or counts.get("blocked"):
        return "failed"
    return "interrupted" if counts.get("cancelled") else "ok"


def retell(events: Iterable[Event]) -> Retold:
    """The run that the events tell of; with several runs in them, the last."""
    told = Retold()
    latest = 0.0
    for event in events:
        match event:
            case RunStarted():
                told = Retold(event.run, event.workflow, event.steps, event.jobs, event.time)
                latest = event.time
            case StepStarted():
                stay = told.stays.setdefault(event.step, Stay(event.step))
                if stay.began is None:  # of several attempts the first; the outcome counts them
                    stay.began, stay.worker = event.time, event.worker
                latest = max(latest, event.time)
            case StepFinished():
                stay = told.stays.setdefault(event.step, Stay(event.step))
                stay.ended, stay.outcome = event.time, event.outcome
                latest = max(latest, event.time)
            case Note():
                told.notes.append(event)
                latest = max(latest, event.time)
            case RunFinished():
                told.counts, told.seconds, told.finished = (
                    dict(event.counts),
                    event.seconds,
                    True,
                )
            case _:
                pass
    if not told.finished:
        told.counts = {state.value: len(told.of(state)) for state in StepState}
        told.seconds = max(latest - told.time, 0.0)
    return told
