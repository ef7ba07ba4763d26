"""How our two runners take a step: by its own check alone.

doit asks for each file of a task besides, for its options and for the values of others; and keeps what it was told of one
that is done. Of a step the run knows all that. In a run of trivial steps it is a tenth of the time, and with `-n` it is done
in the one thread that hands out all steps. Knows doit's nodes (doit 0.37, `doit/runner.py`).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from doit.runner import Runner

from wfe.schedule.backend import Backend, fan_of
from wfe.schedule.tasks import StepAction


class Selection(Runner):  # type: ignore[misc]
    """ignored: the tasks that doit was told to ignore."""

    ignored: Set[str] = frozenset()

    def learn(self) -> None:
        """Read which tasks are ignored, before the first is taken."""
        backend = self.dep_manager.backend  # another than ours, where doit was told so (`--backend`)
        if isinstance(backend, Backend):
            self.ignored = backend.ignored()

    def ignores(self, name: str) -> bool:
        """Whether doit was told to ignore it, or the fan that it is of."""
        return bool(self.ignored) and not self.ignored.isdisjoint((name, fan_of(name)))

    def select_task(self, node: Any, tasks: Any) -> bool:
        """As in Runner: whether the task is to be executed."""
        action = step_of(node.task)
        if (
            action is None
            or node.bad_deps
            or node.ignored_deps
            or node.run_status
            or self.ignores(node.task.name)
            or (not self.always_execute and action.is_current())
        ):
            return bool(super().select_task(node, tasks))
        node.run_status = "run"
        return True

    def take_end(self, node: Any, failed: Any) -> None:
        """A step's task was executed."""
        if failed is None:
            node.run_status = "successful"
        else:
            self.process_task_result(node, failed)


def step_of(task: Any) -> StepAction | None:
    """What performs the step, of the task of one."""
    found: StepAction | None = getattr(task, "step", None)
    return found
