"""The door for doit: what a project's dodo.py takes from wfe.

    from wfe.dodo import open_project
    DOIT_CONFIG, task_workflow = open_project(__file__)

`doit list` shows the workflows, `doit list workflow=x` the steps of one, `doit run workflow=x` runs it. `name=value` sets a
parameter, `pool.name=size` the size of a pool.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import doit.cmd_run
from doit.exceptions import TaskFailed
from doit.task import Task, dict_to_task

from wfe.door import Door, enter, signals, terminable
from wfe.engine.project import Project
from wfe.engine.run import Run
from wfe.errors import ExitCode, WfeError
from wfe.report.streams import Stdout, heedless
from wfe.schedule.backend import Backend, Checker
from wfe.schedule.invocation import Invocation, invocation, variables
from wfe.schedule.reporter import Reporter
from wfe.schedule.runner import Carriers
from wfe.schedule.serial import Serial
from wfe.schedule.tasks import Tasks

if TYPE_CHECKING:
    from wfe.engine.explain import Forecast

_POOL = "pool."  # no parameter's name has a dot
_OF_STEPS = ("run", "clean", "forget", "ignore", "info", "reset-dep", "strace")  # doit's commands that need a workflow

# Kept: a context that nobody holds is closed at once, and the handlers would go with it.
_open = contextlib.ExitStack()


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """While open, Ctrl-C and SIGTERM end the process as they end a run, and without a traceback: nothing has begun."""
    with terminable():
        try:
            yield
        except KeyboardInterrupt:
            raise SystemExit(ExitCode.INTERRUPTED) from None


@_loading()
def open_project(dodo: str) -> tuple[dict[str, Any], Callable[[], Iterator[Task]]]:
    """(DOIT_CONFIG, the task creator) for the project in whose directory the file `dodo` lies."""
    project = Project.at(os.path.dirname(os.path.abspath(dodo)))
    given = variables()
    name = given.pop("workflow", "")
    called = invocation()
    if called.command:
        heedless()
    if not name:
        # doit's own backend and reporter: these tasks are no steps, and whether one is current is its file's own word.
        plain = {"backend": "json", "dep_file": str(project.cache / "agent" / "doit.json"), "verbosity": 2}
        return {"par_type": "thread", **plain}, lambda: _unchosen(dodo, project, called, given)
    config: dict[str, Any] = {
        "backend": "wfe",
        "check_file_uptodate": Checker,
        "reporter": Reporter,
        "par_type": "thread",
        "verbosity": 0,
        "default_tasks": [],
    }
    # Tens of thousands of objects that all live to the end: the collector would only walk over them again and again.
    gc.disable()
    pools = {key.removeprefix(_POOL): given.pop(key) for key in list(given) if key.startswith(_POOL)}
    try:
        door = enter(
            project, name, given, listeners=lambda project: _listeners(project, given), jobs=called.jobs, pools=pools
        )
    except WfeError as error:
        from wfe.agent.tasks import offered

        _fail(offered(error, project, name))
    if door.run.index.plan.max_parallel:
        config["num_process"] = min(door.run.index.plan.max_parallel, 64)
    return config, lambda: _steps(door, called, config["default_tasks"], _makes_others(dodo))


def _alone(run: Run, names: Sequence[str]) -> None:
    """Raises WfeError when one of these steps, which doit is to run without those that it needs, would read what is not there
    or not of this run's parameters; and where none are named, since then none would wait for another."""
    if not names:
        raise WfeError("-s runs the steps that are named, alone", "name them, or run without -s", ExitCode.USAGE)
    for name in names:
        step = run.steps.get(name.partition("[")[0])
        lacking = [other for other in step.needs if other not in run.marks] if step is not None else []
        if lacking:
            others = ", ".join(map(repr, lacking))
            raise WfeError(
                f"step {name!r} needs {others}, not current, which a run with -s leaves as it is",
                "run it without -s",
                ExitCode.USAGE,
            )


