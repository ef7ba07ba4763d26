"""Documents that nobody would write: a plan or a WorkflowError with places, never another exception, in bounded time."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wfe.core.document import MAX_BYTES, read
from wfe.core.parse import parse
from wfe.core.planner import Code, Placed, plan
from wfe.core.signature import Signature
from wfe.core.source import source_of
from wfe.errors import Place, WorkflowError

NODES = source_of(
    """
@workflow_node()
def load(path: Path, n: int = 1):
    return {"image": 1, "size": 2}
@workflow_node(outputs=["boxes"])
def detect(image, conf: float = 0.5, names: list[str] | None = None):
    return {"boxes": []}
@workflow_node()
def save(boxes: list, to: Output):
    return {}
""",
    "nodes.n",
)


class Catalogue:
    """Three nodes and no file."""

    def find(self, function: str) -> Signature | None:
        return NODES.signatures.get(function.removeprefix("n."))

    def names(self) -> list[str]:
        return [f"n.{name}" for name in NODES.signatures]

    def code(self, signature: Signature) -> Code:
        return Code(signature.name)

    def place(self, signature: Signature) -> Place:
        return Place("nodes/n.py", signature.line, signature.column)


GOOD: Any = {
    "workflow": {"name": "x", "params": {"conf": 0.5, "path": {"default": "a.png", "type": "string"}}, "settings": {"max_parallel_nodes": 2, "pools": {"gpu": 1}}},
    "nodes": [
        {"id": "load", "function": "n.load", "inputs": {"path": "${path}"}, "retries": {"count": 2, "on": ["OSError"]}},
        {"id": "detect", "function": "n.detect", "depends_on": ["load"], "when": "$load.size > 1 and ${conf} < 1", "inputs": {"conf": "${conf}"}},
        {"id": "each", "function": "n.detect", "foreach": {"in": "$detect.boxes", "as": "box", "key": "id"}, "inputs": {"image": "$box"}},
        {"id": "all", "function": "n.detect", "matrix": {"c": [1, 2]}, "inputs": {"image": "$matrix.c"}},
        {"id": "save", "function": "n.save", "inputs": {"boxes": "$detect.boxes", "to": "out/b.json"}, "timeout": 3, "resources": {"gpu": 1}},
    ],
}  # fmt: skip


def outcome(data: bytes, name: str = "w.json") -> str:
    """ "" for a document that makes a plan, else what is wrong with it; every problem has a place."""
    try:
        plan(parse(data, name, "w"), {}, Catalogue(), lambda asked: {one[0].id: Placed("here") for one in asked})
    except WorkflowError as error:
        assert all(str(problem.place) for problem in error.problems), str(error)
        str(error).encode("utf-8", "backslashreplace")
        return str(error)
    return ""


def test_the_good_document_is_good() -> None:
    assert outcome(json.dumps(GOOD).encode()) == ""


TEXTS = st.sampled_from(
    ["", "load", "$load", "$load.image", "$nobody.x", "$", "$$", "${conf}", "${", "${}", "$box", "n.load", "a[0]", "\ud800", "é", "auto", "1", "not " * 50 + "1", "$load.0", "x" * 300, "null"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXTS | st.text(max_size=5)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(["id", "in", "as", "key", "count", "delay", "on", "default", "type"]), inner, max_size=3), max_leaves=6)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


KEYS = ("id", "function", "depends_on", "inputs", "when", "foreach", "matrix", "include", "cache", "seed", "ttl", "device",
        "environment", "isolation_mode", "resources", "retries", "timeout", "description")  # fmt: skip


@given(st.data())
@settings(max_examples=300)
def test_a_good_document_with_something_changed(data: st.DataObject) -> None:
    tree = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            node = tree["nodes"][data.draw(st.integers(0, 4))] if isinstance(tree, dict) and isinstance(tree.get("nodes"), list) and len(tree["nodes"]) == 5 else None  # fmt: skip
            if isinstance(node, dict):
                node[data.draw(st.sampled_from(KEYS))] = data.draw(TREES)
                continue
        *outer, last = data.draw(st.sampled_from(places(tree)[1:] or [("x",)]))
        owner = tree
        for part in outer:
            owner = owner[part]
        if isinstance(owner, dict | list):
            if data.draw(st.booleans()) and last in (owner if isinstance(owner, dict) else range(len(owner))):
                del owner[last]
            elif isinstance(owner, dict) or last < len(owner):
                owner[last] = data.draw(TREES)
    outcome(json.dumps(tree).encode())


@given(TREES)
@settings(max_examples=150)
def test_any_json(tree: Any) -> None:
    outcome(json.dumps(tree).encode())
    outcome(json.dumps({"nodes": tree}).encode())
    outcome(json.dumps({"nodes": [tree], "workflow": tree}).encode())


@given(st.binary(max_size=60) | st.text('{}[]",:01e.-\\ \n\tnulltrue$', max_size=60).map(str.encode))
@settings(max_examples=300)
@example(b"1" * 5000)
@example(b'{"nodes": [' + b"1" * 5000 + b"]}")
@example(b"\xff\xfe{}")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_as_json(data: bytes) -> None:
    outcome(data)


@given(st.text("{}[]&*!?|>-:,'\"#%@` \n\tabnull01.e<=~", max_size=60))
@settings(max_examples=300)
@example("!!int ''")
@example("!!float ''")
@example("!!bool x")
@example("!!timestamp x")
@example("!!binary x")
@example("a: !!python/object:os.system 1")
@example("a: &x 1\nb: *x")
@example("a: 1\na: 2")
@example("? [1, 2]\n: 3")
@example("<<: {a: 1}")
@example("a: 2024-99-99")
@example("---\n1\n---\n2")
@example("a: " + "1" * 5000)
@example("\0")
def test_any_yaml(text: str) -> None:
    outcome(text.encode(), "w.yaml")


@pytest.mark.parametrize("name", ["w.json", "w.yaml"])
@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"[[]", b"- "])
def test_brackets_without_end(name: str, piece: bytes) -> None:
    found = outcome(piece * 200_000, name)
    assert found.startswith(f"{name}:1:")


def test_a_hundred_megabytes_of_brackets() -> None:
    found = outcome(b"[" * 100_000_000)
    assert found == f"w.json: the document has 100,000,000 bytes, the limit is {MAX_BYTES:,}; split the workflow"


def test_deep_but_whole() -> None:
    text = b'{"nodes": ' + b"[" * 200 + b"]" * 200 + b"}"
    assert "nested deeper than 100 levels" in outcome(text)
    assert "nested deeper than 100 levels" in outcome(text, "w.yaml")


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b'{"a": 1,\n "a": 2}', "w.json", "w.json:2:2: key 'a' stands twice in one object; first at w.json:1:2"),
        (b"a: 1\nb: 1\na: 2\n", "w.yaml", "w.yaml:3:1: key 'a' stands twice in one object; first at w.yaml:1:1"),
        (b'{"x": "\xe9"}', "w.json", "w.json:1:8: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b'{"a": 1, oh}', "w.json", "w.json:1:10: not valid JSON: "),
        (b"a: &x 1\nb: *x\n", "w.yaml", "w.yaml:2:4: YAML aliases are not supported; write the value out"),
    ],
)
def test_places(data: bytes, name: str, said: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        parse(data, name, "w")
    assert str(caught.value).startswith(said)


def test_a_comma_too_many_is_told() -> None:
    """Python 3.13 names its place, those before it that of what follows."""
    with pytest.raises(
        WorkflowError, match=r"^w.json:1:([89]): not valid JSON: .*; remove (the comma before it|this comma)"
    ):
        parse(b'{"a": 1,}', "w.json", "w")


@pytest.mark.parametrize(
    "when",
    ["'%999999999d' % 1 == ''", "not " * 2000 + "1", "(" * 500 + "1" + ")" * 500, "-" * 5000 + "1", "1 " + "+ 1 " * 2400, "10 ** 10 ** 10", "'a' * 10 ** 9"],
)  # fmt: skip
def test_a_condition_neither_crashes_nor_runs_for_long(when: str) -> None:
    from wfe.core.when import WhenError, evaluate, split

    try:
        evaluate(split(when)[0], {})
    except WhenError:
        pass
    except RecursionError:
        pytest.fail("a condition may not exhaust the stack")


@given(TREES)
@settings(max_examples=60)
def test_every_value_has_a_place(tree: Any) -> None:
    for text in (json.dumps(tree), json.dumps(tree, indent=1)):
        document = read(text.encode(), "w.json")
        found = [document.place(path) for path in places(document.value)]
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ("on", "No", "y", "1:30", "12:30:00", "2024-01-01", "1_000", "0b1", "+", ".", "0x")),
        ("010", 10),
        ("-5", -5),
        ("0o17", 15),
        ("0xfF", 255),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("-.inf", float("-inf")),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("!!int '7'", 7),
    ],
)
def test_yaml_is_that_of_1_2(text: str, value: Any) -> None:
    """In that of 1.1, which PyYAML reads, `on` and `no` are truth values, `1:30` is 90 and `1e3` a text."""
    found = read(f"a: {text}\n".encode(), "w.yaml").value["a"]
    assert found == value and type(found) is type(value)
