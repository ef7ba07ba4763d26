"""The verbs of the command line that write: `create`, `analyze`, `generate`, `interactive`, `approve`.

Plain functions with Typer's annotations; the command line mounts them. They join model, prompts, sandbox and project
into a desk, say what happens on stderr, and leave errors to whoever called.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from wfe.agent import approval, header
from wfe.agent.author import Desk, Grant, Written, WrittenState
from wfe.agent.flow import (
    Created,
    TryRun,
    complete,
)
from wfe.agent.flow import (
    analyze as analysed,
)
from wfe.agent.flow import (
    create as created,
)
from wfe.agent.flow import (
    generate as generated,
)
from wfe.agent.model import DEFAULT_MODEL
from wfe.agent.spec import NodeSpec, Permissions
from wfe.agent.words import check_alone, check_words, specify, spoken
from wfe.engine.interrupt import settle
from wfe.engine.project import Project
from wfe.errors import ExitCode, WfeError

Model = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="The language model.")]
Pull = Annotated[bool, typer.Option("--pull", help="Fetch the model when the server does not have it.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Another seed gives another answer.")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Run what was generated with your own rights, without a sandbox.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Grant the permissions that nodes ask for, without asking.")]


def create(
    context: typer.Context,
    description: Annotated[str, typer.Argument(metavar="DESCRIPTION", help="What the workflow should do.")],
    agentic: Annotated[
        bool, typer.Option("--agentic", help="Write every missing node too, and run the whole.")
    ] = False,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The workflow's name.", show_default=False)] = "",
    model: Model = DEFAULT_MODEL,
    seed: Seed = 0,
    pull: Pull = False,
    unsafe: Unsafe = False,
    yes: Yes = False,
) -> None:
    """Write a workflow from plain language.

    \b
    wfe create "image processing pipeline"
    wfe create "fetch a page and summarize it" --agentic
    """
    check_words(description, name)
    with _desk(context, model, seed, pull, unsafe, yes, tries=agentic) as desk:
        made = created(
            description, desk, name=name, agentic=agentic, try_run=_runner(context, unsafe) if agentic else None
        )
    _end(made)


def analyze(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow document.")],
    test: Annotated[bool, typer.Option("--test", help="Run it when nothing is missing any more.")] = False,
    model: Model = DEFAULT_MODEL,
    seed: Seed = 0,
    pull: Pull = False,
    unsafe: Unsafe = False,
    yes: Yes = False,
) -> None:
    """Say what a workflow lacks or what does not fit, then write what is missing. A node of a JSON document that names no
    function gets one of its own name."""
    project = _project(context)
    path = file if file.is_file() else project.find(str(file))
    found = analysed(path.resolve(), project.root)
    for id, function in found.named.items():
        typer.echo(f"{project.shown(path)}: node {id!r} names no function; {function} is taken")
    for problem in found.problems:
        typer.echo(problem)
    for spec in found.missing:
        typer.echo(f"missing: {spec.path}: {spec.signature()}")
    if found.problems:
        raise typer.Exit(ExitCode.WORKFLOW)
    runner = _runner(context, unsafe) if test else None
    if not found.missing:
        found.put_names(path.resolve())
        typer.echo(f"{path.name} lacks nothing")
        code = runner(found.workflow.name) if runner else ExitCode.OK
        raise typer.Exit(code)
    with _desk(context, model, seed, pull, unsafe, yes) as desk:
        made = complete(path.resolve(), desk, runner)
    _end(made)


def generate(
    context: typer.Context,
    description: Annotated[str, typer.Argument(metavar="DESCRIPTION", help="What the node should do.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME[:TYPE]", help="An input, as often as there are inputs."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", "-o", metavar="NAME[:TYPE]", help="An output, as often as there are outputs."),
    ] = None,
    category: Annotated[
        str, typer.Option("--category", "-c", metavar="NAME", help="A folder in nodes/custom/.", show_default=False)
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The node's name.", show_default=False)] = "",
    model: Model = DEFAULT_MODEL,
    seed: Seed = 0,
    pull: Pull = False,
    unsafe: Unsafe = False,
    yes: Yes = False,
) -> None:
    """Write one node from plain language.

    \b
    wfe generate "resize image" -i image -o resized_image
    wfe generate "count words" -i text:str -o words:int -c atomic
    """
    spec = spoken(description, inputs or (), outputs or (), category=category, name=name)
    check_alone(spec, _project(context).root)
    with _desk(context, model, seed, pull, unsafe, yes) as desk:
        written = generated(specify(spec, (*(inputs or ()), *(outputs or ())), desk), desk)
    _tell_node(written)
    raise typer.Exit(ExitCode.FAILED if written.state is WrittenState.REJECTED else ExitCode.OK)


def interactive(
    context: typer.Context,
    model: Model = DEFAULT_MODEL,
    auto_run: Annotated[
        bool, typer.Option("--auto-run", help="After each change write what is missing and run.")
    ] = False,
    seed: Seed = 0,
    pull: Pull = False,
    unsafe: Unsafe = False,
    yes: Yes = False,
) -> None:
    """Write a workflow in a conversation: draft, look, run, mend, undo."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
    except ImportError as error:
        raise WfeError("the package `prompt-toolkit` is not installed", "install it: `uv add 'wfe[agent]'`") from error
    from wfe.agent.converse import HELP, Conversation

    with _desk(context, model, seed, pull, unsafe, yes) as desk:
        talk = Conversation(desk, _runner(context, unsafe), auto_run)
        session: PromptSession[str] = PromptSession(history=InMemoryHistory())
        typer.echo(HELP)
        while not talk.ended:
            try:
                line = session.prompt("wfe> ")
            except KeyboardInterrupt:
                continue  # a line given up, as in a shell
            except EOFError:
                line = "/quit"
            try:
                for text in talk.hear(line):
                    typer.echo(text)
            except KeyboardInterrupt:
                settle()
                typer.echo("stopped; what was accepted stays")


