"""`wfe log`: what a step printed when it last ran."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from wfe.cli import here
from wfe.errors import ExitCode, WfeError, nearest


def log(
    target: Annotated[str, typer.Argument(metavar="WORKFLOW:STEP", help="A step.", autocompletion=here.addresses)],
    tail: Annotated[int | None, typer.Option("--tail", min=1, metavar="N", help="The last N lines only.")] = None,
) -> None:
    """Show what a step printed when it last ran, stdout and stderr in order.

    \b
    wfe log detect:train
    wfe log detect:train --tail 20
    """
    workflow, step, trail = here.address(target, needs_step=True)
    if trail:
        raise WfeError(
            f"{target!r}: a log is of a whole step", f"say {shlex.quote(f'{workflow}:{step}')}", ExitCode.USAGE
        )
    where = here.project()
    name = here.name_of(where, workflow)
    folder = where.cache / "logs" / name
    path = folder / f"{step}.log"
    try:
        _copy(path, tail)
    except FileNotFoundError:
        raise _none(where, name, workflow, step, folder) from None


def _copy(path: Path, tail: int | None) -> None:
    with path.open("rb") as file:
        if sys.stdout.isatty():
            from wfe.report.wording import clean

            # A terminal obeys what it is sent, and a log is a stranger's text.
            lines = (clean(line.decode("utf-8", "replace")) for line in file)
            sys.stdout.writelines(lines if tail is None else deque(lines, tail))
            return
        sys.stdout.flush()
        if tail is None:
            while chunk := file.read(1 << 20):
                sys.stdout.buffer.write(chunk)
        else:
            sys.stdout.buffer.writelines(deque(file, tail))
        sys.stdout.buffer.flush()


def _none(where: object, name: str, workflow: str, step: str, folder: Path) -> WfeError:
    from wfe.engine.project import Project
    from wfe.engine.workspace import Workspace

    assert isinstance(where, Project)
    workspace = Workspace(where)
    try:
        rows = workspace.traces.rows(name)
    finally:
        workspace.close()
    if step in rows:
        return WfeError(f"step {step!r} printed nothing when it last ran", code=ExitCode.USAGE)
    logs = [path.stem for path in folder.glob("*.log")] if folder.is_dir() else []
    hint = nearest(step, [*rows, *logs]) or f"run it: wfe run {shlex.quote(workflow)} {shlex.quote(step)}"
    return WfeError(f"there is no log of step {step!r} of {workflow!r}", hint, ExitCode.USAGE)
