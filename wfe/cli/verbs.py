"""The verbs of `wfe`: which there are, what each is for, and in which module it lives.

A verb's module is imported when it is called or completed, not before: `wfe run` must not pay for `wfe watch`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import typer.main
from typer.core import TyperGroup

import wfe
from wfe.cli import here
from wfe.cli.ending import guarded
from wfe.errors import nearest

# section -> verb -> (module:name, one line)
SECTIONS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Run": {
        "run": ("wfe.cli.run:run", "Run a workflow: what is current is left alone."),
        "watch": ("wfe.cli.watch:watch", "Run again whenever a file changes."),
        "why": ("wfe.cli.why:why", "Say what a run would do to each step, and why."),
        "check": ("wfe.cli.check:check", "Run a step twice and name the outputs that differ."),
    },
    "Look": {
        "list": ("wfe.cli.listing:listing", "List workflows, the steps of one, or the nodes."),
        "graph": ("wfe.cli.graph:graph", "Draw a workflow as text, Mermaid or DOT."),
        "show": ("wfe.cli.show:show", "Show what a step gave, or save it."),
        "log": ("wfe.cli.log:log", "Show what a step printed."),
        "runs": ("wfe.cli.past:runs", "List the recorded runs."),
        "timeline": ("wfe.cli.past:timeline", "A recorded run as a Chrome trace."),
        "report": ("wfe.cli.past:report", "A recorded run as an HTML page."),
    },
    "Write": {
        "init": ("wfe.cli.init:init", "Begin a project with a workflow that runs."),
        "validate": ("wfe.cli.validate:validate", "Find all that is wrong with workflows, without running them."),
        "schema": ("wfe.cli.schema:schema", "Print the JSON Schema of workflow documents."),
    },
    "Keep": {
        "clean": ("wfe.cli.clean:clean", "Delete the files of steps from the workspace."),
        "collect": ("wfe.cli.collect:collect", "Delete old results that no workflow needs."),
        "verify": ("wfe.cli.verify:verify", "Read every stored result and drop the damaged ones."),
        "env": ("wfe.cli.env:app", "Isolated environments: list, lock, sync, remove, gc."),
        "doctor": ("wfe.cli.doctor:doctor", "Check this machine and this project."),
    },
}
_AGENT: Final = {
    "create": "Write a workflow from plain language; with --agentic its nodes too.",
    "analyze": "Say what a workflow lacks, and write it.",
    "generate": "Write one node from plain language.",
    "interactive": "Write a workflow in a conversation.",
    "approve": "Trust a generated node: it runs without a sandbox then.",
}
if (Path(wfe.__file__).parent / "agent" / "verbs.py").is_file():
    SECTIONS["Create"] = {verb: (f"wfe.agent.verbs:{verb}", text) for verb, text in _AGENT.items()}

VERBS: Final = {verb: found for section in SECTIONS.values() for verb, found in section.items()}
PLAIN: Final[dict[str, Any]] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}


class Verbs(TyperGroup):
    """The group of all verbs; each becomes a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the verbs."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb, None for one that does not exist."""
        found = VERBS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        verb = getattr(importlib.import_module(module), name)
        if isinstance(verb, typer.Typer):
            command = typer.main.get_command(verb)
        else:
            alone = typer.Typer(**PLAIN)
            alone.command(cmd_name, context_settings=getattr(verb, "context_settings", None))(verb)
            command = typer.main.get_command(alone)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb and the rest of the words; a hint for one that does not exist."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            ctx.fail(f"there is no verb {args[0]!r}; {nearest(args[0], list(VERBS)) or '`wfe --help` lists them'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs by section, from the table: no module is imported for it."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb, text) for verb, (_, text) in verbs.items()])

    def invoke(self, ctx: Any) -> Any:
        """Call the verb; errors become lines on stderr and an exit code."""
        sys.exit(guarded(lambda: super(Verbs, self).invoke(ctx)))


app = typer.Typer(
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 well, 1 a step failed, 2 wrong command line, 3 wrong workflow, 4 environment, "
    "130 interrupted, 70 error in wfe itself.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"wfe {wfe.__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def root(
    project: Annotated[
        Path | None,
        typer.Option(
            "-C", "--project", metavar="DIR", help="The project's directory (default: the nearest one above)."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Pipelines of Python functions that are rebuilt only where something changed."""
    del version
    here.choose(project)
