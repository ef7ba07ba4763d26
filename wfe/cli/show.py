"""`wfe show`: what a step gave."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.core.plan import no_step
from wfe.core.result import Artifact, Missing, Result
from wfe.errors import EnvironmentFailure, ExitCode, WfeError, nearest
from wfe.report.wording import named

if TYPE_CHECKING:
    from wfe.engine.project import Project
    from wfe.engine.results import Results

_WIDE = 100


def show(
    target: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW[:STEP[.KEY...]]",
            help="A workflow, a step, or one of its outputs.",
            autocompletion=here.addresses,
        ),
    ],
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write it: an array to .npy, a file as a copy, the rest as JSON."),
    ] = None,
    compact: Annotated[bool, typer.Option("--json", help="For programs: on one line.")] = False,
) -> None:
    """Print what a step gave, as JSON: an array as dtype, shape and first numbers, a file as its path; what JSON has no
    form for as a text: "nan", "inf", "-inf".

    \b
    wfe show detect                        the steps that have results, and their outputs
    wfe show detect:draw                   all that a step gave
    wfe show detect:detect.boxes.0         a part of it
    wfe show 'resize:make[a.png].image' --save a.npy
    """
    workflow, step, trail = here.address(target)
    where = here.project()
    from wfe.engine.results import Results, json_of
    from wfe.engine.workspace import Workspace

    name = here.name_of(where, workflow)
    workspace = Workspace(where)
    try:
        results = Results(workspace, name)
        if not step:
            if save is not None:
                raise WfeError(f"--save takes one output, {workflow!r} is a workflow", code=ExitCode.USAGE)
            _steps(where, results, workflow, compact)
            return
        members = _members(where, workflow, step, results)
        try:
            result = results.part(step, trail, members)
        except Missing as missing:
            if members is not None:
                raise WfeError(f"{workflow}:{step}: {missing}", code=ExitCode.USAGE) from None
            raise _lacking(where, workflow, step, str(missing), results) from None
        _tell_age(where, name, step)
        if save is not None:
            _save(result, save, results)
            typer.echo(f"{save}", err=True)
            return
        told = json_of(result, results.path)
    finally:
        workspace.close()
    ascii_only = not _takes_unicode()
    sys.stdout.write((json.dumps(told, ensure_ascii=ascii_only) if compact else pretty(told, ascii_only)) + "\n")


def _tell_age(where: Project, name: str, step: str) -> None:
    """Say when the last run came to the step and has no result of it: then this one is older."""
    from wfe.core.outcome import StepState
    from wfe.report.history import last_of

    last = last_of(where.cache / "runs", name, step)
    if last is not None and last.state in (StepState.FAILED, StepState.SKIPPED, StepState.BLOCKED, StepState.CANCELLED):
        typer.echo(f"{step} {last.state.value} in the last run; this is what it gave before", err=True)


def pretty(value: Any, ascii_only: bool = False, indent: str = "") -> str:
    """JSON on several lines, where what fits on one line stays there: a box of four numbers is no column of four."""
    flat = json.dumps(value, ensure_ascii=ascii_only)
    if len(flat) + len(indent) <= _WIDE or not isinstance(value, dict | list) or not value:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        quoted = ((json.dumps(key, ensure_ascii=ascii_only), entry) for key, entry in value.items())
        lines = [f"{deeper}{key}: {pretty(entry, ascii_only, deeper)}" for key, entry in quoted]
    else:
        lines = [f"{deeper}{pretty(entry, ascii_only, deeper)}" for entry in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(lines) + f"\n{indent}{closing}"


def _takes_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _members(where: Project, workflow: str, step: str, results: Results) -> list[str] | None:
    """The steps of a fan in the order of its items, None where the workflow cannot say it now or none of them has a result."""
    if results.row(step) is not None:
        return None
    from wfe.errors import NodeFailure

    with here.planned(where, workflow) as run:
        if run is None or step not in run.steps or run.steps[step].fan is None:
            return None
        try:
            found = [one.id for one in run.expand(step)]
        except (NodeFailure, Missing):
            return None
        return None if step in run.skipped or (found and not results.members(step)) else found


def _lacking(where: Project, workflow: str, step: str, why: str, results: Results) -> WfeError:
    if results.row(step) is not None or results.members(step):
        return WfeError(f"{workflow}:{step}: {why}", code=ExitCode.USAGE)
    fan = step.partition("[")[0]
    items = _members(where, workflow, fan, results) if fan != step else None
    if items is not None and step not in items:
        return WfeError(f"workflow {workflow!r} has no step {step!r}", nearest(step, items), ExitCode.WORKFLOW)
    known = here.steps_of(where, workflow)
    if fan in known:
        from wfe.core.outcome import StepState
        from wfe.report.history import last_of

        last = last_of(where.cache / "runs", results.workflow, step)
        if last is not None and last.state is StepState.SKIPPED:
            return WfeError(f"step {step!r} has no result: it was skipped, {last.skip}", code=ExitCode.USAGE)
        return WfeError(why, f"run it: wfe run {shlex.quote(workflow)} {fan}", ExitCode.USAGE)
    return WfeError(no_step(workflow, step, known or results.steps()), code=ExitCode.WORKFLOW)


def _planned(where: Project, workflow: str, results: Results) -> set[str]:
    """The steps with a result that the workflow has as it stands; all of them where it cannot be said now."""
    from wfe.errors import NodeFailure

    known = set(results.steps())
    found: set[str] = set()
    with here.planned(where, workflow) as run:
        if run is None:
            return known
        for name in run.index.ids:
            try:
                found.update([name] if run.steps[name].fan is None else [one.id for one in run.expand(name)])
            except (NodeFailure, Missing):
                found.update(results.members(name))
    return known & found


def _steps(where: Project, results: Results, workflow: str, compact: bool) -> None:
    if not results.steps():
        raise WfeError(
            f"no step of {workflow!r} has a result yet", f"run it: wfe run {shlex.quote(workflow)}", ExitCode.USAGE
        )
    planned = _planned(where, workflow, results)
    gone = sorted(set(results.steps()) - planned)
    if gone:
        typer.echo(f"left out, since the workflow does not have them now: {named(gone, len(gone))}", err=True)
    for step in sorted(planned):
        try:
            said = _outline(results.find(step))
        except Missing as missing:
            said = {"": str(missing)}
        if compact:
            typer.echo(json.dumps({"step": step, "outputs": said}))
            continue
        typer.echo(step)
        for key, kind in said.items():
            typer.echo(f"  {'.' + key if key else '(result)'}  {kind}")


def _outline(result: Result) -> dict[str, str]:
    """Output -> what it is, in a few words."""
    from wfe.core.manifest import shape, value_text

    def kind(one: Result) -> str:
        if len(one.artifacts) == 1 and not one.artifacts[0].trail:
            return one.artifacts[0].kind
        text = value_text(one)
        return shape(one) if text.startswith("#") else text

    if isinstance(result.value, dict) and result.value:
        return {key: kind(result.dig((key,))) for key in result.value}
    return {"": kind(result)}


def _save(result: Result, path: Path, results: Results) -> None:
    """Write a result to a file. Raises WfeError: the form does not fit, or the disk refuses."""
    if path.is_dir():
        raise WfeError(f"{path}: --save takes a file, and this is a directory", code=ExitCode.USAGE)
    whole = result.artifacts[0] if len(result.artifacts) == 1 and not result.artifacts[0].trail else None
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        if whole is not None and not (whole.codec == "npy" and path.suffix == ".json"):
            _check_suffix(whole, path)
            shutil.copyfile(results.path(whole), part)
        else:
            part.write_text(json.dumps(_whole(result, results), indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise EnvironmentFailure(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _check_suffix(one: Artifact, path: Path) -> None:
    if one.codec == "npy" and path.suffix != ".npy":
        raise WfeError(f"{path}: an array is saved as .npy or .json", code=ExitCode.USAGE)


def _whole(result: Result, results: Results) -> Any:
    """The value as JSON with its arrays as nested lists and its files as paths."""
    from wfe.engine.results import strict, value_of

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        if isinstance(value, bytes):
            return value.hex()
        return value.tolist() if hasattr(value, "tolist") else value

    return strict(plain(value_of(result, results.path)))
