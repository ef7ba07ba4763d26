"""The small pure parts: order, digests, results, manifests, the verdict on a step, retries, conditions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfe.core.digest import canonical, digest_of
from wfe.core.fan import expand, key_of, keys_of
from wfe.core.graph import Cycle, closure, order, reverse
from wfe.core.manifest import diff, manifest_of, value_text
from wfe.core.manifest import key_of as action_key
from wfe.core.rebuild import Facts, Verdict, decide
from wfe.core.result import Artifact, Missing, Result, dig_fan, put
from wfe.core.retry import Retry
from wfe.core.step import Binding, Fan, Options, Step
from wfe.core.when import WhenError, evaluate, renamed, split

# --- graph


def test_the_order_is_that_of_the_document_where_it_can_be() -> None:
    assert order({"b": [], "a": [], "c": ["a"]}) == ["b", "a", "c"]
    assert order({"c": ["a", "b"], "b": [], "a": ["b"], "d": []}) == ["b", "a", "c", "d"]
    assert order({"a": ["elsewhere"]}) == ["a"]
    assert order({}) == []


@pytest.mark.parametrize("forward", [True, False])
def test_a_chain_of_a_hundred_thousand(forward: bool) -> None:
    count = 100_000
    names = range(count) if forward else range(count - 1, -1, -1)
    needs = {name: [name - 1] if name else [] for name in names}
    assert order(needs) == list(range(count))
    assert len(closure([count - 1], needs)) == count


@pytest.mark.parametrize(
    ("needs", "path"),
    [
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, ["a", "b", "a"]),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c", "a"]),
    ],
)
def test_a_cycle_is_told_as_a_path(needs: dict[str, list[str]], path: list[str]) -> None:
    with pytest.raises(Cycle) as caught:
        order(needs)
    assert caught.value.path == path


def test_closures_and_reverses() -> None:
    needs = {"a": [], "b": ["a", "a"], "c": ["b"], "d": []}
    assert closure(["c"], needs) == {"a", "b", "c"}
    assert reverse(needs) == {"a": ["b"], "b": ["c"], "c": [], "d": []}


# --- digest


def test_values_that_differ_have_digests_that_differ() -> None:
    values = [1, 1.0, True, "1", None, "null", 0, -0.0, 0.0, False, "", [], {}, [[]], [1, 2], [2, 1], [12], math.nan,
              math.inf, -math.inf, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": None}, "\ud800", "\ufffd", "é", "e\u0301"]  # fmt: skip
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of(math.nan) == digest_of(float("nan"))
    assert all(len(digest_of(value)) == 32 for value in values)


def test_canonical_keeps_order_and_spends_no_space() -> None:
    assert canonical({"b": [1, 1.0, True], "a": "é"}) == '{"b":[1,1.0,true],"a":"é"}'


# --- result

TREE = {"boxes": [{"x": 1}, {"x": 2}], "0": "zero", "image": None}
RESULT = Result(TREE, (Artifact(("image",), "npy", "d" * 32, "float32[2]"),))


@pytest.mark.parametrize(
    ("trail", "value"),
    [((), TREE), (("boxes", 1, "x"), 2), ((0,), "zero"), (("0",), "zero"), (("image",), None)],
)
def test_digging(trail: tuple[Any, ...], value: Any) -> None:
    assert RESULT.dig(trail).value == value


@pytest.mark.parametrize(
    ("trail", "said"),
    [
        (("box",), "the result has no 'box', it has 'boxes', '0', 'image'"),
        (("boxes", 2), ".boxes has 2 entries, there is none at 2"),
        (("boxes", "x"), ".boxes is list, it has no 'x'"),
        (("boxes", 0, "x", "y"), ".boxes.0.x is int, it has no 'y'"),
        (("image", 0), ".image is an array or a file, it has no 0"),
    ],
)
def test_digging_too_far(trail: tuple[Any, ...], said: str) -> None:
    with pytest.raises(Missing) as caught:
        RESULT.dig(trail)
    assert str(caught.value) == said


def test_artifacts_go_with_their_part() -> None:
    assert RESULT.dig(("image",)).artifacts == (Artifact((), "npy", "d" * 32, "float32[2]"),)
    assert RESULT.dig(("boxes",)).artifacts == ()


def test_fans_are_lists() -> None:
    found = dig_fan([RESULT, RESULT], ("image",))
    assert found.value == [None, None] and [one.trail for one in found.artifacts] == [(0,), (1,)]
    assert dig_fan([RESULT, RESULT], (1, "boxes", 0, "x")).value == 1
    with pytest.raises(Missing, match="2 entries, there is none at 2"):
        dig_fan([RESULT, RESULT], (2,))
    assert dig_fan([], ("x",)).value == []


def test_putting_leaves_the_given_tree() -> None:
    tree = {"a": [1, {"b": 2}]}
    assert put(tree, ("a", 1, "b"), 3) == {"a": [1, {"b": 3}]}
    assert tree == {"a": [1, {"b": 2}]}
    assert put(tree, (), 5) == 5


def test_the_mark_tells_artifacts_apart() -> None:
    other = Result(TREE, (Artifact(("image",), "npy", "e" * 32, "float32[2]"),))
    assert len({RESULT.mark, other.mark, Result(TREE).mark}) == 3


# --- manifest

STEP = Step(
    "s", "n.f", "code1", options=Options(seed=1, device="cpu"), outputs={"b": "int", "a": "str"}, environment="py"
)


def test_a_manifest_has_all_but_the_name() -> None:
    found = dict(manifest_of(STEP, [("y", "2"), ("x", "1")]))
    assert found == {
        "format": "1", "function": "n.f", "code": "code1", "environment": "py", "seed": "1", "device": "cpu",
        "outputs": '{"a":"str","b":"int"}', "input 'x'": "1", "input 'y'": "2",
    }  # fmt: skip


def test_every_part_changes_the_key() -> None:

    keys = {action_key(canonical(manifest_of(STEP, [("x", "1")])))}
    for change in ({"function": "n.g"}, {"code": "code2"}, {"environment": "py2"}, {"outputs": None},
                   {"options": Options(seed=2, device="cpu")}, {"options": Options(seed=1)}):  # fmt: skip
        keys.add(action_key(canonical(manifest_of(STEP._replace(**change), [("x", "1")]))))
    keys |= {action_key(canonical(manifest_of(STEP, inputs))) for inputs in ([], [("x", "2")], [("y", "1")])}
    assert len(keys) == 10
    for change in ({"id": "t"}, {"needs": ("z",)}, {"description": "d"}, {"options": STEP.options._replace(timeout=3)}):
        assert action_key(canonical(manifest_of(STEP._replace(**change), [("x", "1")]))) in keys


def test_what_differs_is_told_old_to_new() -> None:
    old = (("format", "1"), ("code", "a"), ("input 'x'", "1"), ("seed", "3"))
    new = (("format", "1"), ("code", "b"), ("input 'x'", "2"), ("input 'y'", "5"))
    assert [(one.part, one.old, one.new) for one in diff(old, new)] == [
        ("code", "a", "b"), ("input 'x'", "1", "2"), ("input 'y'", "", "5"), ("seed", "3", ""),
    ]  # fmt: skip
    parts = {"a": {"nodes.n:K": "1", "nodes.n:f": "2"}, "b": {"nodes.n:K": "9", "nodes.n:f": "2"}}
    assert diff(old, new, parts)[0].part == "code of n:K"
    assert [one.part for one in diff(None, new)] == ["it has no result yet"]
    assert diff(new, new) == ()


def test_long_values_are_told_by_digest() -> None:
    text = value_text(Result("x" * 500))
    assert text.startswith("#") and text.endswith("(text of 500 characters)")
    assert value_text(Result("#" + "0" * 32)) != "#" + "0" * 32
    assert value_text(Result([1, 2])) == "[1,2]"


# --- rebuild


@pytest.mark.parametrize("case", list(itertools.product([False, True], repeat=5)))
@pytest.mark.parametrize("cache", ["auto", "never"])
def test_the_verdict(case: tuple[bool, ...], cache: str) -> None:
    same, intact, stored, old, force = case
    facts = Facts(
        key="k", manifest=(("code", "b"),), recorded="k" if same else "j", before=(("code", "a"),),
        intact=intact, stored=stored, age=20.0 if old else 1.0, force=force,
    )  # fmt: skip
    found = decide(facts, cache, 10.0)
    if force or cache == "never" or (old and (same or stored)):
        wanted = Verdict.RUN
    elif same and intact:
        wanted = Verdict.CURRENT
    else:
        wanted = Verdict.RESTORE if stored else Verdict.RUN
    assert found.verdict is wanted
    assert bool(found.reasons) is (wanted is not Verdict.CURRENT)
    assert (
        not old
        or decide(facts, cache, None).verdict is decide(Facts(**{**_fields(facts), "age": 0.0}), cache, 10.0).verdict
    )


def _fields(facts: Facts) -> dict[str, Any]:
    return facts._asdict()


# --- fan


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ("in/a.png", "a.png"), ("a\\b.png", "b.png"), ("a b?.png", "a_b_.png"), (3, "3"), (0.5, "0.5"), (True, "true"),
        ({"id": "x", "name": "y"}, "x"), ({"name": "y"}, "y"), ({"a": 1, "b": "z"}, "1,z"), ("dir/", "dir_"),
    ],
)  # fmt: skip
def test_the_key_of_an_item(item: Any, key: str) -> None:
    assert key_of(item) == key


@pytest.mark.parametrize("item", [None, [], {}, "", "x" * 61, [1], {"a": [1]}])
def test_other_items_are_named_by_their_content(item: Any) -> None:
    assert key_of(item) == digest_of(item)[:12]


def test_a_field_may_name_the_item() -> None:
    assert key_of({"id": 1, "file": "a/b.png"}, "file") == "b.png"
    assert key_of({"id": 1}, "file") == "1"


def test_keys_stay_where_items_move() -> None:
    items = ["a/x.png", "b/y.png", 3]
    assert sorted(keys_of(items)) == sorted(keys_of(items[::-1]))


@given(st.lists(st.sampled_from(["a", "x/a", "a-", 1, "1", None, "a~2", {"id": "a"}]), max_size=12))
def test_keys_are_distinct(items: list[Any]) -> None:
    keys = keys_of(items)
    assert len(set(keys)) == len(keys) == len(items)


def fan(items: Any, refs: Any = (), **inputs: Binding) -> Step:
    return Step("s", "n.f", inputs=inputs, fan=Fan(items, refs))


def test_items_are_put_in_by_value_or_by_reference() -> None:
    item = Binding("value", None, (((), "item", ("x",)),))
    by_value = expand(fan([{"x": 1}, {"x": 2}], v=item), [{"x": 1}, {"x": 2}])
    assert [one.inputs["v"].value for one in by_value] == [1, 2] and not by_value[0].inputs["v"].refs
    by_reference = expand(fan(None, (((), "up", ("list",)),), v=item), [{"x": 1}, {"x": 2}])
    assert [one.inputs["v"].refs for one in by_reference] == [
        (((), "up", ("list", 0, "x")),), (((), "up", ("list", 1, "x")),),
    ]  # fmt: skip
    assert all(one.parent == "s" and one.fan is None for one in by_reference)


def test_two_items_that_write_one_file() -> None:
    with pytest.raises(ValueError, match="both write 'out.txt'; put .* into the path"):
        expand(fan(["a", "b"], to=Binding("output", "out.txt")), ["a", "b"])
    made = expand(fan(["a/x.png", "b"], to=Binding("output", "${index}-${key}-${item.stem}.txt")), ["a/x.png", "b"])
    assert [one.targets()["to"] for one in made] == ["0-x.png-x.txt", "1-b-b.txt"]


# --- retry


@pytest.mark.parametrize(
    ("given", "attempt", "kind", "bases", "again"),
    [
        (0, 1, "exception", (), False),
        (2, 2, "exception", (), True),
        (2, 3, "exception", (), False),
        ({"count": 1, "on": ["OSError"]}, 1, "exception", ("FileNotFoundError", "OSError"), True),
        ({"count": 1, "on": ["OSError"]}, 1, "exception", ("ValueError",), False),
        ({"count": 1, "on": ["died"]}, 1, "died", (), True),
        ({"count": 9}, 1, "cancelled", (), False),
        ({}, 1, "timeout", (), True),
        (None, 1, "timeout", (), False),
    ],
)
def test_again(given: Any, attempt: int, kind: str, bases: tuple[str, ...], again: bool) -> None:
    assert Retry.of(given).again(attempt, kind, bases) is again


def test_pauses() -> None:
    retry = Retry.of({"count": 5, "delay": 2, "factor": 3, "limit": 10})
    assert [retry.pause(attempt) for attempt in (1, 2, 3, 4)] == [2.0, 6.0, 10.0, 10.0]


# --- when


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("$a.n > 1 and not $b", [2, False], True),
        ("1 < $a.n <= 3", [3], True),
        ("len($a) == 2 or $a[0] == 'x'", [["x"], ["x"]], True),
        ("'$a.n' == 'x'", [], False),
        ("$a.k in ['x', \"y\"]", ["y"], True),
        ("true and null is not false", [], True),
        ("-$a % 3 + 2 * 2 // 3 == 2", [2], True),
        ("max($a, 3) - min(1, 2) / 2 == 2.5", [1], True),
        ("$a > 1\n  and 'b' == 'b'\n", [2], True),
        ("$a == null", [None], True),
    ],
)
def test_conditions(text: str, values: list[Any], holds: bool) -> None:
    expression, refs, _ = split(text)
    assert len(refs) == len(values)
    assert evaluate(expression, {f"_r{index}": value for index, value in enumerate(values)}) is holds


@pytest.mark.parametrize(
    "text",
    ["", "x", "import os", "open('x')", "$a.b()", "(1).__class__", "[x for x in []]", "lambda: 1", "a := 1", "1 if 1 else 2",
     "__import__('os')", "2 ** 9", "f'{1}'", "len(x=1)", "$a; 1", "~1", "{'a': 1}", "'a' if", "len(*[1])", "1 << 9",
     "'${a}' == 'b'"],
)  # fmt: skip
def test_what_is_not_of_the_language(text: str) -> None:
    with pytest.raises(WhenError):
        split(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("$a > 1", "x"), ("$a[5]", [1]), ("$a.b['k']", {}), ("1 / $a", 0), ("$a * 10", "x"), ("len($a)", 5)],
)
def test_values_that_do_not_fit(text: str, value: Any) -> None:
    with pytest.raises(WhenError):
        evaluate(split(text)[0], {"_r0": value})


def test_renaming_references() -> None:
    assert (
        renamed("$a.b > 1 and '$a' == \"$a\" or $ab", lambda name: f"x__{name}")
        == "$x__a.b > 1 and '$a' == \"$a\" or $x__ab"
    )
