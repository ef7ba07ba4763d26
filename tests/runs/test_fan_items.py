"""What inputs and conditions may say of a fan's items: parts, names of files, arrays; and what an item has not."""

from __future__ import annotations

from typing import Any

import pytest
from fans import NODES, fan, upstream
from space import Space

from wfe.core.outcome import StepState
from wfe.errors import WorkflowError


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        ({"foreach": ["a"]}, "${item.nmae}", "$item.nmae: the item is str, it has no 'nmae'"),
        ({"foreach": [{"size": 1}]}, "x-${item.siez}", "$item.siez: the item has no 'siez', it has 'size'"),
        ({"foreach": [{"a": {"b": 1}}]}, "${item.a.c}", "$item.a.c: .a has no 'c', it has 'b'"),
        ({"foreach": [{"size": 1}]}, "$item.siez", "$item.siez: the item has no 'siez', it has 'size'"),
        ({"matrix": {"p": [1]}}, "${matrix.q}", "$matrix.q: the item has no 'q', it has 'p'"),
        ({"foreach": [{"in": [{"n": 1}], "as": "o"}, {"in": "$o.m", "as": "i"}]}, "$i", "$o.m: the item has no 'm'"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_an_item_has_not_is_told(space: Space, shape: dict[str, Any], given: str, said: str, known: bool) -> None:
    """As text it went on to the node, and into the names of files."""
    space.nodes(NODES)
    if known:
        space.workflow([{"id": "each", **shape, "inputs": {"x": given}}])
        with pytest.raises(WorkflowError) as caught:
            space.run()
        assert f"step 'each': {said}" in str(caught.value)
    elif isinstance(shape.get("foreach"), list) and "in" not in str(shape) and "${" in given:
        upstream(space, shape["foreach"], given)
        assert said in space.run().failure("each")


def test_parts_of_items_in_texts(space: Space) -> None:
    item = {"a": {"b": [1, 2]}, "c.d": "x", "name": "n"}
    text = "${item.a.b.1} ${item.c.d} ${item.name} ${key} ${index} $${item.z}"
    for make in (fan, upstream):
        make(space, [item], x=text)
        space.run()
        assert space.value("collect") == {"all": ["2 x n n 0 ${item.z}"]}


def test_items_that_are_files_have_names_and_no_text(space: Space) -> None:
    space.nodes(
        NODES
        + "\n@workflow_node()\ndef size(path: Path, name: str): return {'size': len(path.read_text()), 'name': name}\n"
    )
    nodes = [
        {"id": "write", "foreach": ["a", "bb"], "inputs": {"x": "$item", "to": "out/${item}.txt"}},
        {"id": "size", "foreach": "$write.to", "inputs": {"path": "$item", "name": "${item.stem}|${item.name}"}},
    ]
    space.workflow(nodes)
    space.run()
    assert space.value("size[a.txt]") == {"size": 1, "name": "a|a.txt"}
    assert space.value("size[bb.txt]") == {"size": 2, "name": "bb|bb.txt"}
    nodes[1]["inputs"]["name"] = "x${item}"  # type: ignore[index]
    space.workflow(nodes)
    assert "${item} is an array or a file, which no text can hold; hand it on alone, $item" in space.run().failure(
        "size"
    )


def test_an_array_is_there_for_a_condition_and_cannot_be_looked_into(space: Space) -> None:
    space.nodes(NODES)
    nodes = [
        {"id": "arrays", "inputs": {"n": 2}},
        {"id": "each", "foreach": "$arrays.a", "when": "$item != null", "inputs": {"x": 1}},
    ]
    space.workflow(nodes)
    found = space.run()
    assert len(found.outcomes) >= 3 and {one.state.value for one in found.outcomes.values()} <= {"ran", "restored"}
    for when in ("$item > 1", "len($item) == 2", "$item[0] == 1"):
        nodes[1]["when"] = when
        space.workflow(nodes)
        assert "ArrayOrFile" in space.run().failure(
            next(name for name in space.last.outcomes if name.startswith("each["))
        )  # type: ignore[union-attr]


def test_a_parameter_is_not_taken_for_the_item_nor_the_item_for_it(space: Space) -> None:
    space.nodes(NODES)
    for name, shape in (
        ("f", {"foreach": {"in": [1], "as": "f"}}),
        ("item", {"foreach": [1]}),
        ("key", {"foreach": [1]}),
    ):
        space.workflow([{"id": "each", **shape, "inputs": {"x": "${" + name + "}"}}], params={name: "P"})
        with pytest.raises(WorkflowError, match="which is a parameter|could be the item's or the parameter's"):
            space.run()


@pytest.mark.parametrize("make", [fan, upstream])
def test_a_step_that_a_current_fan_has_not_is_told(space: Space, make: Any) -> None:
    """Nothing was to be done for it, and that was called well."""
    make(space, ["a", "b"])
    space.run()
    for name in ("each[zz]", "each[", "each[]", "collect[a]"):
        for arguments in ((name,), (name, "--dry-run")):
            assert f"has no step {name!r}" in space.wfe("run", "w", *arguments, code=3).stderr
        for arguments in (("--force", name), ("--force", name, "--dry-run")):
            told = space.wfe("run", "w", *arguments, code=None)
            assert f"has no step {name!r}" in told.stderr + told.stdout, told
        assert f"has no step {name!r}" in space.doit("run", "workflow=w", name, code=3).stderr
    told = space.wfe("run", "w", "each[a]", "--dry-run").stdout
    assert "each[a]" in told and "each[b]" not in told


TIMES = """
@workflow_node(outputs={"out": str})
def times(word: str, count: int = 1): return {"out": word * count}
"""


@pytest.mark.parametrize(
    ("shape", "inputs", "said"),
    [
        (
            {"foreach": ["a", 3, True]},
            {"word": "$item"},
            "step 'times[3]': input 'word' must be str, found {}, and 1 more",
        ),
        ({"foreach": [{"w": "a"}, {"w": 3}]}, {"word": "$item.w"}, "input 'word' must be str, found {}"),
        ({"matrix": {"w": ["a", 3]}}, {"word": "$matrix.w"}, "step 'times[3]': input 'word' must be str, found {}"),
        ({"foreach": ["a", 3]}, {"word": "${item}"}, "step 'times[3]': input 'word' must be str, found {}"),
        ({"foreach": ["a"]}, {"word": "${key}", "count": "${key}"}, "input 'count' must be int, found a text ('a')"),
        ({"foreach": ["$n"]}, {"word": "a", "count": "x ${index}"}, "input 'count' must be int, found a text"),
    ],
)
def test_a_constant_item_of_the_wrong_type_is_told_before_the_run(
    space: Space, shape: dict[str, Any], inputs: dict[str, Any], said: str
) -> None:
    space.nodes(NODES + TIMES)
    fan = {"id": "times", "function": "n.times", **shape, "inputs": inputs}
    space.workflow([{"id": "n", "function": "n.each", "inputs": {"x": 1}}, fan])
    with pytest.raises(WorkflowError) as caught:
        space.run()
    assert said.format("a whole number (3)") in str(caught.value)


def test_a_value_in_braces_keeps_its_type(space: Space) -> None:
    space.nodes(NODES + TIMES)
    inputs = {"word": "${item.w}", "count": "${item.n}"}
    shape = {"foreach": {"in": [{"w": "a", "n": 2}, {"w": 3, "n": 1}], "key": "w"}, "when": "$item.n > 1"}
    space.workflow([{"id": "times", **shape, "inputs": inputs}])
    assert space.run().of(StepState.SKIPPED) == {"times[3]"}
    assert space.value("times[a]") == {"out": "aa"}
