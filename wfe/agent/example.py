"""The node that a model is shown as a good one: that of the project whose signature is nearest to what is wanted.

Only what a person wrote is shown: a node that a model wrote would teach the next one its faults, and each new one would
change the question for all others. Which one was shown stands in the header of what was written; it stays the example
of that file as long as it is there, so that a node more in the project makes nothing out of date.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from wfe.agent import gates, header
from wfe.agent.gate import Site
from wfe.agent.spec import Draft, NodeSpec
from wfe.catalog import Catalogue
from wfe.core import syntax
from wfe.core.signature import Signature
from wfe.errors import WorkflowError

_MOST = 2400
"""Characters of an example: the packaged one has 700, and of a longer one a small model copies the details."""


@dataclass(frozen=True, slots=True)
class Example:
    """module: "" for the packaged one. text: of the whole module."""

    module: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of its syntax: the format of an example is no reason to write a node anew."""
        return sha256(ast.dump(syntax.module(self.text)).encode()).hexdigest()


def nearest(spec: NodeSpec, project: Path, packaged: str) -> Example:
    """The short, good node of the project that shares most types with `spec`; the packaged one when none shares any."""
    best, found = 0.0, Example("", packaged)
    for one in _signatures(project, _state(project)):
        near = _likeness(spec, one)
        if near > best and (text := _good(project, one)) is not None:
            best, found = near, Example(one.module, text)
    return found


def _state(project: Path) -> tuple[tuple[str, int, int], ...]:
    """By what a changed folder of nodes is recognised, so that ten nodes to be written read it once."""
    found = []
    for path in sorted((project / "nodes").rglob("*.py")):
        told = path.stat()
        found.append((str(path), told.st_mtime_ns, told.st_size))
    return tuple(found)


@lru_cache(maxsize=1)
def _signatures(project: Path, state: tuple[tuple[str, int, int], ...]) -> tuple[Signature, ...]:
    del state
    return tuple(Catalogue(project).all()[0])


def named(module: str, project: Path, packaged: str) -> Example | None:
    """The example of this name as it is now; None when it is no good one any more."""
    if not module:
        return Example("", packaged)
    try:
        source = Catalogue(project).load(module)
    except WorkflowError:
        return None
    for one in source.signatures.values() if source else ():
        text = _good(project, one)
        return None if text is None else Example(module, text)
    return None


def prompts_digest(templates: str, example: Example) -> str:
    """The digest of a question's fixed parts, for its key."""
    return sha256(json.dumps([templates, example.digest]).encode()).hexdigest()


def _likeness(spec: NodeSpec, one: Signature) -> float:
    """How many types of inputs and outputs both have (0: none but Any), less a little for each that only one has."""
    if not one.declared or not one.outputs or not one.doc:
        return 0.0
    shared = alone = 0
    sides = (
        ([field.kind.kind for field in spec.inputs], [parameter.type.kind for parameter in one.parameters]),
        ([field.kind.kind for field in spec.outputs], [kind.kind for kind in one.outputs.values()]),
    )
    for wanted, there in sides:
        mine, its = Counter(wanted), Counter(there)
        shared += sum(count for kind, count in (mine & its).items() if kind != "any")
        alone += ((mine - its) + (its - mine)).total()
    return shared - alone / 8 if shared else 0.0


def _good(project: Path, one: Signature) -> str | None:
    """The text of the node's module when a model may take it for a pattern: short, alone, honest, of no package."""
    path = project.joinpath(*one.module.split(".")).with_suffix(".py")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if len(text) > _MOST or header.read(text) is not None or "{{" in text:
        return None
    tree = syntax.module(text)
    if any(isinstance(node, ast.ClassDef | ast.AsyncFunctionDef | ast.Global) for node in ast.walk(tree)):
        return None
    from wfe.core.signature import decorator_of

    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and decorator_of(node)]
    if len(nodes) != 1 or any(_local(node) for node in ast.walk(tree)):
        return None
    site = Site(project, project)
    wrong = gates.Honest().look(Draft(text), _ANY, site)
    return None if wrong or _unlike(nodes[0]) else text


def _local(node: ast.AST) -> bool:
    """An import of the project's own: a generated node cannot have it."""
    if isinstance(node, ast.ImportFrom):
        return bool(node.level) or (node.module or "").partition(".")[0] == "nodes"
    return isinstance(node, ast.Import) and any(one.name.partition(".")[0] == "nodes" for one in node.names)


def _unlike(node: ast.FunctionDef) -> bool:
    """Whether a generated node could not be so: it has parameters that a specification cannot say."""
    return bool(node.args.vararg or node.args.kwarg or node.returns is None)


_ANY = NodeSpec("example", "example")
