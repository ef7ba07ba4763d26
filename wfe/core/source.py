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

from wfe.core import syntax
from wfe.core.alias import aliases_of, annotated, spelled
from wfe.core.digest import digest
from wfe.core.signature import DECORATOR, Signature, decorator_of, signature_of
from wfe.core.statement import (
    HARMLESS,
    Chain,
    acts,
    alters,
    answers,
    at_import,
    bound,
    chains,
    given,
    hints,
    is_main,
    named,
    only_imports,
    operated,
    quoted,
    rebound,
    stateful,
    stored,
    subscripts,
)

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
        "getmodule",
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


# What imports a module by its name, and its parameters.
_LOADERS: Final = {
    "import_module": ("name", "package"),
    "__import__": ("name", "globals", "locals", "fromlist", "level"),
    "run_module": ("mod_name",),
}


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

    acts, given, operated: the dotted names that these statements may change when the module is imported (see `statement`):
    who uses what they change depends on them without naming them. bases: of a class. state: whether the name stands for
    something that can be changed in place, a variable or a class that keeps a list. hooks: whether it is a class that acts
    when a subclass of it is made. same: the names that it is another name of. alters, sets, answers: see the functions of
    these names in `statement`. hands: imports in the body of a class, or of names that are global: others take them from
    here. loads: modules imported by a name in a text, `importlib.import_module("a")`. texts: dotted names and paths of
    Python files among the constants, which name a module of the project where there is one.
    """

    digest: str = ""
    uses: set[Chain] = field(default_factory=set)
    imports: Imports = field(default_factory=dict)
    dynamic: bool = False
    acts: set[Chain] = field(default_factory=set)
    given: set[Chain] = field(default_factory=set)
    operated: set[Chain] = field(default_factory=set)
    bases: set[Chain] = field(default_factory=set)
    state: bool = False
    hooks: bool = False
    same: set[Chain] = field(default_factory=set)
    alters: set[str] = field(default_factory=set)
    sets: bool = False
    answers: bool = False
    hands: Imports = field(default_factory=dict)
    loads: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def add(self, statement: ast.stmt, package: str, harmless: frozenset[str], texts: bool) -> None:
        """harmless: see `acts`. texts: whether the module keeps annotations as texts, which is another value of them."""
        self.digest = digest((self.digest + syntax.dump(statement)).encode())
        quotable = list(hints(statement))
        if texts and quotable:
            self.digest = digest(f"{self.digest} texts".encode())
        outer: set[str] = set()
        told: set[str] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _merge(self.imports, imports_of(node, package))
            elif isinstance(node, ast.Call):
                loaded = list(_loaded(node, package))
                self.loads.update(loaded)
                if _called(node) == "run_module":
                    self.texts.update(loaded)
                if isinstance(node.func, ast.Name) and node.func.id == "dir" and not node.args:
                    self.dynamic = True
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                told.add(node.value)
            elif isinstance(node, ast.Global):
                outer.update(node.names)
        for text in told:
            if "-m" in told and text.isidentifier():
                self.texts.add(text)
            self.texts.update(_module_in(text, package))
        self.uses.update(chains(statement))
        for hint in (*quotable, *subscripts(statement)):
            self.uses.update(quoted(hint))
        self.acts.update(acts(statement, harmless))
        self.given.update(given(statement, harmless))
        self.operated.update(operated(statement))
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Name | ast.Attribute):
            self.same.update(chains(statement.value))
        heads, sets = alters(statement)
        self.alters.update(heads)
        self.sets = self.sets or sets
        self.answers = self.answers or answers(statement)
        _merge(self.hands, {name: ones for name, ones in self.imports.items() if name in outer})
        for node in at_import(statement):
            if not isinstance(node, ast.ClassDef):
                continue
            self.bases.update(chain for base in node.bases for chain in chains(base))
            self.hooks = self.hooks or bool(node.keywords)
            for one in node.body:
                if isinstance(one, ast.Import | ast.ImportFrom):
                    _merge(self.hands, imports_of(one, package))
                self.hooks = self.hooks or (isinstance(one, ast.FunctionDef) and one.name == "__init_subclass__")
        self.state = self.state or stateful(statement)
        self.dynamic = self.dynamic or any(
            not DYNAMIC.isdisjoint(chain) or chain[:2] == ("sys", "modules") for chain in self.uses
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement stands among the others: the names that it binds ("<module>" for one of the effects, "*" for an
    `import *`), those that it uses when it runs, and what it imports."""

    binds: tuple[str, ...]
    uses: frozenset[Chain] = frozenset()
    imports: tuple[Import, ...] = ()