def _fail(error: WfeError) -> NoReturn:
    sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
    raise SystemExit(error.code)


def _of_which(project: Project, called: Invocation, given: dict[str, str]) -> WfeError:
    """What to say where a workflow must be chosen and none was."""
    if given:
        text = f"{', '.join(f'{key}=...' for key in given)}: of which workflow?"
        return WfeError(text, f"say workflow=NAME; {_names(project)}", ExitCode.USAGE)
    names = project.names()
    example = next((one for one in called.arguments if one in names), names[0] if names else "")
    shown = f"\n  doit {called.command} {shlex.quote(f'workflow={example}')}" if example else ""
    return WfeError(f"no workflow was chosen; {_names(project)}{shown}", code=ExitCode.USAGE)


def _asks_for_others(dodo: str, project: Project, called: Invocation) -> bool:
    """Whether doit is asked for tasks that the dodo.py makes beside those of wfe."""
    return bool(called.arguments) and set(called.arguments).isdisjoint(project.names()) and _makes_others(dodo)


def _makes_others(dodo: str) -> bool:
    """Whether the dodo.py, which doit has read by now, makes tasks beside those of wfe."""
    module = sys.modules.get(os.path.splitext(os.path.basename(dodo))[0])  # as doit imports it
    found = vars(module).items() if module is not None else ()
    makers = [one for name, one in found if name.startswith("task_") or hasattr(one, "create_doit_tasks")]
    return len(makers) > 1


def _names(project: Project) -> str:
    names = project.names()
    return f"there are: {', '.join(names)}" if names else "there are no documents in workflows/"


def _listeners(project: Project, given: Mapping[str, str]) -> Any:
    from wfe.report.choose import again, listeners

    return listeners("auto", sys.stdout, os.environ, again=again(given), record=project.cache / "runs", keys=sys.stdin)


def _unchosen(dodo: str, project: Project, called: Invocation, given: dict[str, str]) -> Iterator[Task]:
    """The tasks where no workflow was chosen: one for each workflow, and one for each node that was or is to be generated."""
    from wfe.agent.tasks import tasks

    generates = any(word.startswith("generate") for word in called.arguments)
    if not generates:
        if (given or called.command in _OF_STEPS) and not _asks_for_others(dodo, project, called):
            _fail(_of_which(project, called, given))
        yield from _workflows(project)
    if called.command in _OF_STEPS:
        (project.cache / "agent").mkdir(parents=True, exist_ok=True)  # where doit writes down what was done
    try:
        found = tasks(project, given if generates else {})
    except WfeError as error:
        _fail(error)
    yield from (dict_to_task(_told(one)) for one in found)


def _told(task: dict[str, Any]) -> dict[str, Any]:
    """The task with a failure that doit does not tell again: what went wrong stands on stderr already."""
    if not task["actions"]:
        return task
    ((act,),) = task["actions"]

    def perform() -> bool | TaskFailed:
        return bool(act()) or TaskFailed("", report=False)

    return {**task, "actions": [(perform,)]}


def _workflows(project: Project) -> Iterator[Task]:
    """A task for each workflow, so that `doit list` lists them."""
    names = project.names()
    if not names:
        sys.stderr.write("there are no documents in workflows/; `wfe init` writes one to begin with\n")
    for name in names:
        if "=" in name:
            sys.stderr.write(
                f"workflow {name!r} is not listed: doit takes no '=' in names; give its file another name\n"
            )
        else:
            yield Task(name, None, doc=_description(project, name))
    # Hidden; without any, doit lists the function that makes them.
    yield Task("_none", None)


def _description(project: Project, name: str) -> str:
    from wfe.core.parse import parse

    try:
        path = project.find(name)
        workflow = parse(path.read_bytes(), project.shown(path), name)
    except (WfeError, OSError) as error:
        return f"(not valid: {str(error).splitlines()[0]})"
    return workflow.description or workflow.title


