"""What the names in annotations stand for, also those that other modules gave.

Knows how such a name is bound and how annotations are written. Does not know what they mean (`types`).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

from wfe.core import syntax
from wfe.core.types import ANY, FORMS, PATH, type_of

Stands = Callable[[str], "ast.expr | None"]
"""A name, plain or dotted -> the annotation that it stands for, None when that is not known."""


def annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names in the annotations of a function's parameters, `kinds.Picture` as one."""
    given = [*function.args.args, *function.args.kwonlyargs, *([function.args.kwarg] if function.args.kwarg else [])]
    return {name for one in given if one.annotation is not None for name in _names(one.annotation)}


def _names(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)
        elif (inner := syntax.quoted(node)) is not None:
            yield from _names(inner)


def aliases_of(tree: ast.Module) -> dict[str, ast.expr]:
    """The annotations that names of a module stand for: each of them, where a condition decides."""
    found: dict[str, ast.expr] = {}
    for statement, sure in _statements(tree.body):
        for name, value in _bound(statement):
            before = None if sure else found.get(name)
            found[name] = value if before is None else ast.BinOp(before, ast.BitOr(), value)
    return found


def _statements(body: list[ast.stmt], sure: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Those of a module, and whether each is run in any case."""
    for statement in body:
        yield statement, sure
        if isinstance(statement, ast.If | ast.Try):
            caught = statement.handlers if isinstance(statement, ast.Try) else []
            for inner in (statement.body, *(one.body for one in caught), statement.orelse):
                yield from _statements(inner, False)


def _bound(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(statement, ast.ImportFrom):
        known = [one for one in statement.names if one.name in FORMS or type_of(ast.Name(one.name)) != ANY]
        yield from ((one.asname, ast.Name(one.name)) for one in known if one.asname)
    elif isinstance(statement, ast.ClassDef):
        if is_typed_dict(statement):
            yield statement.name, ast.Name("dict")
        elif any(type_of(base) == PATH for base in statement.bases):
            yield statement.name, ast.Name("Path")
    elif isinstance(statement, ast.Assign):
        if len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value
    else:  # `Picture: TypeAlias = Path`, and `type Picture = Path`
        target = getattr(statement, "target", None) or getattr(statement, "name", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and value is not None:
            yield target.id, value


def is_typed_dict(statement: ast.ClassDef) -> bool:
    names = [
        base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        for base in statement.bases
    ]
    return "TypedDict" in names


def spelled(name: str, aliases: dict[str, ast.expr], imported: Stands) -> ast.expr | None:
    """The annotation that a name of a module stands for, with no other name of the module in it: it means the same in any
    module. imported: the same of what the module imports."""
    return _Spelled(aliases, imported, frozenset()).stands(name)


class _Spelled(ast.NodeTransformer):
    def __init__(self, aliases: dict[str, ast.expr], imported: Stands, above: frozenset[str]) -> None:
        self.aliases = aliases
        self.imported = imported
        self.above = above

    def stands(self, name: str) -> ast.expr | None:
        known = None if name in self.above else self.aliases.get(name)
        if known is None:
            return self.imported(name)
        inner = _Spelled(self.aliases, self.imported, self.above | {name})
        found: ast.expr = inner.visit(copy.deepcopy(known))
        return found

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.stands(node.id) or node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self.stands(ast.unparse(node)) or node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        inner = syntax.quoted(node)
        return node if inner is None else self.visit(inner)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        literal = ast.unparse(node.value).rpartition(".")[2] == "Literal"
        return node if literal else self.generic_visit(node)
