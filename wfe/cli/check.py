"""`wfe check --twice`: whether a step gives the same for the same."""

from __future__ import annotations

import json as json_
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from wfe.cli import here
from wfe.core.manifest import shape, value_text
from wfe.core.outcome import StepState
from wfe.core.result import Missing, Result
from wfe.errors import ExitCode, NodeFailure, WfeError

if TYPE_CHECKING:
    from wfe.engine.run import Run


def check(
    target: Annotated[str, typer.Argument(metavar="WORKFLOW:STEP", help="A step.", autocompletion=here.addresses)],
    twice: Annotated[
        bool, typer.Option("--twice", help="Run it twice with the same inputs (the only check so far).")
    ] = True,
    sets: here.Sets = None,
    json: here.Json = False,
) -> None:
    """Run a step twice with the same inputs and name the outputs that differ: such a step should have a `seed`, or
    `cache: never`. What it needs is run first where it is not current. Exits with 1 when something differs.

    \b
    wfe check --twice detect:train
    """
    del twice
    workflow, step, trail = here.address(target, needs_step=True)
    if trail:
        raise WfeError(
            f"{target!r}: a whole step is checked", f"say {shlex.quote(f'{workflow}:{step}')}", ExitCode.USAGE
        )
    where, given = here.project(), here.settings(sets or ())
    from wfe.door import enter, terminable

    door = enter(where, workflow, given)
    run = door.run
    with terminable():
        try:
            differing = _twice(run, step)
        finally:
            run.listeners.clear()
            door.close()
    if json:
        typer.echo(json_.dumps({"step": step, "same": not differing, "differ": differing}))
    else:
        for name, (one, two) in differing.items():
            typer.echo(f"{step}{'.' + name if name else ''} differs: {one} -> {two}")
        typer.echo(f"{step}: {len(differing)} outputs differ" if differing else f"{step}: the same twice")
    raise typer.Exit(ExitCode.FAILED if differing else ExitCode.OK)


def _twice(run: Run, step: str) -> dict[str, tuple[str, str]]:
    """Output -> how it is described the first and the second time, of those that differ. Raises WfeError."""
    base = step.partition("[")[0]
    needs = run.plan.select([base]) - {base}
    if any(name not in run.marks for name in needs):
        from wfe.schedule.runner import execute

        run.choose(sorted(needs))
        execute(run, keep_going=False, force=False, done=lambda interrupted: None)
        bad = [name for name in needs if name not in run.marks]
        if bad:
            raise _failed(run, bad)
    members = [one.id for one in run.expand(base)] if run.steps[base].fan is not None else []
    if step == base and run.steps[base].fan is not None:
        raise WfeError(f"{step!r} is a fan; name one of its steps", ", ".join(members[:6]), ExitCode.USAGE)
    if step != base and step not in members:
        raise WfeError(run.plan.no_step(step, members or list(run.steps)), code=ExitCode.USAGE)
    results = [_once(run, step), _once(run, step)]
    return differ(*results)


def _once(run: Run, step: str) -> Result:
    outcome = run.perform(step, force=True)
    if outcome.state is not StepState.RAN:
        if outcome.state is StepState.SKIPPED:
            raise WfeError(f"step {step!r} was skipped: {outcome.skip}", code=ExitCode.FAILED)
        raise _failed(run, [step])
    found = run.result(step)
    assert found is not None
    return found


def _failed(run: Run, names: list[str]) -> WfeError:
    for name in names:
        outcome = run.outcomes.get(name)
        if outcome is not None and outcome.failure is not None:
            failure = outcome.failure
            return NodeFailure(f"step {name!r} failed: {failure.kind}: {failure.message}\n{failure.traceback}".rstrip())
    return NodeFailure(f"step {names[0]!r} has no result")


def differ(first: Result, second: Result) -> dict[str, tuple[str, str]]:
    """What differs between two results, by top-level output ("" where they are no objects)."""

    def told(one: Result) -> str:
        text = value_text(one)
        return f"{shape(one)} {text[:9]}" if text.startswith("#") else text[:80]

    if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
        return {} if first.text() == second.text() else {"": (told(first), told(second))}
    found = {}
    for key in dict.fromkeys([*first.value, *second.value]):
        try:
            one, two = first.dig((key,)), second.dig((key,))
        except Missing:
            there = key in first.value
            found[key] = ("there", "missing") if there else ("missing", "there")
            continue
        if one.text() != two.text():
            found[key] = (told(one), told(two))
    return found
