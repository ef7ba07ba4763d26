"""Questions to a model, made from templates and values. Pure but for `load`, which reads the templates.

A project overrides a template by a file of the same name in `.wfe/prompts/`. What was fetched, printed or read from a
file enters a question only through `quote`: as a JSON text that cannot close its own quotation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from wfe.agent.model import Message
from wfe.agent.spec import FUNCTION_SCHEMA, TYPES, NodeSpec
from wfe.agent.verdict import Verdict
from wfe.core.signature import Signature
from wfe.errors import WorkflowError

HOME = Path(__file__).parent / "prompts"
OVERRIDES = Path(".wfe") / "prompts"
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_MOST_NODES = 60
"""Of the catalogue, so many are listed: a small model loses the thread in a longer list."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates by name, and the digest of all of them: a changed prompt is a changed input of every generation."""

    texts: Mapping[str, str]
    digest: str

    def fill(self, template: str, /, **values: str) -> str:
        """The template with its {{holes}} filled. Raises WorkflowError for a hole that has no value."""

        def value(match: re.Match[str]) -> str:
            if match[1] not in values:
                known = ", ".join(sorted(values))
                raise WorkflowError(f"the prompt {template!r} has an unknown hole {match[0]}", hint=f"known: {known}")
            return values[match[1]]

        return _HOLE.sub(value, self.texts[template])


def load(project: Path) -> Prompts:
    """The templates of wfe with those of the project's `.wfe/prompts/` over them. Raises WorkflowError for unknown
    names.
    """
    texts = {
        path.name: path.read_text(encoding="utf-8") for path in sorted(HOME.iterdir()) if path.suffix in (".md", ".py")
    }
    folder = project / OVERRIDES
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in texts:
            raise WorkflowError(f"{path} is no prompt of wfe", hint="known: " + ", ".join(texts))
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise WorkflowError(f"{path} is not UTF-8", hint="save it as UTF-8") from error
    texts = {name.removesuffix(".md"): text for name, text in texts.items()}
    return Prompts(texts, sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest())


def quote(value: Any, limit: int = 1500) -> str:
    """Foreign data as a JSON text, cut at `limit` characters, that cannot end the <data> block it stands in."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    if len(text) > limit:
        text = text[:limit] + " ... (cut)"
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def catalogue_text(signatures: Sequence[Signature]) -> str:
    """One line a node: its signature and the first line of what it says of itself."""
    lines = [
        f"- {one}" + (f"  # {one.doc.splitlines()[0][:120]}" if one.doc else "") for one in signatures[:_MOST_NODES]
    ]
    return "\n".join(lines) or "(none)"


def outline_messages(prompts: Prompts, description: str, known: Sequence[Signature]) -> list[Message]:
    text = prompts.fill(
        "outline", description=description.strip(), types=", ".join(TYPES), catalogue=catalogue_text(known)
    )
    return [Message("system", prompts.texts["system"]), Message("user", text)]


def change_messages(
    prompts: Prompts, outline: Mapping[str, Any], description: str, known: Sequence[Signature]
) -> list[Message]:
    text = prompts.fill(
        "change",
        outline=quote(outline, 20_000),
        description=description.strip(),
        types=", ".join(TYPES),
        catalogue=catalogue_text(known),
    )
    return [Message("system", prompts.texts["system"]), Message("user", text)]


def node_messages(
    prompts: Prompts, spec: NodeSpec, installed: Sequence[str], neighbours: Sequence[str] = (), example: str = ""
) -> list[Message]:
    """The question for one node. neighbours: lines about what comes before and after it; example: the text of a good
    node, "" for the packaged one.
    """
    told = [f"- input {one.name}: {one.description}" for one in spec.inputs if one.description]
    told += [f"- output {one.name}: {one.description}" for one in spec.outputs if one.description]
    text = prompts.fill(
        "node",
        name=spec.name,
        purpose=spec.purpose,
        head=spec.head(),
        module=spec.module,
        fields="\n".join(told),
        neighbours="\n".join(neighbours) or "(it stands alone)",
        installed=", ".join(installed) or "none",
        example=example.strip() or prompts.texts["example.py"].strip(),
    )
    return [Message("system", prompts.texts["system"]), Message("user", text)]


def repair_messages(
    asked: Sequence[Message], answer: str, gate: str, verdicts: Sequence[Verdict], text: str
) -> list[Message]:
    """The first question, the last answer, and what is wrong with it; `text`: the template, filled but for its
    holes.
    """
    told = quote([verdict.plain() for verdict in verdicts], 6000)
    question = text.replace("{{gate}}", gate).replace("{{verdicts}}", told)
    return [*asked, Message("assistant", answer[:30_000]), Message("user", question)]


def node_schema(spec: NodeSpec) -> dict[str, Any]:
    """The form of an answer for one node (JSON Schema 2020-12, the part of it that a grammar can hold)."""
    texts = {"type": "array", "items": {"type": "string"}, "maxItems": 12}
    return {
        "title": "node",
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "code": {"type": "string", "minLength": 1},
            "dependencies": texts,
            "examples": {
                "type": "array",
                "minItems": 2 if spec.inputs else 1,
                "maxItems": 4,
                "items": {
                    "type": "object",
                    "properties": {one.name: {} for one in spec.inputs},
                    "required": [one.name for one in spec.inputs],
                    "additionalProperties": False,
                },
            },
            "test": {"type": "string", "minLength": 1},
        },
        "required": ["name", "code", "dependencies", "examples", "test"],
        "additionalProperties": False,
    }


def outline_schema() -> dict[str, Any]:
    """The form of an outline."""
    value: dict[str, Any] = {"name": FUNCTION_SCHEMA, "type": {"enum": [*TYPES, "Output"]}}
    entries = {"type": "array", "maxItems": 16}

    def record(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
        required = [name for name in properties if name not in optional]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    node = record(
        {
            "id": FUNCTION_SCHEMA,
            "function": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]{0,150}$"},
            "purpose": {"type": "string", "minLength": 1, "maxLength": 1000},
            "inputs": {**entries, "items": record({**value, "value": {}})},
            "outputs": {**entries, "items": record({"name": FUNCTION_SCHEMA, "type": {"enum": list(TYPES)}})},
        }
    )
    outline = record(
        {
            "name": FUNCTION_SCHEMA,
            "description": {"type": "string", "maxLength": 1000},
            "params": {**entries, "items": record({"name": FUNCTION_SCHEMA, "value": {}})},
            "nodes": {"type": "array", "minItems": 1, "maxItems": 24, "items": node},
        },
        "params",
    )
    return {"title": "outline", **outline}


def signature_messages(prompts: Prompts, description: str, spec: NodeSpec) -> list[Message]:
    """The question for the types of a node's inputs and outputs."""
    text = prompts.fill(
        "signature",
        description=description.strip(),
        name=spec.name,
        inputs=", ".join(one.name for one in spec.inputs) or "(none)",
        outputs=", ".join(one.name for one in spec.outputs) or "(none)",
        types=", ".join(TYPES),
    )
    return [Message("system", prompts.texts["system"]), Message("user", text)]


def signature_schema(spec: NodeSpec) -> dict[str, Any]:
    """The form of an answer to `signature_messages`."""

    def types(names: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: {"enum": list(kinds)} for name in names},
            "required": list(names),
            "additionalProperties": False,
        }

    properties = {
        "purpose": {"type": "string", "minLength": 1, "maxLength": 1000},
        "inputs": types([one.name for one in spec.inputs], [*TYPES, "Output"]),
        "outputs": types([one.name for one in spec.outputs], TYPES),
    }
    return {
        "title": "signature",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
