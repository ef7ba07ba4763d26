"""`wfe collect`: delete old results that no workflow needs."""

from __future__ import annotations

import json as json_
import sys
import time
from typing import Annotated

import typer

from wfe.cli import amount, here


def collect(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Results that only earlier inputs would need: how old.")
    ] = "30d",
    to_size: Annotated[
        str | None,
        typer.Option("--to-size", metavar="SIZE", help="Delete younger ones too, oldest first, down to this."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    json: here.Json = False,
) -> None:
    """Delete stored results that no workflow needs as it stands. Says first what would go, and asks.

    What stands in the workspace of a workflow stays, whatever its age; so does all that is younger than an hour.

    \b
    wfe collect
    wfe collect --older-than 7d --to-size 2GB --yes
    """
    from wfe.store import collect as store

    where = here.project()
    most, age = (None if to_size is None else amount.size(to_size)), amount.age(older_than)
    workflows = [here.name_of(where, name) for name in where.names()]
    workspace = here.writable(where)
    try:
        found = store.spare(workspace.state, workspace.blobs, workflows, time.time(), older_than=age, to_size=most)
        nothing = not (found.traces or found.blobs or found.scopes)
        if not json:
            typer.echo(f"the store holds {amount.shown(found.size)}")
            if nothing:
                typer.echo("nothing to delete")
            else:
                typer.echo(
                    f"{len(found.traces):,} results and {len(found.blobs):,} files of them can go: "
                    f"{amount.shown(found.bytes)}"
                )
                if found.scopes:
                    typer.echo(f"and what is kept of workflows that are gone: {', '.join(found.scopes)}")
            if most is not None and found.kept > most:
                typer.echo(f"{amount.shown(found.kept)} stay: workflows need them, or they are younger than an hour")
        freed = 0
        sure = yes or (not nothing and not json and sys.stdin.isatty() and typer.confirm("delete them?"))
        if sure and not nothing:
            freed = store.remove(workspace.state, workspace.blobs, found)
        if json:
            facts = {"size": found.size, "results": len(found.traces), "files": len(found.blobs), "bytes": found.bytes}
            typer.echo(json_.dumps({**facts, "workflows_gone": found.scopes, "deleted": sure, "freed": freed}))
        elif sure and not nothing:
            typer.echo(f"freed {amount.shown(freed)}")
        elif not nothing and not sys.stdin.isatty():
            typer.echo("nothing was deleted; --yes deletes")
    finally:
        workspace.close()
