"""What a node function asks for and gives, read from its syntax tree.

Knows parameters, types, declared outputs and the decorator's arguments. Does not know files or other modules, and never
imports anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wfe.core.alias import aliases_of, is_typed_dict
from wfe.core.default import CLASSES, files_of
from wfe.core.document import Path
from wfe.core.kind import entries
from wfe.core.option import OPTIONS, wrong_with
from wfe.core.requirement import wrong_requirements
from wfe.core.types import ANY, Type, type_of
from wfe.errors import nearest

DECORATOR: Final = "workflow_node"

_ARGUMENTS: Final[Mapping[str, Any]] = {
    "name": str,
    "outputs": list,  # or an object, whose values are types and no literals
    "dependencies": list,
    "python": str,
    "description": str,
    "permissions": dict,
    **OPTIONS,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its type, and whether the function can be called without it. files: what its default names, of one that
    takes paths or writes a file: a text, or a list or an object of texts; None for nothing. unread: it names some, but only
    a run of the module could tell which."""

    name: str
    type: Type = ANY
    optional: bool = False
    files: Any = None
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """One node function.

    function: dotted name, `nodes.vision.detect.detect`. outputs: key -> type, None when not known; `declared` says
    whether a person declared them (then they are checked) or they were only seen in the return statements.
    options: the decorator's arguments. extra: the type of what `**kwargs` takes, if there is one. problems: (line, column,
    text) of what is wrong with it.
    """

    function: str
    parameters: tuple[Parameter, ...] = ()
    outputs: Mapping[str, Type] | None = None
    declared: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Type | None = None
    doc: str = ""
    line: int = 1
    column: int = 1
    problems: tuple[tuple[int, int, str], ...] = ()

    @property
    def module(self) -> str:
        return self.function.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.function.rpartition(".")[2]

    def parameter(self, name: str) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def __str__(self) -> str:
        shown = ", ".join(f"{one.name}: {one.type}{' = ...' if one.optional else ''}" for one in self.parameters)
        gives = (
            "?"
            if self.outputs is None
            else "{" + ", ".join(f"{key}: {kind}" for key, kind in self.outputs.items()) + "}"
        )
        return f"{self.function.removeprefix('nodes.')}({shown}) -> {gives}"


def decorator_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.expr | None:
    """The `@workflow_node` of a function, None for a function that is no node."""
    for decorator in function.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
        if name == DECORATOR:
            return decorator
    return None


def signature_of(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    module: str,
    tree: ast.Module,
    aliases: Mapping[str, ast.expr] | None = None,
    file: str = "",
) -> Signature:
    """The signature of a decorated function of the module `module`, whose whole tree is `tree`. aliases: the annotations
    that names stand for; those of `tree` by default. file: the module's own, relative to the project."""
    problems: list[tuple[int, int, str]] = []
    aliases = aliases_of(tree) if aliases is None else aliases
    options = _options(decorator_of(function), problems)
    arguments = function.args
    if isinstance(function, ast.AsyncFunctionDef):
        problems.append(
            (
                function.lineno,
                function.col_offset + 1,
                "an async function cannot be a node; call asyncio.run inside a plain one",
            )
        )
    elif any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(function)):
        problems.append((function.lineno, function.col_offset + 1, "a generator cannot be a node; return a list"))
    if arguments.posonlyargs:
        first = arguments.posonlyargs[0]
        problems.append(
            (first.lineno, first.col_offset + 1, "positional-only parameters cannot be bound; remove the '/'")
        )
    named = [*arguments.args, *arguments.kwonlyargs]
    last = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    defaults = {one.arg: default for one, default in zip(last, arguments.defaults, strict=True)}
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            defaults[one.arg] = default
    parameters = []
    for one in named:
        kind, default, files, unread = type_of(one.annotation, aliases), defaults.get(one.arg), None, False
        if default is not None and (kind.holds("path") or kind.has("output")):
            try:
                files = files_of(default, aliases, file)
            except (ValueError, TypeError):  # TypeError: a method with too many arguments
                unread = not (kind.mixed and _is_no_path(default))
            if kind.mixed and not isinstance(files, str):
                files = None
        parameters.append(Parameter(one.arg, kind, default is not None, files, unread))
    outputs, declared = _outputs(function, tree, options, aliases)
    return Signature(
        function=f"{module}.{function.name}",
        parameters=tuple(parameters),
        outputs=outputs,
        declared=declared,
        options=options,
        extra=type_of(arguments.kwarg.annotation, aliases) if arguments.kwarg else None,
        doc=ast.get_docstring(function) or "",
        line=function.lineno,
        column=function.col_offset + 1,
        problems=tuple(problems),
    )


