"""What the user typed after `doit`, read with doit's own parser.

doit tells a dodo.py neither which command runs nor with which options. Only two things here depend on them, and both are
safe to miss: steps that are current get no task of their own in a plain `doit run`, and `-a` runs what is current.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import doit.doit_cmd
from doit.cmd_base import DodoTaskLoader, DoitCmdBase
from doit.cmd_run import Run as RunCommand
from doit.cmdparse import CmdOption, CmdParse, CmdParseError


@dataclass(frozen=True, slots=True)
class Invocation:
    """command: "run", "list" ..., "" when this process is no `doit` command. arguments: what follows the options."""

    command: str = ""
    arguments: tuple[str, ...] = ()
    always: bool = False
    jobs: int = 0  # -n
    plain: bool = False  # a run of the whole workflow
    single: bool = False  # -s: the steps that are named, without what they need


def variables() -> dict[str, str]:
    """Every `name=value` of the command line."""
    # doit gives one at a time by name; a misspelt name must be told, so all are needed.
    return dict(doit.doit_cmd._CMDLINE_VARS or {})


def invocation() -> Invocation:
    """How doit was called."""
    if "doit" not in sys.argv[0].replace("\\", "/").split("/")[-2:] and not sys.argv[0].endswith(("doit", "doit.exe")):
        return Invocation()
    words = [word for word in sys.argv[1:] if word.startswith("-") or "=" not in word]
    loader = list(DodoTaskLoader.cmd_options)
    try:
        _, words = CmdParse([CmdOption(dict(one)) for one in loader]).parse_only(words)
    except CmdParseError:
        return Invocation()
    known = {command.get_name() for command in doit.doit_cmd.DoitMain.DOIT_CMDS}
    command = words.pop(0) if words and words[0] in known else "run"
    if command != "run":
        return Invocation(command, tuple(words))
    options: list[Any] = [*DoitCmdBase.base_options, *loader, *RunCommand.cmd_options]
    try:
        given, arguments = CmdParse([CmdOption(dict(one)) for one in options]).parse_only(words)
    except CmdParseError:
        return Invocation()
    always, single = bool(given.get("always")), bool(given.get("single"))
    jobs = int(given.get("num_process") or 0)
    return Invocation("run", tuple(arguments), always, jobs, not arguments and not always and not single, single)
