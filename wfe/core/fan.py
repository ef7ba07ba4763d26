"""`foreach` and `matrix`: one node, a step for each item.

Knows how items get their keys and how an item is put into the bindings of its step. What the items are may only be known
in the run; then `expand` is called there.
"""

from __future__ import annotations

import itertools
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wfe.core.digest import canonical, digest_of
from wfe.core.document import Path
from wfe.core.parse import describe
from wfe.core.reference import substitute
from wfe.core.result import Result, put
from wfe.core.step import Binding, Fan, Step, binding_refs
from wfe.core.workflow import Node
from wfe.errors import nearest

if TYPE_CHECKING:
    from wfe.core.bind import Binder

_KEYS = ("in", "as", "key")


def fan_of(node: Node, binder: Binder) -> Fan:
    """The fan of a node's `foreach`: a list, a reference, or {"in": either, "as": name, "key": field}."""
    at: Path = (*node.at, "foreach")
    given, name, key = node.foreach, "item", ""
    if isinstance(given, dict):
        for unknown in given.keys() - set(_KEYS):
            binder.wrong((*at, unknown), f"step {node.id!r}: 'foreach' has no key {unknown!r}", nearest(unknown, _KEYS))
        name, key = given.get("as", "item"), given.get("key", "")
        if not isinstance(name, str) or not name.isidentifier():
            binder.wrong((*at, "as"), f"step {node.id!r}: 'as' must be a name, found {describe(name)}")
            name = "item"
        if "in" not in given:
            binder.wrong(at, f"step {node.id!r}: 'foreach' has no 'in'", "name the list to go through")
        given, at = given.get("in", []), (*at, "in")
    tree, refs = binder.tree(node, given, at)
    value, holes = binding_refs(tree, refs)
    if not (isinstance(tree, list) or (holes and holes[0][0] == ())) and not binder.problems:
        binder.wrong(at, f"step {node.id!r}: 'foreach' goes through a list, found {describe(tree)}")
    return Fan(value, holes, name, key)


def matrix_of(node: Node, binder: Binder) -> Fan:
    """The fan of a node's `matrix`: every combination of its lists, each an object `$matrix`."""
    axes: dict[str, list[Any]] = {}
    for axis, values in (node.matrix or {}).items():
        tree, refs = binder.tree(node, values, (*node.at, "matrix", axis))
        if refs or not isinstance(tree, list) or not tree:
            found = "a reference" if refs else describe(tree)
            binder.wrong(
                (*node.at, "matrix", axis),
                f"step {node.id!r}: axis {axis!r} of the matrix must be a list of constants, found {found}",
            )
        else:
            axes[axis] = tree
    items = [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())] if axes else []
    return Fan(items, (), "matrix", "")


def key_of(item: Any, field: str = "") -> str:
    """A short name for an item, from its content and never from its position, so that moving an item changes no key.

    A named field of an object; a text's file name; a number; an object's id, name or key, or its short values; else a
    digest of the content.
    """
    if field and isinstance(item, dict) and isinstance(item.get(field), str | int | float):
        item = item[field]
    if isinstance(item, dict):
        for candidate in ("id", "key", "name"):
            if isinstance(item.get(candidate), str | int):
                item = item[candidate]
                break
        else:
            if item and all(isinstance(value, str | int | float | bool) for value in item.values()):
                item = ",".join(key_of(value) for value in item.values())
    if isinstance(item, str):
        text = os.path.basename(item.replace("\\", "/")) or item
    elif isinstance(item, bool | int | float):
        text = canonical(item)
    else:
        text = digest_of(item)[:12]
    clean = re.sub(r"[^A-Za-z0-9_.,+-]", "_", text)
    return clean if clean and len(clean) <= 60 else digest_of(item)[:12]


def keys_of(items: Sequence[Any], field: str = "") -> list[str]:
    """The key of each item; where several have the same, those after the first tell their content too, or count."""
    found: list[str] = []
    taken: set[str] = set()
    for item in items:
        key = key_of(item, field)
        if key in taken:
            key = f"{key}-{digest_of(item)[:8]}"
        base, number = key, 2
        while key in taken:
            key, number = f"{base}~{number}", number + 1
        taken.add(key)
        found.append(key)
    return found


def expand(step: Step, items: Sequence[Any]) -> list[Step]:
    """The steps of a fan, one an item, in the order of the items. `items` are JSON values (null for an array)."""
    fan = step.fan
    assert fan is not None
    source = next(((ref[1], ref[2]) for ref in fan.refs if ref[0] == ()), None)
    inner = {ref[0][0]: (ref[1], ref[2]) for ref in fan.refs if len(ref[0]) == 1 and isinstance(ref[0][0], int)}
    steps = []
    for index, (item, key) in enumerate(zip(items, keys_of(items, fan.key), strict=True)):
        origin = (source[0], (*source[1], index)) if source else inner.get(index)
        values = {"key": key, "index": index, **_names(fan.name, item)}
        inputs = {name: _bound(binding, item, origin, values) for name, binding in step.inputs.items()}
        needs = tuple(other for other in step.needs)
        steps.append(replace(step, id=f"{step.id}[{key}]", inputs=inputs, needs=needs, fan=None, parent=step.id))
    return steps


def _names(name: str, item: Any) -> dict[str, Any]:
    found = {name: item}
    if isinstance(item, dict):
        found.update({f"{name}.{key}": value for key, value in item.items()})
    if isinstance(item, str):
        base = os.path.basename(item.replace("\\", "/"))
        found[f"{name}.name"], found[f"{name}.stem"] = base, os.path.splitext(base)[0]
    return found


def _bound(binding: Binding, item: Any, origin: tuple[str, Path] | None, values: Mapping[str, Any]) -> Binding:
    """A binding with the item put in: by reference where the item came from a step (its content then counts, arrays
    included), by value otherwise."""
    value = substitute(binding.value, values, lambda _path, _name: None)
    refs = []
    for path, step, trail in binding.refs:
        if step != "item":
            refs.append((path, step, trail))
        elif origin is not None:
            refs.append((path, origin[0], (*origin[1], *trail)))
        else:
            value = put(value, path, _dig(item, trail))
    return binding._replace(value=value, refs=tuple(refs))


def _dig(item: Any, trail: Path) -> Any:
    return Result(item).dig(trail).value
