"""`wfe init`: a new project with a workflow that runs at once."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final

import typer

from wfe.errors import EnvironmentFailure, ExitCode, Problem, WfeError

# Files that a tool would obey inside the package lie there under other names.
_NAMES: Final = {"gitignore": ".gitignore", "hello.py.txt": "hello.py", "dodo.py.txt": "dodo.py"}
_SCHEMA: Final = "workflow.schema.json"


def init(
    where: Annotated[str, typer.Argument(metavar="DIR", help="Where; made if it is missing.")] = ".",
) -> None:
    """Begin a project: dodo.py, a workflow, its nodes, a schema for editors. Overwrites nothing.

    \b
    wfe init shapes && cd shapes
    wfe run hello
    """
    if not where:  # "$DIR" of a script, unset
        raise WfeError("DIR is empty", "name a directory, `.` for this one", ExitCode.USAGE)
    directory = Path(where)
    files = {directory / path: data for path, data in _files()}
    there = [path for path in files if path.exists()]
    if there:
        raise WfeError(
            [Problem(f"{path} exists already", hint="nothing was written; choose another directory") for path in there],
            code=ExitCode.USAGE,
        )
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
    except OSError as error:
        raise EnvironmentFailure(f"{error.filename or directory}: {error.strerror}") from error
    for path in files:
        typer.echo(str(path))
    enter = "" if directory == Path() else f"cd {shlex.quote(where)} && "
    typer.echo(f"\nnow: {enter}wfe run hello     (or: doit run workflow=hello)")


def _files() -> Iterator[tuple[Path, bytes]]:
    package = importlib.resources.files("wfe")
    yield from _below(package / "starter", Path())
    yield Path(_SCHEMA), (package / "schema.json").read_bytes()


def _below(folder: Traversable, at: Path) -> Iterator[tuple[Path, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _below(entry, at / entry.name)
        else:
            yield at / _NAMES.get(entry.name, entry.name), entry.read_bytes()
