"""What a generation tells about itself while it goes on. Pure data; nothing here prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pulled:
    """The provider fetches a model: `done` of `total` bytes of one layer (0: not known)."""

    status: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question goes to the model: `subject` is a node's or a workflow's name, `attempt` counts from 1.

    what: what of it is asked for, "" for all.
    """

    subject: str
    attempt: int
    what: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the model's answer, as it comes."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is over, whole or not: nothing more of it will be heard."""

    subject: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A gate has looked: `problem` is empty when it passed, and a line for people when it did not."""

    subject: str
    gate: str
    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A file was written: `path`. `diff`: against the one that a person edited and that was left alone, if so."""

    subject: str
    path: Path
    diff: str = ""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """No draft of `subject` passed. `path`: where the best one lies, as no node; `report`: what was wrong with it."""

    subject: str
    path: Path
    report: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line for people that belongs to nothing above."""

    message: str


AgentEvent = Pulled | Asked | Heard | Answered | Judged | Kept | GivenUp | Said
Tell = Callable[[AgentEvent], None]


def silent(event: AgentEvent) -> None:
    """A listener that hears nothing."""
    del event
