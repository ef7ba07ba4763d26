"""An outline (what a model plans) -> a workflow document and the specifications of the nodes that are missing.

Knows the form of outlines and of documents, and finds all that is wrong with an outline by planning it with the
missing nodes in the catalogue as if they were written. Does not know models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wfe.agent.spec import TYPES, Draft, Field, NodeSpec, fields_of
from wfe.agent.verdict import Verdict
from wfe.catalog import Catalogue
from wfe.core.parse import parse
from wfe.core.planner import Code, nowhere, plan
from wfe.core.signature import Signature
from wfe.core.source import Source, source_of
from wfe.core.types import Type
from wfe.core.workflow import Node, Workflow
from wfe.errors import WfeError, WorkflowError

Outline = Mapping[str, Any]


class Overlay(Catalogue):
    """A project's catalogue with nodes in it that are only specified, or drafted as `texts` (module -> source)."""

    def __init__(
        self,
        root: Path,
        specs: Sequence[NodeSpec] = (),
        texts: Mapping[str, str] | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        """hidden: modules that count as not written."""
        super().__init__(root)
        self.hidden = frozenset(hidden)
        self.specs = {spec.module: spec for spec in specs}
        self.texts = dict(texts or {})

    def load(self, module: str) -> Source | None:
        if module in self.hidden:
            return None
        if module in self.texts:
            return source_of(self.texts[module], module)
        spec = self.specs.get(module)
        if spec is not None:
            found = super().load(module)
            return found or Source(module, signatures={spec.name: spec.signature()})
        return super().load(module)

    def modules(self) -> list[str]:
        return sorted({*super().modules(), *self.specs, *self.texts} - self.hidden)

    def code(self, signature: Signature) -> Code:
        if signature.module in self.specs or signature.module in self.texts:
            return Code("")
        return super().code(signature)


def specs_of(outline: Outline, catalogue: Catalogue) -> list[NodeSpec]:
    """The nodes of an outline that the catalogue lacks, in its order. Raises WorkflowError for names and types."""
    found: dict[str, NodeSpec] = {}
    for node in outline["nodes"]:
        if catalogue.find(node["function"]) is None:
            spec = NodeSpec(node["id"], node["purpose"].strip(), fields_of(node["inputs"]), fields_of(node["outputs"]))
            found[spec.name] = spec
    return list(found.values())


def document_of(outline: Outline, catalogue: Catalogue) -> dict[str, Any]:
    """The workflow document of an outline; the function of a missing node is where it will be."""
    lacking = {spec.name: spec for spec in specs_of(outline, catalogue)}
    nodes = []
    for node in outline["nodes"]:
        spec = lacking.get(node["id"])
        known = None if spec else catalogue.find(node["function"])
        function = f"{spec.module}.{spec.name}" if spec else known.function if known else node["function"]
        entry: dict[str, Any] = {"id": node["id"], "function": function.removeprefix("nodes.")}
        entry["description"] = node["purpose"].strip()
        entry["depends_on"] = list(dict.fromkeys(_uses(node["inputs"])))
        entry["inputs"] = {one["name"]: one["value"] for one in node["inputs"]}
        nodes.append(entry)
    workflow: dict[str, Any] = {"name": outline["name"], "description": outline["description"], "version": "1.0"}
    if outline.get("params"):
        workflow["params"] = {one["name"]: one["value"] for one in outline["params"]}
    return {"workflow": workflow, "nodes": nodes}


def _uses(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    texts = [one["value"] for one in inputs if isinstance(one["value"], str)]
    return [text[1:].partition(".")[0] for text in texts if text.startswith("$") and not text.startswith(("${", "$$"))]


def check(outline: Outline, project: Path) -> list[Verdict]:
    """All that is wrong with an outline that fits its schema."""
    catalogue = Catalogue(project)
    wrong = []
    ids = [node["id"] for node in outline["nodes"]]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        wrong.append(Verdict("answer.nodes", "each id once", f"{name!r} several times"))
    for number, node in enumerate(outline["nodes"]):
        place = f"answer.nodes[{number}]"
        for name in _uses(node["inputs"]):
            if name not in ids[:number]:
                hint = "refer to nodes that come earlier: " + (", ".join(ids[:number]) or "there is none")
                wrong.append(Verdict(place, "inputs from constants, params or earlier nodes", f"${name}", hint))
        try:
            known = catalogue.find(node["function"])
        except WorkflowError as error:
            wrong.append(Verdict(place, "one existing node, by its whole name", str(error)))
            continue
        if known is None and node["function"] != node["id"]:
            hint = "take an existing node by its name, or give function the same text as id to have it written"
            wrong.append(
                Verdict(f"{place}.function", f"{node['id']!r} or an existing node", repr(node["function"]), hint)
            )
        if known is None and not node["outputs"]:
            wrong.append(Verdict(f"{place}.outputs", "at least one output of a node that is to be written", "none"))
        for one in node["inputs"]:
            if one["type"] == "Output" and not (isinstance(one["value"], str) and _inside(one["value"])):
                wrong.append(Verdict(place, "a relative path inside the project for an Output", repr(one["value"])))
            # A file that a document names is readable to the node, sandbox or not: a model must not choose a private one.
            read = _constant(one["value"], outline)
            if one["type"] == "Path" and isinstance(read, str) and not read.startswith("$") and not _inside(read):
                hint = "the user gives another path when running it"
                wrong.append(Verdict(place, "a relative path inside the project for a Path", repr(read), hint))
    if wrong:
        return wrong
    try:
        specs = specs_of(outline, catalogue)
        return compile_problems(document_of(outline, catalogue), Overlay(project, specs))
    except WfeError as error:
        return [Verdict("answer", "names and types that fit", str(problem)) for problem in error.problems]


def compile_problems(document: Mapping[str, Any], catalogue: Catalogue) -> list[Verdict]:
    """What the planner objects to in a document, as verdicts."""
    try:
        workflow = parse(json.dumps(document, indent=2).encode(), "workflow.json", "workflow")
        planned(workflow, catalogue)
    except WfeError as error:
        return [Verdict("workflow", "a workflow that compiles", one.message, one.hint) for one in error.problems[:8]]
    return []


def planned(workflow: Workflow, catalogue: Catalogue) -> None:
    """Plan `workflow`, everything in the main environment. Raises WorkflowError with all problems."""
    plan(workflow, {}, catalogue, nowhere)


def _constant(value: Any, outline: Outline) -> Any:
    """A value with the default of the parameter that it names in its place."""
    params = {f"${{{one['name']}}}": one["value"] for one in outline.get("params", ())}
    return params.get(value, value) if isinstance(value, str) else value


def _inside(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return bool(path) and not path.startswith(("/", "~")) and ":" not in path and ".." not in parts


def missing_specs(workflow: Workflow, catalogue: Catalogue, known: Sequence[NodeSpec] = ()) -> list[NodeSpec]:
    """The nodes that a document names and nobody has written, as far as the document says what they must be.

    `known`: specifications from an outline, which win. The id is the hint of what a node does; its outputs are those
    that other nodes refer to. Raises WorkflowError for names that cannot be files.
    """
    told = {spec.module: spec for spec in known}
    found: dict[str, NodeSpec] = {}
    for node in workflow.nodes:
        if not node.function or node.function in found or catalogue.find(node.function) is not None:
            continue
        name = node.function.rpartition(".")[2]
        module = node.function.removeprefix("nodes.").rpartition(".")[0]
        spec = told.get(f"nodes.{module}" if module else f"nodes.custom.{name}")
        found[node.function] = spec or _derived(node, name, module, workflow, catalogue)
    return list(found.values())


def _derived(node: Node, name: str, module: str, workflow: Workflow, catalogue: Catalogue) -> NodeSpec:
    parts = module.split(".") if module else ["custom", name]
    if parts[0] != "custom" or parts[-1] != name or len(parts) > 3:
        raise WorkflowError(
            f"step {node.id!r}: {node.function!r} is missing, and generated nodes live in nodes/custom",
            hint=f"call it custom.{name}.{name}, or write nodes/{'/'.join(parts)}.py",
        )
    inputs = [Field(key, _type_of(value, workflow, catalogue)) for key, value in node.inputs.items()]
    outputs = dict.fromkeys(_asked_of(node.id, workflow))
    purpose = node.description or node.id.replace("_", " ").replace("-", " ")
    fields = tuple(Field(key) for key in outputs) or (Field("result"),)
    return NodeSpec(name, purpose, tuple(inputs), fields, parts[1] if len(parts) == 3 else "")


def _asked_of(step: str, workflow: Workflow) -> list[str]:
    """The outputs of `step` that other nodes refer to."""
    found = []
    todo: list[Any] = [node.inputs for node in workflow.nodes]
    while todo:
        value = todo.pop(0)
        if isinstance(value, Mapping):
            todo.extend(value.values())
        elif isinstance(value, list | tuple):
            todo.extend(value)
        elif isinstance(value, str) and value.startswith(f"${step}."):
            found.append(value.split(".")[1])
    return found


def _type_of(value: Any, workflow: Workflow, catalogue: Catalogue) -> str:
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        param = workflow.params.get(value[2:-1])
        return _type_of(param.default, workflow, catalogue) if param and param.default is not None else "Any"
    if isinstance(value, str) and value.startswith("$"):
        step, _, key = value[1:].partition(".")
        source = next((node for node in workflow.nodes if node.id == step), None)
        known = catalogue.find(source.function) if source else None
        kind = (known.outputs or {}).get(key) if known and key else None
        return annotation(kind) if kind else "Any"
    kinds = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict[str, Any]"}
    return kinds.get(type(value), "Any")


def annotation(kind: Type) -> str:
    """A type as one of TYPES; Any when none fits."""
    text = {"array": "np.ndarray"}.get(kind.kind, str(kind))
    return text if text in TYPES else {"list": "list", "dict": "dict"}.get(kind.kind, "Any")


def neighbours(
    spec: NodeSpec, document: Mapping[str, Any], specs: Sequence[NodeSpec], catalogue: Catalogue
) -> list[str]:
    """Lines about what comes before and after the node in its workflow."""
    told = []
    by_id = {node["id"]: node for node in document["nodes"]}
    overlay = Overlay(catalogue.root, specs)
    mine = [node for node in document["nodes"] if node["function"].rpartition(".")[2] == spec.name]
    for node in mine:
        for key, value in node.get("inputs", {}).items():
            if isinstance(value, str) and value.startswith("$") and not value.startswith("${"):
                before = by_id.get(value[1:].partition(".")[0])
                signature = overlay.find(before["function"]) if before else None
                told.append(f"- `{key}` comes from {value[1:]}" + (f", an output of {signature}" if signature else ""))
            else:
                told.append(f"- `{key}` is {json.dumps(value)[:120]}")
        for other in document["nodes"]:
            for key, value in other.get("inputs", {}).items():
                if isinstance(value, str) and value.startswith(f"${node['id']}."):
                    told.append(f"- its output {value.partition('.')[2]} becomes `{key}` of {other['id']}")
    return told


def compiler(
    project: Path, document: Mapping[str, Any] | None, specs: Sequence[NodeSpec]
) -> Callable[[NodeSpec, Draft], Sequence[Verdict]]:
    """For `Site.compiles`: does the workflow still make a plan with this draft in the node's place?

    What is wrong with the document whatever the draft is no fault of the draft.
    """
    before = compile_problems(document, Overlay(project, specs)) if document is not None else []

    def compiles(spec: NodeSpec, draft: Draft) -> Sequence[Verdict]:
        if document is None:
            return ()
        found = compile_problems(document, Overlay(project, specs, {spec.module: draft.code}))
        return [one for one in found if one not in before]

    return compiles
