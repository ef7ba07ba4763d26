"""The project that the command line speaks of, and what can be typed in it: workflows, their parameters, their steps.

Also reads the small notations of the command line: `WORKFLOW:STEP.key`, `name=value`. Completion must never fail nor
print: whatever goes wrong, it offers nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wfe.core.document import Path as Trail
from wfe.core.reference import INDEX
from wfe.engine.project import Project
from wfe.errors import EnvironmentFailure, ExitCode, Place, WfeError

if TYPE_CHECKING:
    from wfe.core.workflow import Workflow
    from wfe.engine.run import Run
    from wfe.engine.workspace import Workspace

_chosen: Path | None = None


def choose(path: Path | None) -> None:
    """Take `--project` from the command line."""
    global _chosen
    _chosen = path


def project() -> Project:
    """The chosen project, or the one around the working directory. Raises WfeError when there is none."""
    if _chosen is not None:
        if not _chosen.is_dir():
            raise WfeError(f"--project: there is no directory {str(_chosen)!r}", code=ExitCode.USAGE)
        return Project.around(_chosen)
    return Project.around()


def name_of(where: Project, workflow: str) -> str:
    """The name under which the results of a workflow are kept. Raises WfeError for one that does not exist."""
    path = where.find(workflow)
    return path.stem if path.parent == where.workflows else where.shown(path).replace("/", ".")


def width() -> int | None:
    """The columns of the terminal that stdout is; None for a pipe, where nothing is to be shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def settings(words: Sequence[str], option: str = "--set") -> dict[str, str]:
    """`name=value` words of an option as a mapping. Raises WfeError for a word without `=`."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise WfeError(f"{option} takes name=value, found {word!r}", code=ExitCode.USAGE)
        found[name] = value
    return found


_ADDRESS: Final = re.compile(r"(?P<step>[A-Za-z_][A-Za-z0-9_-]*(?:\[.*?\](?=\.|\Z))?)(?:\.(?P<trail>.+))?\Z", re.DOTALL)


def address(text: str, needs_step: bool = False) -> tuple[str, str, Trail]:
    """(workflow, step, trail) of `WORKFLOW`, `WORKFLOW:STEP` or `WORKFLOW:STEP.key.0`; a fan's step is `STEP[item]`.

    Raises WfeError for another form, and with `needs_step` when no step is named.
    """
    workflow, colon, rest = text.partition(":")
    if os.name == "nt" and len(workflow) == 1 and rest[:1] in "\\/":  # the colon of a drive
        more, colon, rest = rest.partition(":")
        workflow = f"{workflow}:{more}"
    if not colon:
        if needs_step:
            hint = f"say {text}:STEP; `wfe list {shlex.quote(text)}` lists them"
            raise WfeError(f"{text!r} names no step", hint, ExitCode.USAGE)
        return workflow, "", ()
    match = _ADDRESS.match(rest)
    if not match:
        raise WfeError(f"{text!r} is not of the form WORKFLOW:STEP.key", code=ExitCode.USAGE)
    parts = match["trail"].split(".") if match["trail"] else []
    return workflow, match["step"], tuple(int(part) if INDEX.match(part) else part for part in parts)


# --- completion


def _offered(find: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [one for one in find() if one.startswith(incomplete)]
    except (WfeError, OSError):
        return []


def workflow_names(incomplete: str) -> list[str]:
    """The workflows that a word may become."""
    return _offered(lambda: project().names(), incomplete)


@contextlib.contextmanager
def planned(where: Project, workflow: str, given: Mapping[str, str] | None = None) -> Iterator[Run | None]:
    """A run of the workflow as it stands, to be looked at; None where its document is wrong, or what is given for its
    parameters."""
    from wfe.door import enter

    try:
        door = enter(where, workflow, given or {})
    except WfeError:
        yield None
        return
    try:
        yield door.run
    finally:
        door.close()


def steps_of(where: Project, workflow: str) -> list[str]:
    """The steps of a workflow, those that it includes by their long names; of one that cannot be planned the nodes of its
    document, as far as there are any."""
    with planned(where, workflow) as run:
        if run is not None:
            return list(run.index.ids)
    try:
        return [node.id for node in parsed(where, workflow).nodes if not node.include]
    except (WfeError, OSError):
        return []


def writable(where: Project) -> Workspace:
    """The workspace of a project, for a verb that changes what is in the cache. Raises EnvironmentFailure where it cannot: what
    is there would not even be seen."""
    from wfe.engine.workspace import Workspace

    found = Workspace(where)
    if found.state.read_only:
        told = found.state.note.partition(";")[0]
        found.close()
        raise EnvironmentFailure(told, "mend it, or set WFE_CACHE to another directory")
    return found


def parsed(where: Project, workflow: str, place: Place | None = None) -> Workflow:
    """The document of a workflow. place: of the document that includes it. Raises WfeError, OSError."""
    from wfe.core.parse import parse

    path = where.find(workflow, place)
    return parse(path.read_bytes(), where.shown(path), workflow)


def _typed(ctx: typer.Context) -> str:
    """The workflow that was typed before the word that is being completed."""
    found = ctx.params.get("workflow")
    if found:
        return str(found)
    # Behind an option that still lacks its value nothing was parsed; the shells hand over the words themselves.
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    known = project().names()
    return next((word for word in words[1:] if word in known), "")


def _steps(workflow: str) -> list[str]:
    from wfe.core.include import inline

    where = project()
    found = inline(parsed(where, workflow), {}, lambda other, place: parsed(where, other, place), [])
    return [node.id for node in found.nodes]


def step_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The steps of the workflow that was typed before."""
    return _offered(lambda: _steps(_typed(ctx)), incomplete)


def param_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """`name=` for each parameter of the workflow that was typed before."""
    return _offered(lambda: [f"{name}=" for name in parsed(project(), _typed(ctx)).params], incomplete)


def addresses(incomplete: str) -> list[str]:
    """`WORKFLOW:STEP`, the step after the colon."""
    workflow, colon, _ = incomplete.partition(":")
    if not colon:
        return [*_offered(lambda: (f"{name}:" for name in project().names()), incomplete)]
    return _offered(lambda: (f"{workflow}:{step}" for step in _steps(workflow)), incomplete)


WorkflowName = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="A name in workflows/, or a path.", autocompletion=workflow_names)
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="A workflow parameter (again for more).",
        autocompletion=param_settings,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line.")]
