"""Running workflows from Python: `wfe.run` and the `Report` that it returns.

    report = wfe.run("detect", conf=0.4, jobs=2)
    report["detect"]["boxes"]     # arrays are read-only and memory-mapped
    report.ran                    # ["detect", "draw"]

Safe to call in a thread, in a notebook, in a test, and inside another run: it changes neither the working directory nor
signal handlers nor sys.stdout.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from wfe.core.outcome import Listener, Outcome, StepState
from wfe.engine.project import Project
from wfe.errors import EnvironmentFailure, ExitCode, Interrupted, NodeFailure, Problem, WfeError, WorkflowError, nearest

if TYPE_CHECKING:
    from wfe.door import Door
    from wfe.engine.results import Results

Told = Literal["auto", "plain", "live", "json", "quiet"]


class Report:
    """What became of a run. Plain data: it can be read long after the run, while the store keeps the results.

    outcomes: step -> Outcome, in the order of the plan. seconds: wall time. `report[step]` reads a result.
    """

    def __init__(
        self,
        project: Project,
        workflow: str,
        run: str,
        outcomes: Mapping[str, Outcome],
        members: Mapping[str, Sequence[str]],
        rows: Mapping[str, Any],
        counts: Mapping[str, int],
        seconds: float,
        code: ExitCode,
    ) -> None:
        self.project = project.root
        self.workflow = workflow
        self.id = run
        self.outcomes = outcomes
        self.counts = counts
        self.seconds = seconds
        self.code = code
        self._project = project
        self._members = members
        self._rows = rows

    def _in(self, state: StepState) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome.state is state]

    @property
    def ran(self) -> list[str]:
        """The steps whose function was called and returned."""
        return self._in(StepState.RAN)

    @property
    def restored(self) -> list[str]:
        """The steps whose result came from the store."""
        return self._in(StepState.RESTORED)

    @property
    def current(self) -> list[str]:
        """The steps for which nothing had to be done."""
        return self._in(StepState.CURRENT)

    @property
    def skipped(self) -> list[str]:
        """The steps that were skipped: `Skip`, a condition that does not hold, or what they need was skipped."""
        return self._in(StepState.SKIPPED)

    @property
    def failed(self) -> list[str]:
        """The steps that failed."""
        return self._in(StepState.FAILED)

    @property
    def blocked(self) -> list[str]:
        """The steps that were not tried, since one that they need failed."""
        return self._in(StepState.BLOCKED)

    @property
    def cancelled(self) -> list[str]:
        """The steps that an interrupt (or a failure elsewhere) kept from their end."""
        return self._in(StepState.CANCELLED)

    @property
    def ok(self) -> bool:
        """Whether every step came to a good end."""
        return self.code is ExitCode.OK

    def __getitem__(self, step: str) -> Any:
        """The result of a step: JSON values, arrays as read-only memory-mapped numpy arrays, files as Path, bytes as
        bytes; None of a skipped step, a list of the results of a fan's steps.

        Raises KeyError for a step that does not exist or has no result; the text says why.
        """
        return self._read(lambda results: self._value(step, results))

    def __contains__(self, step: object) -> bool:
        return step in self.outcomes or step in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def files(self, step: str) -> dict[str, Path]:
        """Parameter -> path of each file that a step wrote. Raises KeyError as `report[step]` does."""

        def find(results: Results) -> dict[str, Path]:
            found = results.find(step)
            return {one.note.partition(":")[2]: results.path(one) for one in found.artifacts if one.codec == "file"}

        found: dict[str, Path] = self._read(find)
        return found

    def _read(self, read: Callable[[Results], Any]) -> Any:
        from wfe.core.result import Missing
        from wfe.engine.results import Results
        from wfe.engine.workspace import Workspace

        workspace = Workspace(self._project)
        try:
            return read(Results(workspace, self.workflow, self._rows))
        except Missing as missing:
            raise KeyError(str(missing)) from None
        finally:
            workspace.close()

    def _value(self, step: str, results: Results) -> Any:
        from wfe.engine.results import value_of

        if step in self._members:
            return [self._value(member, results) for member in self._members[step]]
        outcome = self.outcomes.get(step)
        if outcome is None:
            known = [*self.outcomes, *self._members]
            raise KeyError(f"the run of {self.workflow!r} had no step {step!r}; {nearest(step, known)}".rstrip("; "))
        if outcome.state is StepState.SKIPPED:
            return None
        if outcome.state in (StepState.FAILED, StepState.BLOCKED, StepState.CANCELLED):
            raise KeyError(f"step {step!r} has no result: {outcome.state.value}")
        return value_of(results.find(step), results.path)

    def __repr__(self) -> str:
        from wfe.report.wording import summary

        names = {"failed": self.failed, "skipped": self.skipped}
        return f"<Report of {summary(self.workflow, self.counts, self.seconds, names)}>"


def run(
    workflow: str | os.PathLike[str],
    /,
    *,
    project: str | os.PathLike[str] = ".",
    steps: str | Sequence[str] = (),
    jobs: int = 0,
    force: bool | str | Sequence[str] = False,
    keep_going: bool = False,
    inline: bool = False,
    output: Told = "quiet",
    listeners: Sequence[Listener] = (),
    check: bool = True,
    params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Report:
    """Run a workflow and return what became of it. Its parameters are keyword arguments (or `params`, for names that
    are taken here): values of the right type, or texts as on the command line.

    project: a directory in the project. steps: only these and what they need. jobs: steps at once (0: the document's
    number, or 1). force: True for all steps, or ids of steps to run whatever is stored. keep_going: after a failure go
    on with what does not depend on it. inline: call the nodes in this process. output: what is told on sys.stdout;
    "quiet" tells of failures alone. listeners: more that hear every event. check: raise when the run did not go well.

    Raises WorkflowError (and nothing ran), NodeFailure with the node's traceback, EnvironmentFailure, Interrupted. The
    last three have the report as the attribute `report`. WfeError for an argument that is none.
    """
    from wfe import front

    workflow, at = _path("the workflow", workflow), _path("project", project)
    values = {name: _plain(name, value) for name, value in _together(params, more).items()}
    chosen, heard = _names("steps", steps), _heard(listeners)
    forced = frozenset() if isinstance(force, bool) else frozenset(_names("force", force))
    if not isinstance(output, str):
        raise _misused(f"output: {output!r} is no mode", f"say one of {', '.join(get_args(Told))}")
    where = Project.around(at)

    def told(found: Project) -> list[Listener]:
        from wfe.report.choose import listeners as choose

        quiet = output == "quiet"
        # With `check` the failure is told by the exception, so a quiet run says nothing at all.
        own = choose(output, None if quiet and check else sys.stdout, os.environ, record=found.cache / "runs")
        return [*own, *heard]

    begin = time.perf_counter()
    door = front.perform(
        where,
        workflow,
        values,
        steps=chosen,
        listeners=told,
        jobs=jobs,
        forced=forced,
        force_all=force is True,
        keep_going=keep_going,
        inline=inline,
    )
    report = _report(where, door, time.perf_counter() - begin)
    if check and not report.ok:
        raise _failure(report, door)
    return report


def _misused(fact: str, hint: str) -> WfeError:
    return WfeError(fact, hint, ExitCode.USAGE)


def _path(name: str, given: object) -> str:
    """A name or a path as a text. Raises WfeError."""
    found = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(found, str):
        raise _misused(f"{name}: {given!r} is neither a text nor a path", "name one")
    return found


def _names(name: str, given: object) -> tuple[str, ...]:
    """Names of steps; a text is one, though Python takes it for the sequence of its letters. Raises WfeError."""
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    wrong = [one for one in found if not isinstance(one, str)]
    if wrong:
        raise _misused(f"{name}: {wrong[0]!r} is no step's name", "give a text, or a list of texts")
    return found


def _together(params: object, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters that were given either way. Raises WfeError."""
    if params is None:
        return more
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise _misused(f"params: {params!r} is no mapping of names to values", 'give a dict: {"size": 3}')
    twice = sorted(params.keys() & more.keys())
    if twice:
        raise _misused(f"parameter {twice[0]!r} is given in params and as a keyword", "leave one out")
    return {**params, **more}


