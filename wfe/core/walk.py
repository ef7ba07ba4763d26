"""From names to what they stand for, through the project's own modules.

Joins the modules that `source` took apart. Knows local modules through `load`; a module that `load` does not have is a
third party's and is named in `packages`. When in doubt (a module passed around as a value, `globals()`, `import *`), the
whole module counts. Does not know what changes unseen, nor that the order of statements may count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wfe.core.digest import digest
from wfe.core.source import DYNAMIC, Import, Source, Symbol
from wfe.core.statement import Chain

Load = Callable[[str], Source | None]
"""A dotted module name -> its Source, None when it is not the project's own. Raises SyntaxError."""


@dataclass(slots=True)
class Reach:
    """What a function reaches: `parts` ("module:name" -> digest of its statements), local `modules` that get imported,
    top-level names of third parties' `packages`, and what would get imported if the project had it (`lacking`)."""

    parts: dict[str, str] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)

    @property
    def digest(self) -> str:
        return digest("\n".join(f"{name} {self.parts[name]}" for name in sorted(self.parts)).encode())


# Attributes that every module has and that tell nothing of its names.
_SAID: Final = frozenset({"__name__", "__file__", "__package__", "__path__", "__doc__"})

# What of a third party a module names to change it: `codecs.register_error`, `os.environ.setdefault`, `sys.path.append`.
# Of most calls nothing but their value is wanted, and to count them all would rebuild a project for one of its arrays.
_CHANGES: Final = re.compile(
    r"set(?!tings)|add(?!r)|config|disable|enable|hook|install|listen|patch|push|register|remove|route|seed|subscribe|switch"
    r"|unregister|(append|clear|extend|init|insert|pop|put|update|use)(_(?!wrapper)|$)"
)


