"""`wfe why`, and `wfe run --dry-run`: what a run would do to each step, and why."""

from __future__ import annotations

import json as json_
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.errors import ExitCode, WfeError, nearest

if TYPE_CHECKING:
    from wfe.door import Door
    from wfe.engine.explain import Forecast
    from wfe.engine.project import Project

_ORDER = ("run", "unknown", "restore", "skip", "fail", "current")
_FEW = 40


def why(
    target: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW[:STEP]", help="A workflow, or one step of it.", autocompletion=here.addresses),
    ],
    sets: here.Sets = None,
    json: here.Json = False,
) -> None:
    """Say for each step whether it is current, would be restored or run, and which parts of its key changed.

    A step behind one that must run is unknown: its inputs may come out the same, and then it stays current.

    \b
    wfe why detect
    wfe why detect:draw --set conf=0.4
    """
    workflow, step, trail = here.address(target)
    if trail:
        raise WfeError(f"{target!r}: a step has no {trail[0]!r} to explain", "name the step alone", ExitCode.USAGE)
    where, given = here.project(), here.settings(sets or ())
    if not step:
        raise typer.Exit(tell(where, workflow, given, as_json=json))
    raise typer.Exit(_one(where, workflow, given, step, json))


def forecasts(
    where: Project,
    workflow: str,
    given: dict[str, str],
    steps: Sequence[str] = (),
    forced: frozenset[str] = frozenset(),
    force_all: bool = False,
) -> tuple[Door, list[Forecast]]:
    """The open run and what it would do. The caller closes it. Raises WfeError."""
    from wfe.door import enter
    from wfe.engine.explain import explain
    from wfe.engine.forced import check_forced

    door = enter(where, workflow, given, forced=forced)
    try:
        if steps:
            door.run.choose(steps)
        check_forced(door.run)
        return door, explain(door.run, force_all)
    except BaseException:
        door.close()
        raise


def tell(
    where: Project,
    workflow: str,
    given: dict[str, str],
    steps: Sequence[str] = (),
    *,
    forced: frozenset[str] = frozenset(),
    force_all: bool = False,
    as_json: bool = False,
) -> ExitCode:
    """Print what a run would do."""
    door, found = forecasts(where, workflow, given, steps, forced, force_all)
    counts = Counter(one.word for one in found)
    door.close()
    if as_json:
        for one in found:
            typer.echo(json_.dumps(one.to_json()))
        typer.echo(json_.dumps({"event": "dry-run", **{word: counts.get(word, 0) for word in _ORDER}}))
        return ExitCode.OK
    shown = found if len(found) <= _FEW else [one for one in found if one.word != "current"]
    from wfe.report.wording import clean

    for one in shown[: 25 * _FEW]:
        because = one.because()
        typer.echo(clean(f"{one.word:<9} {one.step}" + (f"  {because}" if because else "")))
    if len(shown) > 25 * _FEW:
        typer.echo(f"... and {len(shown) - 25 * _FEW:,} more")
    said = [f"{counts[word]:,} {_PLANNED[word]}" for word in _ORDER if counts[word]]
    typer.echo(f"{door.run.workflow}: {', '.join(said) or 'no step'}")
    return ExitCode.OK


_PLANNED = {
    "run": "would run",
    "unknown": "not known yet",
    "restore": "would be restored",
    "skip": "would be skipped",
    "fail": "would fail",
    "current": "current",
}


def _one(where: Project, workflow: str, given: dict[str, str], step: str, as_json: bool) -> ExitCode:
    door, found = forecasts(where, workflow, given, [step])
    try:
        mine = [one for one in found if one.step == step or one.step.startswith(f"{step}[")]
        if not mine:
            hint = nearest(step, [one.step for one in found])
            raise WfeError(f"workflow {workflow!r} has no step {step!r}", hint, ExitCode.WORKFLOW)
        for one in mine:
            facts = _facts(door, one.step)
            if as_json:
                typer.echo(json_.dumps({**one.to_json(), **facts}))
                continue
            typer.echo(f"{one.step}: {one.word}")
            if one.until:
                typer.echo(f"  not known until {', '.join(one.until)} {'has' if len(one.until) == 1 else 'have'} run")
            for reason in one.reasons:
                typer.echo(f"  {reason}")
            if one.note:
                typer.echo(f"  {one.note}")
            for name, value in facts.items():
                shown = ", ".join(value) if isinstance(value, list) else value
                typer.echo(f"  {name:<9} {shown}")
    finally:
        door.close()
    return ExitCode.OK


def _facts(door: Door, name: str) -> dict[str, Any]:
    from wfe.report.wording import duration

    run = door.run
    try:
        step = run.step(name)
    except KeyError:
        return {}
    row = run.row(name)
    facts: dict[str, Any] = {"function": step.function.removeprefix("nodes.")}
    if step.needs:
        facts["needs"] = list(step.needs)
    facts["where"] = f"environment {step.prefix[:8]}" if step.prefix else "main environment"
    if row is not None:
        trace = run.trace(name)
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.at if trace is None else trace.made))
        facts["made"] = f"{moment}, in {duration(row.seconds)}"
        facts["key"] = row.key
        files = [one.path for one in row.files if one.role == "out"]
        if files:
            facts["files"] = files
    return facts
