"""`wfe runs`, `wfe timeline`, `wfe report`: what is recorded of past runs."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from wfe.cli import here
from wfe.engine.project import Project
from wfe.errors import EnvironmentFailure, WfeError


def _ids(incomplete: str) -> list[str]:
    from wfe.report.history import past

    try:
        found = [one.run for one in past(here.project().cache / "runs", most=50) if one.run.startswith(incomplete)]
    except WfeError:
        return []
    return [*here.workflow_names(incomplete), *found]


Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id or how it begins, or a workflow, whose newest run it is (default: the newest of all).",
        autocompletion=_ids,
    ),
]
Into = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")]


def runs(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Of this workflow only.", autocompletion=here.workflow_names)
    ] = "",
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="At most so many.")] = 20,
    json: here.Json = False,
) -> None:
    """List the recorded runs, newest first.

    \b
    wfe runs
    wfe runs detect --most 5
    """
    from wfe.report.history import past
    from wfe.report.table import table
    from wfe.report.wording import duration, tally

    where = here.project()
    found = past(where.cache / "runs", here.name_of(where, workflow) if workflow else "", most)
    rows = []
    for one in found:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
        if json:
            facts = {"run": one.run, "workflow": one.workflow, "time": one.time, "ending": one.ending}
            typer.echo(json_.dumps({**facts, "steps": one.steps, "seconds": one.seconds, **(one.counts or {})}))
        took = "" if one.seconds is None else duration(one.seconds)
        rows.append([one.run, one.workflow, moment, took, one.ending, tally(one.counts) if one.counts else ""])
    if json:
        return
    if not rows:
        typer.echo("no run is recorded yet")
        return
    typer.echo(table(["RUN", "WORKFLOW", "BEGAN", "TOOK", "ENDED", "STEPS"], rows, here.width(), (3,)), nl=False)


def timeline(run: Run = "", output: Into = None) -> None:
    """Write a run as a Chrome trace, to be opened in Perfetto (ui.perfetto.dev) or chrome://tracing.

    \b
    wfe timeline -o run.trace.json
    wfe timeline detect                    its newest run
    """
    _write(run, "timeline", output)


def report(run: Run = "", output: Into = None) -> None:
    """Write a run as one HTML page: what took how long, what failed and why.

    \b
    wfe report -o run.html
    """
    _write(run, "page", output)


def _write(run: str, kind: str, output: Path | None) -> None:
    from wfe.cli.kept import form
    from wfe.report import history

    where = here.project()
    folder = where.cache / "runs"
    one = history.find(folder, workflow=run) if run in where.names() else history.find(folder, run)
    text = form(history.read(one.path), kind, _needs(where, one.workflow))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentFailure(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(str(output))


def _needs(where: Project, workflow: str) -> Mapping[str, Sequence[str]]:
    """What each step needs as the workflow stands now; nothing when it is gone or does not hold."""
    from wfe.engine.prepare import prepare
    from wfe.engine.workspace import Workspace

    workspace = Workspace(where)
    try:
        plan = prepare(where, workspace.state, workflow, {}).plan
        return {name: step.needs for name, step in plan.steps.items()}
    except WfeError:
        return {}
    finally:
        workspace.close()