def approve(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="A generated node: its name or its file.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the approval back.")] = False,
    permissions: Annotated[
        bool, typer.Option("--permissions", help="Grant only what it asks for; it goes on running in the sandbox.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not show it and do not ask.")] = False,
) -> None:
    """Trust a generated node as it is now: it runs with your own rights, until it is edited."""
    project = _project(context)
    path = _node_file(project, node)
    shown = project.shown(path)
    if withdraw:
        had = approval.withdraw(project.root, path)
        typer.echo(f"{shown} is not trusted any more" if had else f"{shown} was not approved")
        return
    found = header.read(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        typer.echo(
            f"{shown} was not generated by wfe (or its header was taken away): it is trusted as all your code is"
        )
        return
    if not yes:
        _show(path, found)
        what = (
            "Grant it this, in the sandbox" if permissions else "Have you read it, and may it run with your own rights"
        )
        if not typer.confirm(f"{what}?", default=False):
            raise typer.Exit(ExitCode.FAILED)
    digest = approval.approve(project.root, path, "permitted" if permissions else "trusted")
    typer.echo(
        f"{shown} {'has its permissions' if permissions else 'is trusted'} (sha256 {digest[:16]}); an edit withdraws it"
    )


def _show(path: Path, found: header.Generated) -> None:
    from wfe.agent.author import permissions_of
    from wfe.agent.telling import printable

    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        typer.echo(f"  {printable(line)}")
    if found.edited:
        typer.echo("It was edited since it was generated.")
    typer.echo(f"It asks for {permissions_of(found.body)}.")


def _node_file(project: Project, node: str) -> Path:
    from wfe.catalog import Catalogue

    for candidate in (Path(node), project.root / node):
        if candidate.suffix == ".py" and candidate.is_file():
            return candidate.resolve()
    catalogue = Catalogue(project.root)
    found = catalogue.find(node) or catalogue.find(f"{node}.{node.rpartition('.')[2]}")
    if found is None:
        raise WfeError(f"there is no node {node!r}", "`wfe list --nodes` lists the nodes")
    return project.root / catalogue.place(found).file


@contextlib.contextmanager
def _desk(
    context: typer.Context, model: str, seed: int, pull: bool, unsafe: bool, yes: bool, tries: bool = True
) -> Iterator[Desk]:
    """All that writing needs, checked before the first question: server, model, sandbox, ruff."""
    from wfe.agent import prompt
    from wfe.agent.gate import Site
    from wfe.agent.lint import ruff
    from wfe.agent.ollama_model import OllamaModel
    from wfe.agent.sandbox import choose
    from wfe.agent.telling import Teller
    from wfe.agent.tries import Bench

    project = _project(context)
    teller = Teller(sys.stderr, project.root, live=sys.stderr.isatty())
    cache = project.cache / "agent"
    sandbox = choose() if tries and not unsafe else None
    ruff()
    asked = OllamaModel(model, seed)
    asked.prepare(teller, pull)
    yield Desk(
        asked,
        prompt.load(project.root),
        Site(project.root, cache),
        Bench(project.root, cache, sandbox),
        teller,
        _grant(yes),
    )


def _grant(yes: bool) -> Grant:
    def grant(spec: NodeSpec, wanted: Permissions) -> Permissions:
        if yes:
            return wanted
        if not sys.stdin.isatty():
            typer.echo(f"  {spec.name} asks for {wanted}: not granted (say --yes to grant)", err=True)
            return Permissions()
        allowed = typer.confirm(f"  {spec.name} asks for {wanted}, in the sandbox. Grant it?", default=False, err=True)
        return wanted if allowed else Permissions()

    return grant


def _project(context: typer.Context) -> Project:
    chosen = context.find_root().params.get("project")
    return Project.around(chosen) if chosen else Project.around()


def _runner(context: typer.Context, unsafe: bool) -> TryRun:
    """Runs a workflow by the command line's own `run`: this module does not know the scheduler."""

    def run(name: str) -> ExitCode:
        root = context.find_root()
        group: Any = root.command
        before = os.environ.get("WFE_UNSAFE")
        if unsafe:
            os.environ["WFE_UNSAFE"] = "1"
        try:
            code = group.get_command(root, "run").main([name], prog_name="wfe run", parent=root, standalone_mode=False)
        except SystemExit as ended:
            code = ended.code
        finally:
            if unsafe and before is None:
                del os.environ["WFE_UNSAFE"]
        return ExitCode(code or 0) if isinstance(code, int) or code is None else ExitCode.FAILED

    return run


def _end(made: Created) -> None:
    for one in made.nodes:
        _tell_node(one)
    typer.echo(f"workflows/{made.path.name}: {len(made.document['nodes'])} nodes")
    if made.ran not in (None, ExitCode.OK):
        raise typer.Exit(made.ran)
    raise typer.Exit(ExitCode.OK if made.good else ExitCode.FAILED)


def _tell_node(written: Written) -> None:
    told = {
        WrittenState.CURRENT: "current",
        WrittenState.KEPT: "written; `wfe approve` it when you have read it",
        WrittenState.BESIDE: "yours was left alone; the draft lies beside it",
        WrittenState.REJECTED: f"rejected by {written.gate}",
    }
    typer.echo(f"{written.path.name}: {told[written.state]}")
