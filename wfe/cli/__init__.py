"""The command `wfe`: one verb a file, loaded when it is asked for.

`main` is the only place that ends the process. A user's own mistake is told on stderr as place, fact and next step,
with the exit code of its kind (`wfe.errors.ExitCode`); only an error in wfe itself shows a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from wfe.wire.leaving import leave


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the verb that the command line names, and exit."""
    from wfe.cli.ending import ended

    def command() -> int | None:
        # Typer without rich: importing both costs 130 ms, Typer alone 65 (an idle `wfe run` takes 250 in all).
        from wfe.cli.verbs import app

        app(args=None if arguments is None else list(arguments), prog_name="wfe")
        return 0

    code = ended(command)
    if arguments is None:
        leave(code)
    sys.exit(code)
