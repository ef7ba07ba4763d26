"""`wfe log`: what a step printed when it last ran, of a fan what each of its steps printed."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wfe.cli import here
from wfe.core.plan import no_step
from wfe.errors import ExitCode, WfeError, nearest

if TYPE_CHECKING:
    from wfe.engine.project import Project


def log(
    target: Annotated[
        str, typer.Argument(metavar="WORKFLOW:STEP", help="A step, or a fan.", autocompletion=here.addresses)
    ],
    tail: Annotated[
        int | None, typer.Option("--tail", min=1, metavar="N", help="The last N lines of each log only.")
    ] = None,
) -> None:
    """Show what a step printed when it last ran, stdout and stderr in order; of a fan each step's log under its name.

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
    try:
        _copy(folder / f"{step}.log", tail)
    except FileNotFoundError:
        rows = _rows(where, name)
        logs = sorted(path.stem for path in folder.glob("*.log"))
        # Of a fan each step has a log, also one that failed and has no result. Not of a fan that is a plain step by now.
        members = [one for one in logs if one.startswith(f"{step}[") and step not in rows]
        if not members:
            if not any(one == step or one.startswith(f"{step}[") for one in rows):
                raise _none(where, workflow, step, logs) from None
            typer.echo(f"step {step!r} printed nothing when it last ran", err=True)
        for index, member in enumerate(members):
            typer.echo(("\n" if index else "") + f"==> {member} <==")  # as `tail` heads several files
            _copy(folder / f"{member}.log", tail)


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


def _rows(where: Project, name: str) -> Sequence[str]:
    """The steps that have a result."""
    from wfe.engine.workspace import Workspace

    workspace = Workspace(where)
    try:
        return list(workspace.traces.rows(name))
    finally:
        workspace.close()


def _none(where: Project, workflow: str, step: str, logs: Sequence[str]) -> WfeError:
    known = here.steps_of(where, workflow)
    if known and step.partition("[")[0] not in known:
        return WfeError(no_step(workflow, step, list(dict.fromkeys([*known, *logs]))), code=ExitCode.WORKFLOW)
    hint = nearest(step, logs) or f"run it: wfe run {shlex.quote(workflow)} {shlex.quote(step)}"
    return WfeError(f"there is no log of step {step!r} of {workflow!r}", hint, ExitCode.USAGE)
