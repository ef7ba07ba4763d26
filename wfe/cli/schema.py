"""`wfe schema`: the JSON Schema of workflow documents."""

from __future__ import annotations

import importlib.resources

import typer


def schema() -> None:
    """Print the JSON Schema of workflow documents, for editors: name the file under "$schema" in a document.

    \b
    wfe schema > workflow.schema.json
    """
    typer.echo((importlib.resources.files("wfe") / "schema.json").read_text(encoding="utf-8"), nl=False)
