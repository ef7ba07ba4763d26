"""Run the tasks of a run through doit's runner: what `wfe run` does, and what `doit run` does by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doit.control import TaskControl
from doit.dependency import Dependency, JSONCodec
from doit.runner import MThreadRunner, Runner

from wfe.run.run import Run
from wfe.schedule.backend import Backend, Checker
from wfe.schedule.reporter import Reporter
from wfe.schedule.tasks import Tasks


def execute(run: Run, chosen: Sequence[str], *, keep_going: bool, force: bool, done: Callable[[bool], None]) -> None:
    """Perform the steps of `run` that are not current; of `chosen` steps and what they need, if any are given.

    done(interrupted) is called when the run is over. Raises KeyboardInterrupt when it was interrupted.
    """
    everything = set(run.index.ids)
    wanted = run.plan.select([name.partition("[")[0] for name in chosen]) if chosen else everything
    among = {name for name in wanted if force or name not in run.marks}
    # doit makes the backend itself, from the class alone, so the run is an attribute of a class: one of this run's own,
    # since several runs may go on in one process.
    backend = type("Backend", (Backend,), {"run": run})
    reporter = type("Reporter", (Reporter,), {"run": run, "done": staticmethod(done)})
    tasks = list(Tasks(run, force, among).all())
    control = TaskControl(tasks)
    control.process(None)
    dependency = Dependency(backend, "", checker_cls=Checker, codec_cls=JSONCodec)
    arguments: list[Any] = [dependency, reporter(None, {}), keep_going, force]
    runner = MThreadRunner(*arguments, num_process=run.jobs) if run.jobs > 1 else Runner(*arguments)
    runner.run_all(control.task_dispatcher())
