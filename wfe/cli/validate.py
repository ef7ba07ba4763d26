"""`wfe validate`: all that is wrong with workflows, found without running anything."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.errors import ExitCode, Place, Problem, WfeError

if TYPE_CHECKING:
    from wfe.engine.project import Project


def validate(
    workflows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORKFLOW",
            help="Names or paths (default: all).",
            autocompletion=here.workflow_names,
            show_default=False,
        ),
    ] = None,
    sets: here.Sets = None,
    json: here.Json = False,
) -> None:
    """Find all that is wrong with the workflows, each with its place: nothing is run.

    A parameter that has no default is checked with the value that --set gives; without one, what depends on it is not
    checked, and a line says so.

    \b
    wfe validate
    wfe validate detect --set image_path=a.png
    """
    where, given = here.project(), here.settings(sets or ())
    names = list(dict.fromkeys(workflows)) if workflows else where.names()
    if not names:
        raise WfeError("there are no documents in workflows/", "`wfe init` writes one to begin with")
    problems: dict[Problem, None] = {}
    bad = 0
    codes: set[ExitCode] = set()
    for name in names:
        mine, left, code = check(where, name, given)
        bad += bool(mine)
        codes |= {code} if mine else set()
        fresh = [problem for problem in mine if problem not in problems]
        problems.update(dict.fromkeys(fresh))
        if json:
            typer.echo(json_.dumps({"workflow": name, "valid": not mine, "problems": [_plain(one) for one in mine]}))
        else:
            from wfe.report.wording import clean

            for problem in fresh:
                typer.echo(clean(str(problem)))
            if left:
                said = " ".join(f"--set {one}=..." for one in left)
                typer.echo(f"{name}: what depends on its parameters without a default was not checked; give {said}")
    if not json:
        good = len(names) - bad
        total = len(problems)
        typer.echo(
            f"{good} of {len(names)} workflows valid" + (f", {total} problem{'s' * (total != 1)}" if bad else "")
        )
    # Of workflows where nothing is wrong but the surroundings, a registry that cannot be reached perhaps, a run says so too.
    raise typer.Exit(ExitCode.WORKFLOW if ExitCode.WORKFLOW in codes else max(codes, default=ExitCode.OK))


def check(where: Project, name: str, given: dict[str, str]) -> tuple[tuple[Problem, ...], list[str], ExitCode]:
    """(the problems of a workflow, its required parameters without a value, the exit code that a run of it would have)."""
    from wfe.core.params import stand_in, uncertain
    from wfe.core.parse import parse
    from wfe.engine.gate import sizes
    from wfe.engine.prepare import prepare
    from wfe.engine.workspace import Workspace

    left: list[str] = []
    aside: set[Place] = set()
    try:
        path = where.find(name)
        try:
            workflow = parse(path.read_bytes(), where.shown(path), name, [])
        except OSError as error:
            raise WfeError(Problem(f"cannot be read: {error.strerror}", Place(where.shown(path)))) from None
        left = [param.name for param in workflow.params.values() if param.required and param.name not in given]
        aside = uncertain(workflow, left)
        values: dict[str, Any] = {key: value for key, value in given.items() if key in workflow.params}
        workspace = Workspace(where)
        try:
            values.update({one: stand_in(workflow.params[one]) for one in left})
            plan = prepare(where, workspace.state, name, values).plan
            sizes(plan.pools, {step: plan.steps[step].options.resources for step in plan.steps})
        finally:
            workspace.close()
    except WfeError as error:
        return tuple(one for one in error.problems if one.place not in aside), left, error.code
    return (), left, ExitCode.OK


def _plain(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "message": problem.message,
        "hint": problem.hint,
        "file": place.file,
        "line": place.line,
        "column": place.column,
    }
