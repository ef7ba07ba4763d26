"""`$step.key` and `${param}`: what is one, what is not, and what stands in its place."""

from __future__ import annotations

from typing import Any

import pytest

from wfe.core.reference import NotAReference, escape, ref_of, refs_in, substitute, unescape
from wfe.core.workflow import Ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("$a", Ref("a")),
        ("$a.b", Ref("a", ("b",))),
        ("$a.b.0", Ref("a", ("b", 0))),
        ("$a.0.name", Ref("a", (0, "name"))),
        ("$a-b_1.c-d", Ref("a-b_1", ("c-d",))),
        ("$a.0", Ref("a", (0,))),
        ("$a.007", Ref("a", ("007",))),
        ("$a.\u00b2", Ref("a", ("\u00b2",))),
        ("$a.\u0663", Ref("a", ("\u0663",))),
        ("$a." + "1" * 5000, Ref("a", ("1" * 5000,))),
        ("$a.\u00e9t\u00e9", Ref("a", ("\u00e9t\u00e9",))),
        ("$_x.a:b", Ref("_x", ("a:b",))),
        ("a", None),
        ("", None),
        ("$$a.b", None),
        ("$$", None),
        ("a $b.c", None),
        ("5$", None),
    ],
)
def test_what_is_a_reference(text: str, ref: Ref | None) -> None:
    assert ref_of(text) == ref


@pytest.mark.parametrize("text", ["$", "$1", "$a.", "$a..b", "$a b", "$a.b c", "$ a", "$a.$b", "$-a", "${a", "$a.b\n"])
def test_what_starts_like_one_and_is_none(text: str) -> None:
    with pytest.raises(NotAReference):
        ref_of(text)


def test_a_reference_shows_as_it_is_written() -> None:
    for text in ("$a", "$a.b.0.c"):
        ref = ref_of(text)
        assert ref is not None and str(ref) == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("${n}", 3),
        ("${t}", "text"),
        ("${l}", [1, None]),
        ("${none}", None),
        ("a${n}b", "a3b"),
        ("${t}/${n}", "text/3"),
        ("${f} ${b} ${none} ${l} ${d}", '0.5 true null [1, null] {"k": "v"}'),
        ({"${n}": ["${n}", {"x": "${t}"}]}, {"${n}": [3, {"x": "text"}]}),
        ("$n {n} ${", "$n {n} ${"),
        ("$${n}", "$${n}"),
        ("a$${n}$$${n}", "a$${n}$$3"),
        (7, 7),
        (None, None),
    ],
)
def test_parameters_are_put_in(value: Any, found: Any) -> None:
    params = {"n": 3, "t": "text", "l": [1, None], "none": None, "f": 0.5, "b": True, "d": {"k": "v"}}

    def unknown(path: object, name: str) -> None:
        pytest.fail(f"{name} at {path}")

    assert substitute(value, params, unknown) == found


def test_a_value_is_put_in_once() -> None:
    assert substitute("${a} ${b}", {"a": "${b}", "b": "x"}, lambda path, name: None) == "${b} x"


def test_unknown_names_are_told_with_their_places() -> None:
    heard: list[tuple[Any, str]] = []
    tree = {"a": ["${x}", "n ${y} ${z}"]}
    found = substitute(tree, {"y": 1}, lambda path, name: heard.append((path, name)))
    assert found == {"a": ["${x}", "n 1 ${z}"]}
    assert heard == [(("a", 0), "x"), (("a", 1), "z")]


def test_references_in_a_tree() -> None:
    tree = {"a": ["$x.y", "no", {"b": "$z"}], "c": "$$x", "d": 1}
    assert list(refs_in(tree)) == [(("a", 0), Ref("x", ("y",))), (("a", 2, "b"), Ref("z"))]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("$$a", "$a"),
        ("$$$a", "$$a"),
        ("a$$b", "a$b"),
        ("$${HOME}/$$$$", "${HOME}/$$"),
        ("a$b", "a$b"),
        (["$$", {"$$k": "$$v"}], ["$", {"$$k": "$v"}]),
        (1, 1),
    ],
)
def test_doubled_dollars(value: Any, found: Any) -> None:
    assert unescape(value) == found


@pytest.mark.parametrize("value", ["$5", "$$", "${HOME}", "a$b.v", ["$x", {"$k": "$$v"}], 1, None])
def test_data_is_given_back(value: Any) -> None:
    assert unescape(escape(value)) == value
    assert list(refs_in(escape(value))) == []
