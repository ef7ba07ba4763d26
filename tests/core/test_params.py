"""The parameters of a workflow: what a text on the command line becomes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wfe.core.params import convert, kind_of, settle
from wfe.core.parse import parse
from wfe.core.workflow import Param


def settled(params: Any, **overrides: Any) -> tuple[dict[str, Any], str]:
    workflow = parse(json.dumps({"workflow": {"params": params}, "nodes": []}).encode(), "w.json", "w")
    values, problems = settle(workflow, overrides)
    return values, "\n".join(map(str, problems))


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (None, ""),
        (True, "boolean"),
        (1, "number"),
        (0.5, "number"),
        ("x", "string"),
        ([], "array"),
        ({}, "object"),
    ],
)
def test_the_default_says_the_type(default: Any, kind: str) -> None:
    assert kind_of(Param("p", default)) == kind
    assert kind_of(Param("p", default, type="integer")) == "integer"


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("string", "1", "1"),
        ("string", "", ""),
        ("string", "null", "null"),
        ("integer", "12", 12),
        ("integer", "-1", -1),
        ("integer", 7, 7),
        ("number", "0.25", 0.25),
        ("number", "1", 1),
        ("number", "1e-3", 0.001),
        ("boolean", "true", True),
        ("boolean", "No", False),
        ("boolean", "ON", True),
        ("boolean", False, False),
        ("array", "[1, [2]]", [1, [2]]),
        ("array", ["a"], ["a"]),
        ("object", '{"a": null}', {"a": None}),
        ("", "1", 1),
        ("", "null", None),
        ("", "a b", "a b"),
        ("", "[1", "[1"),
        ("", {"x": 1}, {"x": 1}),
    ],
)
def test_a_value_is_read_by_its_type(kind: str, given: Any, value: Any) -> None:
    found = convert(Param("p", None, type=kind), given)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("string", 1),
        ("string", None),
        ("integer", "1.5"),
        ("integer", "true"),
        ("integer", True),
        ("integer", "x"),
        ("integer", ""),
        ("integer", "1" * 5000),
        ("number", "true"),
        ("number", "[1]"),
        ("boolean", "1"),
        ("boolean", "maybe"),
        ("boolean", 1),
        ("array", "{}"),
        ("array", "a,b"),
        ("object", "[]"),
        ("object", "{"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, given: Any) -> None:
    with pytest.raises(ValueError, match="^expected"):
        convert(Param("p", None, type=kind), given)


def test_defaults_and_overrides() -> None:
    params = {"a": 1, "b": {"default": "x", "type": "string"}, "c": None, "d": {"e": 1}}
    values, problems = settled(params, a="0.5", b="7")
    assert values == {"a": 0.5, "b": "7", "c": None, "d": {"e": 1}}
    assert not problems


@pytest.mark.parametrize(
    ("params", "overrides", "said"),
    [
        ({"conf": 1}, {"cnf": "2"}, "w.json: workflow 'w' has no parameter 'cnf'; did you mean 'conf'?"),
        ({}, {"x": "2"}, "workflow 'w' has no parameter 'x'; it has no parameters"),
        ({"a": {"required": True}}, {}, "w.json:1:31: parameter 'a' has no value; give one: a=..."),
        ({"a": {"type": "integer"}}, {}, "parameter 'a' has no value"),
        ({"a": 1}, {"a": "x"}, "command line: parameter 'a': expected number, found 'x'"),
        ({"a": {"default": "x", "type": "integer"}}, {}, "parameter 'a': the default 'x' is no integer"),
        ({"a": {"default": True, "type": "number"}}, {}, "parameter 'a': the default True is no number"),
    ],
)
def test_what_is_wrong(params: Any, overrides: dict[str, Any], said: str) -> None:
    assert said in settled(params, **overrides)[1]


def test_a_bad_value_is_told_once_and_the_name_stays_known() -> None:
    values, problems = settled({"a": 1}, a="x")
    assert values == {"a": 1}
    assert problems.count("\n") == 0
