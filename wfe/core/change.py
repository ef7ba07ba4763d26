"""What is changed, when a module is imported, of something to which no name leads: a decorator that registers, a call that
appends, a subclass that its base collects.

Knows walks and symbols. Does not know in which order statements stand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wfe.core.source import DYNAMIC, Symbol
from wfe.core.statement import Chain
from wfe.core.walk import Walk

# A part that stands for all that third parties keep.
_OUTSIDE: Final = "*"

Touched = dict[tuple[str, str], frozenset[str]]
"""(module, name) -> the parts that the statements of that name may change when they run; kept between calls of `reach`."""


class Changes:
    """What the symbols change of what `walk` has found so far."""

    def __init__(self, walk: Walk, touched: Touched) -> None:
        self.walk = walk
        self.load = walk.load
        self.found = walk.found
        self.touched = touched

    def take(self, module: str) -> None:
        """Let the walk take the symbols of an imported module that change, when they run, what is reached."""
        source = self.load(module)
        for name, symbol in source.symbols.items() if source else ():
            if f"{module}:{name}" not in self.found.parts and self.concern(module, name, symbol):
                self.walk.symbol(module, name)

    def concern(self, module: str, name: str, symbol: Symbol) -> bool:
        """Whether a symbol changes something that is reached, or adds to its subclasses where somebody asks for those."""
        return self.reach(module, name, symbol) or (self.walk.collects and self.makes(module, symbol))

    def reach(self, module: str, name: str, symbol: Symbol) -> bool:
        """Whether a symbol changes something that is reached, or that third parties keep."""
        if not (symbol.acts or symbol.bases or symbol.operated):
            return False
        changed = self.touches(module, name, symbol)
        return _OUTSIDE in changed or not self.found.parts.keys().isdisjoint(changed)

    def makes(self, module: str, symbol: Symbol) -> bool:
        """Whether a symbol may be, or make, a subclass of something that is reached."""
        walk = self.along(module, symbol, symbol.bases | symbol.acts)
        return not self.found.parts.keys().isdisjoint(walk.found.parts)

    def touches(self, module: str, name: str, symbol: Symbol) -> frozenset[str]:
        """The parts that a symbol may change when it runs."""
        found = self.touched.get((module, name))
        if found is None:
            given = Walk(self.load, still=True)
            told = {one[:-1] for one in symbol.acts if len(one) > 1 and one[-1] == "register"}
            # A class or a function may be told of others, `@C.m.register`; of a module it is the function that counts.
            for chain in symbol.given.union(one for one in told if not self.plain(module, symbol, one)):
                given.resolve(module, chain, symbol)
            changed = set(given.found.parts)
            called = self.along(module, symbol, symbol.acts)
            called.sets = called.sets or symbol.sets or symbol.dynamic
            called.outside = called.outside or called.keeps(module, symbol)
            operated = self.along(
                module, symbol, (one for one in symbol.operated if not self.plain(module, symbol, one))
            )
            above = self.along(module, symbol, symbol.bases)
            walks = [called, *([operated] if operated.answers else []), *([above] if above.hooked else [])]
            for walk in walks:
                changed |= walk.found.parts.keys() if walk.sets else walk.states
                if walk.outside:
                    changed.add(_OUTSIDE)
            found = self.touched[module, name] = frozenset(changed)
        return found

    def plain(self, module: str, symbol: Symbol, chain: Chain) -> bool:
        """Whether a name is that of modules alone, of which to take an attribute does nothing else."""
        source = self.load(module)
        head = chain[0]
        ones = (*symbol.imports.get(head, ()), *(source.imports.get(head, ()) if source else ()))
        if len(chain) > 1 or not ones or source is None or head in source.symbols:
            return False
        found = [self.load(f"{one.module}.{one.attribute}" if one.attribute else one.module) for one in ones]
        return all(one is not None and "__getattr__" not in one.symbols for one in found)

    def along(self, module: str, symbol: Symbol, chains: Iterable[Chain]) -> Walk:
        """A walk that starts from some names of a symbol alone."""
        walk = Walk(self.load, still=True)
        for chain in chains:
            walk.resolve(module, chain, symbol)
            if not DYNAMIC.isdisjoint(chain):
                walk.whole(module)
        walk.run()
        return walk
