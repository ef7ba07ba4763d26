"""`wfe list`: the workflows of a project, the steps of one, or the catalogue of nodes."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.errors import ExitCode, Place, WfeError

if TYPE_CHECKING:
    from wfe.core.signature import Parameter, Signature
    from wfe.engine.explain import Forecast
    from wfe.engine.project import Project

_FEW = 12
"""Steps of one fan that are listed one by one."""


def listing(
    workflow: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKFLOW", help="List its steps.", autocompletion=here.workflow_names, show_default=False
        ),
    ] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="List the node functions, with their signatures.")] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="Every step of a fan.")] = False,
    sets: here.Sets = None,
    json: here.Json = False,
) -> None:
    """List the workflows; the steps of one, with their state; or the nodes.

    \b
    wfe list
    wfe list detect
    wfe list --nodes
    """
    where = here.project()
    if nodes:
        if workflow:
            raise WfeError("--nodes lists the nodes of the whole project", "leave the workflow out", ExitCode.USAGE)
        _nodes(where, json)
    elif workflow:
        _steps(where, workflow, here.settings(sets or ()), every, json)
    else:
        _workflows(where, json)


def _print_table(head: list[str], rows: list[list[str]], right: tuple[int, ...] = ()) -> None:
    from wfe.report.table import table

    typer.echo(table(head, rows, here.width(), right), nl=False)


def _workflows(where: Project, as_json: bool) -> None:
    from wfe.core.parse import parse

    rows: list[list[str]] = []
    for name in where.names():
        try:
            path = where.find(name)
            found = parse(path.read_bytes(), where.shown(path), name)
        except (WfeError, OSError) as error:
            rows.append([name, "-", f"(not valid: {str(error).splitlines()[0]})"])
            if as_json:
                typer.echo(json_.dumps({"workflow": name, "valid": False, "error": str(error)}))
            continue
        rows.append([name, str(len(found.nodes)), found.description or found.title])
        if as_json:
            from wfe.engine.results import strict

            params = {one.name: {"required": True} if one.required else one.default for one in found.params.values()}
            typer.echo(
                json_.dumps(
                    {
                        "workflow": name,
                        "valid": True,
                        "file": where.shown(path),
                        "nodes": len(found.nodes),
                        "description": found.description,
                        "params": strict(params),
                    }
                )
            )
    if as_json:
        return
    if not rows:
        typer.echo("there are no documents in workflows/; `wfe init` writes one to begin with")
        return
    _print_table(["WORKFLOW", "NODES", "DESCRIPTION"], rows, (1,))


def _steps(where: Project, workflow: str, given: dict[str, str], every: bool, as_json: bool) -> None:
    from wfe.cli.why import forecasts
    from wfe.engine.run import EMPTY
    from wfe.report.wording import duration

    door, found = forecasts(where, workflow, given)
    try:
        run = door.run
        rows = []
        for one in found if every or as_json else _collapsed(found):
            base = one.step.partition("[")[0]
            step = run.step(one.step) if one.step in run.added else run.steps[base]
            row = run.row(one.step)
            took = duration(row.seconds) if row is not None else ""
            if as_json:
                typer.echo(
                    json_.dumps(
                        {
                            **one.to_json(),
                            "function": step.function.removeprefix("nodes."),
                            "needs": list(step.needs),
                            "description": step.description,
                            "seconds": row.seconds if row is not None else None,
                        }
                    )
                )
            rows.append(
                [
                    one.step,
                    one.note if one.note == EMPTY else one.word,
                    took,
                    step.function.removeprefix("nodes."),
                    step.description,
                ]
            )
    finally:
        door.close()
    if not as_json:
        _print_table(["STEP", "STATE", "TOOK", "FUNCTION", "DESCRIPTION"], rows, (2,))


def _collapsed(found: list[Forecast]) -> list[Any]:
    """The forecasts with the steps of a large fan as one line."""
    from collections import Counter
    from dataclasses import replace

    groups: dict[str, list[Forecast]] = {}
    for one in found:
        groups.setdefault(one.step.partition("[")[0], []).append(one)
    shown = []
    for name, members in groups.items():
        if len(members) <= _FEW:
            shown.extend(members)
            continue
        counts = Counter(one.word for one in members)
        words = ", ".join(f"{number:,} {word}" for word, number in counts.items())
        shown.append(replace(members[0], step=f"{name}[{len(members):,}]", word=words))
    return shown


def _nodes(where: Project, as_json: bool) -> None:
    from wfe.catalog import Catalogue

    catalogue = Catalogue(where.root)
    found, problems = catalogue.all()
    for signature in sorted(found, key=lambda one: one.function):
        name = signature.function.removeprefix("nodes.")
        place = catalogue.place(signature)
        if as_json:
            typer.echo(json_.dumps(_node(name, signature, place)))
            continue
        inputs = ", ".join(_parameter(one) for one in signature.parameters) + (", **" if signature.extra else "")
        outputs = ""
        if signature.outputs is not None:
            kinds = [key if str(kind) == "Any" else f"{key}: {kind}" for key, kind in signature.outputs.items()]
            outputs = f" -> {{{', '.join(kinds)}}}"
        typer.echo(f"{name}({inputs}){outputs}")
        if signature.doc:
            typer.echo(f"    {signature.doc.partition(chr(10))[0]}")
    for problem in problems:
        typer.echo(str(problem), err=True)
    if not found and not as_json:
        typer.echo("there are no nodes: no function in nodes/ is marked with @workflow_node")
    if problems:
        raise typer.Exit(ExitCode.WORKFLOW)


def _parameter(one: Parameter) -> str:
    kind = "" if str(one.type) == "Any" else f": {one.type}"
    return f"{one.name}{kind}" + (" = ..." if one.optional else "")


def _node(name: str, signature: Signature, place: Place) -> dict[str, Any]:
    return {
        "node": name,
        "place": str(place),
        "description": signature.doc,
        "inputs": [
            {"name": one.name, "type": str(one.type), "required": not one.optional} for one in signature.parameters
        ],
        "outputs": None if signature.outputs is None else {key: str(kind) for key, kind in signature.outputs.items()},
        "options": {key: value for key, value in signature.options.items() if key != "outputs"},
    }
