"""From one function to everything of the project's own code that can change what it returns.

Joins the modules that `source` took apart. Knows local modules through `load`; a module that `load` does not have is a
third party's and is named in `packages`. When in doubt (a module passed around as a value, `globals()`, `import *`), the
whole module counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wfe.core.digest import digest
from wfe.core.source import DYNAMIC, Chain, Import, Source, Symbol

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


# Attributes that every module has and that tell nothing of its names.
_SAID: Final = frozenset({"__name__", "__file__", "__package__", "__path__", "__doc__"})

Touched = dict[tuple[str, str], frozenset[str]]
"""(module, name) -> the parts that the statements of that name may change when they run; kept between calls of `reach`."""


def reach(module: str, function: str, load: Load, touched: Touched | None = None) -> Reach:
    """Everything that `function` of `module` reaches.

    A statement that changes, when its module is imported, something that the function reaches counts too, although no
    name leads to it: a decorator that registers, a call that appends, a subclass that its base collects.
    """
    walk = _Walk(load)
    walk.enter(module)
    walk.symbol(module, function)
    touched = {} if touched is None else touched
    while True:
        walk.run()
        before = len(walk.found.parts)
        for name in sorted(walk.found.modules):
            walk.changers(name, touched)
        if len(walk.found.parts) == before and not walk.todo:
            return walk.found


class _Walk:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.found = Reach()
        self.seen: set[tuple[str, str]] = set()
        self.todo: list[Callable[[], object]] = []
        self.states: set[str] = set()  # the parts that can be changed in place
        self.hooked = False  # whether a class that acts on its subclasses is among them
        self.collects = False  # whether `__subclasses__` is used somewhere

    def run(self) -> None:
        while self.todo:
            self.todo.pop()()

    def changers(self, module: str, touched: Touched) -> None:
        """Take the symbols of an imported module that change, when they run, what is reached."""
        source = self.load(module)
        for name, symbol in source.symbols.items() if source else ():
            if not (symbol.acts or symbol.bases) or f"{module}:{name}" in self.found.parts:
                continue
            if not self.states.isdisjoint(self.touches(module, name, symbol, touched)) or (
                self.collects and not self.found.parts.keys().isdisjoint(self.above(module, symbol).found.parts)
            ):
                self.symbol(module, name)

    def touches(self, module: str, name: str, symbol: Symbol, touched: Touched) -> frozenset[str]:
        found = touched.get((module, name))
        if found is None:
            walk = _Walk(self.load)
            for chain in symbol.acts:
                walk.resolve(module, chain, symbol)
            walk.run()
            above = self.above(module, symbol)
            found = touched[module, name] = frozenset(walk.states | (above.states if above.hooked else set()))
        return found

    def above(self, module: str, symbol: Symbol) -> _Walk:
        """A walk over the bases of a class alone."""
        walk = _Walk(self.load)
        for chain in symbol.bases:
            walk.resolve(module, chain, symbol)
        walk.run()
        return walk

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
        for name, ones in source.imports.items():
            for one in ones:
                for target in (one.module, *one.also):
                    self.later(partial(self.enter, target))
                if one.attribute:
                    self.later(partial(self.enter, f"{one.module}.{one.attribute}"))
                if name not in used:
                    # Imported and never named: for its effect, or to be imported from here.
                    self.external(one.module)
        for star in source.stars:
            self.external(star)
            self.later(partial(self.whole, star))
        return source

    def later(self, action: Callable[[], object]) -> None:
        self.todo.append(action)

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
        # Both may hold: `g = wrap(g)` below `from a import g`.
        self.imported(module, source, name, ())
        if symbol is not None or name in source.imports:
            return
        if name.startswith("__") and name.endswith("__") and name not in _SAID:
            self.whole(module)  # `module.__dict__` gives all that it has
            return
        if self.load(f"{module}.{name}") is not None:
            self.whole(f"{module}.{name}")
            return
        self.starred(module, source, name)
        if "__getattr__" in source.symbols:
            self.symbol(module, "__getattr__")

    def take(self, module: str, name: str, symbol: Symbol) -> None:
        part = f"{module}:{name}"
        self.found.parts[part] = symbol.digest
        if symbol.state:
            self.states.add(part)
        self.hooked = self.hooked or symbol.hooks
        self.collects = self.collects or any("__subclasses__" in chain for chain in symbol.uses)
        for chain in symbol.uses:
            self.later(partial(self.resolve, module, chain, symbol))
        for one in (one for ones in symbol.imports.values() for one in ones):
            # Inside a function: it runs when the function does. The name may be used through the chain as well.
            for target in (one.module, *one.also, *([f"{one.module}.{one.attribute}"] if one.attribute else [])):
                self.later(partial(self.enter, target))
            self.external(one.module)
        for loaded in symbol.loads:
            self.later(partial(self.whole, loaded))
            self.external(loaded)
        for text in symbol.texts:
            if self.load(text) is not None:
                self.later(partial(self.whole, text))
        if symbol.dynamic:
            self.later(partial(self.whole, module))

    def resolve(self, module: str, chain: Chain, symbol: Symbol) -> None:
        source = self.load(module)
        if source is None:
            return
        head = chain[0]
        if not head:
            return
        for one in symbol.imports.get(head, ()):
            self.follow(one, chain[1:])
        if head in source.symbols:
            self.symbol(module, head)
        self.imported(module, source, head, chain[1:])
        if head not in symbol.imports and head not in source.symbols and head not in source.imports:
            self.starred(module, source, head)

    def imported(self, module: str, source: Source, name: str, rest: Chain) -> None:
        """A name that imports of a module bind. What they say counts too: of a third party nothing else would, and of two
        that bind one name the last wins."""
        ones = source.imports.get(name, ())
        if ones:
            said = "; ".join(f"{one.module} {one.attribute} {' '.join(one.also)}" for one in ones)
            self.found.parts[f"{module}:import {name}"] = digest(said.encode())
        for one in ones:
            if one.attribute in DYNAMIC or (one.module, one.attribute) == ("sys", "modules"):
                self.later(partial(self.whole, module))
            self.follow(one, rest)

    def starred(self, module: str, source: Source, name: str) -> None:
        """A name that may come from any `import *` of a module, the last one that has it."""
        if source.stars:
            self.found.parts[f"{module}:import *"] = digest("; ".join(source.stars).encode())
        for star in source.stars:
            self.symbol(star, name)

    def follow(self, one: Import, rest: Chain) -> None:
        """What an imported name stands for, and the attributes `rest` taken from it."""
        self.external(one.module)
        target = one.module
        if one.attribute and self.enter(target) is not None:
            self.attributes(target, (one.attribute, *rest))
            return
        if one.attribute:
            self.attributes(f"{target}.{one.attribute}", rest)
            return
        self.attributes(target, rest)
        if not rest:
            for inner in one.also:  # the package is passed on as a value, its modules with it
                self.attributes(inner, ())

    def attributes(self, module: str, rest: Chain) -> None:
        """A module named in code, with the attributes that are taken from it."""
        source = self.enter(module)
        if source is None:
            return
        if not rest:
            self.whole(module)
            return
        name, inner = rest[0], f"{module}.{rest[0]}"
        if self.load(inner) is None:
            self.symbol(module, name)
            return
        self.attributes(inner, rest[1:])
        # What else binds the name of the submodule may win: which one does depends on who imports what first.
        if name in source.symbols or any(
            f"{one.module}.{one.attribute}".rstrip(".") != inner for one in source.imports.get(name, ())
        ):
            self.symbol(module, name)

    def whole(self, module: str) -> None:
        """Every statement of a module: it is used in a way that names do not tell."""
        source = self.enter(module)
        if source is not None:
            for name in (*source.symbols, *source.imports):
                self.symbol(module, name)
