"""`foreach` and `matrix`: one node, a step for each item.

    "foreach": ["a.png", "b.png"]                           $item
    "foreach": "$scan.files"                                $item, known when `scan` is done
    "foreach": {"in": "$scan.files", "as": "file", "key": "name"}
    "foreach": [{"in": "$scan.videos", "as": "video"}, {"in": "$video.frames", "as": "frame"}]

The last is nested: a list of exactly two objects with `in`. The inner list is a constant, a part of the outer item, or
another step's output; the steps are named by both keys, `id[a,b]`. (A list of two items that look like that is given by
{"in": [...]}.) `when` is asked for each item and may refer to it.

Knows how items get their keys and how an item is put into the bindings of its step. What the items are may only be known
in the run; then `expand` is called there.
"""

from __future__ import annotations

import itertools
import os.path
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from wfe.core.digest import canonical, digest_of
from wfe.core.disk import LEXICAL, Disk
from wfe.core.document import Path
from wfe.core.kind import describe
from wfe.core.reference import escape, names_in, substitute, unescape
from wfe.core.result import ArrayOrFile, Missing, Result, put
from wfe.core.step import ITEM, OUTER, Binding, Fan, Step, binding_refs, texts_in
from wfe.core.workflow import Node, Ref
from wfe.errors import nearest

if TYPE_CHECKING:
    from wfe.core.bind import Binder

_KEYS = ("in", "as", "key")


def fan_of(node: Node, binder: Binder) -> Fan:
    """The fan of a node's `foreach`: a list, a reference, {"in": either, "as": name, "key": field}, or two of these."""
    at: Path = (*node.at, "foreach")
    given = node.foreach
    if not _nested(given):
        return Fan(*_level(node, binder, given, at, ()))
    value, refs, name, key = _level(node, binder, given[0], (*at, 0), ())
    inner = _level(node, binder, given[1], (*at, 1), (name,))
    if inner[2] == name:
        hint = 'call them differently with "as"'
        binder.wrong((*at, 1), f"step {node.id!r}: both items of its nested 'foreach' are called {name!r}", hint)
    return Fan(value, refs, name, key, inner)


def _nested(given: Any) -> bool:
    return (
        isinstance(given, list)
        and len(given) == 2
        and all(isinstance(one, dict) and "in" in one and one.keys() <= set(_KEYS) for one in given)
    )


def _level(
    node: Node, binder: Binder, given: Any, at: Path, outer: tuple[str, ...]
) -> tuple[Any, tuple[tuple[Path, str, Path], ...], str, str]:
    """(list, its references, what an item is called, the field that names it) of one level."""
    name, key = ITEM, ""
    if isinstance(given, dict):
        for unknown in given.keys() - set(_KEYS):
            binder.wrong((*at, unknown), f"step {node.id!r}: 'foreach' has no key {unknown!r}", nearest(unknown, _KEYS))
        name, key = given.get("as", ITEM), given.get("key", "")
        if not isinstance(name, str) or not name.isidentifier():
            binder.wrong((*at, "as"), f"step {node.id!r}: 'as' must be a name, found {describe(name)}")
            name = ITEM
        if name in binder.upstreams:
            binder.wrong((*at, "as"), f"step {node.id!r}: 'as' cannot be {name!r}, which is a step's id")
        if name in binder.params and "as" in given:
            binder.wrong((*at, "as"), f"step {node.id!r}: 'as' cannot be {name!r}, which is a parameter")
        if not isinstance(key, str):
            binder.wrong((*at, "key"), f"step {node.id!r}: 'key' must be a text, found {describe(key)}")
            key = ""
        if "in" not in given:
            binder.wrong(at, f"step {node.id!r}: 'foreach' has no 'in'", "name the list to go through")
        given, at = given.get("in", []), (*at, "in")
    before = len(binder.problems)
    tree, refs = binder.tree(node, given, at, outer)
    value, holes = binding_refs(tree, refs)
    if not (isinstance(tree, list) or (holes and holes[0][0] == ())) and len(binder.problems) == before:
        hint = "write $step.output for what a step gives, ${param} for a parameter"
        binder.wrong(at, f"step {node.id!r}: 'foreach' goes through a list, found {describe(tree)}", hint)
    return unescape(value), holes, name, key


def matrix_of(node: Node, binder: Binder) -> Fan:
    """The fan of a node's `matrix`: every combination of its lists, each an object `$matrix`."""
    axes: dict[str, list[Any]] = {}
    for axis, values in (node.matrix or {}).items():
        tree, refs = binder.tree(node, values, (*node.at, "matrix", axis))
        if refs or not isinstance(tree, list) or not tree:
            found = "a reference" if refs else "an empty one" if tree == [] else describe(tree)
            binder.wrong(
                (*node.at, "matrix", axis),
                f"step {node.id!r}: axis {axis!r} of the matrix must be a list of constants, found {found}",
            )
        else:
            axes[axis] = unescape(tree)
    items = [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())] if axes else []
    return Fan(items, (), "matrix", "")