def _heard(listeners: object) -> list[Listener]:
    """The listeners. Raises WfeError for one that cannot hear: that would be a bare error in the middle of the run."""
    if not isinstance(listeners, Iterable):
        raise _misused(f"listeners: {listeners!r} is no list of listeners", "give a list, of one too")
    found = list(listeners)
    for one in found:
        if isinstance(one, type) or not callable(getattr(one, "hear", None)):
            raise _misused(f"listeners: {one!r} is no listener", "give an object with a method `hear(event)`")
    return found


def _plain(name: str, value: Any) -> Any:
    """A parameter's value as JSON has it: a path becomes its text, a tuple a list, a number of NumPy's one of Python's.

    Raises WorkflowError for what JSON has no such form of.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif getattr(value, "shape", None) == () and hasattr(value, "dtype"):
        value = value.item()
    if isinstance(value, tuple | list):
        return [_plain(name, entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(name, entry) for key, entry in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise WorkflowError(
        f"parameter {name!r}: {type(value).__name__} is no JSON value",
        "give a text, a number, true or false, None, or lists and dicts of them; of an array its `.tolist()`, or a file's path",
    )


def _report(project: Project, door: Door, seconds: float) -> Report:
    run = door.run
    order = [one for name in run.index.ids for one in run.members.get(name, [name])]
    outcomes = {name: run.outcomes[name] for name in order if name in run.outcomes}
    outcomes.update({name: found for name, found in run.outcomes.items() if name not in outcomes})
    if run.chosen is not None:
        wanted = {one for name in run.chosen for one in run.members.get(name, [name])}
        outcomes = {name: found for name, found in outcomes.items() if name in wanted}
    rows = {name: run.rows[name] for name in outcomes if name in run.rows}
    members = {name: tuple(found) for name, found in run.members.items()}
    return Report(project, run.workflow, run.id, outcomes, members, rows, door.counts or {}, seconds, door.code)


def _failure(report: Report, door: Door) -> WfeError:
    problems = []
    for name in report.failed:
        failure = report.outcomes[name].failure
        assert failure is not None
        text = f"step {name!r} failed: {failure.kind}: {failure.message}"
        hint = f"log: {failure.log}" if failure.log else ""
        problems.append(Problem(f"{text}\n{failure.traceback.rstrip()}" if failure.traceback else text, hint=hint))
    if report.code is ExitCode.INTERRUPTED:
        error: WfeError = Interrupted(f"the run of {report.workflow!r} was interrupted")
    elif report.code is ExitCode.BUG:
        error = WfeError("\n".join(["BUG: an error in wfe itself", *door.run.bugs]), code=ExitCode.BUG)
    else:
        blocked = Problem(f"{len(report.blocked) + len(report.cancelled)} steps of {report.workflow!r} were not tried")
        kind = EnvironmentFailure if report.code is ExitCode.ENVIRONMENT else NodeFailure
        error = kind(problems or [blocked])
    error.report = report
    with contextlib.suppress(IndexError):
        again = f"wfe run {shlex.quote(report.workflow)} {shlex.quote(report.failed[0])}"
        error.add_note(f"{report.workflow}: {len(report.failed)} failed; {again}")
    return error
