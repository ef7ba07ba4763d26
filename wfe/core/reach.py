"""From one function to everything of the project's own code that can change what it returns.

Joins the modules that `source` took apart. Knows local modules through `load`; a module that `load` does not have is a
third party's and is named in `packages`. When in doubt (a module passed around as a value, `globals()`, `import *`), the
whole module counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wfe.core.digest import digest
from wfe.core.source import Chain, Import, Source, Symbol

Load = Callable[[str], Source | None]
"""A dotted module name -> its Source, None when it is not the project's own. Raises SyntaxError."""


@dataclass(slots=True)
class Reach:
    """What a function reaches: `parts` ("module:name" -> digest of its statements), local `modules` that get imported,
    and top-level names of third parties' `packages`."""

    parts: dict[str, str] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)

    @property
    def digest(self) -> str:
        return digest("\n".join(f"{name} {self.parts[name]}" for name in sorted(self.parts)).encode())


def reach(module: str, function: str, load: Load) -> Reach:
    """Everything that `function` of `module` reaches."""
    walk = _Walk(load)
    walk.enter(module)
    walk.symbol(module, function)
    while walk.todo:
        walk.todo.pop()()
    return walk.found


class _Walk:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.found = Reach()
        self.seen: set[tuple[str, str]] = set()
        self.todo: list[Callable[[], None]] = []

    def enter(self, module: str) -> Source | None:
        """A module that gets imported: what it does at import counts, and so do the packages above it."""
        source = self.load(module)
        if source is None:
            return None
        if module in self.found.modules:
            return source
        self.found.modules.add(module)
        if "." in module:
            self.enter(module.rpartition(".")[0])
        if source.effects.digest:
            self.take(module, "<module>", source.effects)
        used = {chain[0] for symbol in (*source.symbols.values(), source.effects) for chain in symbol.uses}
        for name, one in source.imports.items():
            for target in (one.module, *one.also):
                self.later(lambda target=target: self.enter(target))
            if one.attribute:
                self.later(lambda one=one: self.enter(f"{one.module}.{one.attribute}"))
            if name not in used:
                # Imported and never named: for its effect, or to be imported from here.
                self.external(one.module)
        for star in source.stars:
            self.later(lambda star=star: self.whole(star))
        return source

    def later(self, action: Callable[[], object]) -> None:
        self.todo.append(lambda: (action(), None)[1])

    def external(self, module: str) -> None:
        if module and self.load(module) is None and self.load(module.partition(".")[0]) is None:
            self.found.packages.add(module.partition(".")[0])

    def symbol(self, module: str, name: str) -> None:
        """The name `name` of a local module, wherever its value comes from."""
        if (module, name) in self.seen:
            return
        self.seen.add((module, name))
        source = self.enter(module)
        if source is None:
            return
        symbol = source.symbols.get(name)
        if symbol is not None:
            self.take(module, name, symbol)
        elif name in source.imports:
            self.follow(source.imports[name], ())
        elif self.load(f"{module}.{name}") is not None:
            self.whole(f"{module}.{name}")
        else:
            for star in source.stars:
                self.symbol(star, name)

    def take(self, module: str, name: str, symbol: Symbol) -> None:
        self.found.parts[f"{module}:{name}"] = symbol.digest
        for chain in symbol.uses:
            self.later(lambda chain=chain: self.resolve(module, chain, symbol))
        for one in symbol.imports.values():
            # Inside a function: it runs when the function does. The name may be used through the chain as well.
            for target in (one.module, *one.also, *([f"{one.module}.{one.attribute}"] if one.attribute else [])):
                self.later(lambda target=target: self.enter(target))
            self.external(one.module)
        if symbol.dynamic:
            self.later(lambda: self.whole(module))

    def resolve(self, module: str, chain: Chain, symbol: Symbol) -> None:
        source = self.load(module)
        if source is None:
            return
        head = chain[0]
        if head in symbol.imports:
            self.follow(symbol.imports[head], chain[1:])
        if head in source.symbols:
            self.symbol(module, head)
        elif head in source.imports:
            self.follow(source.imports[head], chain[1:])
        elif head not in symbol.imports:
            for star in source.stars:
                self.symbol(star, head)

    def follow(self, one: Import, rest: Chain) -> None:
        """What an imported name stands for, and the attributes `rest` taken from it."""
        self.external(one.module)
        target = one.module
        if one.attribute:
            source = self.enter(target)
            inner = f"{target}.{one.attribute}"
            defined = source is not None and (one.attribute in source.symbols or one.attribute in source.imports)
            if not defined and self.load(inner) is not None:
                self.attributes(inner, rest)
            elif source is not None:
                self.symbol(target, one.attribute)
            elif self.load(target.partition(".")[0]) is None:
                self.found.packages.add(target.partition(".")[0])
            return
        self.attributes(target, rest)

    def attributes(self, module: str, rest: Chain) -> None:
        """A module named in code, with the attributes that are taken from it."""
        if self.enter(module) is None:
            return
        if not rest:
            self.whole(module)
        elif self.load(f"{module}.{rest[0]}") is not None:
            self.attributes(f"{module}.{rest[0]}", rest[1:])
        else:
            self.symbol(module, rest[0])

    def whole(self, module: str) -> None:
        """Every statement of a module: it is used in a way that names do not tell."""
        source = self.enter(module)
        if source is not None:
            for name in list(source.symbols):
                self.symbol(module, name)
