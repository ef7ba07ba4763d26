"""`wfe clean`: delete the files of steps from the workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from wfe.cli import here
from wfe.errors import WfeError, nearest


def clean(
    workflow: here.WorkflowName,
    steps: Annotated[
        list[str] | None,
        typer.Argument(metavar="STEP", help="Only of these.", autocompletion=here.step_names, show_default=False),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget the stored results too, so that the next run makes them anew.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-d", help="Say what would be deleted.")] = False,
) -> None:
    """Delete the files that steps wrote. The store keeps their results: the next run restores them.

    \b
    wfe clean detect
    wfe clean detect draw --forget
    """
    where = here.project()
    name = here.name_of(where, workflow)
    workspace = here.writable(where)
    try:
        rows = workspace.traces.rows(name)
        chosen = list(rows)
        if forget:  # of these nothing stands in the workspace
            chosen += sorted(workspace.traces.left(name) - rows.keys())
        if steps:
            chosen = [one for one in chosen if one in steps or one.partition("[")[0] in steps]
            for step in steps:
                if not any(one == step or one.partition("[")[0] == step for one in chosen):
                    hint = nearest(step, list(rows)) or f"no step of {workflow!r} has a result"
                    raise WfeError(f"step {step!r} of {workflow!r} has no files", hint)
        gone = 0
        for step in chosen:
            files = workspace.traces.row(rows[step]).files if dry_run and step in rows else ()
            paths = [one.path for one in files if one.role == "out"] if dry_run else workspace.clean(name, step)
            gone += len(paths)
            for path in paths:
                typer.echo(path)
            if forget and not dry_run:
                workspace.forget(name, step)
    finally:
        workspace.close()
    typer.echo(f"{workflow}: {gone} files {'would be ' if dry_run else ''}deleted")
