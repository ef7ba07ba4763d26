"""The exact text of every error that a workflow document, its nodes or its parameters can cause.

Each is in `expected/NAME.txt`. `GOLDENS=write pytest tests/goldens -n 0` writes them anew: read the difference before
you keep it, since a reader who is lost has nothing but these words.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from space import Space

from wfe.errors import ExitCode, WfeError

EXPECTED = Path(__file__).parent / "expected"
NODES = """
from typing import TypedDict

class Sizes(TypedDict):
    width: int
    height: int

@workflow_node()
def load(path: Path, limit: int = 10, ratio: float = 0.5, strict: bool = False, tags: list[str] = []) -> Sizes:
    return {"width": 1, "height": 2}

@workflow_node()
def resize(width: int, height: int, by: float = 1.0):
    return {"small": width}

@workflow_node()
def save(small: int, to: Output):
    to.write_text(str(small))
"""
LOAD = {"id": "load", "function": "n.load", "inputs": {"path": "in.txt"}}


def document(*nodes: dict[str, Any], **head: Any) -> str:
    return json.dumps({"workflow": {"name": "w", **head}, "nodes": list(nodes)}, indent=2)


def node(id: str, function: str = "", depends_on: list[str] | None = None, **inputs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": id, "function": function or f"n.{id}"}
    if depends_on is not None:
        found["depends_on"] = depends_on
    return {**found, "inputs": inputs}


CASES: dict[str, str | bytes] = {
    "unknown_function": document(node("load", "n.laod", path="in.txt")),
    "unknown_module": document(node("load", "m.load", path="in.txt")),
    "missing_required_input": document(node("load"), node("resize", width=3)),
    "unknown_input": document(node("load", path="in.txt", limt=3)),
    "wrong_type_of_a_constant": document(
        node("load", path="in.txt", limit="ten", ratio=[1], strict=1, tags=["a", 2]),
        node("resize", width=1.5, height=True),
    ),
    "unknown_output": document(LOAD, node("resize", width="$load.widht", height="$load.height")),
    "unknown_step": document(LOAD, node("resize", depends_on=["lod"], width="$laod.width", height=2)),
    "cycle": document(
        node("a", "n.resize", width="$c.small", height=1),
        node("b", "n.resize", width="$a.small", height=1),
        node("c", "n.resize", width="$b.small", height=1),
    ),
    "cycle_of_one": document(node("a", "n.resize", width="$a.small", height=1)),
    "duplicate_id": document(LOAD, LOAD),
    "duplicate_output_file": document(
        node("one", "n.save", small=1, to="out/a.txt"), node("two", "n.save", small=2, to="out/../out/a.txt")
    ),
    "bad_json": '{\n  "workflow": {"name": "w"},\n  "nodes": [\n    {"id": "a" "function": "n.load"}\n  ]\n}\n',
    "json_cut_off": '{\n  "workflow": {"name": "w"},\n  "nodes": [\n    {"id": "a",',
    "duplicate_keys": '{\n  "workflow": {"name": "w"},\n  "nodes": [\n    {"id": "a", "function": "n.load",\n     "id": "b"}\n  ]\n}\n',
    # The step with two lists of inputs misses none; a reference to it is right, the next one's function is not.
    "duplicate_keys_among_others": '{\n  "workflow": {"name": "w"},\n  "nodes": [\n    {"id": "load", "function": "n.load",\n'
    '     "inputs": {"path": "in.txt"}, "inputs": {"limit": 3}},\n    {"id": "resize", "function": "n.rezise",\n'
    '     "inputs": {"width": "$load.width", "height": 2}, "seed": 1, "seed": "x"},\n'
    '    {"id": "save", "function": "n.save", "inputs": {"smal": 1, "to": "a.txt"}}\n  ]\n}\n',
    "not_utf8": b'{"workflow": {"name": "w"},\n "nodes": [{"id": "caf\xe9"}]}',
    "empty": "",
    "a_list": "[1, 2]",
    "unknown_key": '{\n  "workflow": {"name": "w"},\n  "nodes": [\n    {"id": "a", "function": "n.save", "dependson": []}\n  ]\n}\n',
    "unknown_parameter_in_the_document": document(node("load", path="${input}"), params={"inptu": "in.txt"}),
    "amounts_that_are_none": document(
        {**LOAD, "resources": {"gpu": -1, "memory": "4 apples", "disk": True}}, settings={"pools": {"gpu": "many"}}
    ),
    "half_a_character": r"""{
  "workflow": {"name": "w"},
  "nodes": [
    {"id": "load", "function": "n.load", "inputs": {"path": "in.txt", "tags": ["\ud83d\ude00", "a\ud800", "\\ud800"]}},
    {"id": "save", "function": "n.svae"}
  ]
}""",
    "half_a_character_among_the_parameters": document(LOAD, params={"mark": "\ud800"}, description="\udc00"),
    "node_id_too_long": document({**LOAD, "id": "l" * 101}, {"id": "s" * 100, "function": "n.svae"}),
    "missing_input_file": document(node("load", path="im.txt")),
    "several_in_order": document(
        node("load", path="missing.txt", limit="x", other=1),
        node("resize", width="$lod.width"),
        node("save", "n.svae", small=1),
    ),
    "include_of_a_name_that_no_file_can_have": document(LOAD, {"id": "inner", "include": "a" * 5000}),
    "all_in_one_go": document(
        LOAD,
        {**node("load", "n.resize", width="$load.width", height="$lod.height"), "ttl": -1},  # twice, and more
        {**node("save", "n.save", small="$load.image"), "cahce": "never"},
        {"id": "inner", "include": "absent"},
        {"id": "last", "function": "n.svae", "depends_on": ["inner", "save", "sace"], "inputs": ["x"]},
        params={"size": {"type": "flot", "default": 1}},
    ),
    "notations_mixed_up": document(
        LOAD,
        node("resize", width="$size", height="${load.height}"),
        {**node("each", "n.resize", width="$item", height="$matrix.h"), "foreach": {"in": [1], "as": "w"}},
        {**node("all", "n.resize", width="$item", height="${{size}}"), "foreach": "load.tags", "when": "${item} > 1"},
        {**node("grid", "n.resize", width="$matrix.w", height=1), "matrix": [1, 2], "cache": False},
        {**node("last", "n.resize", width="$item", height=True), "when": "$load.width = 3 && true"},
        {"id": "none", "function": None},
        {"function": "n.load", "inputs": {"path": "in.txt", "tags": ["a", "$ b"]}},
        node("deep", "n.load", path="in.txt", tags=["a", "$ b"]),
        params={"size": 1},
    ),
    "constants_that_must_fail": document(
        {**node("each", "n.resize", width="$item", height=1), "foreach": [1, 2, 3]},
        node("fourth", "n.resize", width="$each.3.small", height=1),
        {**node("never", "n.resize", width=1, height=1), "when": "$each.0.small > 1 and 1 / 0"},
        {**node("some", "n.resize", width=1, height=1), "when": "10 / ${none} > 1"},
        params={"none": 0},
    ),
    "json_bracket_missing": '{\n  "nodes": [\n    {"id": "a", "inputs": {"path": "in.txt"}]\n}\n',
    "json_of_python": '{"nodes": [{"id": "load", "function": "n.load", "inputs": {"path": "in.txt", "limit": None}}]}',
    "a_parameter_without_a_value": document(
        node("load", path="${file}", limit="ten", tags=["${file}", "${any}", 3]),
        node("resize", width="${size}", height="$lod.height"),
        params={"file": {"required": True}, "size": {"type": "integer"}, "any": {"type": "integer"}},
    ),
}
YAML: dict[str, str | bytes] = {
    "bad_yaml": "workflow:\n  name: w\nnodes:\n  - id: a\n   function: n.load\n",
    "duplicate_keys_yaml": "workflow:\n  name: w\nnodes:\n  - id: a\n    function: n.load\n    id: b\n",
    "duplicate_keys_among_others_yaml": "workflow:\n  name: w\nnodes:\n  - id: load\n    function: n.load\n    inputs:\n"
    "      path: in.txt\n      path: other.txt\n      limit: !!int ''\n  - id: save\n    function: n.svae\n",
    "alias_yaml": "nodes:\n  - {id: load, function: n.load, inputs: &same {path: in.txt}}\n"
    "  - {id: again, function: n.load, inputs: *same}\n",
    "two_documents_yaml": "nodes: []\n---\nnodes: []\n",
    "tabs_yaml": "nodes:\n\t- id: load\n",
    "quotes_missing_yaml": "nodes:\n  - id: load\n    function: %n.load\n",
    "braces_yaml": "nodes:\n  - {id: load, function: n.load, inputs: {path: ${path}}}\n",
    "colon_yaml": "nodes:\n  - id:load\n    function: n.load\n",
    "cut_off_yaml": "nodes:\n  - {id: load, function: n.load\n",
    "comments_alone_yaml": "# to be written\n",
    "wrong_type_yaml": "workflow:\n  name: w\nnodes:\n  - id: load\n    function: n.load\n    inputs:\n      path: in.txt\n      limit: ten\n",
}
BRACKETS = 100_000_000


def refused(space: Space, **params: Any) -> str:
    """What the user reads when the workflow is run: nothing may have been run."""
    with pytest.raises(WfeError) as caught:
        space.run(**params)
    assert caught.value.code is ExitCode.WORKFLOW
    assert not (space.cache / "steps").exists()
    return "".join(f"{problem}\n" for problem in caught.value.problems)


def compare(name: str, text: str) -> None:
    file = EXPECTED / f"{name}.txt"
    if os.environ.get("GOLDENS") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.fixture
def project(space: Space) -> Space:
    space.nodes(NODES)
    space.file("in.txt", "x")
    return space


@pytest.mark.parametrize("name", CASES)
def test_json(project: Space, name: str) -> None:
    content = CASES[name]
    project.file("workflows/w.json", content)
    compare(name, refused(project))


@pytest.mark.parametrize("name", YAML)
def test_yaml(project: Space, name: str) -> None:
    project.file("workflows/w.yaml", YAML[name])
    compare(name, refused(project))


def test_unknown_parameter(project: Space) -> None:
    project.file("workflows/w.json", document(LOAD, params={"conf": 0.5, "iou": 0.4}))
    compare("unknown_parameter", refused(project, cnf="0.3"))


def test_parameter_of_the_wrong_type(project: Space) -> None:
    project.file("workflows/w.json", document(node("load", path="in.txt", limit="${limit}"), params={"limit": 3}))
    compare("parameter_of_the_wrong_type", refused(project, limit="many"))


def test_unknown_workflow(project: Space) -> None:
    project.file("workflows/quick.json", document(LOAD))
    with pytest.raises(WfeError) as caught:
        project.run("quik")
    compare("unknown_workflow", f"{caught.value}\n")


def test_one_name_two_candidates(project: Space) -> None:
    project.file(
        "workflows/w.json",
        document(LOAD, node("again", "n.load", path="in.txt"), node("resize", depends_on=["load", "again"], height=1)),
    )
    compare("two_candidates", refused(project))


def test_a_node_that_does_not_parse(project: Space) -> None:
    project.file("nodes/broken.py", "def f(:\n    pass\n")
    project.file("workflows/w.json", document(node("a", "broken.f"), node("b", "broken.g"), LOAD))  # told once for both
    compare("node_that_does_not_parse", refused(project))


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_brackets(project: Space, kind: str) -> None:
    """100 MB are refused by their size, 60 MB by their depth; neither crashes nor takes long."""
    for name, count in (("brackets", BRACKETS), ("deep", 60_000_000)):
        project.file(f"workflows/w.{kind}", b"[" * count)
        compare(f"{name}_{kind}", refused(project))
    (project.root / f"workflows/w.{kind}").unlink()


def test_none_is_forgotten() -> None:
    """An expected text that no test compares would only seem to hold something."""
    named = {*CASES, *YAML, "unknown_parameter", "parameter_of_the_wrong_type", "unknown_workflow", "two_candidates"}
    named |= {"node_that_does_not_parse", "brackets_json", "brackets_yaml", "deep_json", "deep_yaml"}
    assert {file.stem for file in EXPECTED.glob("*.txt")} == named
