"""Run the tasks of a run through doit's runner: what `wfe run` does, and what `doit run` does by itself."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, Final

from doit.control import TaskControl
from doit.dependency import Dependency, JSONCodec
from doit.exceptions import TaskError
from doit.runner import MThreadRunner

from wfe.engine.run import Run
from wfe.schedule.backend import Backend, Checker
from wfe.schedule.reporter import Reporter, ours
from wfe.schedule.selection import Selection, step_of
from wfe.schedule.serial import Serial
from wfe.schedule.tasks import Tasks

_SPARE: Final = 16
_MOST: Final = 512
_WAKE: Final = 0.5  # seconds
_SEVERAL: Final = 4


class Wakeful(queue.Queue[Any]):
    """A queue at which the thread that hands out steps (which makes it) wakes now and then. Python runs a signal's handler in
    the main thread, but a signal that comes just before that thread falls asleep, or to another thread, does not wake it: a
    Ctrl-C was lost so.

    calm: whether there is nothing that it must do at once. Then it is not woken for each result, but for several: to be woken
    where all processors are busy takes it as long as what it does then. rest: what it does when it was woken by nobody.
    """

    def __init__(self, calm: Callable[[], bool] = lambda: False, rest: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._calm = calm
        self._rest = rest
        self._owner = threading.get_ident()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As in Queue."""
        if not block or timeout is not None or threading.get_ident() != self._owner:
            return super().get(block, timeout)
        while True:
            with contextlib.suppress(queue.Empty):
                return super().get(timeout=_WAKE)
            self._rest()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As in Queue, which has no limit."""
        with self.mutex:
            self._put(item)
            if threading.get_ident() == self._owner or self._qsize() >= _SEVERAL or not self._calm():
                self.not_empty.notify()


class Carriers(Selection, MThreadRunner):  # type: ignore[misc]
    """doit's runner with more threads than steps may run at once. Set `Carriers.run` first.

    doit hands out a step when a thread is free, in the order of the tasks. Which of those handed out runs is the gate's
    choice, by priority and by what is free in the pools; so there must be some to choose from, and a step that waits for
    a pool must not take the thread of one that could run. Hence a thread for each step that takes from a pool (up to
    512) and 16 more.
    """

    run: ClassVar[Run]
    num_process: int

    def __init__(self, *arguments: Any, **more: Any) -> None:
        dependency, reporter, *others = arguments
        super().__init__(dependency, ours(reporter), *others, **more)
        run = self.run
        run.goes_on = self.continue_
        open_ = [name for name in run.index.ids if name not in run.marks]
        taking = sum(1 for name in open_ if run.steps[name].options.resources)
        if any(run.steps[name].fan is not None and run.steps[name].options.resources for name in open_):
            taking = _MOST
        self.num_process += min(taking + _SPARE, _MOST)
        self._queues: list[Wakeful] = []

    def Queue(self) -> Wakeful:
        """As in MThreadRunner."""
        self._queues.append(Wakeful(lambda: self.run.gate.full, self.run.rest))
        return self._queues[-1]

    def run_tasks(self, task_dispatcher: Any) -> None:
        """As in MRunner."""
        self.learn()
        self.run.ahead.follow(task_dispatcher.selected_tasks)
        try:
            super().run_tasks(task_dispatcher)
        except BaseException:  # a listener's, perhaps: the threads would wait for the next step for ever
            for one, _ in itertools.product(self._queues, range(self.num_process)):
                one.put(None)
            raise

    def _process_result(self, node: Any, task: Any, result: Any) -> None:
        if step_of(task) is None:
            super()._process_result(node, task, result)
        else:
            self.take_end(node, result.get("failure"))

    def execute_task(self, task: Any) -> Any:
        """In a carrier's thread. Of what is no Exception doit passes on only the class of two kinds, and after any other
        (asyncio.CancelledError, say) the thread is gone and doit's main thread waits for its result for ever."""
        if step_of(task) is None:
            self.run.rest()  # nobody knows how long it takes
        try:
            done = super().execute_task(task)
            if not self.run.gate.crowded:
                self.run.rest()  # there may be nobody who comes to it before a long step has ended
            return done
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - told with its traceback, and exit code 70
            self.run.bugs.append(traceback.format_exc())
            return TaskError(f"BUG: step {task.name!r}", error)

    def _handle_task_error(self, node: Any, base_fail: Any) -> None:
        super()._handle_task_error(node, base_fail)
        if self._stop_running:
            self.run.halt()  # those that were handed out and wait for a place


def execute(run: Run, *, keep_going: bool, force: bool, done: Callable[[bool], None]) -> None:
    """Perform the steps of `run` that are not current, of those that were chosen (see `Run.choose`).

    done(interrupted) is called when the run is over. Raises KeyboardInterrupt when it was interrupted.
    """
    run.sit()
    among = {name for name in run.wanted if force or name not in run.marks}
    # doit makes the backend itself, from the class alone, so the run is an attribute of a class: one of this run's own,
    # since several runs may go on in one process.
    backend = type("Backend", (Backend,), {"run": run})
    reporter = type("Reporter", (Reporter,), {"run": run, "done": staticmethod(done)})
    tasks = list(Tasks(run, force, among, bare=True).all())
    control = TaskControl(tasks)
    control.process(None)
    dependency = Dependency(backend, "", checker_cls=Checker, codec_cls=JSONCodec)
    arguments: list[Any] = [dependency, reporter(None, {}), keep_going, force]
    carriers = type("Carriers", (Carriers,), {"run": run})
    serial = type("Serial", (Serial,), {"run": run})
    runner = carriers(*arguments, num_process=run.jobs) if run.jobs > 1 else serial(*arguments)
    runner.run_all(control.task_dispatcher())
