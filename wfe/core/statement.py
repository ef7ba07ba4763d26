"""One statement -> the names that it binds, the dotted names in it, and what it does to others when it runs.

Knows syntax trees alone. `source` makes a module of them.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import Final

from wfe.core import syntax

Chain = tuple[str, ...]

# Builtins whose call changes nothing but what is called inside it.
HARMLESS: Final = frozenset(dir(builtins)) - {
    "setattr",
    "delattr",
    "exec",
    "eval",
    "next",
    "__import__",
    "map",
    "filter",
    "type",
    "getattr",
    "globals",
    "locals",
    "vars",
}
_MUTABLE: Final = (ast.List, ast.Dict, ast.Set, ast.Call, ast.ListComp, ast.DictComp, ast.SetComp)
# What gives an iterator: functions, methods and a module.
_ITERATORS: Final = frozenset(
    {"iter", "map", "filter", "zip", "enumerate", "reversed", "open", "itertools", "reader", "DictReader", "scandir"}
    | {"iterdir", "glob", "iglob", "rglob", "walk", "finditer", "StringIO", "BytesIO"}
)
_FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_ACTING: Final = (ast.Call, ast.NamedExpr)
# Methods that no operator calls, or that only tell.
_PLAIN: Final = frozenset({"__init__", "__new__", "__post_init__", "__repr__", "__str__", "__hash__"})


# --- names


def bound(statement: ast.stmt) -> list[str] | None:
    """The names that a plain definition or assignment binds; None for a statement that does more than bind."""
    walrus = [node.target.id for node in at_import(statement) if isinstance(node, ast.NamedExpr)]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        # What a function declares global, it may bind whenever it is called.
        outer = [name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names]
        return list(dict.fromkeys((statement.name, *walrus, *outer)))
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    elif isinstance(statement, getattr(ast, "TypeAlias", ())):
        targets = [statement.name]  # type: ignore[attr-defined]
    names: list[str] = []
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        names.extend(walrus)
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Tuple | ast.List):
            targets.extend(target.elts)
        elif isinstance(target, ast.Starred | ast.Attribute | ast.Subscript):
            targets.append(target.value)
        elif isinstance(target, ast.Name) and target.id != "_":
            names.append(target.id)
        else:
            return None
    return names or None


def stored(statement: ast.AST) -> Iterator[str]:
    """All names that are bound somewhere in a statement."""
    for node in ast.walk(statement):
        yield from _stores(node)


def _stores(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name


def rebound(statement: ast.stmt) -> Iterator[str]:
    """All names that a statement binds or deletes in one way or another."""
    yield from stored(statement)
    for node in ast.walk(statement):
        yield from _rebinds(node)


def _rebinds(node: ast.AST) -> Iterator[str]:
    """What a node binds or deletes besides."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def chains(tree: ast.AST) -> set[Chain]:
    """The dotted names in a tree, longest first part: `np.linalg.norm(x)` is ("np", "linalg", "norm") and ("x",), and
    `g().x` is ("g",) and ("", "x")."""
    found: set[Chain] = set()
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Attribute):
            names: list[str] = []
            base: ast.expr = node
            while isinstance(base, ast.Attribute):
                names.append(base.attr)
                base = base.value
            if isinstance(base, ast.Name):
                found.add((base.id, *reversed(names)))
            else:
                found.add(("", *reversed(names)))
                todo.append(base)
            continue
        if isinstance(node, ast.Name):
            found.add((node.id,))
        todo.extend(ast.iter_child_nodes(node))
    return found


def hints(statement: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(statement):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def subscripts(statement: ast.AST) -> Iterator[ast.expr]:
    """What stands in brackets when a statement runs: `Items = list["Item"]` may be used as an annotation."""
    for node in at_import(statement):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield node.slice


def quoted(annotation: ast.expr) -> Iterator[Chain]:
    """The dotted names in the texts of an annotation: `get_type_hints` makes values of them."""
    for node in ast.walk(annotation):
        inner = syntax.quoted(node)
        if inner is not None:
            yield from chains(inner)


def is_main(statement: ast.stmt) -> bool:
    test = statement.test if isinstance(statement, ast.If) and not statement.orelse else None
    if not isinstance(test, ast.Compare) or len(test.comparators) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )


# --- what it does when it runs


