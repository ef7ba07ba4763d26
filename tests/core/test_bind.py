"""Binding the parameters of a node: explicit inputs, auto-injection, and what is told when they do not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wfe.core.parse import parse
from wfe.core.planner import Code, Placed, plan
from wfe.core.signature import Signature
from wfe.core.source import source_of
from wfe.core.step import Binding, Step
from wfe.errors import Place, WorkflowError

NODES = source_of(
    """
@workflow_node(outputs={"image": np.ndarray, "size": int})
def load(path: Path): ...
@workflow_node(outputs={"image": np.ndarray, "boxes": list[int]})
def other(): ...
@workflow_node()
def unknown(): return compute()
@workflow_node()
def nothing(): pass
@workflow_node()
def blur(image, size: int = 3, boxes: list[int] | None = None): return {"image": image}
@workflow_node()
def count(size: int): return {"n": size}
@workflow_node()
def text(size: str): return {}
@workflow_node()
def texts(size: str = "x"): return {}
@workflow_node()
def write(image, to: Output): ...
@workflow_node()
def read(to: Path): ...
@workflow_node()
def paths(files: list[Path], more: Path | None = None): ...
@workflow_node()
def free(a: int = 1, **rest): ...
""",
    "nodes.n",
)


class Catalogue:
    def find(self, function: str) -> Signature | None:
        return NODES.signatures.get(function.removeprefix("n."))

    def names(self) -> list[str]:
        return [f"n.{name}" for name in NODES.signatures]

    def code(self, signature: Signature) -> Code:
        return Code(signature.name)

    def place(self, signature: Signature) -> Place:
        return Place("nodes/n.py", signature.line, signature.column)


def steps(*nodes: dict[str, Any], **params: Any) -> dict[str, Step]:
    document = {"workflow": {"params": params}, "nodes": [{"function": f"n.{node['id']}", **node} for node in nodes]}
    workflow = parse(json.dumps(document).encode(), "w.json", "w")
    made = plan(workflow, {}, Catalogue(), lambda asked: {one[0].id: Placed("here") for one in asked})
    return dict(made.steps)


def bound(node: dict[str, Any], *before: dict[str, Any], **params: Any) -> dict[str, Binding]:
    return dict(steps(*before, node, **params)[node["id"]].inputs)


def wrong(*nodes: dict[str, Any], **params: Any) -> str:
    with pytest.raises(WorkflowError) as caught:
        steps(*nodes, **params)
    assert all(problem.place.line for problem in caught.value.problems)
    return str(caught.value)


LOAD = {"id": "load", "inputs": {"path": "a.png"}}
OTHER = {"id": "other"}
UNKNOWN = {"id": "unknown"}


def node(name: str, depends_on: list[str] | None = None, **inputs: Any) -> dict[str, Any]:
    return {"id": name, "depends_on": depends_on or [], "inputs": inputs}


def test_an_output_of_the_same_name_is_injected() -> None:
    found = bound(node("blur", ["load"]), LOAD)
    assert found["image"].refs == (((), "load", ("image",)),) and not found["image"].late
    assert found["size"].refs == (((), "load", ("size",)),) and found["size"].spare
    assert "boxes" not in found


def test_an_explicit_input_is_never_injected_over() -> None:
    found = bound(node("blur", ["load"], size=5), LOAD)
    assert found["size"] == Binding("value", 5, spare=True)
    assert bound(node("blur", ["load"], image=None), LOAD)["image"].value is None


def test_only_what_is_depended_on_is_injected() -> None:
    assert "size" not in bound(node("blur", [], image="$load.image"), LOAD)
    assert "input 'size' (int) is missing" in wrong(LOAD, node("count", ["other"]), OTHER)


def test_a_dependency_twice_is_one() -> None:
    assert bound(node("count", ["load", "load"]), LOAD)["size"].refs == (((), "load", ("size",)),)


def test_two_candidates_are_refused_with_both() -> None:
    found = wrong(LOAD, OTHER, node("blur", ["load", "other"]))
    assert "input 'image' could come from $load.image or $other.image" in found
    assert 'say which: "inputs": {"image": "$load.image"}' in found


def test_an_unknown_result_is_asked_late() -> None:
    found = bound(node("blur", ["unknown"]), UNKNOWN)
    assert found["image"] == Binding("value", None, (((), "unknown", ("image",)),), True, False, True)
    assert found["size"].late and found["size"].spare
    certain = bound(node("blur", ["unknown", "load"]), UNKNOWN, LOAD)
    assert certain["image"].refs == (((), "load", ("image",)),) and not certain["image"].late


def test_two_unknown_results_are_both_asked() -> None:
    document = [{"id": "u1", "function": "n.unknown"}, {"id": "u2", "function": "n.unknown"}]
    found = bound(node("count", ["u1", "u2"]), *document)
    assert [ref[1] for ref in found["size"].refs] == ["u1", "u2"]


def test_an_output_of_another_type_is_passed_over_where_there_is_a_default() -> None:
    assert "size" not in bound(node("texts", ["load"]), LOAD)
    assert "input 'size' must be str, but $load.size is int; bind it explicitly" in wrong(LOAD, node("text", ["load"]))


def test_a_written_file_is_an_output_and_is_never_injected_into_another_output() -> None:
    write = node("write", ["load"], to="b.png")
    found = bound(node("read", ["write"]), LOAD, write)
    assert found["to"] == Binding("file", None, (((), "write", ("to",)),))
    second = {"id": "again", "function": "n.write", "depends_on": ["write"], "inputs": {"image": 1}}
    assert "input 'to' (Output) is missing; give it a path to write to" in wrong(LOAD, write, second)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (node("count", size="x"), "input 'size' must be int, found a text ('x')"),
        (node("count", size=True), "input 'size' must be int, found true"),
        (node("count", size=None), "input 'size' must be int, found null"),
        (node("count", size="$load.image"), "input 'size' must be int, but $load.image is array"),
        (node("count", size=1, siz=1), "'n.count' has no input 'siz'; did you mean 'size'?"),
        (node("nothing", x=1), "'n.nothing' has no input 'x'; it takes no inputs"),
        (node("count", size="$laod.size"), "input 'size' refers to unknown step 'laod'; did you mean 'load'?"),
        (
            node("count", size="$load.siz"),
            "refers to output 'siz', which step 'load' does not have; did you mean 'size'?",
        ),
        (
            node("count", size="$nothing2.x"),
            "refers to output 'x', which step 'nothing2' does not have; it returns nothing",
        ),
        (node("count", size="$count.n"), "input 'size' refers to the step itself"),
        (node("count", size="$ load"), "'$ load' is no reference"),
        (node("count", size="${sise}"), "no parameter 'sise'; known: size_of"),
        (node("count"), "input 'size' (int) is missing; give it a value under 'inputs'"),
        (node("count", ["laod"], size=1), "depends on unknown step 'laod'; did you mean 'load'?"),
        (node("count", ["count"], size=1), "step 'count' depends on itself"),
        (node("paths", files="a.png"), "input 'files' must be list[Path], found a text ('a.png')"),
        (node("write", image=1, to="$load"), "the path of output 'to' must be known before the run"),
        (node("write", image=1, to="out/"), "output 'to' must name a file, found 'out/'"),
        (node("write", image=1, to=""), "output 'to' must name a file, found ''"),
        (node("write", image=1, to=3), "input 'to' must be Output, found a whole number (3)"),
        (node("free", b="$nobody"), "refers to unknown step 'nobody'"),
    ],
)
def test_what_is_wrong(bad: dict[str, Any], said: str) -> None:
    found = wrong(LOAD, {"id": "nothing2", "function": "n.nothing"}, bad, size_of=1)
    assert said in found
    assert found.startswith("w.json:1:") and found.count("\n") == 0, found


def test_all_that_is_wrong_is_told_in_the_order_of_the_document() -> None:
    found = wrong(node("count", size="x"), node("blur", image="$nobody.x", sise=1), node("nothing", ["gone"]))
    assert [line.split("'")[1] for line in found.splitlines()] == ["count", "blur", "blur", "nothing"]


def test_two_that_write_the_same_file() -> None:
    one, two = (
        node("write", image=1, to="out/a.png"),
        {"id": "w2", **{"function": "n.write"}, "inputs": {"image": 1, "to": "out/./a.png"}},
    )
    found = wrong(one, two)
    assert "step 'w2' writes 'out/./a.png', and so does step 'write'; the other is at w.json:1:" in found


def test_references_inside_a_tree() -> None:
    found = bound(node("free", boxes={"a": ["$load.size", 1, "$$x"]}, n="${p}"), LOAD, p={"q": 2})
    assert found["boxes"] == Binding(
        "value", {"a": [None, 1, "$x"]}, ((("a", 0), "load", ("size",)),), spare=True, nullable=True
    )
    assert found["n"].value == {"q": 2}


def test_references_make_edges_in_order() -> None:
    made = steps(LOAD, OTHER, node("blur", ["other"], image="$load.image"))
    assert made["blur"].needs == ("other", "load")


def test_files() -> None:
    made = steps(node("paths", files=["a", "b"], more="c"))
    assert made["paths"].inputs["files"].kind == "file" and made["paths"].files() == ["a", "b", "c"]
    assert made["paths"].inputs["more"].nullable and made["paths"].inputs["more"].spare


def test_a_file_that_another_step_writes_is_its_output() -> None:
    made = steps(node("read", to="./out/a.png"), node("write", image=1, to="out/a.png"))
    assert made["read"].needs == ("write",) and made["read"].inputs["to"].refs == (((), "write", ("to",)),)
    assert list(made) == ["write", "read"]


def test_a_fan_offers_lists() -> None:
    fan = {"id": "fan", "function": "n.count", "foreach": [1, 2], "inputs": {"size": "$item"}}
    assert "must be int, but $fan.n is list" in wrong(fan, node("count", size="$fan.n")).replace("list[Any]", "list")
    assert bound(node("count", size="$fan.0.n"), fan)["size"].refs == (((), "fan", (0, "n")),)


def test_a_doubled_dollar_is_a_plain_one() -> None:
    found = bound(node("free", x="$${HOME}", y="a $$5", z="$$${p}", k={"l": ["$$p.x"]}), p="3")
    assert [found[name].value for name in "xyzk"] == ["${HOME}", "a $5", "$3", {"l": ["$p.x"]}]


@pytest.mark.parametrize("value", ["$5", "$load.size", "${q}", "$$", "a$$b"])
def test_a_parameters_value_is_data(value: str) -> None:
    found = bound(node("free", x="${p}", y="${p}!", z="at ${p}", k=["${p}"]), LOAD, p=value, q="other")
    assert [found[name].value for name in "xyzk"] == [value, f"{value}!", f"at {value}", [value]]
    assert not any(one.refs for one in found.values())
