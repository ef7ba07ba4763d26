"""A dollar in a text: what a document writes for it, and that a value is never read as notation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from space import Space

NODES = """
@workflow_node(outputs={"v": Any})
def give(v: Any, more: Any = None):
    return {"v": [v, more]}

@workflow_node(outputs={"n": int})
def write(x: Any, to: Output):
    to.write_text(str(x))
    return {"n": 1}
"""

VALUES = ["$5", "$b.v", "${HOME}", "$$", "a$$b", "it's $1"]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_given_on_the_command_line_is_data(space: Space, value: str) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "give", "inputs": {"v": "${price}", "more": "is ${price}"}, "when": "${price} != 'no'"},
            {
                "id": "fan",
                "function": "n.give",
                "foreach": ["${price}", 1],
                "inputs": {"v": "$item", "more": "of ${item}"},
            },
            {"id": "write", "foreach": ["a"], "inputs": {"x": "${price}", "to": "out/$${price}-${item}.txt"}},
        ],
        params={"price": "no"},
    )
    space.run(price=value)
    assert space.value("give") == {"v": [value, f"is {value}"]}
    fan = sorted(name for name in space.last.outcomes if name.startswith("fan["))
    assert {"v": [value, f"of {value}"]} in [space.value(name) for name in fan]
    assert (space.root / "out" / "${price}-a.txt").read_text() == value
    space.workflow(
        [
            {
                "id": "give",
                "inputs": {"v": 1},
                "when": "${price} == 'x" + value.replace("$", "$$").replace("'", chr(92) + "'") + "'",
            }
        ],
        params={"price": "no"},
    )
    assert space.run(price="x" + value).outcomes["give"].state.value == "ran"


@pytest.mark.parametrize("value", VALUES)
def test_so_it_is_behind_an_include(space: Space, value: str) -> None:
    space.nodes(NODES)
    inner: dict[str, Any] = {
        "workflow": {"params": {"a": "no", "b": {"type": "string", "default": value}}},
        "nodes": [
            {"id": "give", "function": "n.give", "inputs": {"v": "${a}", "more": "${b}"}, "when": "${a} != 'no'"}
        ],
    }
    space.file("workflows/inner.json", json.dumps(inner))
    space.workflow([{"id": "in", "include": "inner", "inputs": {"a": "${price}"}}], params={"price": "no"})
    space.run(price=value)
    assert space.value("in__give") == {"v": [value, value]}


def test_a_literal_one_in_every_place(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "give", "inputs": {"v": "$${HOME}", "more": "a $$ b"}},
            {
                "id": "fan",
                "function": "n.give",
                "foreach": ["$$x"],
                "inputs": {"v": "$item", "more": "$${key} ${item} $$"},
            },
            {"id": "write", "inputs": {"x": 1, "to": "out/$${x}.txt"}},
        ]
    )
    space.run()
    assert space.value("give") == {"v": ["${HOME}", "a $ b"]}
    assert space.value("fan[_x]") == {"v": ["$x", "${key} $x $"]}
    assert (space.root / "out" / "${x}.txt").is_file()
