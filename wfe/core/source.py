"""Source text -> the statements of a module by the names they bind, each with a digest and with the names it uses.

This is what makes a cosmetic edit rebuild nothing and an edit of a constant rebuild just what uses it. Knows one module's
text. `reach` joins modules; the catalogue reads files.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wfe.core.digest import digest
from wfe.core.signature import DECORATOR, Signature, aliases_of, annotated, decorator_of, signature_of

Chain = tuple[str, ...]

# With one of these a function can reach any name of its module without naming it.
DYNAMIC: Final = frozenset(
    {
        "globals",
        "eval",
        "exec",
        "vars",
        "__import__",
        "import_module",
        "locals",
        "getattr_static",
        "runpy",
        "__globals__",
        "__annotations__",
        "spec_from_file_location",
        "f_globals",
        "f_locals",
        "__loader__",
        "__spec__",
    }
)


@dataclass(frozen=True, slots=True)
class Import:
    """A name bound by an import: `module` absolute; `attribute` for `from module import attribute`.

    `import a.b` binds a: (module "a", also ("a.b",)); `import a.b as x` binds x to a.b.
    """

    module: str
    attribute: str = ""
    also: tuple[str, ...] = ()


Imports = dict[str, tuple[Import, ...]]
"""A name -> all that it may be bound to: `try: import fast as m` and `except ImportError: import slow as m` are two."""


@dataclass(slots=True)
class Symbol:
    """Statements that bind one name: digest of their syntax trees, dotted names they use, imports inside them.

    acts: the dotted names that these statements call, or change in place, when the module is imported (see `acts`): who
    uses what they change depends on them without naming them. bases: of a class. state: whether the name stands for
    something that can be changed in place, a variable or a class that keeps a list. hooks: whether it is a class that acts
    when a subclass of it is made. loads: modules imported by a name in
    a text, `importlib.import_module("a")`. texts: dotted names and paths of Python files among the constants, which name a
    module of the project where there is one.
    """

    digest: str = ""
    uses: set[Chain] = field(default_factory=set)
    imports: Imports = field(default_factory=dict)
    dynamic: bool = False
    acts: set[Chain] = field(default_factory=set)
    bases: set[Chain] = field(default_factory=set)
    state: bool = False
    hooks: bool = False
    loads: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def add(self, statement: ast.stmt, package: str, texts: bool = False) -> None:
        """texts: whether the module keeps annotations as texts, which is another value of them."""
        self.digest = digest((self.digest + ast.dump(statement)).encode())
        if texts and any(True for _ in _annotations(statement)):
            self.digest = digest(f"{self.digest} texts".encode())
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _merge(self.imports, imports_of(node, package))
            elif isinstance(node, ast.Call):
                self.loads.update(_loaded(node, package))
                if isinstance(node.func, ast.Name) and node.func.id == "dir" and not node.args:
                    self.dynamic = True
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.update(_module_in(node.value))
        self.uses.update(_chains(statement))
        for annotation in _annotations(statement):
            self.uses.update(_quoted(annotation))
        self.acts.update(acts(statement))
        if isinstance(statement, ast.ClassDef):
            self.bases.update(chain for base in statement.bases for chain in _chains(base))
            self.hooks = bool(statement.keywords) or any(
                isinstance(one, ast.FunctionDef) and one.name == "__init_subclass__" for one in statement.body
            )
        self.state = self.state or stateful(statement)
        self.dynamic = self.dynamic or any(
            not DYNAMIC.isdisjoint(chain) or chain[:2] == ("sys", "modules") for chain in self.uses
        )


@dataclass(slots=True)
class Source:
    """A module: its symbols, its imports, and `effects`: the statements that run for every user of the module."""

    module: str
    symbols: dict[str, Symbol] = field(default_factory=dict)
    imports: Imports = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    effects: Symbol = field(default_factory=Symbol)
    signatures: dict[str, Signature] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)


Alias = Callable[[str, str], ast.expr | None]
"""(module, name) -> the annotation that a name of another module stands for, None when that is not known."""


def source_of(text: str, module: str, package: bool = False, alias: Alias = lambda module, name: None) -> Source:
    """Read the text of `module` (a package's `__init__` when `package`). Raises SyntaxError."""
    tree = ast.parse(text)
    home = module if package else module.rpartition(".")[0]
    found = Source(module, aliases=aliases_of(tree))
    told = ast.get_docstring(tree, clean=False)
    if told is not None:
        found.symbols["__doc__"] = Symbol(digest(told.encode("utf-8", "surrogatepass")))
    texts = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    body = _unmarked(tree, home)
    for statement, plain in zip(tree.body, body, strict=True):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and decorator_of(statement) is not None:
            wanted = annotated(statement) - found.aliases.keys()
            brought = {name: known for name in wanted if (known := imported_alias(found, name, alias)) is not None}
            file = f"{module.replace('.', '/')}{'/__init__' if package else ''}.py"
            known_names = {**found.aliases, **brought}
            found.signatures[statement.name] = signature_of(statement, module, tree, known_names, file)
        _file(plain, found, home, texts)
    _order(body, found)
    return found


def imported_alias(source: Source, name: str, alias: Alias) -> ast.expr | None:
    """The annotation that a name stands for which the module imports; None when that is not known."""
    known = (alias(one.module, one.attribute) for one in source.imports.get(name, ()) if one.attribute)
    return next((one for one in known if one is not None), None)


def _unmarked(tree: ast.Module, home: str) -> list[ast.stmt]:
    """The statements of a module without `@workflow_node`: its arguments are told apart (a retry count changes no result).

    One of that name that the project wrote itself stays: what it does is part of the function.
    """
    marked = [one for one in tree.body if isinstance(one, ast.FunctionDef) and decorator_of(one) is not None]
    if not marked:
        return tree.body
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, ones in imports_of(node, home).items():
                if any(one.module.partition(".")[0] != "wfe" for one in ones):
                    others.add(DECORATOR if name == "*" else name)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            others.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            others.add(node.id)
    return [_plain(one, others) if one in marked else one for one in tree.body]


def _plain(statement: ast.stmt, others: set[str]) -> ast.stmt:
    mark = decorator_of(statement) if isinstance(statement, ast.FunctionDef) else None
    if mark is None or not others.isdisjoint(
        chain[0] for chain in _chains(mark.func if isinstance(mark, ast.Call) else mark)
    ):
        return statement
    copy = ast.FunctionDef(**{name: getattr(statement, name) for name in statement._fields if hasattr(statement, name)})
    copy.decorator_list = [decorator for decorator in copy.decorator_list if decorator is not mark]
    return copy


def _file(statement: ast.stmt, found: Source, home: str, texts: bool) -> None:
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
        found.effects.add(statement, home, texts)
        _merge(found.imports, found.effects.imports)
        for name in _stored(statement):
            found.symbols.setdefault(name, found.effects)
        return
    for name in names:
        if found.symbols.get(name) is not found.effects:
            found.symbols.setdefault(name, Symbol()).add(statement, home, texts)


def _order(body: list[ast.stmt], found: Source) -> None:
    """Let it count where a statement stands among those that write a variable which it uses: after `A = 1`, `B = A` and
    `A = 2` in either order make different values of B. Of a name that is written once the order says nothing."""
    numbered = [(index, statement, _bound(statement)) for index, statement in enumerate(body)]
    variables = {
        name for _, one, names in numbered if isinstance(one, ast.Assign | ast.AnnAssign) for name in names or ()
    }
    writes: dict[str, list[int]] = {}
    for index, statement, names in numbered:
        heads = {chain[0] for chain in acts(statement) if len(chain) > 1 or names is None}
        heads.update(names if names is not None else (*_stored(statement), *_named(statement)))
        for name in heads & variables:
            writes.setdefault(name, []).append(index)
    for index, statement, names in numbered:
        said = [
            f"{name} {sum(1 for one in writes[name] if one < index)}"
            for name in sorted(set(_named(statement)))
            if len(writes.get(name, ())) > 1
        ]
        if said:
            known = (
                [found.effects] if names is None else [found.symbols[name] for name in names if name in found.symbols]
            )
            for symbol in known:
                symbol.digest = digest(f"{symbol.digest} {said}".encode())


def _named(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement uses when it runs."""
    return (node.id for node in _at_import(statement) if isinstance(node, ast.Name))


def _merge(into: Imports, more: Imports) -> None:
    for name, ones in more.items():
        into[name] = tuple(dict.fromkeys((*into.get(name, ()), *ones)))


def _bound(statement: ast.stmt) -> list[str] | None:
    """The names that a plain definition or assignment binds; None for a statement that does more than bind."""
    walrus = [node.target.id for node in _at_import(statement) if isinstance(node, ast.NamedExpr)]
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


def _annotations(statement: ast.stmt) -> Iterator[ast.expr]:
    for node in ast.walk(statement):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def _quoted(annotation: ast.expr) -> Iterator[Chain]:
    """The dotted names in the texts of an annotation: `get_type_hints` makes values of them."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield from _chains(ast.parse(node.value.strip(), mode="eval"))
            except (SyntaxError, ValueError):
                continue


def _chains(tree: ast.AST) -> set[Chain]:
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


def imports_of(node: ast.Import | ast.ImportFrom, home: str) -> Imports:
    """The names that an import statement binds; `home` is the package that relative imports start from."""
    found: Imports = {}
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            one = Import(alias.name) if alias.asname else Import(top, "", (alias.name,))
            _merge(found, {alias.asname or top: (one,)})
    else:
        module = _absolute(node, home)
        for alias in node.names:
            _merge(found, {alias.asname or alias.name: (Import(module, alias.name),)})
    return found


def _loaded(call: ast.Call, home: str) -> Iterator[str]:
    """The module that `importlib.import_module("a.b")` or `__import__("a.b")` names, when it is a plain text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [*call.args, *(one.value for one in call.keywords if one.arg == "name")]
    if name not in ("import_module", "__import__") or not given:
        return
    first = given[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.strip("."):
        dots = len(first.value) - len(first.value.lstrip("."))
        yield _absolute(ast.ImportFrom(first.value.lstrip("."), [], dots), home)


def _module_in(text: str) -> Iterator[str]:
    """The module that a text may name: `nodes.a`, or the path of its file."""
    name = text.removesuffix(".py").replace("/", ".") if text.endswith(".py") else text
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        yield name


# --- what a statement does to others when it runs

# Builtins whose call changes nothing but, at most, an iterator: `next` is not among them.
_HARMLESS: Final = frozenset(dir(builtins)) - {"setattr", "delattr", "exec", "eval", "next", "__import__"}
_MUTABLE: Final = (ast.List, ast.Dict, ast.Set, ast.Call, ast.ListComp, ast.DictComp, ast.SetComp)


def _at_import(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement that are evaluated when it runs: no body of a function, but its decorators and defaults."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            todo.extend(node.decorator_list)
            todo.extend(one for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None)
        elif not isinstance(node, ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))


def acts(statement: ast.stmt) -> set[Chain]:
    """The dotted names that a statement calls, decorates with, or changes in place when it runs.

    `@register` above a function fills a registry; `A = add(1)` may append to a list; after `D = C`, `D["a"] = 1` changes
    C.
    """
    found: set[Chain] = set()
    for node in _at_import(statement):
        called: list[ast.expr] = []
        if isinstance(node, ast.Call):
            called = [node.func]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            called = node.decorator_list
        elif isinstance(node, ast.AugAssign):
            called = [node.target]
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            called = [node.value]
        for one in called:
            found.update(_chains(one.func if isinstance(one, ast.Call) else one))
    return {chain for chain in found if chain[0] and chain[0] not in _HARMLESS}


def stateful(statement: ast.stmt) -> bool:
    """Whether what a statement binds can be changed by others: a variable; a class or function that keeps something."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = (*statement.args.defaults, *statement.args.kw_defaults)
        return bool(statement.decorator_list) or any(isinstance(one, _MUTABLE) for one in defaults)
    if isinstance(statement, ast.ClassDef):
        names = {"cls", statement.name}
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in names:
                    return True
            elif isinstance(node, ast.FunctionDef) and node.name == "__init_subclass__":
                return True
        values = [one.value for one in statement.body if isinstance(one, ast.Assign | ast.AnnAssign)]
        return any(isinstance(one, _MUTABLE) for one in values) or bool(statement.keywords)
    return True
