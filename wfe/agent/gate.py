"""What a gate is, and what it needs from outside. Knows no gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wfe.agent.spec import Draft, NodeSpec
from wfe.agent.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Site:
    """Where drafts are judged: the project's root, a directory for tools' caches, what a plan with the draft in it
    says.
    """

    project: Path
    cache: Path
    compiles: Callable[[NodeSpec, Draft], Sequence[Verdict]] = field(default=lambda spec, draft: ())


class Gate(Protocol):
    """One question to a draft. `name` is what a header, a report and the corpus of tests call it."""

    @property
    def name(self) -> str: ...

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]: ...