def _hints(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    given = function.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    found = [one.annotation for one in every if one is not None and one.annotation is not None]
    return [*found, function.returns] if function.returns is not None else found


def _defaults(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.expr]:
    return [one for one in (*function.args.defaults, *function.args.kw_defaults) if one is not None]


def at_import(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that are evaluated when it runs: no body of a function, but its decorators and defaults, and
    the annotations that call something or bind a name."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo.extend(node.decorator_list)
            todo.extend(_defaults(node))
            todo.extend(one for one in _hints(node) if any(isinstance(part, _ACTING) for part in ast.walk(one)))
        elif isinstance(node, ast.Lambda):
            todo.extend(_defaults(node))
        else:
            todo.extend(ast.iter_child_nodes(node))


def named(statement: ast.stmt) -> frozenset[Chain]:
    """The dotted names that a statement uses when it runs."""
    found: set[Chain] = set()
    inner: set[int] = set()
    for node in at_import(statement):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            base: ast.expr = node
            while isinstance(base, ast.Attribute):
                base = base.value
                inner.add(id(base))
            if isinstance(base, ast.Name) and not isinstance(base.ctx, ast.Store):
                found.update(chains(node))
    return frozenset(found)


def _is_harmless(called: ast.expr, harmless: frozenset[str]) -> bool:
    return isinstance(called, ast.Name) and called.id in harmless


def _called_back(call: ast.Call) -> list[ast.expr]:
    """What a harmless builtin calls: `sorted(X, key=f)`, `iter(f, 0)`, `print(1, file=F)`."""
    keys = [one.value for one in call.keywords if one.arg in ("key", "file")]
    return [*keys, *(call.args[:1] if isinstance(call.func, ast.Name) and call.func.id == "iter" else [])]


def _by_inner_names(statement: ast.stmt, found: set[Chain]) -> set[Chain]:
    """The same chains, and where one begins with a name that a comprehension or the body of a class binds, what it may stand
    for: what the comprehension goes over, all that the class names. No such name is one of the module's."""
    heads = {chain[0] for chain in found}
    more: set[Chain] = set()
    for node in at_import(statement):
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            if any(not heads.isdisjoint(stored(one.target)) for one in node.generators):
                more.update(chain for one in node.generators for chain in chains(one.iter))
        elif isinstance(node, ast.ClassDef):
            parts = [part for one in node.body for part in at_import(one)]
            if any(not heads.isdisjoint((*_stores(part), *_rebinds(part))) for part in parts):
                more.update(chains(node))
    return found | more


def _is_accessor(decorator: ast.expr) -> bool:
    """`@size.setter` in a class makes another property of it, and changes nothing."""
    return isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "getter", "deleter")


def acts(statement: ast.stmt, harmless: frozenset[str]) -> set[Chain]:
    """The dotted names that a statement calls, gives to a call, decorates or makes a class with, or changes in place when it
    runs.

    `@register` above a function fills a registry; `A = add(1)` may append to a list, `A = add(TABLE, 1)` to that one;
    after `D = C`, `D["a"] = 1` changes C. harmless: the builtins that are none of these.
    """
    found: set[Chain] = set()
    for node in at_import(statement):
        if isinstance(node, ast.Call):
            if not _is_harmless(node.func, harmless):
                found.update(chains(node))
            for one in _called_back(node):
                found.update(chains(one))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            marks = [one for one in node.decorator_list if not _is_harmless(one, harmless) and not _is_accessor(one)]
            if isinstance(node, ast.ClassDef):
                marks += [one.value for one in node.keywords]  # a metaclass is called, with the others
            elif marks:
                marks += _hints(node)
            for one in marks:
                found.update(chains(one))
        elif isinstance(node, ast.AugAssign):
            found.update(chains(node.target))
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            found.update(chains(node.value))
    return {chain for chain in _by_inner_names(statement, found) if chain[0] and chain[0] not in harmless}


def given(statement: ast.stmt, harmless: frozenset[str]) -> set[Chain]:
    """The dotted names that a statement gives as they are to a call: even a plain function or a module may be changed by
    that."""
    found: set[Chain] = set()
    for node in at_import(statement):
        if not isinstance(node, ast.Call) or _is_harmless(node.func, harmless):
            continue
        todo: list[ast.expr] = [*node.args, *(one.value for one in node.keywords)]
        while todo:
            one = todo.pop()
            if isinstance(one, ast.List | ast.Tuple | ast.Set):
                todo.extend(one.elts)
            elif isinstance(one, ast.Dict):
                todo.extend(one.values)
            elif isinstance(one, ast.Starred):
                todo.append(one.value)
            elif isinstance(one, ast.Name | ast.Attribute):
                found.update(chains(one))
    return {chain for chain in _by_inner_names(statement, found) if chain[0]}


def operated(statement: ast.stmt) -> set[Chain]:
    """The dotted names whose class decides what a statement does: by an operator, an item, an attribute, a test, by being
    taken apart, written into a text or given to a builtin, or by being put into the body of a class."""
    found: set[Chain] = set()
    for node in at_import(statement):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp):
            parts = [node.left, node.right]
        elif isinstance(node, ast.UnaryOp):
            parts = [node.operand]
        elif isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
            parts = [node.value]
        elif isinstance(node, ast.comprehension):
            parts = [node.iter, *node.ifs]
        elif isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.IfExp):
            parts = [node.test]
        elif isinstance(node, ast.FormattedValue):
            parts = [node.value]
        elif isinstance(node, ast.Assign):
            parts = [node.value] if any(isinstance(one, ast.Tuple | ast.List) for one in node.targets) else []
        elif isinstance(node, ast.AugAssign):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = [one for key, one in zip(node.keys, node.values, strict=True) if key is None]
        elif isinstance(node, ast.Call):
            parts = [*(node.args if isinstance(node.func, ast.Name) else []), *(one.value for one in node.keywords)]
        elif isinstance(node, ast.ClassDef):
            parts = [
                one.value for one in node.body if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None
            ]
        for one in parts:
            if isinstance(one, ast.Name | ast.Attribute):
                found.update(chains(one))
    return {chain for chain in _by_inner_names(statement, found) if chain[0]}