def _steps(door: Door, called: Invocation, default: list[str], others: bool) -> Iterator[Task]:
    """The tasks of the chosen workflow. Their names are put into `default`: what else the dodo.py makes is not meant.
    others: whether it makes any, of which each may have any step for a `task_dep`, a current one too."""
    run = door.run
    Backend.run = Reporter.run = run
    if called.command in ("run", ""):
        try:
            if called.single:
                _alone(run, called.arguments)
            run.check(called.always)
        except WfeError as error:
            _fail(error)
        # doit's command names the classes itself; there is no setting for them.
        Carriers.run = Serial.run = run
        several = Carriers if run.jobs > 1 else Serial
        # Of processes too (`-P process`): a run cannot be sent to one, and nodes have processes of their own anyway.
        for runner in ("MRunner", "MThreadRunner"):
            setattr(doit.cmd_run, runner, several)
        setattr(doit.cmd_run, "Runner", Serial)  # noqa: B010 - a name of the module, not of ours
        # Open until the process ends: doit has no place where its run is over that comes before this one's end.
        _open.enter_context(signals(run))
        Reporter.done = staticmethod(lambda interrupted: _done(door, interrupted))
    among = {name for name in run.index.ids if name not in run.marks} if called.plain and not others else None
    # Of another command an argument may be an option's value.
    given = [one for one in called.arguments if not one.startswith("-")] if called.command in ("run", "info") else []
    try:
        if called.command in ("run", "") and (among is None or among):
            run.sit()
        named = [one for one in given if one.partition("[")[0] in run.steps]
        if called.command == "run" and named and not any("*" in one for one in given):
            run.choose(named)  # of a fan the steps that are asked for, known or not: `each[3]`
        made = list(Tasks(run, called.always, among, given, _foretold(run, called), bare=called.plain).all())
        meant = _meant(door, given, made)
        if called.command == "run" and meant:
            run.choose(meant)
    except WfeError as error:
        _fail(error)
    if called.command in ("run", ""):
        run.start()
    # doit wants a task even where nothing is to be done.
    made = made or [Task(run.workflow.replace("=", "_"), None, doc=run.plan.description, has_subtask=True)]
    default += run.index.ids if called.command == "forget" else [task.name for task in made]
    yield from made


def _foretold(run: Run, called: Invocation) -> Sequence[Forecast]:
    """What would become of the steps, for commands that show it: nothing is performed there that could tell it of those behind
    a step with a condition, `ttl` or `cache: never`."""
    if called.command not in ("list", "info"):
        return ()
    from wfe.engine.explain import explain  # no run needs it

    return explain(run)


def _meant(door: Door, given: Sequence[str], made: Sequence[Task]) -> list[str]:
    """The steps that are meant by names, targets and patterns, as doit reads them. Raises WfeError where one means none: doit's
    own words for that know no name that is near, and for `doit info` (0.37) are a KeyError."""
    names = [task.name for task in made]
    written = {target: task.name for task in made for target in task.targets}
    meant = {one: fnmatch.filter(names, one) if "*" in one else [written.get(one, one)] for one in given}
    unknown = [one for one, found in meant.items() if not found or (one not in written and found[0] not in names)]
    if unknown:
        known = list(dict.fromkeys([*door.run.index.ids, *names]))  # of current steps there are no tasks
        raise WfeError([door.run.plan.no_step(one, known) for one in unknown], code=ExitCode.WORKFLOW)
    return [name for found in meant.values() for name in found]


def _done(door: Door, interrupted: bool) -> None:
    error = sys.exc_info()[1]
    if isinstance(error, Exception) and not isinstance(error, WfeError):
        # doit would show the traceback and end with 3, which means that the user's workflow is wrong.
        door.run.bugs.append(traceback.format_exc())
    code = door.close(interrupted)
    sys.stdout.flush()
    code = ExitCode.ENVIRONMENT if code is ExitCode.OK and Stdout.lost is not None else code
    gc.freeze()  # at its end the interpreter collects once more, and that alone takes 0.3 s after 10,000 steps
    if code is not ExitCode.OK:
        raise SystemExit(code)