def key_of(item: Any, field: str = "") -> str:
    """A short name for an item, from its content and never from its position, so that moving an item changes no key.

    A named field of an object; a text's file name; a number; an object's id, name or key, or its short values; else a
    digest of the content. Of an array or a file its name, or the digest.
    """
    if isinstance(item, ArrayOrFile):
        item = item.name or item.digest[:12]
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
        text = digest_of(_told(item))[:12]
    clean = re.sub(r"[^A-Za-z0-9_.,+-]", "_", text)
    return clean if clean and len(clean) <= 60 else digest_of(_told(item))[:12]


def _told(item: Any) -> Any:
    """An item as a JSON value."""
    if isinstance(item, ArrayOrFile):
        return f"{item.codec} {item.digest}"
    if isinstance(item, list):
        return [_told(entry) for entry in item]
    return {key: _told(entry) for key, entry in item.items()} if isinstance(item, dict) else item


def keys_of(items: Sequence[Any], field: str = "") -> list[str]:
    """The key of each item; where several have the same, those after the first tell their content too, or count."""
    return _distinct([key_of(item, field) for item in items], items)


def _distinct(keys: Sequence[str], items: Sequence[Any]) -> list[str]:
    found: list[str] = []
    taken: set[str] = set()
    for key, item in zip(keys, items, strict=True):
        if key in taken:
            key = f"{key}-{digest_of(_told(item))[:8]}"
        base, number = key, 2
        while key in taken:
            key, number = f"{base}~{number}", number + 1
        taken.add(key)
        found.append(key)
    return found


class _Item(NamedTuple):
    """An item and where it came from: (step, trail), None for a constant. name: what the document calls it."""

    value: Any
    origin: tuple[str, Path] | None
    name: str = ITEM

    def dig(self, trail: Path) -> Any:
        """What lies there in it. Raises ValueError."""
        try:
            return Result(self.value).dig(trail).value
        except Missing as error:
            raise ValueError(f"{Ref(self.name, trail)}: {str(error).replace('the result', 'the item')}") from None


Writer = Callable[[str], "tuple[str, Path] | None"]
"""The path of a file -> the step that writes it and where it is in that step's result. Raises ValueError for one that the fan
does not come after."""


def expand(
    step: Step,
    items: Sequence[Any],
    fans: Container[str] = (),
    inner: Any = None,
    disk: Disk = LEXICAL,
    writer: Writer | None = None,
) -> list[Step]:
    """The steps of a fan, one an item, in the order of the items. `items` are JSON values, with an ArrayOrFile for each
    artifact.

    inner: of a nested fan the inner list with the outputs of other steps put in. fans: those steps that are fans
    themselves: of `$fan.key` an item is one step's output. writer: tells who writes a file that an item's step reads.
    Raises ValueError when the inner list of a nested fan is none, an item lacks what is asked of it, two steps would write
    the same file, or one would write what it reads or what no step may write.
    """
    fan = step.fan
    assert fan is not None
    outer = [one._replace(name=fan.name) for one in _level_items(items, fan.refs, fans)]
    if fan.inner is None:
        keys = keys_of(items, fan.key)
        rows: list[tuple[tuple[_Item, ...], dict[str, Any]]] = [((one,), {fan.name: one.value}) for one in outer]
    else:
        _, inner_refs, inner_name, inner_key = fan.inner
        texts: list[str] = []
        rows = []
        for one, key in zip(outer, keys_of(items, fan.key), strict=True):
            inside = _inside(step.id, one, inner, inner_refs, fans)
            for other, its in zip(inside, keys_of([two.value for two in inside], inner_key), strict=True):
                rows.append(((one, other), {fan.name: one.value, inner_name: other.value}))
                texts.append(f"{key},{its}")
        keys = _distinct(texts, [list(named.values()) for _, named in rows])
    steps = []
    written: dict[str, str] = {}
    asked = set(names_in([binding.value for binding in step.inputs.values()]))
    for index, ((found, named), key) in enumerate(zip(rows, keys, strict=True)):
        values = {name: escape(_named(name, {**named, "key": key, "index": index})) for name in asked}
        where = {ITEM: found[-1]._replace(name=fan.names[-1]), OUTER: found[0]}
        inputs = {name: _bound(binding, where, values) for name, binding in step.inputs.items()}
        if writer is not None:
            inputs = {name: _behind(one, step.inputs[name], where, writer) for name, one in inputs.items()}
        when = step.when if step.when is None else _asked(step.when, where)
        made = step._replace(id=f"{step.id}[{key}]", inputs=inputs, when=when, fan=None, parent=step.id)
        paths = _read(step, where, values) if made.targets() else ()
        read = {place for path in paths for place in (disk.place(path), disk.leads(path))}
        for path in made.targets().values():
            place = disk.place(path)
            barred = disk.barred(path)
            if barred:
                raise ValueError(f"{made.id!r} would write {path!r}, which is {barred}; write another file")
            if place in read:
                raise ValueError(f"{made.id!r} writes {path!r}, which it also reads; write another file")
            other_step = written.setdefault(place, made.id)
            if other_step != made.id:
                raise ValueError(f"{other_step!r} and {made.id!r} both write {path!r}; put ${{key}} into the path")
        steps.append(made)
    return steps


