"""`wfe graph`: a workflow as a picture."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from wfe.cli import draw, here


class Form(StrEnum):
    """What a graph is drawn in."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"


def graph(
    workflow: here.WorkflowName,
    form: Annotated[Form, typer.Option("--format", "-f", help="How to draw it.")] = Form.text,
    sets: here.Sets = None,
) -> None:
    """Draw a workflow: each step below the last of those that it needs; `[*]`: one for each item found in the run.

    \b
    wfe graph detect
    wfe graph detect --format mermaid
    wfe graph detect -f dot | dot -Tsvg > detect.svg
    """
    from wfe.engine.prepare import prepare
    from wfe.engine.workspace import Workspace

    where = here.project()
    workspace = Workspace(where)
    try:
        plan = prepare(where, workspace.state, workflow, here.settings(sets or ())).plan
        steps = dict(plan.steps.items())
    finally:
        workspace.close()
    if form is Form.mermaid:
        text = draw.mermaid(steps)
    elif form is Form.dot:
        text = draw.dot(steps, plan.workflow)
    else:
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        text = f"{plan.workflow}\n" + draw.tree(steps, ascii_only=encoding != "utf8")
    typer.echo(text, nl=False)
