"""Plain lines for a pipe, a log file or a forge's job: one for the end of each step, one that sums up.

Knows events and words. Does not know terminals. The common path of `doit run`: imports no rich, and an event costs
microseconds (tests/bench/report.py).
"""

from __future__ import annotations

from collections.abc import Callable

from wfe.core.outcome import (
    Event,
    Note,
    Outcome,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepStarted,
    StepState,
)
from wfe.report.forge import Forge, place_of
from wfe.report.outlet import Outlet
from wfe.report.wording import (
    clean,
    ending,
    indented,
    last_line,
    one_line,
    particulars,
    summary,
)

_CROWD = {StepState.BLOCKED, StepState.CANCELLED}
_NAMED = {StepState.FAILED, StepState.SKIPPED, StepState.BLOCKED, StepState.CANCELLED}
_MOST_NAMES = 3  # in the last line; a run of 100,000 blocked steps must not keep them all


class Lines:
    """Tells a run to an Outlet, line by line.

    quiet: only failures, and the last line of a run that did not go well. verbose: also what steps print, with the
    step's name before it. again: a command with `{workflow}` and `{step}` in it, shown under a failure.
    current_up_to, ran_up_to: with more steps than this in the run, those that are current (that ran or were restored)
    get no line each. crowd: how many blocked or cancelled steps get a line each; the rest is counted.
    styled: given a state and its padded word, the word as it is shown (a terminal adds colour).
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        forge: Forge | None = None,
        quiet: bool = False,
        verbose: bool = False,
        again: str = "",
        current_up_to: int = 20,
        ran_up_to: int | None = None,
        crowd: int = 10,
        styled: Callable[[StepState, str], str] | None = None,
    ) -> None:
        self._outlet = outlet
        self._forge = forge or Forge()
        self._quiet = quiet
        self._again = again
        self._current_up_to = current_up_to
        self._ran_up_to = ran_up_to
        self._crowd = crowd
        self._styled = styled
        self._ran = self._word(StepState.RAN)
        self._grouped = False
        self._workflow = ""
        self._steps = 0
        self._names: dict[str, list[str]] = {}
        self._crowds: dict[StepState, int] = {}
        self._uncounted = 0
        self._current_said = False
        self._hears: dict[type[Event], Callable[..., None]] = {
            RunStarted: self._run_started,
            StepFinished: self._step_finished,
            Note: self._note,
            RunFinished: self._run_finished,
        }
        if verbose:
            self._hears[StepLine] = self._step_line
            self._hears[StepStarted] = self._step_started

    def hear(self, event: Event) -> None:
        """Say what the event means to a reader, if anything."""
        hears = self._hears.get(type(event))
        if hears is not None:
            hears(event)

    def rest(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """End what is open in the output: a run that stops without its last event leaves no group open. Idempotent."""
        if self._grouped:
            self._outlet.write(self._ungrouped(""))
        self._outlet.flush()

    def _run_started(self, event: RunStarted) -> None:
        self._workflow = event.workflow
        self._steps = event.steps
        self._names = {}
        self._crowds = {}
        self._uncounted = 0
        self._current_said = False

    def _step_started(self, event: StepStarted) -> None:
        self._outlet.write(self._group(f"started   {one_line(event.step)}\n"), soon=True)

    def _step_line(self, event: StepLine) -> None:
        text = f"{one_line(event.step)} | {last_line(event.line)}"
        self._outlet.write(self._group(self._forge.quoted(text) + "\n"), soon=True)

    def _step_finished(self, event: StepFinished) -> None:
        outcome = event.outcome
        state = outcome.state
        if state is StepState.CURRENT:
            if self._steps > self._current_up_to:
                self._uncounted += 1
                return
        elif state is not StepState.RAN and state in _NAMED:  # to look for a state in a set takes a microsecond
            names = self._names.setdefault(state.value, [])
            if len(names) < _MOST_NAMES:
                names.append(outcome.step)
            if state is StepState.FAILED:
                self._failed(outcome)
                return
        elif self._ran_up_to is not None and self._steps > self._ran_up_to:
            return
        if self._quiet:
            return
        if state is not StepState.RAN and state in _CROWD:
            said = self._crowds[state] = self._crowds.get(state, 0) + 1
            if said > self._crowd:
                return
        word = self._ran if state is StepState.RAN else self._word(state)
        self._outlet.write(self._group(f"{self._current_so_far()}{word} {ending(outcome)}\n"), soon=True)

    def _failed(self, outcome: Outcome) -> None:
        again = ""
        if self._again:
            import shlex

            again = self._again.format(workflow=shlex.quote(self._workflow), step=shlex.quote(outcome.step))
        quoted = self._forge.quoted
        text = f"{self._word(StepState.FAILED)} {quoted(ending(outcome))}\n"
        text += indented(quoted(line) for line in particulars(outcome, again))
        if self._forge.name and outcome.failure is not None:
            message = f"{outcome.failure.kind}: {one_line(outcome.failure.message)}"
            title = f"{self._workflow}: {outcome.step} failed"
            text += self._forge.error(clean(title), clean(message), place_of(outcome.failure.traceback))
        # One write: another writer to the same terminal cannot come between the lines of a failure.
        self._outlet.write(self._ungrouped(text))

    def _note(self, event: Note) -> None:
        if self._quiet:
            return
        lines = [self._forge.quoted(line) for line in clean(event.message.rstrip()).split("\n")]
        head = f"{one_line(event.step)}:" if event.step else ""
        if len(lines) == 1:
            self._outlet.write(self._group(f"{head} {lines[0]}".strip() + "\n"))
            return
        text = indented(lines, "  " if head else "")
        self._outlet.write(self._ungrouped((f"{head}\n" if head else "") + text))

    def _run_finished(self, event: RunFinished) -> None:
        counts = event.counts
        text = ""
        for state in _CROWD:
            rest = self._crowds.get(state, 0) - self._crowd
            if rest > 0 and not self._quiet:
                text += f"{self._word(state)} and {rest:,} more\n"
        well = not (counts.get("failed") or counts.get("blocked") or counts.get("cancelled"))
        if not (self._quiet and well):
            names = {state: found for state, found in self._names.items() if state in ("failed", "skipped")}
            text += summary(self._workflow, counts, event.seconds, names) + "\n"
        if text:
            self._outlet.write(self._ungrouped(text))

    def _word(self, state: StepState) -> str:
        word = f"{state.value:<9}"
        return word if self._styled is None else self._styled(state, word)

    def _current_so_far(self) -> str:
        if self._current_said or not self._uncounted or self._ran_up_to is not None:
            return ""
        self._current_said = True
        return f"{self._word(StepState.CURRENT)} {self._uncounted:,} steps so far\n"

    def _group(self, text: str) -> str:
        if self._grouped or not self._forge.name:
            return text
        self._grouped = True
        return self._forge.opening(f"{one_line(self._workflow) or 'workflow'}: steps") + text

    def _ungrouped(self, text: str) -> str:
        if not self._grouped:
            return text
        self._grouped = False
        return self._forge.closing() + text
