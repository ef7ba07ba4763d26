"""The corpus: answers of every quality, each with the gate that must catch it (none for a good one)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollama_server import Reply

from wfe.agent.spec import Field, NodeSpec

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Case:
    """One answer. gate: "" for a good one. Places in its text stand as @NAME@ until `reply` fills them in."""

    name: str
    gate: str
    spec: NodeSpec
    answer: Mapping[str, Any]
    raw: str | None
    endless: bool

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
    )


CASES = [case(path) for path in sorted(CORPUS.glob("*.toml"))]
GOOD = [one for one in CASES if not one.gate]
BAD = [one for one in CASES if one.gate]
