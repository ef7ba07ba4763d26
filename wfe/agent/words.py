"""The words of a command line -> a node that can be written: its name, and what it takes and gives.

What words do not say, the model is asked. Knows where its answers are kept. Does not write nodes or workflows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from wfe.agent import prompt
from wfe.agent.author import MAX_REPAIRS, Desk, put
from wfe.agent.events import Asked, Judged
from wfe.agent.model import Message, read
from wfe.agent.spec import Field, NodeSpec, check_name, field_of, slug
from wfe.agent.verdict import Unusable, Verdict
from wfe.catalog import Catalogue
from wfe.errors import WorkflowError

SIGNATURES = Path(".wfe") / "signatures"


def check_words(description: str, name: str) -> None:
    """Raises WorkflowError for words of which no workflow can be made, before anybody asks a model."""
    if not description.strip():
        raise WorkflowError("the description is empty", hint="say what the workflow should do")
    if name:
        check_name(name, "the name of a workflow")


def spoken(
    description: str, inputs: Sequence[str], outputs: Sequence[str], *, category: str = "", name: str = ""
) -> NodeSpec:
    """The node as far as words say it, inputs and outputs as `name` or `name:type`, before anybody asks a model. Raises
    WorkflowError for names and types that cannot be."""
    if not description.strip():
        raise WorkflowError("the description is empty", hint="say what the node should do")
    taken, given = tuple(map(field_of, inputs)), tuple(map(field_of, outputs)) or (Field("result"),)
    return NodeSpec(name or slug(description), description.strip(), taken, given, category)


def check_alone(spec: NodeSpec, project: Path) -> None:
    """Raises WorkflowError for a new node with the name of one that is elsewhere: every workflow that calls that by its bare
    name would find two."""
    names = Catalogue(project).names()
    own = f"{spec.module}.{spec.name}".removeprefix("nodes.")
    other = next((one for one in names if one != own and one.rpartition(".")[2] == spec.name), "")
    if other and own not in names:
        raise WorkflowError(f"there is a node {spec.name!r} already: {other}", hint="give another name: --name NAME")


def specify(spec: NodeSpec, words: Sequence[str], desk: Desk) -> NodeSpec:
    """The node of `spoken` with all types. words: its inputs and outputs, as they were said; where one is without a type, the
    model is asked. Raises WorkflowError where no usable answer comes, ModelFailure.
    """
    if words and all(":" in one for one in words):
        return spec
    stored = desk.project / SIGNATURES / f"{spec.name}.json"
    asked = sha256(
        json.dumps([spec.digest, desk.model.name, desk.model.seed, desk.prompts.digest]).encode()
    ).hexdigest()
    schema = prompt.signature_schema(spec)
    answer = record_of(stored).get("answer") if record_of(stored).get("asked") == asked else None
    if answer is None:
        messages: Sequence[Message] = prompt.signature_messages(desk.prompts, spec.purpose, spec)
        answer = _typed(spec.name, messages, schema, desk)
        put(stored, json.dumps({"asked": asked, "answer": answer}, indent=2) + "\n")
    # A type that a person gave wins over what a model thinks of it.
    typed = [
        tuple(one if one.type != "Any" else replace(one, type=answer[side][one.name]) for one in fields)
        for side, fields in (("inputs", spec.inputs), ("outputs", spec.outputs))
    ]
    return replace(spec, purpose=f"{spec.purpose}. {answer['purpose']}", inputs=typed[0], outputs=typed[1])


def _typed(subject: str, messages: Sequence[Message], schema: Mapping[str, Any], desk: Desk) -> Any:
    asked = list(messages)
    wrong: tuple[Verdict, ...] = ()
    for number in range(1, MAX_REPAIRS + 2):
        desk.tell(Asked(subject, number, "the types of its inputs and outputs"))
        text = ""
        try:
            text = desk.ask(subject, messages, schema)
            return read(text, schema)
        except Unusable as unusable:
            again = unusable.verdicts == wrong
            wrong, text = unusable.verdicts, unusable.text or text
            desk.tell(Judged(subject, "answer", str(wrong[0])))
            if again:
                break
        messages = prompt.repair_messages(asked, text, "answer", wrong, desk.prompts.texts["repair"])
    raise WorkflowError(
        f"{desk.model.name} gave no usable signature: {wrong[0]}", hint="give the types yourself: -i image:np.ndarray"
    )


def record_of(path: Path) -> dict[str, Any]:
    """What a file of our own holds; nothing, when it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
