"""`include`: the nodes of another workflow in place of one node, their ids led by its id and a dot... of underscores.

A node `{"id": "left", "include": "detect", "inputs": {"conf": 0.4, "image": "$load.image"}}` stands for the nodes of
`detect` as `left__load`, `left__infer` ...; its inputs bind the included workflow's parameters. References from outside
name an included step by its long id; `$left` alone is the last node of the included workflow. The sizes of its pools are
taken where the including workflow says none, of several the smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from wfe.core.amount import amount
from wfe.core.params import convert
from wfe.core.reference import NotAReference, escape, names_in, ref_of, substitute
from wfe.core.when import renamed
from wfe.core.workflow import Node, Workflow
from wfe.errors import Place, Problem, WfeError, nearest

SEPARATOR = "__"


def inline(
    workflow: Workflow,
    params: Mapping[str, Any],
    load: Callable[[str, Place], Workflow] | None,
    problems: list[Problem],
    above: tuple[Workflow, ...] = (),
) -> Workflow:
    """`workflow` with every include replaced by the nodes that it stands for. params: in notation, since those of an included
    workflow may be references. What is wrong with includes and with `depends_on` is added to `problems`."""
    if not any(node.include for node in workflow.nodes):
        problems.extend(_misplaced(workflow, {node.id for node in workflow.nodes}))
        return workflow
    nodes: list[Node] = []
    ends: dict[str, str] = {}
    brought: dict[str, str] = {}
    pools: dict[str, float | str] = {}
    chain = (*above, workflow)
    for node in workflow.nodes:
        if not node.include:
            nodes.append(node)
            continue
        place = workflow.place((*node.at, "include"))
        if load is None:
            problems.append(Problem("a workflow given as text cannot include another", place))
            nodes.append(_stub(node))
            continue
        try:
            inner = load(node.include, place)
        except WfeError as error:
            problems.extend(one for one in error.problems if one not in problems)
            nodes.append(_stub(node))
            continue
        if inner.document.file in [one.document.file for one in chain]:  # by whatever name it was included
            way = " -> ".join(one.name for one in (*chain, inner))
            problems.append(Problem(f"workflows include each other in a circle: {way}", place))
            nodes.append(_stub(node))
            continue
        bound, lacking = _bind(workflow, node, inner, params, problems)
        inner = inner._replace(nodes=tuple(_without(one, lacking) for one in inner.nodes))
        inner = inline(inner, bound, load, problems, chain)
        for name in _spliced_references(inner, bound):
            text = f"parameter {name!r} of {inner.name!r} is put into a longer text there, which takes no reference"
            hint = "give a constant, or let a step make the text"
            problems.append(Problem(text, workflow.place((*node.at, "inputs", name)), hint))
        included = [_moved(one, node, inner, bound) for one in inner.nodes]
        brought.update({one.id: f"{node.id!r} brings it in from {inner.name!r}" for one in included})
        nodes.extend(included)
        if included:
            ends[node.id] = included[-1].id
        for pool, size in inner.settings.pools.items():
            pools[pool] = min(pools.get(pool, size), size, key=amount)
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen and node.id in brought:
            problems.append(
                Problem(f"node id {node.id!r} is used twice", workflow.place((*node.at, "id")), brought[node.id])
            )
        seen.add(node.id)
    problems.extend(_misplaced(workflow, seen | ends.keys()))
    if ends:
        nodes = [_redirected(node, ends) for node in nodes]
    settings = workflow.settings._replace(pools={**pools, **workflow.settings.pools})
    return workflow._replace(nodes=tuple(nodes), settings=settings)


def _misplaced(workflow: Workflow, known: Set[str]) -> Iterator[Problem]:
    """What is wrong with `depends_on`. Told here, of each document in its own words: a node that is brought in has another
    name and another place."""
    for node in workflow.nodes:
        for position, other in enumerate(node.depends_on):
            if other in known and other != node.id:
                continue
            at = workflow.place((*node.at, "depends_on", position))
            if other == node.id:
                yield Problem(f"step {node.id!r} depends on itself", at)
            else:
                yield Problem(f"step {node.id!r} depends on unknown step {other!r}", at, nearest(other, list(known)))


def _stub(node: Node) -> Node:
    """In place of nodes that cannot be had, so that a reference to them is not told as unknown."""
    return Node(node.id, "", node.at, sound=False)


def _without(node: Node, lacking: Set[str]) -> Node:
    """A node of an included workflow; where a parameter lacks its value, as far as that does not matter."""
    asked = names_in([node.inputs, node.foreach, node.matrix, node.when])
    if lacking.isdisjoint(asked):
        return node
    return node._replace(inputs={}, foreach=None, matrix=None, when=None, sound=False)


def _bind(
    workflow: Workflow, node: Node, inner: Workflow, params: Mapping[str, Any], problems: list[Problem]
) -> tuple[dict[str, Any], set[str]]:
    """The value of each parameter of the included workflow, and the parameters that lack a right one. A reference stays a
    text and is resolved with the rest."""
    lacking: set[str] = set()
    values = {name: escape(param.default) for name, param in inner.params.items() if not param.required}
    for name, raw in node.inputs.items():
        place = workflow.place((*node.at, "inputs", name))
        if name not in inner.params:
            problems.append(
                Problem(
                    f"workflow {inner.name!r} has no parameter {name!r}",
                    place,
                    nearest(name, list(inner.params)) or "it has none",
                )
            )
            continue
        value = _put_in(raw, params, place, problems)
        try:
            if not isinstance(value, str) or ref_of(value) is None:
                value = convert(inner.params[name], value)
        except NotAReference:
            # Put into a condition, it would be read as a part of it.
            hint = "give a reference alone, $step.output, or a constant"
            problems.append(Problem(f"parameter {name!r} of {inner.name!r}: {value!r} is no reference", place, hint))
            lacking.add(name)
        except ValueError as error:
            problems.append(Problem(f"parameter {name!r} of {inner.name!r}: {error}", place))
            lacking.add(name)
        values[name] = value
    for name, param in inner.params.items():
        if param.required and name not in values:
            lacking.add(name)
            problems.append(
                Problem(
                    f"parameter {name!r} of {inner.name!r} has no value",
                    workflow.place(node.at),
                    f"give {name!r} under 'inputs'",
                )
            )
    return values, lacking


def _put_in(raw: Any, params: Mapping[str, Any], place: Place, problems: list[Problem]) -> Any:
    def unknown(path: object, name: str) -> None:
        del path
        problems.append(Problem(f"no parameter {name!r}", place))

    return substitute(raw, params, unknown)


def _spliced_references(inner: Workflow, bound: Mapping[str, Any]) -> list[str]:
    """The parameters that are bound to references, and that the included workflow puts into longer texts."""
    asked = {name for node in inner.nodes for name in names_in([node.inputs, node.foreach, node.matrix], spliced=True)}
    return [name for name, value in bound.items() if name in asked and _is_reference(value)]


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$") and not value.startswith(("$$", "${"))


def _moved(one: Node, node: Node, inner: Workflow, bound: Mapping[str, Any]) -> Node:
    """A node of the included workflow under its long id. Its own references move along; those that came in by a
    parameter already speak of the outer workflow."""
    ids = {other.id for other in inner.nodes}

    def long(name: str) -> str:
        return f"{node.id}{SEPARATOR}{name}" if name in ids else name

    def move(value: Any) -> Any:
        if _is_reference(value):
            head, dot, rest = value[1:].partition(".")
            return f"${long(head)}{dot}{rest}"
        if isinstance(value, list):
            return [move(entry) for entry in value]
        if isinstance(value, dict):
            return {key: move(entry) for key, entry in value.items()}
        return value

    def put(value: Any) -> Any:
        # References first, parameters after: a reference that a parameter brings must not be taken for an inner one.
        return substitute(move(value), bound, lambda _path, _name: None)

    asked = one.when if one.when is None else _asked(one.when, long, bound)
    return one._replace(
        id=long(one.id),
        at=node.at,
        depends_on=tuple(map(long, one.depends_on)),
        # Not `depends_on`: an output of the same name would go into a parameter that the included workflow left out.
        after=(*map(long, one.after), *node.depends_on, *node.after),
        inputs={name: put(value) for name, value in one.inputs.items()},
        foreach=put(one.foreach),
        matrix=put(one.matrix),
        when=_both(node.when, asked),
    )


def _asked(when: str, long: Callable[[str], str], bound: Mapping[str, Any]) -> str:
    """A condition of the included workflow: its references by their long ids, parameters as constants or references."""
    values = {
        name: value if isinstance(value, str) and value.startswith("$") and not value.startswith("$$") else repr(value)
        for name, value in bound.items()
    }
    # The space keeps a condition that is nothing but a parameter from becoming that parameter's value.
    return str(substitute(f" {renamed(when, long)}", values, lambda _path, _name: None)).strip()


def _both(outer: str | None, inner: str | None) -> str | None:
    """The condition under which a node runs that has one of its own and one of its include."""
    return f"({outer}) and ({inner})" if outer and inner else outer or inner


def _redirected(node: Node, ends: Mapping[str, str]) -> Node:
    def turn(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("$"):
            head, dot, rest = value[1:].partition(".")
            return f"${ends[head]}{dot}{rest}" if head in ends else value
        if isinstance(value, list):
            return [turn(entry) for entry in value]
        if isinstance(value, dict):
            return {key: turn(entry) for key, entry in value.items()}
        return value

    return node._replace(
        depends_on=tuple(ends.get(other, other) for other in node.depends_on),
        after=tuple(ends.get(other, other) for other in node.after),
        inputs={name: turn(value) for name, value in node.inputs.items()},
        foreach=turn(node.foreach),
        when=node.when if node.when is None else renamed(node.when, lambda name: ends.get(name, name)),
    )