def _is_no_path(default: ast.expr) -> bool:
    """Whether a default is plainly a value of another class: `Config()`, 3."""
    made = isinstance(default, ast.Call) and isinstance(default.func, ast.Name) and default.func.id not in CLASSES
    return made or isinstance(default, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.Set)


def _options(decorator: ast.expr | None, problems: list[tuple[int, int, str]]) -> dict[str, Any]:
    if not isinstance(decorator, ast.Call):
        return {}

    def wrong(node: ast.expr, text: str) -> None:
        problems.append((node.lineno, node.col_offset + 1, text))

    given: dict[str, Any] = {}
    found: dict[str, Any] = {}
    nodes: dict[str, ast.expr] = {"name": decorator.args[0]} if decorator.args else {}
    nodes.update({keyword.arg or "**": keyword.value for keyword in decorator.keywords})
    for key, node in nodes.items():
        if key not in _ARGUMENTS:
            hint = nearest(key, list(_ARGUMENTS))
            wrong(node, f"@{DECORATOR} has no argument {key!r}" + (f"; {hint}" if hint else ""))
            continue
        if key == "outputs" and isinstance(node, ast.Dict):
            # The values are types, not literals: {"boxes": list[dict], "image": np.ndarray}
            names = [name.value for name in node.keys if isinstance(name, ast.Constant) and isinstance(name.value, str)]
            if len(names) != len(node.keys):
                wrong(node, f"@{DECORATOR}: the keys of 'outputs' must be plain texts")
            found[key] = dict(zip(names, (type_of(value) for value in node.values), strict=False))
            continue
        try:
            value = ast.literal_eval(node)
        except ValueError:
            wrong(node, f"@{DECORATOR}: {key!r} must be a literal, since it is read without running the module")
            continue
        if value is not None:
            given[key] = value
    good, doubts = entries(given, f"@{DECORATOR}", _ARGUMENTS)
    for key, value in good.items():
        inside = [*wrong_with(value, key, f"@{DECORATOR}"), *wrong_requirements(key, value, f"@{DECORATOR}")]
        doubts += [one._replace(path=(key, *one.path)) for one in inside]
        if not inside:
            found[key] = list(value) if isinstance(value, tuple) else value
    for one in doubts:
        wrong(_inside(nodes[str(one.path[0])], one.path[1:]), one.message + (f"; {one.hint}" if one.hint else ""))
    return found


def _inside(node: ast.expr, path: Path) -> ast.expr:
    """The node of a part of a literal."""
    for key in path:
        if isinstance(node, ast.Dict):
            names = [ast.literal_eval(name) for name in node.keys if name is not None]
            node = node.values[names.index(key)]
        elif isinstance(node, ast.List | ast.Tuple):
            node = node.elts[int(key)]
    return node


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, in its order, without those of functions and classes inside it."""
    todo = [*ast.iter_child_nodes(function)][::-1]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        yield node
        todo.extend([*ast.iter_child_nodes(node)][::-1])


def _outputs(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    tree: ast.Module,
    options: Mapping[str, Any],
    aliases: Mapping[str, ast.expr],
) -> tuple[dict[str, Type] | None, bool]:
    given = options.get("outputs")
    if isinstance(given, dict):
        return dict(given), True
    if isinstance(given, list):
        return {str(name): ANY for name in given}, True
    returned = function.returns
    if isinstance(returned, ast.Constant) and isinstance(returned.value, str):
        returned = ast.Name(returned.value)
    if isinstance(returned, ast.Name):
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef) and statement.name == returned.id and is_typed_dict(statement):
                fields = [
                    entry
                    for entry in statement.body
                    if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
                ]
                return {
                    entry.target.id: type_of(entry.annotation, aliases)
                    for entry in fields
                    if isinstance(entry.target, ast.Name)
                }, True
    seen: dict[str, Type] = {}
    for node in _own(function):
        if isinstance(node, ast.Return) and node.value is not None:
            if not isinstance(node.value, ast.Dict):
                return None, False
            for key in node.value.keys:
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                    return None, False
                seen[key.value] = ANY
    return seen, False
