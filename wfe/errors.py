"""What can go wrong, as errors that a reader can act on: place, fact, next step, and the exit code of the process.

Knows nothing of the rest of wfe. A user's own mistake is always one of these, shown without a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `wfe` and of `doit run`; 1, 2 and 3 mean what they mean in doit."""

    OK = 0
    FAILED = 1  # a node failed; its traceback was shown
    USAGE = 2  # the command line is wrong
    WORKFLOW = 3  # the workflow document, a node's source or a parameter is wrong; nothing was run
    ENVIRONMENT = 4  # an environment, the disk or the cache directory is not usable
    INTERRUPTED = 130  # Ctrl-C or SIGTERM; what was done is kept
    BUG = 70  # an error inside wfe


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a text: a file as the user named it, a line and a column, both counted from 1 (0: not known)."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and what to do about it."""

    message: str
    place: Place = field(default_factory=Place)
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if str(self.place) else ""
        return f"{where}{self.message}" + (f"; {self.hint}" if self.hint else "")


class WfeError(Exception):
    """The base of every error that wfe raises on purpose. Holds one or more problems, in the order of their places."""

    code: ExitCode = ExitCode.WORKFLOW
    report: object = None  # the wfe.Report of the run that ended so, where `wfe.run` raised it

    def __init__(
        self, problems: str | Problem | Sequence[Problem], hint: str = "", code: ExitCode | None = None
    ) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, hint=hint)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if code is not None:
            self.code = code
        super().__init__("\n".join(str(problem) for problem in self.problems))


class WorkflowError(WfeError):
    """The document, a node's source text or a parameter is wrong. Nothing was run."""


class NodeFailure(WfeError):
    """A node raised, died or returned what it must not."""

    code = ExitCode.FAILED


class EnvironmentFailure(WfeError):
    """An environment, a tool, the disk or the cache directory is not usable."""

    code = ExitCode.ENVIRONMENT


class Interrupted(WfeError):
    """The user (or the system) asked the run to stop."""

    code = ExitCode.INTERRUPTED


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint that names the known name nearest to `name`, or lists the known ones when they are few."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if known and len(known) <= 8:
        return "known: " + ", ".join(sorted(known))
    return ""
