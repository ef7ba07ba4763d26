"""doit's runner of one step at a time, in a workspace where other runs may be making the same.

Knows how doit's dispatcher hands out tasks and hears of those that are done (doit 0.37, `doit/control.py`). Does not know
claims: the run says that it put a step aside.
"""

from __future__ import annotations

from typing import Any, ClassVar

from wfe.engine.run import Run
from wfe.engine.telling import is_stranger
from wfe.schedule.reporter import ours
from wfe.schedule.selection import Selection, step_of


class Serial(Selection):
    """A step that another run is just making is put aside while there are others; when there are none, it is waited for.
    Set `Serial.run` first.

    doit's own runner would stand still at such a step, and two runs of one cold workflow would go through it side by
    side, one of them waiting at every step.
    """

    run: ClassVar[Run]

    def __init__(self, *arguments: Any) -> None:
        dependency, reporter, *others = arguments[:5]
        super().__init__(dependency, ours(reporter), *others)  # doit gives the runner of `-n 1` that number as well

    @staticmethod
    def available() -> bool:
        """doit asks it of the runner in whose place this one may stand (`-P process`)."""
        return True

    def run_tasks(self, task_dispatcher: Any) -> None:
        """Hand out and execute, until nothing is left or a failure ends it."""
        tasks = task_dispatcher.tasks
        self.learn()
        ahead = self.run.ahead
        if not any(map(is_stranger, self.run.listeners)):  # who may run the next step himself, and would wait for ours
            ahead.wanted = lambda name: self.is_step(tasks.get(name))
        ahead.follow(task_dispatcher.selected_tasks)
        aside: dict[str, Any] = {}
        node: Any = None
        more = True
        while not self._stop_running:
            if more:
                try:
                    node = task_dispatcher.generator.send(node)
                except StopIteration:
                    more = False
            if not more or node == "hold on":
                if not aside:
                    return
                node = aside.pop(self.run.free(list(aside)))
            elif not self.select_task(node, tasks):
                continue
            action = step_of(node.task)
            if action is None:
                self.run.rest()  # nobody knows how long it takes
                self.process_task_result(node, self.execute_task(node.task))
                continue
            action.patient = False
            failed = action.execute()
            if action.aside:
                aside[node.task.name] = node
                node = None
            else:
                self.take_end(node, failed)

    def is_step(self, task: Any) -> bool:
        """Whether it is a step's task that doit was not told to ignore."""
        return task is not None and not self.ignores(task.name) and step_of(task) is not None
