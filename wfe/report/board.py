"""What a watcher needs to know while a run goes on: what runs, how far it is, what is done, how long is left.

Knows events. Does not know clocks (the time is handed in), terminals or colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wfe.core.outcome import (
    Event,
    FanKnown,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepProgress,
    StepStarted,
)


@dataclass(slots=True)
class Running:
    """A step that runs: since when (Unix seconds), on which slot, how far it says it is, and what it last printed."""

    step: str
    since: float
    worker: int
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    line: str = ""
    estimate: float = 0.0
    takes: Mapping[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float | None:
        """How much of it is done by its own account, 0 to 1; None when it does not say."""
        if not self.total > 0 or not self.done >= 0:  # also false for NaN
            return None
        return min(self.done / self.total, 1.0)


class Board:
    """Hears the events of a run; holds what is true now. One event costs about a microsecond."""

    def __init__(self) -> None:
        self.workflow = ""
        self.steps = 0
        self.jobs = 0
        self.pools: Mapping[str, float] = {}
        self.since = 0.0
        self.counts: dict[str, int] = {}
        self.done = 0
        self.running: dict[str, Running] = {}
        self.finished = False
        self._estimates: dict[str, float] = {}
        self._remaining = 0.0
        self._hears: dict[type[Event], Callable[..., None]] = {
            RunStarted: self._run_started,
            FanKnown: self._fan_known,
            StepStarted: self._step_started,
            StepProgress: self._step_progress,
            StepLine: self._step_line,
            StepFinished: self._step_finished,
            RunFinished: self._run_finished,
        }

    def hear(self, event: Event) -> None:
        """Take the event in."""
        hears = self._hears.get(type(event))
        if hears is not None:
            hears(event)

    def left(self, now: float) -> float | None:
        """Seconds until the run's end, from how long its steps took before; None when too few of them are known.

        The work left divided by the slots, but no less than the longest running step still needs.
        """
        unknown = self.steps - self.done - len(self._estimates)
        if not self._estimates or unknown * 5 > self.steps - self.done:
            return None
        spent = longest = 0.0
        for running in self.running.values():
            needs = max(running.estimate - max(now - running.since, 0.0), 0.0)
            spent += running.estimate - needs
            longest = max(longest, needs)
        return max((self._remaining - spent) / max(self.jobs, 1), longest, 0.0)

    def used(self) -> dict[str, float]:
        """How much of each pool the running steps take."""
        found = dict.fromkeys(self.pools, 0.0)
        for running in self.running.values():
            for pool, amount in running.takes.items():
                found[pool] = found.get(pool, 0.0) + amount
        return found

    def _run_started(self, event: RunStarted) -> None:
        self.workflow, self.steps, self.jobs, self.since = (
            event.workflow,
            event.steps,
            event.jobs,
            event.time,
        )
        self.counts, self.done, self.running, self.finished = {}, event.current, {}, False
        if event.current:
            self.counts["current"] = event.current
        self.pools = event.pools
        self._estimates = dict(event.estimates)
        self._remaining = sum(self._estimates.values())

    def _fan_known(self, event: FanKnown) -> None:
        self.steps += event.steps - 1
        self.done += event.current
        if event.current:
            self.counts["current"] = self.counts.get("current", 0) + event.current

    def _step_started(self, event: StepStarted) -> None:
        estimate = self._estimates.get(event.step, 0.0)
        self.running[event.step] = Running(event.step, event.time, event.worker, estimate=estimate, takes=event.takes)

    def _step_progress(self, event: StepProgress) -> None:
        running = self.running.get(event.step)
        if running is not None:
            running.done, running.total, running.note = (
                event.done,
                event.total,
                event.note,
            )

    def _step_line(self, event: StepLine) -> None:
        running = self.running.get(event.step)
        if running is not None and event.line:
            running.line = event.line

    def _step_finished(self, event: StepFinished) -> None:
        self.running.pop(event.step, None)
        self._remaining -= self._estimates.pop(event.step, 0.0)
        state = event.outcome.state.value
        self.counts[state] = self.counts.get(state, 0) + 1
        if self.done < self.steps:
            self.done += 1
        elif self.counts.get("current"):
            self.counts["current"] -= 1  # its result was damaged, and it was made again: it had been counted before

    def _run_finished(self, event: RunFinished) -> None:
        self.running.clear()
        self.finished = True
