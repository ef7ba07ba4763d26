"""`wfe run`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.errors import ExitCode, WfeError

if TYPE_CHECKING:
    from wfe.engine.project import Project


def run(
    workflow: here.WorkflowName,
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP", help="Only these and what they need.", autocompletion=here.step_names, show_default=False
        ),
    ] = None,
    sets: here.Sets = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-n",
            min=0,
            metavar="N",
            help="Steps at once (default: the document's, or 1).",
            show_default=False,
        ),
    ] = 0,
    keep_going: Annotated[
        bool, typer.Option("--continue", "-k", help="After a failure go on with what does not depend on it.")
    ] = False,
    force: Annotated[
        list[str] | None,
        typer.Option(
            "--force", "-f", metavar="STEP", help="Run this step even if it is current.", autocompletion=here.step_names
        ),
    ] = None,
    force_all: Annotated[bool, typer.Option("--force-all", help="Run every step.")] = False,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", metavar="NAME=SIZE", help="The size of a named pool (gpu=1, memory=8GB)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-d", help="Say what would be done, and why.")] = False,
    inline: Annotated[bool, typer.Option("--inline", help="Call the nodes in this process, one by one.")] = False,
    pdb: Annotated[bool, typer.Option("--pdb", help="With --inline: a debugger where a node raises.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run generated nodes that nobody approved with your own rights.")
    ] = False,
    json: here.Json = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, also on a terminal.")] = False,
    live: Annotated[bool, typer.Option("--live", help="The live display, or an error where it cannot be.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Failures only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the steps print, too.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit file.")] = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", metavar="FILE", help="Append a Markdown summary.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Write an HTML page.")] = None,
) -> None:
    """Run a workflow, or some of its steps: what is current is left alone, what was made before is restored.

    \b
    wfe run quickstart
    wfe run detect --set conf=0.4 -n 4
    wfe run detect draw --force draw     one step and what it needs, anew
    wfe run detect --dry-run             say what would be done
    wfe run detect draw --inline --pdb   a debugger where it fails
    """
    # Tens of thousands of objects that all live to the end: the collector would only walk over them.
    gc.disable()
    modes = [name for name, given in (("json", json), ("plain", plain), ("live", live), ("quiet", quiet)) if given]
    if quiet and verbose:
        modes.append("verbose")
    if len(modes) > 1:
        raise WfeError(f"--{modes[0]} and --{modes[1]} exclude each other", code=ExitCode.USAGE)
    mode = modes[0] if modes else "auto"
    where, given = here.project(), here.settings(sets or ())
    chosen, forced = tuple(steps or ()), frozenset(force or ())
    if ":" in workflow and workflow.partition(":")[0] in where.names():  # a step as the other verbs take it
        workflow, step, trail = here.address(workflow)
        if trail:
            raise WfeError(f"{step}.{trail[0]}: a step is run as a whole", "name the step alone", ExitCode.USAGE)
        chosen = (step, *chosen) if step else chosen
    if dry_run and (junit or summary or page):
        raise WfeError("--dry-run makes no report", "leave out --junit, --summary and --page", ExitCode.USAGE)
    if dry_run:
        from wfe.cli.why import tell

        raise typer.Exit(tell(where, workflow, given, chosen, forced=forced, force_all=force_all, as_json=json))
    if pdb:
        inline = True
        if mode == "auto":
            mode = "plain"  # the live display and a debugger would draw over each other
        if json:
            raise WfeError("--pdb needs the terminal, --json gives it to a program", "leave one out", ExitCode.USAGE)
    files = {path: kind for path, kind in ((junit, "junit"), (summary, "markdown"), (page, "page")) if path is not None}
    for path in files:
        if path.parent and not path.parent.is_dir():
            raise WfeError(f"{path}: there is no directory {str(path.parent)!r}", code=ExitCode.USAGE)
        if path.is_dir():
            raise WfeError(f"{path} is a directory", "name a file", ExitCode.USAGE)
    extra: dict[str, Any] = {"pools": here.settings(pool, "--pool")} if pool else {}
    if unsafe:
        extra["unsafe"] = True
    raise typer.Exit(
        perform(
            where,
            workflow,
            given,
            steps=chosen,
            mode=mode,
            verbose=verbose,
            files=files,
            jobs=jobs,
            forced=forced,
            force_all=force_all,
            keep_going=keep_going,
            inline=inline,
            debug=_post_mortem if pdb else None,
            **extra,
        )
    )


def perform(
    where: Project,
    workflow: str,
    given: dict[str, str],
    *,
    mode: str = "auto",
    verbose: bool = False,
    files: dict[Path, str] | None = None,
    opened: Callable[[Any], object] = lambda door: None,
    **options: Any,
) -> ExitCode:
    """Run with everything said to stdout; write `files` (path -> kind) at the end. The exit code."""
    from wfe import front
    from wfe.door import terminable
    from wfe.report.choose import again, listeners

    heard: list[Any] = []

    def told(project: Project) -> list[Any]:
        found = listeners(
            mode,
            sys.stdout,
            os.environ,
            verbose=verbose,
            tails=verbose,
            again=again(given),
            record=project.cache / "runs",
            keys=None if options.get("inline") else sys.stdin,  # a node in this process may read it itself
        )
        if files:
            from wfe.cli.kept import Kept

            heard.append(Kept())
        return [*found, *heard]

    with terminable():
        try:
            door = front.perform(where, workflow, given, listeners=told, opened=opened, **options)
        except WfeError as error:
            if error.code is not ExitCode.WORKFLOW:
                raise
            from wfe.agent.tasks import offered

            raise offered(error, where, workflow) from None
    if files:
        heard[0].write(files, {name: step.needs for name, step in door.run.steps.items()})
    return door.code


def _post_mortem(error: BaseException) -> None:
    import pdb

    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    pdb.post_mortem(error.__traceback__)
