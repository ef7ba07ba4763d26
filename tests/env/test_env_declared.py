"""The file that declares environments: what it says, and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from wfe.env import Isolation, declared
from wfe.errors import WorkflowError

GOOD = """{
  "$schema": "environments.schema.json",
  "directml-env": {
    "description": "the DirectML build",
    "requirements": ["onnxruntime-directml"],
    "dependencies": ["numpy>=2"],
    "python": ">=3.12",
    "isolation_mode": "always",
    "exclude": ["onnxruntime"],
    "nodes": ["infer"]
  },
  "empty": {}
}"""


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "environments.json"
    path.write_text(GOOD)
    found = declared.read(path)
    assert list(found) == ["directml-env", "empty"]
    one = found["directml-env"]
    assert one.requirements == ("onnxruntime-directml", "numpy>=2")
    assert (one.python, one.isolation, one.exclude, one.nodes) == (
        ">=3.12",
        Isolation.ALWAYS,
        ("onnxruntime",),
        ("infer",),
    )
    assert found["empty"].isolation is None


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(declared.schema())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "e.json:1:2: not JSON: Expecting property name enclosed in double quotes"),
        ("[]", "e.json: $: [] is not of type 'object'"),
        ('{"a": {"requirement": []}}', "e.json: $.a: unknown key 'requirement'; did you mean 'requirements'?"),
        ('{"a": {"requirements": "six"}}', "e.json: $.a.requirements: 'six' is not of type 'array'"),
        (
            '{"a": {"requirements": ["six=>1"]}}',
            "e.json: $.a.requirements[0]: 'six=>1' is not a requirement: Expected ",
        ),
        (
            '{"a": {"isolation_mode": "maybe"}}',
            "e.json: $.a.isolation_mode: 'maybe' is not one of ['auto', 'always', 'never']",
        ),
        ('{"a": {"python": "snake"}}', "e.json: $.a.python: 'snake' is not a Python version or specifier, such as"),
        ('{"a": {"exclude": ["six>1"]}}', "e.json: $.a.exclude[0]: 'six>1' is not the bare name of a distribution"),
        ('{"a b": {}}', "e.json: $: 'a b' is not a name for an environment; a name starts with"),
        ('{"a": {}, "a": {}}', "e.json: the key 'a' stands twice in one object"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        declared.parse(text, "e.json")
    assert str(caught.value).startswith(message)


def test_all_at_once() -> None:
    with pytest.raises(WorkflowError) as caught:
        declared.parse('{"a": {"python": "x", "requirements": ["=", "y z"]}, "b": {"exclude": [""]}}', "e.json")
    assert len(caught.value.problems) == 1  # the form first: a text of no length
    with pytest.raises(WorkflowError) as caught:
        declared.parse('{"a": {"python": "x", "requirements": ["=", "y z"]}}', "e.json")
    assert len(caught.value.problems) == 3


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        WorkflowError, match='e.json: there is no such environments file; create it, or take "environments"'
    ):
        declared.read(tmp_path / "e.json", "e.json")


def test_a_node_listed_twice() -> None:
    found = declared.parse('{"a": {"nodes": ["n"]}, "b": {"nodes": ["n"]}}', "e.json")
    with pytest.raises(WorkflowError, match="e.json: node 'n' is listed under 'a' and under 'b'; list it once"):
        declared.apply([], found)