@dataclass(slots=True)
class Source:
    """A module: its symbols, its imports, and `effects`: the statements that run for every user of the module. main: those
    that run where it is started as a program.

    places: its statements in their order. again: the names that more than one of them binds, or that one finds bound or
    unbound by its place. sure: those that are bound in any case. acting: whether the effects are more than a choice of
    imports.
    """

    module: str
    symbols: dict[str, Symbol] = field(default_factory=dict)
    imports: Imports = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    effects: Symbol = field(default_factory=Symbol)
    main: Symbol = field(default_factory=Symbol)
    signatures: dict[str, Signature] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    again: set[str] = field(default_factory=set)
    sure: set[str] = field(default_factory=set)
    acting: bool = False


Alias = Callable[[str, str], ast.expr | None]
"""(module, name) -> the annotation that a name of another module stands for, None when that is not known."""


def source_of(text: str, module: str, package: bool = False, alias: Alias = lambda module, name: None) -> Source:
    """Read the text of `module` (a package's `__init__` when `package`). Raises SyntaxError."""
    tree = syntax.module(text)
    home = module if package else module.rpartition(".")[0]
    found = Source(module, aliases=aliases_of(tree))
    told = ast.get_docstring(tree, clean=False)
    if told is not None:
        found.symbols["__doc__"] = Symbol(digest(told.encode("utf-8", "surrogatepass")))
    texts = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    names, others = _names(tree, home)
    harmless = frozenset() if "*" in names else HARMLESS - names
    body = [_plain(statement, others) for statement in tree.body]
    for statement, plain in zip(tree.body, body, strict=True):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and decorator_of(statement) is not None:
            wanted = annotated(statement)
            brought = {name: known for name in wanted if (known := alias_of(found, name, alias)) is not None}
            file = f"{module.replace('.', '/')}{'/__init__' if package else ''}.py"
            known_names = {**found.aliases, **brought}
            found.signatures[statement.name] = signature_of(statement, module, tree, known_names, file)
        _file(plain, found, home, harmless, texts)
    once = {*dir(builtins)}  # a name of one of these is bound before the module begins
    for place in found.places:
        found.again.update(once.intersection(place.binds))
        once.update(place.binds)
    for statement in tree.body:
        if isinstance(statement, ast.Try):  # what is not bound yet may be caught
            found.again.update(chain[0] for chain in named(statement))
    return found


def alias_of(source: Source, name: str, alias: Alias) -> ast.expr | None:
    """The annotation that a name stands for, as it would be written in any module; None when that is not known."""

    def imported(name: str) -> ast.expr | None:
        head, *rest = name.split(".")
        for one in source.imports.get(head, ()):
            module, _, last = ".".join(part for part in (one.module, one.attribute, *rest) if part).rpartition(".")
            if module and (known := alias(module, last)) is not None:
                return known
        return next((known for star in source.stars if (known := alias(star, name)) is not None), None)

    return spelled(name, source.aliases, imported)


def _names(tree: ast.Module, home: str) -> tuple[set[str], set[str]]:
    """The names that are bound somewhere in a module ("*" by an `import *`), and those that may be bound to something else
    than wfe."""
    names: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, ones in imports_of(node, home).items():
                names.add(name)
                if any(one.module.partition(".")[0] != "wfe" for one in ones):
                    others.add(DECORATOR if name == "*" else name)
    plain = set(stored(tree))
    return names | plain, others | plain


