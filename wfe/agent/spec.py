"""What a node to be written must be: its name, its signature, its purpose. Pure.

Names and types that come from a model or from a command line are validated here, so that no later part can be made to
write outside its target.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from wfe.core import syntax
from wfe.core.signature import Parameter, Signature
from wfe.core.types import Type, type_of
from wfe.errors import WorkflowError

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
TYPES: tuple[str, ...] = (
    *("str", "int", "float", "bool", "Path", "np.ndarray", "Any"),
    *("list", "list[str]", "list[int]", "list[float]", "list[dict]", "list[dict[str, Any]]"),
    *("dict", "dict[str, Any]", "dict[str, str]", "dict[str, int]", "dict[str, float]"),
)
"""What a value between steps may be; an input may be `Output` besides (a file that the node writes)."""

FUNCTION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}$"}
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(:\d{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Field:
    """One input or output: its name and its type as an annotation, one of TYPES (or "Output")."""

    name: str
    type: str = "Any"
    description: str = ""

    @property
    def kind(self) -> Type:
        return type_of(syntax.expression(self.type))


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to be written: function `name` in `nodes/custom/[category/]name.py`."""

    name: str
    purpose: str
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    category: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a node")
        if self.category:
            check_name(self.category, "a category")
        for one in (*self.inputs, *self.outputs):
            check_name(one.name, "the name of an input or output")
            if one.type not in TYPES and not (one.type == "Output" and one in self.inputs):
                raise WorkflowError(f"{one.type!r} is no type of an input or output", hint="known: " + ", ".join(TYPES))
        for fields, what in ((self.inputs, "input"), (self.outputs, "output")):
            names = [one.name for one in fields]
            if twice := next((name for name in names if names.count(name) > 1), ""):
                raise WorkflowError(f"node {self.name!r} has the {what} {twice!r} twice", hint="give each its own name")

    @property
    def module(self) -> str:
        return ".".join(["nodes", "custom", *([self.category] if self.category else []), self.name])

    @property
    def path(self) -> str:
        """Relative to the project, with forward slashes."""
        return self.module.replace(".", "/") + ".py"

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form: across what a person reads and approves, speed does not count."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def signature(self) -> Signature:
        """As the catalogue would read it from the finished file."""
        return Signature(
            function=f"{self.module}.{self.name}",
            parameters=tuple(Parameter(one.name, one.kind) for one in self.inputs),
            outputs={one.name: one.kind for one in self.outputs},
            declared=True,
            doc=self.purpose,
        )

    def head(self) -> str:
        """The decorator and the `def` line that the code must have."""
        given = ", ".join(f"{one.name}: {one.type}" for one in self.inputs)
        made = ", ".join(f'"{one.name}": {one.type}' for one in self.outputs)
        return f"@workflow_node(outputs={{{made}}}, dependencies=[...])\ndef {self.name}({given}) -> dict[str, Any]:"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a node asks to reach beyond its staging directory: hosts ("example.org", "*.example.org:8443"), project
    paths.
    """

    network: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.network or self.read)

    def __str__(self) -> str:
        parts = [f"the network ({', '.join(self.network)})"] if self.network else []
        parts += [f"the files {', '.join(self.read)}"] if self.read else []
        return " and ".join(parts) or "nothing"

    def plain(self) -> dict[str, list[str]]:
        return {key: list(value) for key, value in (("network", self.network), ("read", self.read)) if value}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a model answered for a node. Nothing in it is believed."""

    code: str
    test: str = ""
    examples: tuple[dict[str, Any], ...] = ()
    dependencies: tuple[str, ...] = ()
    permissions: Permissions = field(default_factory=Permissions)


def check_name(name: str, what: str) -> str:
    """`name` when it is a plain lower-case identifier, no keyword. Raises WorkflowError: such a name becomes a path."""
    if not NAME.match(name) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise WorkflowError(
            f"{name!r} cannot be {what}", hint="use lower-case letters, digits and _, a letter first, at most 48"
        )
    return name


def check_host(host: str) -> bool:
    """Whether `host` names one host or the hosts below one name; "*" alone, which would be every host, does not."""
    return bool(_HOST.match(host)) and ".." not in host


def check_path(path: str) -> bool:
    """Whether `path` stays inside the project: relative, no `..`, no drive, no hidden part, no wildcard."""
    parts = path.replace("\\", "/").split("/")
    return (
        bool(path)
        and ":" not in path
        and "\0" not in path
        and not any(part in ("", ".", "..") or part[0] in ".~" for part in parts)
    )


def field_of(text: str) -> Field:
    """`image`, `image:np.ndarray` or `count: int`, as typed on a command line. Raises WorkflowError."""
    name, _, kind = text.partition(":")
    kind = kind.strip() or "Any"
    kind = {"ndarray": "np.ndarray", "array": "np.ndarray", "path": "Path", "text": "str"}.get(kind, kind)
    return Field(check_name(name.strip(), "the name of an input or output"), kind)


def slug(text: str, fallback: str = "generated", words: int = 6) -> str:
    """A name made of the first words of a description: "resize an image" -> "resize_an_image"."""
    found = re.findall(r"[a-z0-9]+", text.lower())[:words]
    name = "_".join(found)[:48].strip("_")
    if name[:1].isdigit():
        name = f"n_{name}"[:48]
    return name if NAME.match(name) and not keyword.iskeyword(name) else fallback


def fields_of(entries: Sequence[dict[str, Any]]) -> tuple[Field, ...]:
    """Fields from an answer's list of {name, type, description}."""
    return tuple(
        Field(str(one["name"]), str(one.get("type", "Any")), str(one.get("description", ""))) for one in entries
    )
