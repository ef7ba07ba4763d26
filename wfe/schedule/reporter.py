"""doit's reporter, as a translator: what doit decides by itself becomes an event of the run. Prints nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from doit.exceptions import UnmetDependency

from wfe.core.outcome import Outcome, StepState
from wfe.engine.run import Run


class Reporter:
    """Made by doit for a run; `Reporter.run` and `Reporter.done` are set before.

    done(interrupted): called when the run is over, however it ended; may raise SystemExit with an exit code finer than
    doit's three.
    """

    desc = "tells the events of a wfe run"
    run: Run | None = None
    done: Callable[[bool], None] | None = None

    def __init__(self, outstream: Any, options: Any) -> None:
        del outstream, options
        self.chosen: list[str] = []

    def initialize(self, tasks: Any, selected: list[str]) -> None:
        del tasks, selected

    def get_status(self, task: Any) -> None:
        """doit is about to look at a task."""

    def execute_task(self, task: Any) -> None:
        """The action itself tells that it starts."""

    def add_success(self, task: Any) -> None:
        """Told by the action."""

    def add_failure(self, task: Any, fail: Any) -> None:
        """A failed step told its end; one that was not tried is told here."""
        run = type(self).run
        if run is None or not run.has(task.name):  # or a task that the dodo.py makes by itself
            sys.stderr.write(f"{getattr(fail, 'message', '') or fail}\n")
        elif (
            not run.stopping.is_set()  # what was not begun then is told at the end
            and isinstance(fail, UnmetDependency)
            and task.name not in run.outcomes
            and task.actions
            and not task.has_subtask
        ):
            run.end(Outcome(task.name, StepState.BLOCKED))

    def skip_uptodate(self, task: Any) -> None:
        """A step that turned out current when its turn came: its row is brought up to date."""
        run = type(self).run
        if run is not None and run.has(task.name) and task.name not in run.outcomes and not task.has_subtask:
            run.perform(task.name)

    def skip_ignore(self, task: Any) -> None:
        run = type(self).run
        if run is not None and run.has(task.name) and not task.has_subtask:
            run.end(Outcome(task.name, StepState.SKIPPED, skip="you told doit to ignore it"))

    def cleanup_error(self, exception: Any) -> None:
        sys.stderr.write(f"{exception}\n")

    def runtime_error(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")

    def teardown_task(self, task: Any) -> None:
        """Steps have no teardown."""

    def complete_run(self) -> None:
        done = type(self).done
        if done is not None:
            error = sys.exc_info()[0]
            done(error is not None and issubclass(error, KeyboardInterrupt))


def ours(given: Any) -> Reporter:
    """The reporter of a run, also where doit was told to take another (`-r json`): none of doit's hears that the run ended."""
    return given if isinstance(given, Reporter) else Reporter(None, {})