class Walk:
    """still: follows names alone, as a call does: the modules have been imported before it."""

    def __init__(self, load: Load, still: bool = False) -> None:
        self.load = load
        self.still = still
        self.found = Reach()
        self.seen: set[tuple[str, str]] = set()
        self.todo: list[Callable[[], object]] = []
        self.values: set[str] = set()  # modules that are used as a whole
        self.states: set[str] = set()  # the parts that can be changed in place
        self.sets = False  # whether something sets attributes, so that every part may change
        self.answers = False  # whether an operator may do something
        self.outside = False  # whether something changes what a third party keeps
        self.hooked = False  # whether a class that acts on its subclasses is among them
        self.collects = False  # whether `__subclasses__` is used somewhere

    def run(self) -> None:
        while self.todo:
            self.todo.pop()()

    def enter(self, module: str, runs: bool = False) -> Source | None:
        """A module that gets imported: what it does at import counts, and so do the packages above it. runs: also in a still
        walk, where a function imports."""
        source = self.load(module)
        if source is None:
            self.found.lacking.add(module)
            return None
        if self.still and not runs:
            return source
        if module in self.found.modules:
            return source
        self.found.modules.add(module)
        if "." in module:
            self.enter(module.rpartition(".")[0], runs)
        if source.effects.digest:
            self.take(module, "<module>", source.effects)
        used = {chain[0] for symbol in (*source.symbols.values(), source.effects) for chain in symbol.uses}
        for name, ones in source.imports.items():
            for one in ones:
                for target in targets(one):
                    self.later(partial(self.enter, target, runs))
                if name not in used:
                    # Imported and never named: for its effect, or to be imported from here.
                    self.external(one.module)
        for star in source.stars:
            self.external(star)
            self.later(partial(self.all, star))
        return source

    def inner(self) -> None:
        """Of a package that is used as a whole, the modules that somebody imports are attributes."""
        for value in sorted(self.values):
            for module in sorted(self.found.modules):
                if module.startswith(f"{value}."):
                    self.whole(module)

    def later(self, action: Callable[[], object]) -> None:
        self.todo.append(action)

    def external(self, module: str) -> bool:
        """Name the third party that a module is of, if it is."""
        if not module or self.load(module) is not None or self.load(module.partition(".")[0]) is not None:
            return False
        self.found.packages.add(module.partition(".")[0])
        return True

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
            # An `import *` below may bind it anew.
            if any(self.brings(star, name) for star in source.stars):
                self.starred(module, source, name)
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
        self.sets = self.sets or symbol.sets or symbol.dynamic
        self.answers = self.answers or symbol.answers
        self.outside = self.outside or (self.still and self.keeps(module, symbol))
        self.hooked = self.hooked or symbol.hooks
        self.collects = self.collects or any("__subclasses__" in chain for chain in symbol.uses)
        for chain in symbol.uses:
            self.later(partial(self.resolve, module, chain, symbol))
        for one in (one for ones in symbol.imports.values() for one in ones):
            # Inside a function: it runs when the function does. The name may be used through the chain as well.
            for target in targets(one):
                self.later(partial(self.enter, target, True))
            self.external(one.module)
        for one in (one for ones in symbol.hands.values() for one in ones):
            self.later(partial(self.follow, one, ()))
        for loaded in symbol.loads:
            self.later(partial(self.whole, loaded))
            self.external(loaded)
        for text in symbol.texts:
            named, rest = text, tuple[str, ...]()
            while named and self.load(named) is None:
                named, _, last = named.rpartition(".")
                rest = (last, *rest)
            if named:
                self.later(partial(self.attributes, named, rest))
                if not rest:
                    self.later(partial(self.started, named))
        if symbol.dynamic:
            self.later(partial(self.whole, module))

    def keeps(self, module: str, symbol: Symbol) -> bool:
        """Whether a symbol sets an attribute or an item of something of a third party: `os.environ["X"] = "1"`; an attribute
        of what one made, too."""
        source = self.load(module)
        if source is None:
            return False
        heads: set[str] = set()
        todo = set(symbol.alters)
        while todo:
            head = todo.pop()
            heads.add(head)
            made = source.symbols.get(head)
            if made is not None:
                named = made.same | (made.acts if symbol.sets and made.state else set())
                todo.update({chain[0] for chain in named} - heads)
        ones = [one for head in heads for one in (*symbol.imports.get(head, ()), *source.imports.get(head, ()))]
        return any(self.load(one.module) is None and self.load(one.module.partition(".")[0]) is None for one in ones)

    def started(self, module: str) -> None:
        """A module that may be started as a program; of a package, its `__main__`."""
        source = self.load(module)
        if source is None or f"{module}:<main>" in self.found.parts:
            return
        self.whole(module)
        self.take(module, "<main>", source.main)
        self.started(f"{module}.__main__")

    def resolve(self, module: str, chain: Chain, symbol: Symbol) -> None:
        source = self.load(module)
        if source is None:
            return
        head = chain[0]
        if not head:
            return
        for one in symbol.imports.get(head, ()):
            self.opens(module, one, chain[1:])
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
            self.opens(module, one, rest)
            self.follow(one, rest)

    def opens(self, module: str, one: Import, rest: Chain) -> None:
        """Take all of a module that imports what gives it whole."""
        if one.attribute in DYNAMIC or (one.module == "sys" and "modules" in (one.attribute, *rest[:1])):
            self.later(partial(self.whole, module))

    def starred(self, module: str, source: Source, name: str) -> None:
        """A name that may come from any `import *` of a module, the last one that has it."""
        if source.stars:
            self.found.parts[f"{module}:import *"] = digest("; ".join(source.stars).encode())
        for star in source.stars:
            self.symbol(star, name)

    def follow(self, one: Import, rest: Chain) -> None:
        """What an imported name stands for, and the attributes `rest` taken from it."""
        if self.external(one.module) and _CHANGES.match((one.attribute, *rest)[-1]):
            self.outside = True
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
        if name not in source.sure and "__getattr__" in source.symbols:
            self.symbol(module, "__getattr__")
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
        if self.load(module) is not None and module not in self.values:
            self.values.add(module)
            source = self.all(module)
            if source is not None:
                said = "\n".join(" ".join(place.binds) for place in source.places)
                self.found.parts[f"{module}:names"] = digest(said.encode())

    def all(self, module: str) -> Source | None:
        source = self.enter(module)
        for name in (*source.symbols, *source.imports) if source else ():
            self.symbol(module, name)
        return source

    def brings(self, star: str, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether `from star import *` binds a name, as far as the project's own modules can tell."""
        source = self.load(star)
        if source is None or star in seen:
            return False
        if name in source.symbols or name in source.imports:
            return True
        return any(self.brings(inner, name, seen | {star}) for inner in source.stars)


def targets(one: Import) -> tuple[str, ...]:
    """The modules that an import may import."""
    return (one.module, *one.also, *([f"{one.module}.{one.attribute}"] if one.attribute else []))
