"""Plan -> doit tasks: one a step, named by its id; a fan is a group whose tasks come when its items are known.

Knows doit's Task and what of a step doit shows: files, targets, dependencies. Does not run anything: the action asks the
run to.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from doit.action import BaseAction
from doit.exceptions import BaseFail, TaskError, TaskFailed
from doit.task import DelayedLoader, Task

from wfe.core.graph import order
from wfe.core.outcome import Failure, Outcome, StepState
from wfe.core.step import Step
from wfe.engine.run import EMPTY, Run
from wfe.errors import NodeFailure, WfeError

if TYPE_CHECKING:
    from wfe.engine.explain import Forecast


class Plain(BaseAction):  # type: ignore[misc]
    """What doit reads of an action, where nothing is to be read."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.task: Task | None = None
        self.out: str | None = None
        self.err: str | None = None
        self.result: Any = None
        self.values: dict[str, Any] = {}


class StepAction(Plain):
    """Performs one step. Does not go through doit's capture of sys.stdout, which is one for the whole process and stays
    replaced when threads overlap: a step's output is its worker's own."""

    def __init__(self, run: Run, name: str, force: Callable[[], bool]) -> None:
        super().__init__(run, name)
        self.force = force
        self.patient = True  # whether to wait where another run is just making the result
        self.aside = False  # whether nothing was done, since another run is

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:
        del out, err
        self.aside = False
        try:
            outcome = self.run.try_to(self.name, self.force(), patient=self.patient)
        except WfeError as error:
            return TaskFailed(str(error))
        except Exception as error:  # noqa: BLE001 - an error of wfe's own: told with its traceback, and exit code 70
            self.run.bugs.append(traceback.format_exc())
            return TaskError(f"BUG: step {self.name!r}", error)
        if outcome is None:
            self.aside = True
            return None
        if outcome.state in (StepState.FAILED, StepState.CANCELLED):
            return TaskFailed(outcome.failure.message if outcome.failure else outcome.state.value)
        return None

    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        return self.run.is_current(self.name)

    def __str__(self) -> str:
        return f"wfe: {self.run.step(self.name).function}"


class Clean(Plain):
    """Deletes a step's files; the store keeps its result. doit shows its text, also where it only tells (`clean -n`)."""

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:
        del out, err
        try:
            self.run.workspace.clean(self.run.workflow, self.name)
        except WfeError as error:
            return TaskFailed(str(error))
        return None

    def __str__(self) -> str:
        workspace = self.run.workspace
        row = self.run.row(self.name)
        paths = [one.path for one in row.files if one.role == "out"] if row is not None else []
        there = [path for path in paths if os.path.exists(workspace.absolute(path))]
        return f"remove {', '.join(there)}" if there else "nothing to remove"


class UpToDate:
    """Whether a step is current, asked by doit when the step's turn has come.

    A value, not a callable: doit looks at the signature of a callable each time, which is 4% of a run of trivial steps.
    """

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name

    def __bool__(self) -> bool:
        return self.run.is_current(self.name)


class Foretold:
    """The same, asked by a command that only looks, of steps that have no turn."""

    def __init__(self, found: Forecast) -> None:
        self.found = found

    def __bool__(self) -> bool:
        return self.found.word in ("current", "skip")

    def __repr__(self) -> str:
        """What `doit info` shows as the reason."""
        return f"{self.found.word}: {self.found.because()}"


class AllForetold:
    """The same of a fan."""

    def __init__(self, each: Sequence[Forecast]) -> None:
        self.each = [Foretold(one) for one in each]

    def __bool__(self) -> bool:
        return all(self.each)

    def __repr__(self) -> str:
        return f"not all of its {len(self.each)} steps are current"


