"""`wfe env`: the isolated environments of a project."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import amount, here
from wfe.cli.verbs import PLAIN
from wfe.errors import EnvironmentFailure, Place, Problem, WfeError

if TYPE_CHECKING:
    from wfe.core.planner import Placed
    from wfe.core.workflow import Workflow
    from wfe.engine.project import Project
    from wfe.env import Declared, Entry, Environments, Need, Placement, Progress

app = typer.Typer(
    help="Isolated environments of nodes whose packages clash with the rest.", no_args_is_help=True, **PLAIN
)


def _environments(where: Project, frozen: bool = False) -> Environments:
    """frozen: nothing is resolved and the lock file stays as it is."""
    from wfe.engine.isolated import LOCK_FILE, environments_of

    if frozen:
        from wfe.env import Environments

        return Environments(where.cache / "environments", where.root / LOCK_FILE, frozen=True)

    return environments_of(where, _tell)


def _tell(progress: Progress) -> None:
    if not progress.detail:
        typer.echo(progress.message, err=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the nodes of one workflow need beyond the main environment. Nodes that share an environment are chosen within a
    workflow, so each is asked for by itself. plain: the nodes that ask for nothing."""

    workflow: str
    needs: tuple[Need, ...]
    declared: Mapping[str, Declared] | None
    plain: tuple[str, ...] = ()


def _asked(where: Project) -> list[Asked]:
    """What each workflow asks for, those that ask for nothing left out; nothing is resolved.

    Raises WfeError with the problems of every workflow: what is left out would count as asked for by nobody.
    """
    problems: list[Problem] = []
    found = [one for one in _read(where, where.names(), problems) if one.needs]
    if problems:
        raise WfeError(problems)
    return found


def _read(where: Project, names: Iterable[str], problems: list[Problem]) -> Iterator[Asked]:
    """What these workflows ask for; what is wrong with the others goes into `problems`."""
    from wfe.catalog import Catalogue
    from wfe.core.params import stand_in
    from wfe.core.parse import parse
    from wfe.core.planner import Placed, plan
    from wfe.engine.ground import Ground
    from wfe.engine.isolated import declared_by

    def read(name: str, place: Place | None = None) -> Workflow:
        path = where.find(name, place)
        return parse(path.read_bytes(), where.shown(path), path.stem)

    for name in names:
        needs: list[Need] = []
        plain: list[str] = []
        try:
            workflow = read(name)
            stand_ins = {one.name: stand_in(one) for one in workflow.params.values() if one.required}
            declared = declared_by(where, workflow, {}, set())
            listed = {node for one in (declared or {}).values() for node in one.nodes}
            noted = partial(_noted, where, needs, plain, listed, Placed(""))
            plan(workflow, stand_ins, Catalogue(where.root), noted, read, disk=Ground(where))
            yield Asked(name, tuple(needs), declared, tuple(plain))
        except WfeError as error:
            problems.extend(error.problems)


def _noted(
    where: Project, needs: list[Need], plain: list[str], listed: set[str], main: Placed, asked: Any
) -> dict[str, Placed]:
    from wfe.engine.isolated import need_of
    from wfe.engine.placement import declares

    for one in asked:
        if declares(one[0], one[1]) or one[0].id in listed:
            needs.append(need_of(where, *one))
        else:
            plain.append(one[0].id)
    return {one[0].id: main for one in asked}


def _placed(environments: Environments, asked: Iterable[Asked]) -> dict[str, Placement]:
    """ "workflow:node" -> where it runs. Resolves what has no lock yet."""
    return {
        f"{one.workflow}:{node}": placement
        for one in asked
        for node, placement in environments.place(one.needs, one.declared).items()
    }


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one step runs and why. runs: "main", "isolated", "absent", or "unknown" as long as nothing is locked.
    environment: the lock's digest of an isolated one."""

    step: str
    runs: str
    why: str
    environment: str = ""


def _seats(environments: Environments, one: Asked, placements: Mapping[str, Placement] | None) -> Iterator[Seat]:
    from wfe.env import Absent, Isolated

    for node in one.plain:
        yield Seat(f"{one.workflow}:{node}", "main", "it asks for nothing of its own")
    for need in one.needs:
        step = f"{one.workflow}:{need.node}"
        placement = (placements or {}).get(step)
        if placement is None:
            yield Seat(step, "unknown", "not resolved yet; `wfe env lock` does it, or the first run")
        elif isinstance(placement, Isolated):
            yield Seat(step, "isolated", placement.reason, environments.lock(placement.spec).digest)
        else:
            yield Seat(step, "absent" if isinstance(placement, Absent) else "main", placement.reason)


