"""How a verb's end becomes an exit code, and an error lines on stderr.

Knows kinds of errors. Does not know verbs.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Iterable

from wfe.errors import ExitCode, Problem, WfeError
from wfe.report.streams import Stdout, prepare, silence


def ended(command: Callable[[], int | None]) -> int:
    """Call `command`; the exit code of the process, with what went wrong told on stderr.

    A reader of stdout that went away (`wfe list | head`) is no failure; a stdout that cannot be written is one.
    """
    prepare()
    code = guarded(command)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return ExitCode.OK
    except OSError as error:
        if error is not Stdout.lost:
            raise
    except ValueError:
        if not sys.stdout.closed:
            raise
    if Stdout.lost is None:
        return code
    silence()
    told = f"stdout cannot be written: {Stdout.lost.strerror}"
    tell([Problem(told, hint="make room, or send it elsewhere")])
    return code or ExitCode.ENVIRONMENT


def guarded(command: Callable[[], int | None]) -> int:
    """As `ended`, for a command after which the process goes on."""
    try:
        return command() or ExitCode.OK
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else ExitCode.OK if ending.code is None else ExitCode.FAILED
    except WfeError as error:
        tell(error.problems)
        return error.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        silence()  # told here: the command-line library would exit with 1
        return ExitCode.OK
    except MemoryError:
        tell([Problem("out of memory", hint="fewer jobs at once need less: -n 1")])
        return ExitCode.ENVIRONMENT
    except Exception as error:
        if error is Stdout.lost:
            return ExitCode.ENVIRONMENT  # `ended` tells it
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            tell([Problem(f"{error.filename}: {error.strerror}", hint="give a shorter name")])
            return ExitCode.USAGE
        if is_click(error):
            raise  # a mistake on the command line: the library shows usage and exits with 2
        sys.stderr.write(traceback.format_exc())
        sys.stderr.write("BUG: this is an error in wfe itself; please report it with the lines above\n")
        return ExitCode.BUG


def is_click(error: BaseException) -> bool:
    """Whether the error is one that the command-line library tells by itself (a wrong option, `--help`, an abort)."""
    # Typer carries a copy of click from 0.20 on and used click itself before: their classes are told by name.
    return any(one.__name__ in ("ClickException", "Abort", "Exit") for one in type(error).__mro__)


def tell(problems: Iterable[Problem]) -> None:
    """Problems on stderr, a line each, harmless to a terminal."""
    from wfe.report.wording import clean

    sys.stderr.write("".join(f"{clean(str(problem))}\n" for problem in problems))
    sys.stderr.flush()
