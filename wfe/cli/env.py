"""`wfe env`: the isolated environments of a project."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import amount, here
from wfe.cli.validate import stand_in
from wfe.cli.verbs import PLAIN
from wfe.errors import Place, Problem, WfeError

if TYPE_CHECKING:
    from wfe.core.planner import Placed
    from wfe.core.workflow import Workflow
    from wfe.env import Declared, Environments, Need, Placement
    from wfe.run.project import Project

app = typer.Typer(
    help="Isolated environments of nodes whose packages clash with the rest.", no_args_is_help=True, **PLAIN
)


def _environments(where: Project, frozen: bool = False) -> Environments:
    """frozen: nothing is resolved and the lock file stays as it is."""
    from wfe.run.isolated import LOCK_FILE, environments_of

    if frozen:
        from wfe.env import Environments

        return Environments(where.cache / "environments", where.root / LOCK_FILE, frozen=True)

    return environments_of(where, lambda progress: typer.echo(progress.message, err=True))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the nodes of one workflow need beyond the main environment. Nodes that share an environment are chosen within a
    workflow, so each is asked for by itself."""

    workflow: str
    needs: tuple[Need, ...]
    declared: Mapping[str, Declared] | None


def _asked(where: Project) -> list[Asked]:
    """What each workflow asks for, those that ask for nothing left out; nothing is resolved.

    Raises WfeError with the problems of every workflow: what is left out would count as asked for by nobody.
    """
    from wfe.catalog import Catalogue
    from wfe.core.parse import parse
    from wfe.core.planner import Placed, plan
    from wfe.run.isolated import declared_by

    found: list[Asked] = []
    problems: list[Problem] = []

    def read(name: str, place: Place | None = None) -> Workflow:
        path = where.find(name, place)
        return parse(path.read_bytes(), where.shown(path), path.stem)

    for name in where.names():
        needs: list[Need] = []
        try:
            workflow = read(name)
            stand_ins = {one.name: stand_in(one) for one in workflow.params.values() if one.required}
            plan(workflow, stand_ins, Catalogue(where.root), partial(_noted, where, needs, Placed("")), read)
            if needs:
                found.append(Asked(name, tuple(needs), declared_by(where, workflow, {})))
        except WfeError as error:
            problems.extend(error.problems)
    if problems:
        raise WfeError(problems)
    return found


def _noted(where: Project, needs: list[Need], main: Placed, asked: Any) -> dict[str, Placed]:
    from wfe.run.isolated import need_of
    from wfe.run.placement import declares

    needs.extend(need_of(where, *one) for one in asked if declares(one[0], one[1]))
    return {one[0].id: main for one in asked}


def _placed(environments: Environments, asked: list[Asked]) -> dict[str, Placement]:
    """ "workflow:node" -> where it runs. Resolves what has no lock yet."""
    return {
        f"{one.workflow}:{node}": placement
        for one in asked
        for node, placement in environments.place(one.needs, one.declared).items()
    }


@app.command("list")
def list_(json: here.Json = False) -> None:
    """List the environments on disk: what they hold, their size, and which nodes they are for."""
    where = here.project()
    environments = _environments(where, frozen=True)
    try:
        placed: Mapping[str, Placement] | None = _placed(environments, _asked(where))
    except WfeError:
        placed = None  # what lies on disk can be told all the same
    rows = []
    for one in environments.entries(placed):
        nodes = dict(one.nodes or {})
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
        if json:
            facts = {"digest": one.digest, "path": str(one.path), "python": one.python, "asked": list(one.asked)}
            more = {"packages": list(one.packages), "own": one.own, "linked": one.linked, "used": one.used}
            typer.echo(json_.dumps({**facts, **more, "nodes": nodes, "usable": one.usable, "users": list(one.users)}))
        rows.append(
            [
                one.digest[:12],
                one.python,
                amount.shown(one.own),
                used,
                ("in use" if one.users else "") if one.usable else "damaged",
                ", ".join(one.asked) or f"{len(one.packages)} packages",
                ", ".join(nodes) or "no workflow's",
            ]
        )
    if json:
        return
    if not rows:
        typer.echo("there are no isolated environments")
        return
    from wfe.report.table import table

    head = ["ENVIRONMENT", "PYTHON", "SIZE", "USED", "", "ASKED", "FOR"]
    typer.echo(table(head, rows, here.width(), (2,)), nl=False)


@app.command()
def lock(
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Resolve anew what is locked.")] = False,
) -> None:
    """Resolve what the nodes of all workflows need, and write the lock file."""
    where = here.project()
    environments = _environments(where)
    asked = _asked(where)
    if not asked:
        typer.echo("no node asks for an environment of its own")
        return
    written = False
    for one in asked:
        locked = environments.lock_all(one.needs, one.declared, upgrade=upgrade)
        written = written or locked.written
        for node, placement in locked.placements.items():
            typer.echo(f"{one.workflow}:{node}: {_where(placement)}")
        for environment, lines in locked.changes.items():
            typer.echo(f"{environment}: {', '.join(lines)}")
    typer.echo(f"{where.shown(environments.file.path)} {'written' if written else 'is up to date'}")


def _where(placement: Placement) -> str:
    from wfe.env import Absent, Isolated

    if isinstance(placement, Isolated):
        return f"its own environment ({placement.reason})"
    if isinstance(placement, Absent):
        return f"cannot run here: {placement.reason}"
    return "the main environment"


@app.command()
def sync() -> None:
    """Make every environment that the workflows need, so that no run has to wait for one."""
    where = here.project()
    environments = _environments(where)
    paths = set()
    for one in _asked(where):
        for node, prefix in environments.sync(one.needs, one.declared).items():
            paths.add(str(prefix.path))
            typer.echo(f"{one.workflow}:{node}: {prefix.path}")
    typer.echo(f"{len(paths)} environments ready")


def _digests(incomplete: str) -> list[str]:
    try:
        return [one.digest for one in _environments(here.project()).entries() if one.digest.startswith(incomplete)]
    except (WfeError, OSError):
        return []


@app.command()
def remove(
    digest: Annotated[
        str, typer.Argument(metavar="ENVIRONMENT", help="How its digest begins.", autocompletion=_digests)
    ],
) -> None:
    """Delete one environment; it is made again when a step needs it."""
    gone = _environments(here.project()).remove(digest)
    typer.echo(f"{gone.digest[:12]} deleted, {amount.shown(gone.bytes)}")


@app.command()
def gc(
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="Not used for so long.")] = "30d",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete them; without it they are only named.")] = False,
) -> None:
    """Delete environments that no workflow asks for, or that were not used for long."""
    where = here.project()
    environments = _environments(where, frozen=True)
    placed = _placed(environments, _asked(where))
    entries = environments.entries(placed)
    asked = [one.digest for one in entries if one.nodes]
    others = [one.digest for one in entries if not one.nodes]
    found = [
        *environments.collect(unused_for=0.0, keep=asked, dry_run=not yes),
        *environments.collect(unused_for=amount.age(older_than), keep=others, dry_run=not yes),
    ]
    for one in found:
        why = "no workflow asks for it" if one.digest in others else one.why
        typer.echo(f"{one.digest[:12]}  {amount.shown(one.bytes)}  {why}")
    total = amount.shown(sum(one.bytes for one in found))
    if not found:
        typer.echo("nothing to delete")
    else:
        typer.echo(f"freed {total}" if yes else f"{total} can go; --yes deletes")
