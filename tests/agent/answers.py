"""The corpus: answers of every quality, each with the gate that must catch it (none for a good one)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ollama_server import Reply

from wfe.agent.author import Desk
from wfe.agent.outline import compiler
from wfe.agent.spec import Field, NodeSpec

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Case:
    """One answer. gate: "" for a good one. Places in its text stand as @NAME@ until `reply` fills them in.

    document: the workflow that the node is for, None for a node alone; files: what the project has beside it.
    """

    name: str
    gate: str
    spec: NodeSpec
    answer: Mapping[str, Any]
    raw: str | None
    endless: bool
    document: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def at(self, desk: Desk) -> Desk:
        """The desk in a project with this case's files, where a draft is planned into this case's document."""
        for name, text in self.files.items():
            path = desk.project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if self.document is None:
            return desk
        compiles = compiler(desk.project, self.document, [self.spec])
        return replace(desk, site=replace(desk.site, compiles=compiles))

    def reply(self, **places: str) -> Reply:
        text = self.raw
        if text is None:
            text = json.dumps({"name": self.spec.name, **self.answer})
        for name, value in places.items():
            text = text.replace(f"@{name}@", value)
        return Reply(text, piece=200, endless=self.endless)


def case(path: Path) -> Case:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    spec = told["spec"]
    return Case(
        name=path.stem,
        gate=told["gate"],
        spec=NodeSpec(
            spec["name"],
            spec["purpose"],
            tuple(Field(*one) for one in spec["inputs"]),
            tuple(Field(*one) for one in spec["outputs"]),
        ),
        answer=told.get("answer", {}),
        raw=told.get("raw"),
        endless=told.get("endless", False),
        document=told.get("document"),
        files=told.get("files", {}),
    )


CASES = [case(path) for path in sorted(CORPUS.glob("*.toml"))]
GOOD = [one for one in CASES if not one.gate]
BAD = [one for one in CASES if one.gate]
