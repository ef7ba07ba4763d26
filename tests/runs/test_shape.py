"""when and include: what decides is shown, dependants follow the rule of Skip, included workflows are bound."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from space import Space

from wfe.core.outcome import StepState
from wfe.core.when import WhenError, evaluate, split
from wfe.errors import WfeError, WorkflowError

NODES = """
@workflow_node(outputs={"n": int, "text": str})
def give(n: int, text: str = "t"):
    return {"n": n, "text": text}

@workflow_node(outputs={"got": Any})
def strict(n: int):
    return {"got": n}

@workflow_node(outputs={"got": Any})
def default(n: int = 7):
    return {"got": n}

@workflow_node(outputs={"got": Any})
def nullable(n: int | None):
    return {"got": n}
"""


def conditional(space: Space, when: str, n: int = 3, **params: Any) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "first", "function": "n.give", "inputs": {"n": n}},
            {"id": "give", "when": when, "inputs": {"n": "$first.n"}},
            *({"id": name, "inputs": {"n": "$give.n"}} for name in ("strict", "default", "nullable")),
            {"id": "behind", "function": "n.strict", "inputs": {"n": "$strict.got"}},
        ],
        params={"draw": True, "most": 3, "word": "it's", "sizes": {"a": 1}, "many": [*range(5000)], **params},
    )


@pytest.mark.parametrize(
    "when",
    [
        "$first.n > 2",
        "${draw}",
        "$first.n <= ${most} and not ${most} > 3",
        '${word} == "it\'s"',
        "${sizes}['a'] == 1 and 999 in ${many}",
        "len($first.text) == 1",
    ],
)
def test_a_condition_that_holds(space: Space, when: str) -> None:
    conditional(space, when)
    found = space.run()
    assert {one.state.value for one in found.outcomes.values()} <= {"ran", "restored"}
    assert space.value("give") == {"n": 3, "text": "t"}
    space.run()
    space.nothing_ran()


def test_one_that_does_not_shows_the_values_and_dependants_follow_the_rule(space: Space) -> None:
    conditional(space, "$first.n > 2 and ${draw}", n=2)
    found = space.run()
    space.skipped("give", "strict", "behind")
    space.ran("first", "default", "nullable")
    assert space.value("default") == {"got": 7}
    assert space.value("nullable") == {"got": None}
    assert found.outcomes["give"].skip == (
        "its condition '$first.n > 2 and ${draw}' does not hold (${draw} is true, $first.n is 2)"
    )
    assert "it needs step 'give', which was skipped" in found.outcomes["strict"].skip
    assert found.code == 0
    conditional(space, "$first.n > 2 and ${draw}", n=3)
    space.run()
    assert space.value("behind") == {"got": 3}


def test_a_long_value_is_told_by_what_it_is(space: Space) -> None:
    conditional(space, "5000 in ${many}")
    told = space.run().outcomes["give"].skip
    assert "(${many} is #" in told and "(list of 5000))" in told


@pytest.mark.parametrize(("when", "ran"), [("$give.n > 2", False), ("$give.n == null or $give.n > 2", True)])
def test_a_condition_on_what_was_skipped(space: Space, when: str, ran: bool) -> None:
    """The rule of Skip once more: what can do without gets None, what cannot is skipped, and nothing fails."""
    space.nodes(NODES)
    asks = {"id": "asks", "function": "n.give", "when": when, "inputs": {"n": 1}}
    space.workflow(
        [
            {"id": "first", "function": "n.give", "inputs": {"n": 2}},
            {"id": "give", "when": "$first.n > 2", "inputs": {"n": 1}},
            asks,
            {**asks, "id": "each", "foreach": [1], "inputs": {"n": "$item"}},
        ]
    )
    found = space.run()
    assert found.code == 0
    assert found.of(StepState.SKIPPED) == {"give", *(() if ran else ("asks", "each[1]"))}
    if not ran:
        assert found.outcomes["asks"].skip == "its condition needs step 'give', which was skipped"


def test_a_parameter_turns_it(space: Space) -> None:
    conditional(space, "${draw}")
    space.run(draw="false")
    space.skipped("give", "strict", "behind")
    space.run(draw="true")
    assert space.value("default") == {"got": 3}


def test_a_condition_whose_values_do_not_fit_fails_its_step(space: Space) -> None:
    conditional(space, "$first.text > 2")
    found = space.run()
    space.failed("give")
    assert "TypeError" in found.failure("give")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "().__class__",
        "[x for x in [1]]",
        "lambda: 1",
        "$a.b.upper()",
        "open('x')",
        "x := 1",
        "f'{1}'",
        "9 ** 9",
        "a if b else c",
        "1 +",
        "{}[0]",
    ],
)
def test_what_is_not_of_the_language(text: str) -> None:
    with pytest.raises(WhenError):
        split(text)


def test_the_language() -> None:
    for text, wanted in (
        ("$a.b > 1", True),
        ("1 < $a.b < 3", True),
        ("$a.b in [1, 2]", True),
        ("'$a.b' == '$a.b'", True),
        ("not ($a.b == 2 or false)", False),
        ("min($a.b, 5) + 1 == 3 and null is null", True),
    ):
        expression, refs, _ = split(text)
        assert evaluate(expression, {f"_r{number}": 2 for number in range(len(refs))}) is wanted, text


def including(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "one", "function": "n.give", "inputs": {"n": "${n}", "text": "${text}"}},
            {"id": "two", "function": "n.strict", "inputs": {"n": "$one.n"}},
        ],
        "inner",
        params={"n": {"type": "integer", "required": True}, "text": "x"},
    )
    space.workflow([{"id": "deep", "include": "inner", "inputs": {"n": "${m}"}}], "middle", params={"m": 4})
    space.workflow(
        [
            {"id": "first", "function": "n.give", "inputs": {"n": 1}},
            {"id": "left", "include": "inner", "inputs": {"n": "$first.n", "text": "${word}"}},
            {"id": "right", "include": "middle", "inputs": {"m": 9}},
            {"id": "last", "function": "n.strict", "inputs": {"n": "$left.got"}, "depends_on": ["right"]},
            {"id": "part", "function": "n.strict", "inputs": {"n": "$right__deep__one.n"}},
        ],
        params={"word": "w"},
    )


def test_include_binds_inputs_and_leads_ids_by_its_own(space: Space) -> None:
    including(space)
    found = space.run()
    names = {"first", "left__one", "left__two", "right__deep__one", "right__deep__two", "last", "part"}
    assert set(found.outcomes) == names
    assert space.value("left__one") == {"n": 1, "text": "w"}
    assert space.value("last") == {"got": 1}
    assert space.value("part") == {"got": 9}
    assert sum(found.events[-1].counts.values()) == len(names)  # type: ignore[union-attr]
    space.run()
    space.nothing_ran()
    space.edit("workflows/inner.json", '"x"', '"y"')
    space.run()
    space.ran("right__deep__one")


def test_what_an_include_depends_on_comes_before_it_and_gives_it_nothing(space: Space) -> None:
    """An output of the same name went into a parameter that the included workflow had left to its default."""
    including(space)
    space.nodes(
        NODES + "\n@workflow_node(outputs={'n': int, 'text': str})\ndef other(): return {'n': 9, 'text': 'z'}\n"
    )
    space.workflow([{"id": "one", "function": "n.give", "inputs": {"n": 2}}], "inner")
    nodes = [{"id": "other"}, {"id": "left", "include": "inner", "depends_on": ["other"]}]
    space.workflow([*nodes, {"id": "deep", "include": "middle", "depends_on": ["left"]}])
    space.workflow([{"id": "it", "include": "inner"}], "middle")
    space.run()
    assert space.value("left__one") == space.value("deep__it__one") == {"n": 2, "text": "t"}
    order = list(space.last.outcomes)  # type: ignore[union-attr]
    assert order.index("other") < order.index("left__one") < order.index("deep__it__one")


def test_a_path_that_is_included_is_the_projects_wherever_one_stands(space: Space) -> None:
    """The plan would depend on it, and is remembered without it."""
    space.nodes(NODES)
    for folder, number in (("", 1), ("sub/", 2)):
        node = {"id": "one", "function": "n.give", "inputs": {"n": number}}
        space.file(f"{folder}parts/inner.json", json.dumps({"workflow": {}, "nodes": [node]}))
    space.workflow([{"id": "in", "include": "parts/inner.json"}])
    with contextlib.chdir(space.root / "sub"):
        space.run()
    assert space.value("in__one")["n"] == 1


def test_another_document_of_an_included_name_is_noticed(space: Space) -> None:
    including(space)
    space.run()
    space.run()
    space.file("workflows/inner.yaml", "workflow: {name: inner}\nnodes: []\n")
    with pytest.raises(WfeError, match="two documents: inner.json, inner.yaml"):
        space.run()


def test_a_parameter_reaches_an_included_step(space: Space) -> None:
    including(space)
    space.run()
    space.run(word="other")
    space.ran("left__one")


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"include": "inner"}, "parameter 'n' of 'inner' has no value"),
        ({"include": "inner", "inputs": {"n": "x"}}, "expected integer"),
        ({"include": "inner", "inputs": {"n": 1, "tex": 1}}, "did you mean 'text'"),
        ({"include": "iner", "inputs": {}}, "did you mean 'inner'"),
        ({"include": "inner", "inputs": {"n": 1}, "depends_on": ["b"]}, "step 'a' depends on unknown step 'b'"),
        ({"include": "w", "inputs": {}}, "include each other in a circle: w -> w"),
        ({"include": "loop", "inputs": {}}, "in a circle: w -> loop -> w"),
    ],
)
def test_what_is_wrong_with_an_include(space: Space, node: dict[str, Any], said: str) -> None:
    including(space)
    space.workflow([{"id": "again", "include": "w"}], "loop")
    space.workflow([{"id": "a", **node}])
    with pytest.raises(WorkflowError) as caught:
        space.run()
    assert said in str(caught.value)
    assert "workflows/w.json:" in str(caught.value) or "workflows/loop.json:" in str(caught.value)
    assert len(caught.value.problems) == 1


def test_an_included_fan_and_a_fan_over_an_included_step(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"items": list})
        def items(n: int):
            return {"items": list(range(n))}

        @workflow_node(outputs={"got": int})
        def each(n: int):
            return {"got": n * 10}

        @workflow_node(outputs={"sum": int})
        def total(got: list):
            return {"sum": sum(got)}
        """
    )
    space.workflow(
        [
            {"id": "items", "inputs": {"n": "${count}"}},
            {"id": "each", "foreach": "$items.items", "inputs": {"n": "$item"}},
        ],
        "inner",
        params={"count": 2},
    )
    space.workflow(
        [
            {"id": "left", "include": "inner", "inputs": {"count": 3}},
            {"id": "again", "function": "n.each", "foreach": "$left.got", "inputs": {"n": "$item"}},
            {"id": "total", "inputs": {"got": "$again.got"}},
        ]
    )
    found = space.run()
    assert found.code == 0, found.outcomes
    assert space.value("total") == {"sum": 300}
    space.run()
    space.nothing_ran()
