"""`include`: names, references, parameters and conditions of the workflow that is put in a node's place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wfe.core.include import inline
from wfe.core.parse import parse
from wfe.core.workflow import Node, Workflow
from wfe.errors import Place, Problem, WorkflowError

INNER: dict[str, Any] = {
    "workflow": {"params": {"image": {"required": True, "type": "string"}, "conf": 0.5, "mode": "fast"}},
    "nodes": [
        {"id": "load", "function": "n.load", "inputs": {"path": "${image}", "$$": "$$load"}},
        {
            "id": "infer",
            "function": "n.infer",
            "depends_on": ["load"],
            "when": "${conf} < 1 and 'fast $load.x' != ${mode} and 0 < $load.size",
            "foreach": {"in": "$load.images", "as": "one"},
            "inputs": {"image": "$one", "all": ["$load.images", {"x": "$load"}], "text": "at ${conf}, $5"},
        },
    ],
}
Documents = dict[str, dict[str, Any]]


def inlined(nodes: list[dict[str, Any]], others: Documents, **params: Any) -> tuple[Workflow, list[Problem]]:
    def load(name: str, place: Place) -> Workflow:
        if name in ("w", "./w.json"):
            return parse(text, "w.json", "w")
        if name not in others:
            raise WorkflowError(Problem(f"there is no workflow {name!r}", place))
        return parse(json.dumps(others[name]).encode(), f"{name}.json", name)

    document = {"workflow": {"params": params}, "nodes": nodes}
    text = json.dumps(document).encode()
    problems: list[Problem] = []
    found = inline(parse(text, "w.json", "w"), params, load, problems)
    return found, problems


def good(nodes: list[dict[str, Any]], others: Documents, **params: Any) -> dict[str, Node]:
    found, problems = inlined(nodes, others, **params)
    assert problems == []
    return {node.id: node for node in found.nodes}


def wrong(nodes: list[dict[str, Any]], others: Documents, **params: Any) -> str:
    return "\n".join(map(str, inlined(nodes, others, **params)[1]))


def include(**more: Any) -> dict[str, Any]:
    return {"id": "left", "include": "inner", "inputs": {"image": "a.png"}, **more}


def test_ids_and_references_move_together() -> None:
    found = good([include()], {"inner": INNER})
    assert list(found) == ["left__load", "left__infer"]
    infer = found["left__infer"]
    assert infer.depends_on == ("left__load",)
    assert infer.foreach == {"in": "$left__load.images", "as": "one"}
    assert infer.inputs == {
        "image": "$one",
        "all": ["$left__load.images", {"x": "$left__load"}],
        "text": "at 0.5, $5",
    }
    assert found["left__load"].inputs == {"path": "a.png", "$$": "$$load"}


def test_a_condition_moves_outside_quotes_and_takes_parameters_as_constants() -> None:
    found = good([include()], {"inner": INNER})
    assert found["left__infer"].when == "0.5 < 1 and 'fast $load.x' != 'fast' and 0 < $left__load.size"


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, "True"), (None, "None"), ("a'b", '"a\'b"'), ([1, "x"], "[1, 'x']"), ("$load.on", "$load.on")],
)
def test_a_condition_that_is_a_parameter(value: Any, said: str) -> None:
    inner = {
        "workflow": {"params": {"on": None}},
        "nodes": [{"id": "load", "function": "n.x", "when": "${on}"}],
    }
    outer = [{"id": "load", "function": "n.y"}, {"id": "i", "include": "inner", "inputs": {"on": value}}]
    assert good(outer, {"inner": inner})["i__load"].when == said


def test_both_conditions_hold() -> None:
    found = good([include(when="${p} == 1 or $other.x")], {"inner": INNER}, p=1)
    assert found["left__load"].when == "${p} == 1 or $other.x"
    assert found["left__infer"].when is not None
    assert found["left__infer"].when.startswith("(${p} == 1 or $other.x) and (0.5 < 1 and")


def test_what_comes_before_the_include_comes_before_every_node() -> None:
    found = good([{"id": "a", "function": "n.a"}, include(depends_on=["a"])], {"inner": INNER})
    assert (found["left__load"].depends_on, found["left__load"].after) == ((), ("a",))
    assert (found["left__infer"].depends_on, found["left__infer"].after) == (("left__load",), ("a",))


def test_the_include_by_its_own_name_is_its_last_node() -> None:
    after = {
        "id": "after",
        "function": "n.a",
        "depends_on": ["left"],
        "when": "1 < $left.n and '$left' != 'x'",
        "foreach": "$left.items",
        "inputs": {"a": "$left.boxes.0", "b": ["$left", "$$left"], "c": "$left__load.image"},
    }
    found = good([include(), after], {"inner": INNER})["after"]
    assert found.depends_on == ("left__infer",)
    assert found.when == "1 < $left__infer.n and '$left' != 'x'"
    assert found.foreach == "$left__infer.items"
    assert found.inputs == {"a": "$left__infer.boxes.0", "b": ["$left__infer", "$$left"], "c": "$left__load.image"}


def test_a_reference_that_comes_in_speaks_of_the_outer_workflow() -> None:
    outer = [{"id": "load", "function": "n.l"}, include(inputs={"image": "$load.path"})]
    assert good(outer, {"inner": INNER})["left__load"].inputs["path"] == "$load.path"


def test_outer_parameters_reach_the_included_workflow() -> None:
    found = good([include(inputs={"image": "${p}.png", "conf": "${c}"})], {"inner": INNER}, p="a", c=0.25)
    assert found["left__load"].inputs["path"] == "a.png"
    assert found["left__infer"].inputs["text"] == "at 0.25, $5"


def test_nested() -> None:
    middle = {
        "workflow": {"params": {"file": "x.png"}},
        "nodes": [
            {"id": "in", "include": "inner", "inputs": {"image": "${file}"}},
            {"id": "end", "function": "n.e", "inputs": {"a": "$in.x", "b": "$in__load.y"}},
        ],
    }
    outer = [
        {"id": "out", "include": "middle", "inputs": {"file": "b.png"}},
        {"id": "z", "function": "n.z", "inputs": {"a": "$out.q", "b": "$out__in__load.image"}},
    ]
    found = good(outer, {"middle": middle, "inner": INNER})
    assert list(found) == ["out__in__load", "out__in__infer", "out__end", "z"]
    assert found["out__in__load"].inputs["path"] == "b.png"
    assert found["out__in__infer"].when is not None and found["out__in__infer"].when.endswith("$out__in__load.size")
    assert found["out__end"].inputs == {"a": "$out__in__infer.x", "b": "$out__in__load.y"}
    assert found["z"].inputs == {"a": "$out__end.q", "b": "$out__in__load.image"}


def test_twice_under_two_names() -> None:
    found = good([include(), include(id="right", inputs={"image": "b.png"})], {"inner": INNER})
    assert found["left__load"].inputs["path"] == "a.png"
    assert found["right__load"].inputs["path"] == "b.png"


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (include(inputs={}), "parameter 'image' of 'inner' has no value; give 'image' under 'inputs'"),
        (include(inputs={"image": "a", "cnf": 1}), "workflow 'inner' has no parameter 'cnf'; did you mean 'conf'?"),
        (include(inputs={"image": "a", "conf": "high"}), "parameter 'conf' of 'inner': expected number, found 'high'"),
        (include(inputs={"image": "${nobody}"}), "no parameter 'nobody'"),
        (
            include(inputs={"image": "$a.n == 2 or true"}),
            "parameter 'image' of 'inner': '$a.n == 2 or true' is no reference",
        ),
        (include(include="iner"), "there is no workflow 'iner'"),
        (include(include="w"), "workflows include each other in a circle: w -> w"),
        (include(include="./w.json"), "workflows include each other in a circle: w -> w"),
        (
            include(inputs={"image": "a", "conf": "$a.conf"}),
            "parameter 'conf' of 'inner' is put into a longer text there, which takes no reference",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(node: dict[str, Any], said: str) -> None:
    found = wrong([node], {"inner": INNER})
    assert said in found
    assert found.startswith("w.json:1:")


def test_what_a_node_of_an_included_workflow_lacks_is_told_in_its_own_words() -> None:
    """It was told at the include, by the long name, as a step of the outer workflow."""
    inner = {
        **INNER,
        "nodes": [INNER["nodes"][0], {"id": "infer", "function": "n.infer", "depends_on": ["lod", "infer"]}],
    }
    told = wrong([include(depends_on=["left__lod"])], {"inner": inner}).splitlines()
    assert [one.partition(": ")[2] for one in told] == [
        "step 'infer' depends on unknown step 'lod'; did you mean 'load'?",
        "step 'infer' depends on itself",
        "step 'left' depends on unknown step 'left__lod'; did you mean 'left__load'?",
    ]
    assert [one.partition(":")[0] for one in told] == ["inner.json", "inner.json", "w.json"]


def test_a_circle_through_others() -> None:
    a = {"nodes": [{"id": "x", "include": "b"}]}
    b = {"nodes": [{"id": "y", "include": "a"}]}
    assert "in a circle: w -> a -> b -> a" in wrong([{"id": "n", "include": "a"}], {"a": a, "b": b})


def test_a_text_cannot_include() -> None:
    problems: list[Problem] = []
    inline(parse(json.dumps({"nodes": [include()]}).encode(), "w.json", "w"), {}, None, problems)
    assert "a workflow given as text cannot include another" in str(problems[0])


def test_without_includes_nothing_is_made_anew() -> None:
    workflow = parse(b'{"nodes": [{"id": "a", "function": "n.a"}]}', "w.json", "w")
    assert inline(workflow, {}, None, []) is workflow


@pytest.mark.parametrize("order", [1, -1])
def test_an_id_that_an_include_brings_in_is_taken(order: int) -> None:
    """One of the two steps was dropped without a word, and which depended on their order."""
    found = wrong([include(), {"id": "left__load", "function": "n.load"}][::order], {"inner": INNER})
    assert "node id 'left__load' is used twice; 'left' brings it in from 'inner'" in found


def test_pools_come_along() -> None:
    others: Documents = {
        "a": {"workflow": {"settings": {"pools": {"gpu": 2, "disk": "2GB", "net": 3}}}, "nodes": []},
        "b": {"workflow": {"settings": {"pools": {"disk": "900MB"}}}, "nodes": [{"id": "a", "include": "a"}]},
    }
    nodes = [{"id": "one", "include": "a"}, {"id": "two", "include": "b"}]
    text = json.dumps({"workflow": {"settings": {"pools": {"gpu": 1}}}, "nodes": nodes}).encode()
    found = inline(
        parse(text, "w.json", "w"), {}, lambda name, _: parse(json.dumps(others[name]).encode(), name, name), []
    )
    assert found.settings.pools == {"gpu": 1, "disk": "900MB", "net": 3}
