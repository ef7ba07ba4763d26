"""Source text -> the statements of a module by the names they bind, each with a digest and with the names it uses.

This is what makes a cosmetic edit rebuild nothing and an edit of a constant rebuild just what uses it. Knows one module's
text. `reach` joins modules; the catalogue reads files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from wfe.core.digest import digest
from wfe.core.signature import Signature, decorator_of, signature_of

Chain = tuple[str, ...]

# With one of these a function can reach any name of its module without naming it.
_DYNAMIC: Final = frozenset(
    {"globals", "eval", "exec", "vars", "__import__", "importlib", "locals", "getattr_static", "runpy"}
)


@dataclass(frozen=True, slots=True)
class Import:
    """A name bound by an import: `module` absolute; `attribute` for `from module import attribute`.

    `import a.b` binds a: (module "a", also ("a.b",)); `import a.b as x` binds x to a.b.
    """

    module: str
    attribute: str = ""
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class Symbol:
    """Statements that bind one name: digest of their syntax trees, dotted names they use, imports inside them."""

    digest: str = ""
    uses: set[Chain] = field(default_factory=set)
    imports: dict[str, Import] = field(default_factory=dict)
    dynamic: bool = False

    def add(self, statement: ast.stmt, package: str) -> None:
        self.digest = digest((self.digest + ast.dump(_plain(statement))).encode())
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports.update(imports_of(node, package))
        self.uses.update(_chains(statement))
        self.dynamic = self.dynamic or any(chain[0] in _DYNAMIC or chain == ("sys", "modules") for chain in self.uses)


@dataclass(slots=True)
class Source:
    """A module: its symbols, its imports, and `effects`: the statements that run for every user of the module."""

    module: str
    symbols: dict[str, Symbol] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    effects: Symbol = field(default_factory=Symbol)
    signatures: dict[str, Signature] = field(default_factory=dict)


def source_of(text: str, module: str, package: bool = False) -> Source:
    """Read the text of `module` (a package's `__init__` when `package`). Raises SyntaxError."""
    tree = ast.parse(text)
    home = module if package else module.rpartition(".")[0]
    found = Source(module)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and decorator_of(statement) is not None:
            found.signatures[statement.name] = signature_of(statement, module, tree)
        _file(statement, found, home)
    return found


def _file(statement: ast.stmt, found: Source, home: str) -> None:
    """Put one top-level statement where it belongs."""
    if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
        found.stars.append(_absolute(statement, home))
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            _merge(found.imports, imports_of(statement, home))
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return  # a docstring of the module, or a bare constant: it binds nothing and does nothing
    names = _bound(statement)
    if names is None and _is_main(statement):
        return
    if names is None or any(name in found.imports for name in names):
        # Runs at import whoever asks: its effects may be seen by every function of the module.
        found.effects.add(statement, home)
        _merge(found.imports, {name: one for name, one in found.effects.imports.items() if name not in found.imports})
        for name in _stored(statement):
            found.symbols.setdefault(name, found.effects)
        return
    for name in names:
        if found.symbols.get(name) is not found.effects:
            found.symbols.setdefault(name, Symbol()).add(statement, home)


def _merge(into: dict[str, Import], more: dict[str, Import]) -> None:
    for name, one in more.items():
        old = into.get(name)
        if old and old.module == one.module and not one.attribute:
            one = Import(one.module, "", (*old.also, *one.also))
        into[name] = one


def _bound(statement: ast.stmt) -> list[str] | None:
    """The names that a plain definition or assignment binds; None for a statement that does more than bind."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    elif isinstance(statement, getattr(ast, "TypeAlias", ())):
        targets = [statement.name]  # type: ignore[attr-defined]
    names: list[str] = []
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


def _stored(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _is_main(statement: ast.stmt) -> bool:
    test = statement.test if isinstance(statement, ast.If) and not statement.orelse else None
    if not isinstance(test, ast.Compare) or len(test.comparators) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )


def _plain(statement: ast.stmt) -> ast.stmt:
    """The statement without its `@workflow_node`: its arguments are told apart (a retry count changes no result)."""
    if isinstance(statement, ast.FunctionDef):
        mark = decorator_of(statement)
        if mark is not None:
            copy = ast.FunctionDef(
                **{name: getattr(statement, name) for name in statement._fields if hasattr(statement, name)}
            )
            copy.decorator_list = [decorator for decorator in statement.decorator_list if decorator is not mark]
            return copy
    return statement


def _chains(statement: ast.stmt) -> set[Chain]:
    """The dotted names in a statement, longest first part: `np.linalg.norm(x)` is ("np", "linalg", "norm") and ("x",)."""
    found: set[Chain] = set()
    todo: list[ast.AST] = [_plain(statement)]
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
                todo.append(base)
            continue
        if isinstance(node, ast.Name):
            found.add((node.id,))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            continue
        todo.extend(ast.iter_child_nodes(node))
    return found


def _absolute(node: ast.ImportFrom, home: str) -> str:
    if not node.level:
        return node.module or ""
    parts = home.split(".") if home else []
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def imports_of(node: ast.Import | ast.ImportFrom, home: str) -> dict[str, Import]:
    """The names that an import statement binds; `home` is the package that relative imports start from."""
    found: dict[str, Import] = {}
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                found[alias.asname] = Import(alias.name)
            else:
                top = alias.name.partition(".")[0]
                old = found.get(top)
                found[top] = Import(top, "", (*(old.also if old else ()), alias.name))
    else:
        module = _absolute(node, home)
        for alias in node.names:
            found[alias.asname or alias.name] = Import(module, alias.name)
    return found
