"""What doit keeps of tasks, kept in our state database instead of a file of doit's own.

doit writes its own database only at the end of a run, so a killed run loses all of it; and it takes an equal time for
equal content. Our store is the truth: of what doit wants to keep only the ignore marks are its own, the rest follows from
a step's row. Knows the interface of doit's backends (doit 0.37, `doit/dependency.py`), found by the entry point
`doit.BACKEND`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    # doit imports this module in every project of its environment, for the name of the backend: it must cost nothing.
    from wfe.engine.run import Run


class Backend:
    """One doit invocation's view of the state of the run `Backend.run`.

    A step's file dependencies count as recorded and unchanged: whether the step is current is what its `uptodate` says,
    which asks `Run.decide`. Of other tasks of the dodo.py it knows nothing. Without a run it keeps nothing.
    """

    desc = "wfe's state database (for tasks that wfe made)"
    run: ClassVar[Run | None] = None

    def __init__(self, name: str, codec: Any = None, module_name: str | None = None) -> None:
        del codec, module_name
        self.name = name
        self._marks: dict[str, dict[str, Any]] | None = None

    def _own(self, task: str) -> dict[str, Any]:
        return self._all().get(task, {})

    def _all(self) -> dict[str, dict[str, Any]]:
        if self._marks is None:
            run = type(self).run
            self._marks = run.workspace.state.all("memo", f"doit:{run.workflow}") if run else {}
        return self._marks

    def ignored(self) -> frozenset[str]:
        """The tasks that doit was told to ignore."""
        return frozenset(task for task, marks in self._all().items() if marks.get("ignore:"))

    def get(self, task: str, name: str) -> Any:
        if name == "ignore:":
            return self._own(task).get(name) or self._own(fan_of(task)).get(name)
        run = type(self).run
        return ("recorded",) if run is not None and run.has(task) and not name.endswith(":") else None

    def set(self, task: str, name: str, value: Any) -> None:
        if name == "ignore:":
            mark = self._all()[task] = {name: value}
            run = type(self).run
            if run is not None:
                run.workspace.state.set("memo", task, mark, f"doit:{run.workflow}")

    def in_(self, task: str) -> bool:
        run = type(self).run
        return run is not None and (task in run.marks or bool(self._own(task)))

    def remove(self, task: str) -> None:
        """`doit forget TASK`. In a run, doit asks for this too when a step failed, or one before it did: its earlier result
        is then as good as ever, for the day when the cause is gone."""
        run = type(self).run
        if run is None or run.begun:
            return
        for name in (task, *(one for one in run.rows if fan_of(one) == task != one)):
            run.workspace.forget(run.workflow, name)
        if self._own(task):
            run.workspace.state.remove("memo", task, f"doit:{run.workflow}")

    def remove_all(self) -> None:
        run = type(self).run
        if run is not None:
            for task in {*run.index.ids, *run.rows}:  # those of a fan whose items are not known, too
                run.workspace.forget(run.workflow, task)
            run.workspace.state.remove("memo", scope=f"doit:{run.workflow}")

    def dump(self) -> None:
        """Nothing is left to write: every step was committed when it was done."""


def fan_of(task: str) -> str:
    """The fan that a step is of, or the step itself."""
    return task.partition("[")[0]


class Checker:
    """doit's question about file dependencies, answered by the step's own check: never modified, for all that doit knows."""

    CheckerError = OSError

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def info(self, path: str) -> Any:
        return os.stat(path)

    def check_modified(self, path: str, stat: Any, state: Any) -> bool:
        del path, stat, state
        return False

    def get_state(self, path: str, current: Any) -> Any:
        del path, current
        return None
