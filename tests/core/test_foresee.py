"""What would fail at its turn whatever the steps before it give is told before anything runs."""

from __future__ import annotations

import os
from typing import Any

import pytest
from space import Space

from wfe.core.when import WhenError, check, split
from wfe.errors import ExitCode, WorkflowError

NODES = """
@workflow_node(outputs={"n": int})
def give(n: int = 1, ns: list = []):
    return {"n": n}
"""
ZERO = "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("text", "params", "said"),
    [
        ("1 / 0", [], f"{ZERO}, in 1 / 0"),
        ("$a and 1/0 > 2", [], f"{ZERO}, in 1 / 0"),
        ("len($a) / 0 > 2", [], ""),  # an operation with a value that only the run gives: not looked into
        ("$a or true or 1/0", [], ""),
        ("false and 1/0", [], ""),
        ("10 / ${n} > 2", [0], f"{ZERO}, in 10 / _p0"),
        ("${n} > 0 and 10 / ${n} > 2", [0, 0], ""),
        ("$a and 10 / ${n} > 2", [0], ""),  # $a may be what keeps it from that
        ("$a == 1 < ${n} < 'x'", [3], ""),
        ("1 < 2 < 'x'", [], "TypeError: '<' not supported between instances of 'int' and 'str', in 1 < 2 < 'x'"),
        ("3 < 2 < 'x'", [], ""),
        ("1 < $a < 'x'", [], ""),
        ("not len(3) or $a", [], "TypeError: object of type 'int' has no len(), in len(3)"),
        ("[1, 2][5] == $a", [], "IndexError: list index out of range, in [1, 2][5]"),
        ("-'a' == $a", [], "TypeError: bad operand type for unary -: 'str', in -'a'"),
        ("'a' * 3 == $a", [], "* takes numbers, in 'a' * 3"),
        ("$a in ['x', 1 / 0]", [], f"{ZERO}, in 1 / 0"),
        ("'${'[0] == \"$\" or $a.b[0] > max(1, $c)", [], ""),
    ],
)
def test_a_condition(text: str, params: list[Any], said: str) -> None:
    expression = split(text)[0]
    values = {f"_p{index}": value for index, value in enumerate(params)}
    if not said:
        check(expression, values)
        return
    with pytest.raises(WhenError) as caught:
        check(expression, values)
    assert str(caught.value) == said


def told(space: Space, *nodes: dict[str, Any], **params: Any) -> list[str]:
    """What is said of a workflow of these nodes; nothing may have been run."""
    space.nodes(NODES)
    space.workflow(({"function": "n.give", **one} if "include" not in one else one for one in nodes), params=params)
    with pytest.raises(WorkflowError) as caught:
        space.run()
    assert caught.value.code is ExitCode.WORKFLOW and not (space.cache / "steps").exists()
    assert all(one.place.line for one in caught.value.problems)
    return [one.message for one in caught.value.problems]


FAN = {"id": "fan", "foreach": [1, 2, 3], "inputs": {"n": "$item"}}


def test_an_item_that_a_fan_does_not_have(space: Space) -> None:
    found = told(
        space,
        FAN,
        {"id": "a", "inputs": {"n": "$fan.9.n"}},
        {"id": "b", "inputs": {"ns": ["$fan.2.n", {"x": "$fan.3.n"}]}},
        {"id": "c", "foreach": "$fan.3.n", "inputs": {"n": "$item"}},
        {"id": "d", "when": "$fan.3.n > 1"},
        {"id": "one", "matrix": {"n": [4]}, "inputs": {"n": "$matrix.n"}},
        {"id": "e", "inputs": {"n": "$one.1.n"}},
    )
    has = "step 'fan' has 3 items, the last is $fan.2"
    assert found == [
        f"step 'a': $fan.9.n: {has}",
        f"step 'b': $fan.3.n: {has}",
        f"step 'c': $fan.3.n: {has}",
        f"step 'd': $fan.3.n: {has}",
        "step 'e': $one.1.n: step 'one' has 1 item, the last is $one.0",
    ]


def test_conditions_of_steps_and_of_items(space: Space) -> None:
    found = told(
        space,
        {"id": "a", "when": "1 / 0"},
        {"id": "b", "when": "10 / ${zero} > 2"},
        {"id": "c", "foreach": [1, "q", "r"], "when": "$item > 2"},
        {"id": "d", "foreach": [1, 2], "when": "$item == 3 and $item / ${zero}"},
        zero=0,
    )
    assert found == [
        f"step 'a': 'when': {ZERO}, in 1 / 0",
        f"step 'b': 'when': {ZERO}, in 10 / ${{zero}}",
        "step 'c[q]': 'when': TypeError: '>' not supported between instances of 'str' and 'int', in $item > 2",
    ]


def test_what_a_condition_may_leave_out_is_not_told(space: Space) -> None:
    space.nodes(NODES)
    step = {"id": "inner", "function": "n.give", "when": "10 / ${n} > 2"}
    space.workflow([step], name="part", params={"n": 1})
    space.workflow(
        [
            {"function": "n.give", **FAN},
            {"id": "a", "function": "n.give", "when": "${many}", "inputs": {"n": "$fan.9.n"}},
            {"id": "none", "function": "n.give", "foreach": "${items}", "when": "10 / ${zero} > 1"},
            {"id": "part", "include": "part", "when": "$fan.0.n > 5", "inputs": {"n": 0}},
        ],
        params={"many": False, "items": [], "zero": 0},
    )
    space.run()
    assert space.last is not None and space.last.code is ExitCode.OK
    space.skipped("a", "part__inner")


def test_nothing_is_said_of_a_parameter_without_a_value(space: Space) -> None:
    found = told(
        space,
        {"id": "fan", "foreach": "${items}", "inputs": {"n": "$item"}},
        {"id": "a", "inputs": {"n": "$fan.0.n"}},
        {"id": "b", "when": "10 / ${count} > 1"},
        items={"type": "array", "required": True},
        count={"type": "integer", "required": True},
    )
    assert found == ["parameter 'items' has no value", "parameter 'count' has no value"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("target", ["in.txt", "gone.txt"])
def test_a_link_that_leads_nowhere(space: Space, target: str) -> None:
    """It stands in its directory, so it was offered as what was perhaps meant."""
    space.nodes("@workflow_node()\ndef f(path: Path) -> dict: return {}\n")
    space.workflow([{"id": "f", "inputs": {"path": "in.txt"}}])
    (space.root / "in.txt").symlink_to(target)
    said = rf"there is no file 'in\.txt'; there is a link of this name, which leads nowhere: to '{target}'"
    with pytest.raises(WorkflowError, match=said):
        space.run()
