"""Document -> Workflow: the shape of every part is checked, and all that is wrong is told at once.

Knows the form of a workflow document; `wfe/schema.json` says the same for editors, and a test holds the two together. It
is written out by hand since a jsonschema run costs 142 ms to import and 340 ms for 10,000 nodes, and since its messages
speak of schemas, not of workflows. Does not know functions or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wfe.core.document import Document, Path, read
from wfe.core.kind import Wrong, describe, entries
from wfe.core.option import OPTIONS, amounts, wrong_with
from wfe.core.workflow import Node, Param, Settings, Workflow
from wfe.errors import Problem, WorkflowError, nearest

# Files are named by it: with the items of a fan (60 letters each, two in a nested one) and suffixes 255 bytes must do.
ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\Z")
PARAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
RESERVED: Final = frozenset({"item", "matrix", "workflow"})

PARAM_TYPES: Final = ("string", "integer", "number", "boolean", "array", "object")

# key -> what it must be, for the parts that need no more than that
_TOP: Final = {"$schema": str, "workflow": dict, "nodes": list}
_WORKFLOW: Final = {
    "name": str,
    "description": str,
    "version": str,
    "settings": dict,
    "params": dict,
    "environments": str,
}
_SETTINGS: Final = {"max_parallel_nodes": int, "pools": dict}
_PARAM: Final = {"default": object, "type": str, "description": str, "required": bool}
_NODE: Final = {
    "id": str,
    "function": str,
    "description": str,
    "depends_on": list,
    "inputs": dict,
    "when": str,
    "foreach": object,
    "matrix": dict,
    "include": str,
    **OPTIONS,
}
_ASIDE: Final = {"cache", "ttl", "timeout", "retries", "resources", "isolation_mode", "depends_on", "seed", "device"}
_NAMES: Final = {"id", "include"}  # of a node: without them, what other nodes say of it would be wrong too
# An include stands for other nodes, each of which says these for itself.
_NOT_OF_INCLUDES: Final = ("foreach", "matrix", *OPTIONS)


def parse(data: bytes, file: str, name: str, problems: list[Problem] | None = None) -> Workflow:
    """Read the workflow `name` from the bytes of `file` (the name to show in places).

    Raises WorkflowError with every problem of the document's own shape. With a list of `problems` they are added to it
    instead, and the workflow is what is left of it, for the planner to look for more; what cannot be read at all is
    raised all the same.
    """
    parser = _Parser(read(data, file), name)
    found = parser.workflow()
    if problems is not None:
        problems.extend(parser.problems)
    elif parser.problems:
        raise WorkflowError(parser.problems)
    return found


class _Parser:
    def __init__(self, document: Document, name: str) -> None:
        self.document = document
        self.name = name
        self.problems: list[Problem] = [problem for _, problem in document.doubts]
        self.bad: set[Any] = set()  # keys of the node that is being read
        self.doubtful: dict[Any, set[Any]] = {}  # node -> keys of it
        for path, _ in document.doubts:
            if path[:1] != ("nodes",) or len(path) < 3 or path[2] in _NAMES:
                raise WorkflowError(self.problems)  # too much hangs on it to say more
            self.doubtful.setdefault(path[1], set()).add(path[2])

    def wrong(self, path: Path, message: str, hint: str = "") -> None:
        if path[:1] == ("nodes",):
            self.bad.update(path[2:3])
        self.problems.append(Problem(message, self.document.place(path), hint))

    def tell(self, wrong: Iterable[Wrong], path: Path) -> None:
        for one in wrong:
            self.wrong((*path, *one.path), one.message, one.hint)

    def shape(self, value: Any, path: Path, what: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of an object that are known and of the right kind; the others are told."""
        good, wrong = entries(value, what, known)
        self.tell(wrong, path)
        return good

    def workflow(self) -> Workflow:
        top = self.shape(self.document.value, (), "the document", _TOP)
        if isinstance(self.document.value, dict) and "nodes" not in self.document.value:
            self.wrong((), "the document has no 'nodes'", "add a list of nodes, each with an 'id' and a 'function'")
        head = self.shape(top.get("workflow", {}), ("workflow",), "'workflow'", _WORKFLOW)
        params = self.params(head.get("params", {}))
        settings = self.settings(head.get("settings", {}))
        nodes = [self.node(entry, ("nodes", index)) for index, entry in enumerate(top.get("nodes", []))]
        whole = tuple(node for node in nodes if node is not None)
        self.unique(whole)
        return Workflow(
            name=self.name,
            title=head.get("name", self.name),
            description=head.get("description", ""),
            version=head.get("version", ""),
            settings=settings,
            params=params,
            nodes=whole,
            document=self.document,
            environments=head.get("environments"),
        )

    def settings(self, value: Any) -> Settings:
        found = self.shape(value, ("workflow", "settings"), "'settings'", _SETTINGS)
        at: Path = ("workflow", "settings", "max_parallel_nodes")
        if found.get("max_parallel_nodes", 1) < 1:
            self.wrong(at, f"'max_parallel_nodes' must be at least 1, found {found['max_parallel_nodes']}")
        self.tell(amounts(found.get("pools", {}), "pool"), (*at[:2], "pools"))
        return Settings(found.get("max_parallel_nodes", 0), found.get("pools", {}))

    def params(self, value: dict[str, Any]) -> dict[str, Param]:
        found = {}
        for name, entry in value.items():
            at: Path = ("workflow", "params", name)
            if not PARAM.match(name):
                self.wrong(at, f"{name!r} is no parameter name", "letters, digits and _, no digit first")
            elif name == "workflow":
                self.wrong(at, "'workflow' cannot be a parameter: `doit run workflow=x` chooses the workflow by it")
            elif (
                isinstance(entry, dict)
                and entry
                and entry.keys() <= _PARAM.keys()
                and entry.keys() & {"default", "required", "type"}
            ):
                found[name] = self.param(name, entry, at)
            else:
                found[name] = Param(name, entry)
        return found

    def param(self, name: str, entry: dict[str, Any], at: Path) -> Param:
        good = self.shape(entry, at, f"parameter {name!r}", _PARAM)
        kind = good.get("type", "")
        if kind and kind not in PARAM_TYPES:
            self.wrong((*at, "type"), f"parameter {name!r}: no type {kind!r}", nearest(kind, PARAM_TYPES))
            kind = ""
        required = good.get("required", False) or "default" not in good
        return Param(name, good.get("default"), required, kind, good.get("description", ""))

    def node(self, entry: Any, at: Path) -> Node | None:
        what = (
            f"node {entry['id']!r}"
            if isinstance(entry, dict) and isinstance(entry.get("id"), str)
            else f"node {at[-1]}"
        )
        self.bad = self.doubtful.get(at[-1], set())
        good = self.shape(entry, at, what, _NODE)
        if not isinstance(entry, dict):
            return None
        if "id" not in entry:
            self.wrong(at, f"{what} has no 'id'", "name it, so that other nodes can refer to it")
        elif "id" in good and not ID.match(good["id"]):
            self.wrong(
                (*at, "id"), f"{good['id']!r} is no node id", "at most 100 letters, digits, _ and -, no digit first"
            )
        elif good.get("id") in RESERVED:
            self.wrong((*at, "id"), f"{good['id']!r} cannot be a node id: it has a meaning of its own in references")
        if not (entry.get("function") or entry.get("include") or self.bad & {"function", "include"}):
            self.wrong(at, f"{what} has no 'function'", "name one of nodes/, like 'vision.detect.detect'")
        if "function" in good and "include" in good:
            self.wrong((*at, "include"), f"{what} has both 'function' and 'include'", "keep one")
        for key in _NOT_OF_INCLUDES if "include" in entry else ():
            if key in entry:
                self.wrong(
                    (*at, key), f"{what}: {key!r} does not go with 'include'", "say it at the nodes that it brings in"
                )
        if "foreach" in entry and "matrix" in entry:
            self.wrong(
                (*at, "matrix"), f"{what} has both 'foreach' and 'matrix'", "keep one; a 'foreach' may be nested"
            )
        for position, other in enumerate(good.get("depends_on", [])):
            if not isinstance(other, str):
                self.wrong(
                    (*at, "depends_on", position), f"{what}: 'depends_on' takes node ids, found {describe(other)}"
                )
        for key in OPTIONS if not OPTIONS.keys().isdisjoint(good) else ():
            if key in good:
                self.tell(wrong_with(good[key], key, what), (*at, key))
        if not isinstance(good.get("id"), str):
            return None
        # Kept as far as it goes: the other nodes' references to it are right, and must not be told as unknown.
        kept = {key: value for key, value in good.items() if key not in self.bad or key == "id"}
        kept["depends_on"] = tuple(kept.get("depends_on", ()))
        # An option that is wrong is no reason not to look at the inputs. One that is unknown may be "inputs" misspelt.
        sound = not (self.bad - _ASIDE)
        return Node(
            at=at, **{"function": "", **kept, "sound": sound and bool(good.get("function") or good.get("include"))}
        )

    def unique(self, nodes: tuple[Node, ...]) -> None:
        first: dict[str, Node] = {}
        for node in nodes:
            other = first.setdefault(node.id, node)
            if other is not node:
                self.wrong(
                    (*node.at, "id"),
                    f"node id {node.id!r} is used twice",
                    f"first at {self.document.place((*other.at, 'id'))}",
                )