@app.command("list")
def list_(
    workflow: Annotated[
        str | None,
        typer.Argument(metavar="WORKFLOW", help="Only its steps, all of them.", autocompletion=here.workflow_names),
    ] = None,
    json: here.Json = False,
) -> None:
    """List which step runs where and why, and the environments on disk: what they hold, their size, whom they are for."""
    where = here.project()
    environments = _environments(where, frozen=True)
    environments.file.read()  # else one that cannot be read would look as if there were none
    problems: list[Problem] = []
    seats: list[Seat] = []
    placed: dict[str, Placement] = {}
    for one in _read(where, [workflow] if workflow else where.names(), problems):
        try:
            placements = _placed(environments, [one])
        except EnvironmentFailure:
            placements = None  # it has no lock, and to list changes nothing
        placed.update(placements or {})
        found = list(_seats(environments, one, placements))
        seats.extend(found if workflow else [seat for seat in found if seat.step.partition(":")[2] not in one.plain])
    if workflow and problems:
        raise WfeError(problems)
    entries = environments.entries(placed)
    if workflow:
        entries = [one for one in entries if one.nodes]
    if json:
        _as_json(seats, entries)
    else:
        _as_tables(seats, entries)
    if problems:
        raise WfeError(problems)


def _as_json(seats: Iterable[Seat], entries: Iterable[Entry]) -> None:
    for seat in seats:
        typer.echo(json_.dumps(asdict(seat)))
    for one in entries:
        facts = {"digest": one.digest, "path": str(one.path), "python": one.python, "asked": list(one.asked)}
        more = {"packages": list(one.packages), "own": one.own, "linked": one.linked, "used": one.used}
        ends = {"nodes": dict(one.nodes or {}), "usable": one.usable, "users": list(one.users)}
        typer.echo(json_.dumps({**facts, **more, **ends}))


def _as_tables(seats: Sequence[Seat], entries: Sequence[Entry]) -> None:
    from wfe.report.table import table

    if seats:
        shown = {"isolated": "", "main": "main", "absent": "nowhere", "unknown": "?"}
        places = [[seat.step, shown[seat.runs] or seat.environment[:12], seat.why] for seat in seats]
        typer.echo(table(["STEP", "RUNS IN", "WHY"], places, here.width()), nl=False)
        typer.echo()
    rows = [
        [
            one.digest[:12],
            one.python,
            amount.shown(one.own),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used)),
            ("in use" if one.users else "") if one.usable else "damaged",
            " ".join(one.packages) or "no packages",
            ", ".join(one.nodes or ()) or "no workflow's",
        ]
        for one in entries
    ]
    if not rows:
        typer.echo("there are no isolated environments on disk")
        return
    head = ["ENVIRONMENT", "PYTHON", "SIZE", "USED", "", "PACKAGES", "FOR"]
    typer.echo(table(head, rows, here.width(), (2,)), nl=False)


@app.command()
def lock(
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Resolve anew what is locked.")] = False,
) -> None:
    """Resolve what the nodes of all workflows need, and write the lock file.

    All that cannot be resolved is told. The other workflows are locked all the same: a lock is right by itself, and their
    runs need it. What the file holds for one that failed stays as it is.
    """
    from wfe.door import terminable

    where = here.project()
    environments = _environments(where)
    asked = _asked(where)
    if not asked:
        typer.echo("no node asks for an environment of its own")
        return
    written = False
    problems: list[Problem] = []
    with terminable():
        found = environments.lock_each([(one.needs, one.declared) for one in asked], upgrade=upgrade)
    for one, locked in zip(asked, found, strict=True):
        if isinstance(locked, EnvironmentFailure):
            problems += locked.problems
            typer.echo(f"{one.workflow}: not locked")
            continue
        written = written or locked.written
        for node, placement in locked.placements.items():
            typer.echo(f"{one.workflow}:{node}: {_where(placement)}")
        for environment, lines in locked.changes.items():
            typer.echo(f"{environment}: {', '.join(lines)}")
    if written or not problems:
        typer.echo(f"{where.shown(environments.file.path)} {'written' if written else 'is up to date'}")
    if problems:
        raise EnvironmentFailure(list(dict.fromkeys(problems)))


def _where(placement: Placement) -> str:
    from wfe.env import Absent, Isolated

    if isinstance(placement, Isolated):
        return f"its own environment: {placement.reason}"
    if isinstance(placement, Absent):
        return f"cannot run here: {placement.reason}"
    return "the main environment"


@app.command()
def sync() -> None:
    """Make every environment that the workflows need, so that no run has to wait for one. Damaged ones are made anew.

    All that cannot be made is told, after the others were.
    """
    from wfe.door import terminable

    where = here.project()
    environments = _environments(where)
    paths = set()
    problems: list[Problem] = []
    for one in _asked(where):
        try:
            with terminable():  # what was begun is removed
                made = environments.sync(one.needs, one.declared)
        except EnvironmentFailure as error:
            problems += error.problems
            continue
        for node, prefix in made.items():
            paths.add(str(prefix.path))
            typer.echo(f"{one.workflow}:{node}: {prefix.path}")
    if paths or not problems:
        typer.echo(f"{len(paths)} {'environment' if len(paths) == 1 else 'environments'} ready")
    if problems:
        raise EnvironmentFailure(list(dict.fromkeys(problems)))


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
    found = list(dict.fromkeys(found))  # what is left over from killed runs is found twice on a dry run
    for one in found:
        why = "no workflow asks for it" if one.digest in others else one.why
        typer.echo(f"{one.digest[:12]}  {amount.shown(one.bytes)}  {why}")
    total = amount.shown(sum(one.bytes for one in found))
    if not found:
        typer.echo("nothing to delete")
    else:
        typer.echo(f"freed {total}" if yes else f"{total} can go; --yes deletes")
