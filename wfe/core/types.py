"""The types that annotations name, as far as a workflow document can be checked against them.

Reads annotations as syntax trees, never as live objects. What it does not know (a class of some package, a type
variable) is ANY: it accepts everything, since a check that guesses would refuse good workflows.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wfe.core import syntax

if TYPE_CHECKING:
    from wfe.core.document import Path


@dataclass(frozen=True, slots=True)
class Type:
    """`kind` is one of any, none, str, int, float, bool, bytes, list, dict, array, path, output, union, literal.

    args: the element types of a list or union, the value type of a dict. values: what a literal allows.
    """

    kind: str
    args: tuple[Type, ...] = ()
    values: tuple[Any, ...] = ()
    # Whether None is allowed; whether it is a path or something else that is no text, and holds no path inside that; whether
    # it is, or has inside, such a type; what a parameter of it gets for a text ("file", "output" or "value"). Found once: a
    # workflow of 10,000 steps asks 100,000 times.
    optional: bool = field(init=False, compare=False, repr=False)
    mixed: bool = field(init=False, compare=False, repr=False)
    mixing: bool = field(init=False, compare=False, repr=False)
    takes: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        optional = self.has("none") or self.has("any") or (self.kind == "literal" and None in self.values)
        others = [one for one in self.args if one.kind not in ("path", "none", "str")]
        mixed = self.has("path") and bool(others) and not any(one.holds("path") for one in others)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "mixed", mixed)
        object.__setattr__(self, "mixing", mixed or any(one.mixing for one in self.args))
        takes = "output" if self.has("output") else "file" if self.holds("path") else "value"
        object.__setattr__(self, "takes", takes)

    def __str__(self) -> str:
        if self.kind == "union":
            return " | ".join(map(str, self.args))
        if self.kind == "literal":
            return " | ".join(map(repr, self.values))
        name = {"none": "None", "path": "Path", "output": "Output", "any": "Any"}.get(self.kind, self.kind)
        if not self.args:
            return name
        inner = ", ".join(map(str, self.args))
        return f"{name}[str, {inner}]" if self.kind == "dict" else f"{name}[{inner}]"

    def has(self, kind: str) -> bool:
        """Whether this type is, or as a union offers, `kind`."""
        return self.kind == kind or (self.kind == "union" and any(arg.has(kind) for arg in self.args))

    def holds(self, kind: str) -> bool:
        """Whether `kind` is anywhere in this type: in a list of it, in a dict of lists of it."""
        return self.kind == kind or any(arg.holds(kind) for arg in self.args)

    def accepts(self, value: Any) -> bool:
        """Whether a JSON value is of this type. An int is a good float; true is no int; a path is a text."""
        kind = self.kind
        if kind == "any":
            return True
        if kind == "union":
            return any(arg.accepts(value) for arg in self.args)
        if kind == "literal":
            return any(value == allowed and type(value) is type(allowed) for allowed in self.values)
        if kind == "none":
            return value is None
        if isinstance(value, bool):
            return kind == "bool"
        if kind == "float":
            return isinstance(value, int | float)
        if kind == "list":
            return isinstance(value, list) and (not self.args or all(self.args[0].accepts(entry) for entry in value))
        if kind == "dict":
            return isinstance(value, dict) and (
                not self.args or all(self.args[0].accepts(entry) for entry in value.values())
            )
        if kind in ("str", "path", "output"):
            return isinstance(value, str)
        return kind == "int" and isinstance(value, int)

    def misfits(self, value: Any) -> list[tuple[Path, Type, Any]]:
        """What is wrong with a value that is not of this type: (where in it, the type that is to stand there, what does)."""
        shape = "list" if isinstance(value, list) else "dict" if isinstance(value, dict) else ""
        inside = [
            one.args[0] for one in (self.args if self.kind == "union" else (self,)) if one.kind == shape and one.args
        ]
        if len(inside) != 1:
            return [((), self, value)]
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        wrong = ((key, entry) for key, entry in entries if not inside[0].accepts(entry))
        return [((key, *path), told, found) for key, entry in wrong for path, told, found in inside[0].misfits(entry)]

    def refusal(self, value: Any, besides: int = 0) -> tuple[Path, str]:
        """(where the first thing that is wrong with a value stands in it, what to say of it, to follow the value's name).
        besides: how many other values are wrong."""
        from wfe.core.kind import describe  # when all is well nobody needs it

        (path, told, found), *others = self.misfits(value)
        more = f", and {len(others) + besides} more" if others or besides else ""
        return path, f"{''.join(f'[{part!r}]' for part in path)} must be {told}, found {describe(found)}{more}"

    def may_be(self, other: Type) -> bool:
        """Whether a value of type `other` may be of this one; True when in doubt."""
        if self.kind == "any" or other.kind == "any":
            return True
        if other.kind == "union":
            return any(self.may_be(arg) for arg in other.args)
        if self.kind == "union":
            return any(arg.may_be(other) for arg in self.args)
        if self.kind == "literal":
            return other.kind == "literal" or any(_kind_of(value) == other.kind for value in self.values)
        if other.kind == "literal":
            return any(self.accepts(value) for value in other.values)
        texts = ("str", "path", "output")
        if self.kind in texts:
            return other.kind in texts
        if self.kind == "float":
            return other.kind in ("float", "int")
        if self.kind != other.kind:
            return False
        return not self.args or not other.args or self.args[0].may_be(other.args[0])


def _kind_of(value: Any) -> str:
    return "none" if value is None else type(value).__name__


ANY: Final = Type("any")
NONE: Final = Type("none")
PATH: Final = Type("path")
OUTPUT: Final = Type("output")

_NAMES: Final[Mapping[str, str]] = {
    "str": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "bytes": "bytes",
    "None": "none",
    "list": "list",
    "List": "list",
    "Sequence": "list",
    "Iterable": "list",
    "Collection": "list",
    "MutableSequence": "list",
    "Iterator": "list",
    "Generator": "list",
    "ValuesView": "list",
    "Reversible": "list",
    "deque": "list",
    "Deque": "list",
    "set": "list",
    "Set": "list",
    "frozenset": "list",
    "FrozenSet": "list",
    "AbstractSet": "list",
    "MutableSet": "list",
    "tuple": "list",
    "Tuple": "list",
    "dict": "dict",
    "Dict": "dict",
    "Mapping": "dict",
    "MutableMapping": "dict",
    "OrderedDict": "dict",
    "defaultdict": "dict",
    "DefaultDict": "dict",
    "ChainMap": "dict",
    "ndarray": "array",
    "NDArray": "array",
    "array": "array",
    "Path": "path",
    "PurePath": "path",
    "PosixPath": "path",
    "WindowsPath": "path",
    "PathLike": "path",
    "Output": "output",
}


_SAME: Final = frozenset(
    {"Annotated", "Final", "Required", "NotRequired", "ReadOnly"}
)  # they stand for what is in them
FORMS: Final = _SAME | {"Optional", "Union", "Literal"}


def type_of(node: ast.expr | None, aliases: Mapping[str, ast.expr] | None = None, depth: int = 0) -> Type:
    """The type that an annotation says. `aliases`: module-level names that may stand for other annotations."""
    if node is None or depth > 20:
        return ANY
    aliases = aliases or {}
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NONE
        return type_of(syntax.quoted(node), aliases, depth + 1)
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        full = node.id if isinstance(node, ast.Name) else ast.unparse(node)
        if full in aliases:
            return type_of(aliases[full], {key: value for key, value in aliases.items() if key != full}, depth + 1)
        return Type(_NAMES[name]) if name in _NAMES else ANY
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(type_of(node.left, aliases, depth + 1), type_of(node.right, aliases, depth + 1))
    if isinstance(node, ast.Subscript):
        return _subscript(node, aliases, depth)
    if isinstance(
        node, ast.Call
    ):  # NewType("Picture", Path), TypeVar("Picture", bound=Path), TypeVar("Picture", Path, str)
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        stands = [*node.args[1:], *(one.value for one in node.keywords if one.arg == "bound")]
        known = stands and name in ("NewType", "TypeVar")
        return _union(*(type_of(one, aliases, depth + 1) for one in stands)) if known else ANY
    # No types, but Python takes them, and people write them for one or the other: `Path or None`, `(Path, str)`.
    others = node.values if isinstance(node, ast.BoolOp) else node.elts if isinstance(node, ast.Tuple) else []
    others = [node.body, node.orelse] if isinstance(node, ast.IfExp) else others
    return _union(*(type_of(one, aliases, depth + 1) for one in others)) if others else ANY


def _subscript(node: ast.Subscript, aliases: Mapping[str, ast.expr], depth: int) -> Type:
    head = node.value
    if isinstance(head, ast.Name) and isinstance(known := aliases.get(head.id), ast.Name):
        head = known
    name = head.id if isinstance(head, ast.Name) else head.attr if isinstance(head, ast.Attribute) else ""
    args = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Optional":
        return _union(type_of(args[0], aliases, depth + 1), NONE)
    if name == "Union":
        return _union(*(type_of(arg, aliases, depth + 1) for arg in args))
    if name in _SAME:
        return type_of(args[0], aliases, depth + 1)
    if name == "Literal":
        try:
            return Type("literal", values=tuple(ast.literal_eval(arg) for arg in args))
        except ValueError:
            return ANY
    kind = _NAMES.get(name, "any")
    if kind == "list":
        if name in ("tuple", "Tuple"):
            # JSON has no tuples: a list of any of its types, whatever their places. That a Path is among them must be
            # known, since its content counts.
            args = [arg for arg in args if not (isinstance(arg, ast.Constant) and arg.value is ...)]
            inner = _union(*(type_of(arg, aliases, depth + 1) for arg in args)) if args else ANY
            return Type("list") if inner.kind == "any" else Type("list", (inner,))
        return Type("list", (type_of(args[0], aliases, depth + 1),))
    if kind == "dict":
        return Type("dict", (type_of(args[1], aliases, depth + 1),)) if len(args) == 2 else Type("dict")
    return Type(kind)


def _union(*types: Type) -> Type:
    flat: list[Type] = []
    for kind in types:
        for part in kind.args if kind.kind == "union" else (kind,):
            if part not in flat:
                flat.append(part)
    if ANY in flat and not any(part.holds("path") for part in flat):
        return ANY
    return flat[0] if len(flat) == 1 else Type("union", tuple(flat))
