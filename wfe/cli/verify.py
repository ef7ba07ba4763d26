"""`wfe verify`: read every stored file."""

from __future__ import annotations

import json as json_
from typing import Annotated

import typer

from wfe.cli import amount, here
from wfe.errors import ExitCode


def verify(
    keep: Annotated[bool, typer.Option("--keep", help="Only tell: do not delete what is damaged.")] = False,
    json: here.Json = False,
) -> None:
    """Read every stored file and compare it with its digest. A damaged one is deleted and the steps that need it are
    named: the next run makes them again. Exits with 4 when something was damaged or missing.

    \b
    wfe verify
    """
    from wfe.store import verify as store

    workspace = here.writable(here.project())
    total = size = bad = 0
    try:
        for one in store.verify(workspace.state, workspace.blobs, drop=not keep):
            total, size = total + 1, size + one.size
            if one.sound:
                continue
            bad += 1
            steps = [f"{workflow}:{step}" for workflow, step in one.steps]
            if json:
                typer.echo(json_.dumps({"damaged": one.digest, "bytes": one.size, "steps": steps}))
            else:
                typer.echo(
                    f"damaged  {one.digest}  {amount.shown(one.size)}  {', '.join(steps) or 'of no current step'}"
                )
        gone = {} if bad and not keep else store.missing(workspace.state, workspace.blobs)
        for digest, users in gone.items():
            steps = [f"{workflow}:{step}" for workflow, step in users]
            typer.echo(
                json_.dumps({"missing": digest, "steps": steps}) if json else f"missing  {digest}  {', '.join(steps)}"
            )
    finally:
        workspace.close()
    if json:
        typer.echo(json_.dumps({"files": total, "bytes": size, "damaged": bad, "missing": len(gone)}))
    else:
        said = f"{total:,} files, {amount.shown(size)}: "
        if bad or gone:
            said += (
                f"{bad:,} damaged{'' if keep else ' (deleted)'}, {len(gone):,} missing; the next run makes them again"
            )
        typer.echo(said if bad or gone else f"{said}all sound")
    raise typer.Exit(ExitCode.ENVIRONMENT if bad or gone else ExitCode.OK)