def _level_items(
    items: Sequence[Any], refs: Sequence[tuple[Path, str, Path]], fans: Container[str] = ()
) -> list[_Item]:
    source = next(((step, trail) for path, step, trail in refs if path == ()), None)
    if source is not None:
        name, trail = source
        if name in fans and not (trail and isinstance(trail[0], int)):
            return [_Item(item, (name, (index, *trail))) for index, item in enumerate(items)]
        return [_Item(item, (source[0], (*source[1], index))) for index, item in enumerate(items)]
    single = {path[0]: (step, trail) for path, step, trail in refs if len(path) == 1}
    return [_Item(item, single.get(index)) for index, item in enumerate(items)]


def _inside(
    step: str, outer: _Item, given: Any, refs: Sequence[tuple[Path, str, Path]], fans: Container[str]
) -> list[_Item]:
    """The items of the inner list, for one outer item."""
    tree = given
    origins: list[tuple[Path, str, Path]] = []
    for path, other, trail in refs:
        if other != ITEM:
            origins.append((path, other, trail))
            continue
        tree = put(tree, path, outer.dig(trail))
        if outer.origin is not None:
            origins.append((path, outer.origin[0], (*outer.origin[1], *trail)))
    if not isinstance(tree, list):
        raise ValueError(f"step {step!r}: the inner 'foreach' goes through a list, found {describe(tree)}")
    return _level_items(tree, origins, fans)


def _named(name: str, called: Mapping[str, Any]) -> Any:
    """What `${name}` stands for: an item or a part of it, `item.size`; of a path also `item.name` and `item.stem`. Raises
    ValueError."""
    head, _, rest = name.partition(".")
    value = called[head]
    path = value.name if isinstance(value, ArrayOrFile) else value
    if rest in ("name", "stem") and isinstance(path, str) and path:
        base = os.path.basename(path.replace("\\", "/"))
        return base if rest == "name" else os.path.splitext(base)[0]
    if isinstance(value, dict) and rest in value:
        value = value[rest]
    elif rest:
        trail = tuple(int(part) if part.isascii() and part.isdigit() else part for part in rest.split("."))
        value = _Item(value, None, head).dig(trail)
    if _told(value) != value:
        raise ValueError(
            f"{'${' + name + '}'} is an array or a file, which no text can hold; hand it on alone, ${name}"
        )
    return value


def _bound(binding: Binding, where: Mapping[str, _Item], values: Mapping[str, Any]) -> Binding:
    """A binding with the items put in: by reference where the item came from a step (its content then counts, arrays
    included), by value otherwise."""
    value = unescape(substitute(binding.value, values, lambda _path, _name: None))
    refs = []
    for path, step, trail in binding.refs:
        found = where.get(step)
        if found is None:
            refs.append((path, step, trail))
        elif found.origin is not None:
            refs.append((path, found.origin[0], (*found.origin[1], *trail)))
        else:
            value = put(value, path, found.dig(trail))
    return binding._replace(value=value, refs=tuple(refs))


def _behind(binding: Binding, given: Binding, where: Mapping[str, _Item], writer: Writer) -> Binding:
    """A binding of files with those that a step before writes bound to that step, as without a fan: when it is skipped, what
    it wrote once must not be read. given: the same before the items were put in, some of which are what a step gave."""
    if binding.kind != "file":
        return binding
    values: list[tuple[Path, Any]] = [((), binding.value)]
    for path, one, trail in given.refs:
        if one in where and where[one].origin is not None:
            with suppress(ValueError):  # there is no such thing in the item: told at its turn
                values.append((path, where[one].dig(trail)))
    refs = [
        ((*path, *inner), *owner)
        for path, told in values
        if isinstance(told, str) or not binding.mixed
        for inner, text in texts_in(told)
        if (owner := writer(text)) is not None
    ]
    return binding._replace(refs=(*binding.refs, *refs)) if refs else binding


def _read(step: Step, where: Mapping[str, _Item], values: Mapping[str, Any]) -> Iterator[str]:
    """The input files of one item's step, as far as the items tell them: also of an item that came from a step."""
    for binding in step.inputs.values():
        if binding.kind == "file":
            value = unescape(substitute(binding.value, values, lambda _path, _name: None))
            for path, other, trail in binding.refs:
                if other in where:
                    value = put(value, path, where[other].dig(trail))
            yield from (text for _, text in texts_in(value))


def _asked(when: Binding, where: Mapping[str, _Item]) -> Binding:
    """A condition for one item: a constant one's value stands beside the expression, as those of parameters do."""
    expression, given = when.value
    known = dict(given)
    refs = []
    for path, step, trail in when.refs:
        found = where.get(step)
        if found is None:
            refs.append((path, step, trail))
        elif found.origin is not None:
            refs.append((path, found.origin[0], (*found.origin[1], *trail)))
        else:
            known[str(path[0])] = [str(Ref(found.name, trail)), found.dig(trail)]
    return when._replace(value=[expression, known], refs=tuple(refs))