def answers(statement: ast.stmt) -> bool:
    """Whether a statement makes something of which an operator may do more than tell a value: an iterator gives all once."""
    if _gives_once(getattr(statement, "value", None)) or getattr(statement, "name", "") == "__getattr__":
        return True
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef):
            for one in node.body:
                if isinstance(one, ast.FunctionDef) and (
                    one.decorator_list or (one.name.startswith("__") and one.name not in _PLAIN)
                ):
                    return True
                if isinstance(one, ast.Assign | ast.AnnAssign) and _gives_once(one.value):
                    return True
        elif isinstance(node, ast.Return) or (
            isinstance(node, ast.Assign) and any(isinstance(one, ast.Attribute) for one in node.targets)
        ):
            if _gives_once(node.value):
                return True
        elif isinstance(node, ast.Yield | ast.YieldFrom) or "defaultdict" in (
            getattr(node, "id", ""),
            getattr(node, "attr", ""),
        ):
            return True
    return False


def _gives_once(value: ast.expr | None) -> bool:
    """Whether a value is an iterator, or has one in it."""
    match value:
        case ast.GeneratorExp():
            return True
        case ast.Call():
            return any(not _ITERATORS.isdisjoint(chain) for chain in chains(value.func))
        case ast.Tuple() | ast.List() | ast.Set():
            return any(map(_gives_once, value.elts))
        case ast.Dict() | ast.BoolOp():
            return any(map(_gives_once, value.values))
        case ast.IfExp():
            return _gives_once(value.body) or _gives_once(value.orelse)
    return False


def alters(statement: ast.stmt) -> tuple[set[str], bool]:
    """The names through which a statement, or a function in it, sets attributes or items; and whether what it so changes
    may be more than variables and lists: an attribute of a class, a function or a module, or a global name."""
    heads: set[str] = set()
    sets = False
    own = {"self"} if isinstance(statement, ast.ClassDef) else set()
    inner = {node.name for node in ast.walk(statement) if isinstance(node, _FUNCTION) and node is not statement}
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            heads.update(chain[0] for chain in chains(node.value))
            if isinstance(node, ast.Attribute):
                sets = sets or not (isinstance(node.value, ast.Name) and node.value.id in own | inner)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            heads.add(node.target.id)  # a list of something else, perhaps: `P = sys.path` and `P += ["a"]`
        elif isinstance(node, ast.Attribute) and node.attr in ("__dict__", "__setattr__"):
            # A frozen dataclass sets its own attributes by `object.__setattr__`.
            sets = sets or not (isinstance(node.value, ast.Name) and node.value.id in own | {"object"})
        elif isinstance(node, ast.Global) or (isinstance(node, ast.Name) and node.id in ("setattr", "delattr")):
            sets = True
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("setattr", "delattr"):
            heads.update(chain[0] for one in node.args[:1] for chain in chains(one))
    return heads, sets


def _has_mutable(*values: ast.expr) -> bool:
    return any(isinstance(one, _MUTABLE) for value in values for one in at_import(value))


def _keeps(node: ast.AST) -> bool:
    """Whether a part of a class makes it keep something: a value, a list of subclasses or of what is registered."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        return _has_mutable(node.value)
    if isinstance(node, _FUNCTION):
        return node.name == "__init_subclass__" or _has_mutable(*_defaults(node))
    return False


def stateful(statement: ast.stmt) -> bool:
    """Whether what a statement binds can be changed in place: a variable that is no constant; a class or function that keeps
    something."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(statement.decorator_list) or _has_mutable(*_defaults(statement))
    if isinstance(statement, ast.ClassDef):
        return bool(statement.keywords) or any(map(_keeps, at_import(statement)))
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        plain = all(isinstance(one, ast.Name) for one in getattr(statement, "targets", [])) or isinstance(
            getattr(statement, "target", None), ast.Name
        )
        return not (plain and (statement.value is None or _is_constant(statement.value)))
    return True


def _is_constant(value: ast.expr) -> bool:
    kinds = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.unaryop, ast.operator, ast.expr_context, ast.Lambda)
    if isinstance(value, ast.Lambda):
        return not _has_mutable(*_defaults(value))
    return all(isinstance(node, kinds) for node in ast.walk(value))


def only_imports(statement: ast.stmt) -> bool:
    """Whether a statement does no more than to choose what is imported: `try: import fast` and `except ImportError`."""
    kinds = (ast.If, ast.Try, ast.Import, ast.ImportFrom, ast.Pass, ast.Assign)
    return not any(
        (isinstance(node, ast.stmt) and not isinstance(node, kinds))
        or (isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load))
        or isinstance(node, ast.Call)
        for node in ast.walk(statement)
    )