class StepTask(Task):  # type: ignore[misc]
    """The task of a step in a run. It has no options and keeps no values, which doit would parse and copy for each; and what it
    is made of need not be checked, at a third of the price of making it."""

    options: dict[str, Any] | None

    @staticmethod
    def check_attr(task: str, attr: str, value: Any, valid: Any) -> None:
        """As in Task: it is of the right type."""

    def init_options(self, args: Any = None) -> Any:
        """As in Task: there are none. What was given, the first time."""
        if self.options is not None:
            return None
        self.options = {}
        return args

    def pickle_safe_dict(self) -> dict[str, Any]:
        """As in Task: what goes to a carrier, which has the task itself."""
        return {"name": self.name}

    def update_from_pickle(self, values: Any) -> None:
        """As in Task: nothing comes back."""


class NamedTask(Task):  # type: ignore[misc]
    """The task of a step where steps may have been named to doit."""

    def init_options(self, args: Any = None) -> Any:
        """As in Task: what follows the name. Of doit's own only the first time, but a run with `-s` asks twice (doit 0.37), and
        went on with the first of several steps alone."""
        left = super().init_options(args)
        return args if left is None else left


class Tasks:
    """Makes the tasks of a run. force: whether `--always-execute` was given. Only steps in `among` (None: all) get one.
    named: what doit will look for by name, steps of fans whose items are not known yet among them. foretold: for a command
    that only looks, what a run would do. bare: for a run of which nobody asks what files its steps read and write; to check
    them takes doit a tenth of a trivial step."""

    def __init__(
        self,
        run: Run,
        force: bool = False,
        among: set[str] | None = None,
        named: Sequence[str] = (),
        foretold: Sequence[Forecast] = (),
        bare: bool = False,
    ) -> None:
        self.run = run
        self.bare = bare
        self.force = force
        self.among = among
        self.named = named
        self.foretold = {one.step: one for one in foretold}

    def all(self) -> Iterator[Task]:
        """The tasks, in the order of the plan; where several steps may run at once, those first whose way is longest; beside
        other runs, which begin so, in another order."""
        names = [name for name in self.run.index.ids if self.among is None or name in self.among]
        for step in self.ordered([self.run.steps[name] for name in names]):
            if step.fan is None:
                yield self.task(step)
            else:
                yield from self.fan(step)

    def ordered(self, steps: list[Step]) -> list[Step]:
        if self.run.seat:
            return self.from_elsewhere(steps)
        return sorted(steps, key=lambda step: -self.run.priorities.of(step)) if self.run.jobs > 1 else steps

    def from_elsewhere(self, steps: list[Step]) -> list[Step]:
        """Another order than that of the other live runs: of two runs of one cold workflow the second begins at the other
        end, and they meet in the middle. Every step after those that it needs, for doit keeps with a step the whole way
        to it: handed the end of a chain of 10,000 first, it would hold 50 million names."""
        by_name = {step.id: step for step in steps}
        names = list(reversed(by_name))
        if self.run.seat > 1:
            import random  # 4 ms that most runs need not spend

            random.Random(self.run.seat).shuffle(names)  # the same each time
        return [by_name[name] for name in order({name: by_name[name].needs[::-1] for name in names})]

    def needs(self, step: Step) -> list[str]:
        return [other for other in step.needs if self.among is None or other in self.among]

    def task(self, step: Step, group: str | None = None) -> Task:
        run, name = self.run, step.id
        action = StepAction(run, name, lambda: self.force)
        if self.bare:
            check = [(UpToDate(run, name),)]
            return _of(action, StepTask(name, [action], task_dep=self.needs(step), uptodate=check, subtask_of=group))
        workspace = run.workspace
        told = self.foretold.get(name)
        makes = told is None or told.word != "skip"  # doit takes a step without its targets for one to be run
        task = NamedTask(
            name,
            [action],
            file_dep=step.files(),
            targets=[workspace.result_file(run.workflow, name), *step.targets().values()] if makes else [],
            task_dep=self.needs(step),
            uptodate=[(UpToDate(run, name) if told is None else Foretold(told),)],
            clean=[Clean(run, name)],
            doc=self.described(step),
            subtask_of=group,
        )
        return _of(action, task)

    def fan(self, step: Step) -> Iterable[Task]:
        """The tasks of a fan: at once when its items are known, else a placeholder that doit asks when they are; and one
        for each of its steps that doit will look for."""
        assert step.fan is not None
        if (self.foretold and step.fan.constant) or all(other in self.run.marks for other in step.needs):
            try:
                return self.members(step)
            except NodeFailure:
                pass  # told when its turn comes
        loader = DelayedLoader(lambda: self.late(step))
        loader.basename = step.id
        doc = f"{self.described(step)} (its items are not known yet)"
        return [
            NamedTask(name, None, task_dep=self.needs(step), doc=doc, loader=loader)
            for name in (step.id, *self.named_of(step))
        ]

    def named_of(self, step: Step) -> list[str]:
        return [name for name in dict.fromkeys(self.named) if name.startswith(f"{step.id}[")]

    def late(self, step: Step) -> Iterator[Task]:
        """The tasks of a fan whose turn has come; doit takes a generator alone, and asks even when a need has failed."""
        if not self.run.ready(step.id):
            for name in (step.id, *self.named_of(step)):
                yield self.gather(name, step)  # doit finds it blocked
            return
        try:
            tasks = self.members(step)
            self.run.ahead.follow([one.name for one in tasks[:-1]])
            yield from tasks
        except NodeFailure as error:
            for name in (step.id, *self.named_of(step)):
                yield self.gather(name, step, str(error))

    def members(self, step: Step) -> list[Task]:
        """Raises NodeFailure when what the fan goes through is no list."""
        steps = self.run.expand(step.id)
        only = self.run.only.get(step.id)
        self.run.has_all(step.id, self.named_of(step))
        if only is not None:
            steps = [one for one in steps if one.id in only]
        if self.among is not None and not self.force:
            steps = [one for one in steps if one.id not in self.run.marks]
        tasks = [self.task(one, step.id) for one in self.ordered(steps)]
        action = Gather(self.run, step.id, part=only is not None)
        gather = NamedTask(
            step.id,
            [action],
            task_dep=[*self.needs(step), *(task.name for task in tasks)],
            doc=self.described(step),
            has_subtask=True,
            # In a run its end is always to be told.
            uptodate=[(bool(self.foretold) and AllForetold([self.foretold[one.id] for one in steps]),)],
        )
        return [*tasks, _of(action, gather)]

    def gather(self, name: str, step: Step, wrong: str = "") -> Task:
        action = Gather(self.run, step.id, wrong)
        return _of(action, NamedTask(name, [action], task_dep=self.needs(step)))

    @staticmethod
    def described(step: Step) -> str:
        return step.description or step.function.removeprefix("nodes.")


def _of(action: StepAction, task: Task) -> Task:
    """The task, by which the runners find the action."""
    task.step = action
    return task


class Gather(StepAction):
    """The end of a fan: its steps are all done. wrong: why there are none, which fails it. part: whether only some of them
    were asked for, so that nothing can be said of the whole."""

    def __init__(self, run: Run, name: str, wrong: str = "", part: bool = False) -> None:
        super().__init__(run, name, lambda: False)
        self.wrong = wrong
        self.part = part

    def is_current(self) -> bool:
        return False  # its end is always to be told

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:
        del out, err
        if self.wrong:
            self.run.end(Outcome(self.name, StepState.FAILED, failure=Failure("input", self.wrong)))
            return TaskFailed(self.wrong)
        if self.part:
            return None
        if self.name in self.run.skipped:
            self.run.end(Outcome(self.name, StepState.SKIPPED, skip="what it goes through was skipped"))
        else:
            self.run.gathered(self.name)
            if not self.run.members[self.name]:
                self.run.end(Outcome(self.name, StepState.CURRENT, skip=EMPTY))
        return None
