"""From one function to everything of the project's own code that can change what it returns.

Joins what names lead to, what changes unseen, and the order of the statements where it counts.
"""

from __future__ import annotations

from wfe.core.change import Changes, Touched
from wfe.core.digest import digest
from wfe.core.missing import missing, sought
from wfe.core.source import Place, Source
from wfe.core.walk import Load, Reach, Walk, targets


def reach(module: str, function: str, load: Load, touched: Touched | None = None) -> Reach:
    """Everything that `function` of `module` reaches.

    A statement that changes, when its module is imported, something that the function reaches counts too, although no
    name leads to it: a decorator that registers, a call that appends, a subclass that its base collects. So does the order
    of the statements whose order can be told from what they make.
    """
    walk = Walk(load)
    changes = Changes(walk, {} if touched is None else touched)
    walk.symbol(module, function)
    while True:
        walk.run()
        before = len(walk.found.parts)
        for name in sorted(walk.found.modules):
            changes.take(name)
        walk.inner()
        if len(walk.found.parts) == before and not walk.todo:
            _Order(walk, changes).count()
            walk.found.parts.update(missing(walk.found.modules, walk.found.parts, load))
            walk.found.lacking = sought(walk.found.lacking, load)
            return walk.found


class _Order:
    """The order of the statements of the modules that a walk has found."""

    def __init__(self, walk: Walk, changes: Changes) -> None:
        self.walk = walk
        self.load = walk.load
        self.found = walk.found
        self.changes = changes

    def count(self) -> None:
        """Let it count in which order the statements stand that bind one name, that change or read what can be changed, and
        that import what does. Of all others the order says nothing."""
        moving = self.moving()
        changed = self.changed()
        parts = self.found.parts
        for module in sorted(self.found.modules):
            source = self.load(module)
            if source is None:
                continue
            said: list[str] = []
            stars = 0
            again = self.again(source)
            for place in source.places:
                names = [name for name in place.binds if f"{module}:{name}" in parts]
                names += [f"import {name}" for name in place.binds if f"{module}:import {name}" in parts]
                stars += place.binds.count("*")
                if source.stars and names:
                    key = f"{module}:order {names}"  # also of several statements: an `import *` binds whatever it has
                    parts[key] = f"{parts.get(key, '')} {stars}"
                seen = {*place.binds, *(chain[0] for chain in place.uses)}
                if (names and not again.isdisjoint(seen)) or self.moves(module, source, place, moving, changed):
                    said.append(f"{place.binds} {place.imports}")
            if len(set(said)) > 1:
                parts[f"{module}:order"] = digest("\n".join(said).encode())

    def again(self, source: Source) -> set[str]:
        """The names of a module that may be bound before a statement of its own binds them. What a library's `import *` brings
        is not known."""
        bound = {name for place in source.places if source.stars for name in place.binds}
        return source.again | {
            name for name in bound for star in source.stars if self.load(star) is None or self.walk.brings(star, name)
        }

    def changed(self) -> set[str]:
        """The parts that something changes at import: who reads one then sees it as it was or as it is after that."""
        found: set[str] = set()
        for module in self.found.modules:
            source = self.load(module)
            for name, symbol in (*source.symbols.items(), ("<module>", source.effects)) if source else ():
                if f"{module}:{name}" in self.found.parts and (symbol.acts or symbol.bases or symbol.operated):
                    found |= self.changes.touches(module, name, symbol)
        return found

    def moves(self, module: str, source: Source, place: Place, moving: set[str], changed: set[str]) -> bool:
        """Whether a statement does something to others, or sees what others did."""
        if place.imports:
            return any(
                target in moving or f"{one.module}:{one.attribute}" in changed
                for one in place.imports
                for target in targets(one)
            )
        if place.binds[0] == "<module>":
            return True
        if not any(f"{module}:{name}" in self.found.parts for name in place.binds):
            return False
        name = place.binds[0]
        symbol = source.symbols[name]
        if self.changes.concern(module, name, symbol):
            return True
        touched = self.changes.touched
        states, parts = (module, f"states {place.binds}"), (module, f"uses {place.binds}")
        if parts not in touched:
            walk = self.changes.along(module, symbol, place.uses)
            touched[states], touched[parts] = frozenset(walk.states), frozenset(walk.found.parts)
        return bool(touched[states]) or not touched[parts].isdisjoint(changed)

    def moving(self) -> set[str]:
        """The modules whose import changes what is reached of others, and those that import them."""
        found: set[str] = set()
        users: dict[str, list[str]] = {}
        for module in self.found.modules:
            source = self.load(module)
            if source is None:
                continue
            own = {f"{module}:{name}" for name in source.symbols}
            if source.acting or any(
                f"{module}:{name}" in self.found.parts
                and self.changes.reach(module, name, symbol)
                and not self.changes.touches(module, name, symbol) <= own
                for name, symbol in source.symbols.items()
            ):
                found.add(module)
            for target in {target for ones in source.imports.values() for one in ones for target in targets(one)}:
                users.setdefault(target, []).append(module)
            for target in (*source.stars, module.rpartition(".")[0]):
                users.setdefault(target, []).append(module)
        todo = list(found)
        while todo:
            for user in users.get(todo.pop(), ()):
                if user not in found:
                    found.add(user)
                    todo.append(user)
        return found