def _plain(statement: ast.stmt, others: set[str]) -> ast.stmt:
    """The statement without its `@workflow_node`: its arguments are told apart (a retry count changes no result).

    One of that name that the project wrote itself stays: what it does is part of the function.
    """
    mark = decorator_of(statement) if isinstance(statement, ast.FunctionDef) else None
    if mark is None:
        return statement
    called = mark.func if isinstance(mark, ast.Call) else mark
    if not others.isdisjoint(chain[0] for chain in chains(called)):
        return statement
    copy = ast.FunctionDef(**{name: getattr(statement, name) for name in statement._fields if hasattr(statement, name)})
    copy.decorator_list = [decorator for decorator in copy.decorator_list if decorator is not mark]
    return copy


def _file(statement: ast.stmt, found: Source, home: str, harmless: frozenset[str], texts: bool) -> None:
    """Put one top-level statement where it belongs."""
    if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
        star = _absolute(statement, home)
        found.stars.append(star)
        found.places.append(Place(("*",), imports=(Import(star),)))
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            _merge(found.imports, imports_of(statement, home))
            found.sure.update(imports_of(statement, home))
            for alias in statement.names:
                one = ast.Import([alias]) if isinstance(statement, ast.Import) else _only(statement, alias)
                found.places.extend(Place((name,), imports=ones) for name, ones in imports_of(one, home).items())
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return  # a docstring of the module, or a bare constant: it binds nothing and does nothing
    names = bound(statement)
    if names is None and is_main(statement):
        found.main.add(statement, home, harmless, texts)
        return
    if (
        names is None
        or any(name in found.imports for name in names)
        or any(found.symbols.get(name) is found.effects for name in names)
    ):
        # Runs at import whoever asks: its effects may be seen by every function of the module.
        found.effects.add(statement, home, harmless, texts)
        found.acting = found.acting or not only_imports(statement)
        _merge(found.imports, found.effects.imports)
        for node in ast.walk(statement):
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                found.stars.append(_absolute(node, home))
        for name in stored(statement):
            found.symbols.setdefault(name, found.effects)
        found.places.append(Place(("<module>", *dict.fromkeys(rebound(statement))), named(statement)))
        found.sure.difference_update(rebound(statement))
        return
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        found.sure.add(statement.name)  # and not what it declares global
    elif not isinstance(statement, ast.AnnAssign) or statement.value is not None:
        found.sure.update(names)
    for name in names:
        symbol = found.symbols.setdefault(name, Symbol())
        symbol.add(statement, home, harmless, texts)
        # `global NAME` in a function makes a variable.
        symbol.state = symbol.state or (
            isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and name != statement.name
        )
    found.places.append(Place(tuple(names), named(statement)))


def _only(statement: ast.ImportFrom, alias: ast.alias) -> ast.ImportFrom:
    return ast.ImportFrom(statement.module, [alias], statement.level)


def _merge(into: Imports, more: Imports) -> None:
    for name, ones in more.items():
        into[name] = tuple(dict.fromkeys((*into.get(name, ()), *ones)))


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
    """The modules that `importlib.import_module("a.b")`, `__import__("a.b")` or `runpy.run_module("a.b")` names, when it is a
    plain text."""
    name = _called(call)
    told = _LOADERS.get(name, ())
    given = {**dict(zip(told, call.args, strict=False)), **{one.arg or "": one.value for one in call.keywords}}
    values = {key: _literal(value) for key, value in given.items()}
    first = values.get(told[0]) if told else None
    package, level = values.get("package"), values.get("level")
    if not isinstance(first, str) or not (first.strip(".") or level):
        return
    dots = level if isinstance(level, int) else len(first) - len(first.lstrip("."))
    above = package if isinstance(package, str) else home
    module = _absolute(ast.ImportFrom(first.lstrip("."), [], dots), above)
    yield module
    listed = values.get("fromlist")
    yield from (f"{module}.{one}" for one in (listed if isinstance(listed, list | tuple) else ()))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _literal(value: ast.expr) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):
        return None


def _module_in(text: str, home: str) -> Iterator[str]:
    """The module, or what of it, that a text may name: `nodes.a`, `nodes.a:g`, `.a`, or the path of a file."""
    path = text.endswith(".py")
    name = text.removesuffix(".py").removeprefix("./").replace("/", ".") if path else text.replace(":", ".", 1)
    if name.startswith(".") and home:
        name = home + name
    if ("." in name or path) and all(part.isidentifier() for part in name.split(".")):
        yield name
