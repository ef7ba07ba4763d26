"""What the imports of the project's modules do not find: such a module cannot be imported, and who imports it may do without.

Knows modules through `load`, as `reach` does. Of third parties' modules it is the environment that tells.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from wfe.core.digest import digest
from wfe.core.source import Import
from wfe.core.walk import Load


def missing(modules: Iterable[str], parts: Container[str], load: Load) -> dict[str, str]:
    """ "module:missing" -> digest of what its imports do not find, for each of the modules that lacks something; of the imports
    inside functions those of the `parts` that are reached.

    A name that nobody uses counts too: `from a import gone` fails, whatever is done with `gone`.
    """
    found: dict[str, str] = {}
    for module in modules:
        source = load(module)
        if source is None:
            continue
        inside = [symbol.imports for name, symbol in source.symbols.items() if f"{module}:{name}" in parts]
        ones = (one for imports in (source.imports, *inside) for each in imports.values() for one in each)
        said = sorted({name for one in ones for name in _lacking(one, load)})
        if said:
            found[f"{module}:missing"] = digest("\n".join(said).encode())
    return found


def sought(names: Iterable[str], load: Load) -> set[str]:
    """Of names that imports mention and that no module of the project has, those that would be imported if one had: not what
    the module above gives by another way. Of a third party the name of the whole."""
    found: set[str] = set()
    for name in names:
        above, _, last = name.rpartition(".")
        top = name.partition(".")[0]
        if load(top) is None:
            found.add(top)
        elif not _gives(above, last, load, frozenset()):
            found.add(name)
    return found


def _lacking(one: Import, load: Load) -> Iterator[str]:
    if load(one.module.partition(".")[0]) is None:
        return
    for name in (one.module, *one.also):
        if load(name) is None:
            yield name
    if one.attribute and load(one.module) is not None and not _gives(one.module, one.attribute, load, frozenset()):
        yield f"{one.module}:{one.attribute}"


def _gives(module: str, name: str, load: Load, seen: frozenset[str]) -> bool:
    """Whether a name can be imported from a module, as far as the project's own modules can tell."""
    source = load(module)
    if source is None or module in seen:
        return source is None
    if name in source.symbols or name in source.imports or "__getattr__" in source.symbols or source.effects.dynamic:
        return True
    if name.startswith("__") or load(f"{module}.{name}") is not None:
        return True
    return any(_gives(star, name, load, seen | {module}) for star in source.stars)
