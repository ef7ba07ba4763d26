"""What a written node depends on beside its specification: the example that the model was shown, and its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from answers import GOOD
from desks import MakeDesk
from ollama_server import Answer, OllamaServer, digest_of, in_turn

from wfe.agent import header, weights
from wfe.agent.author import WrittenState, current, write_node
from wfe.agent.example import Example, nearest
from wfe.agent.spec import Field, NodeSpec

Served = Callable[[Answer], OllamaServer]
PLAIN = next(case for case in GOOD if case.name == "good_plain")
NEAR = '''"""Whisper."""

from wfe import workflow_node


@workflow_node(outputs={"quiet": str})
def whisper(text: str, times: int) -> dict:
    """The text in lower case."""
    return {"quiet": text.lower() * times}
'''
FAR = NEAR.replace("times: int", "times: list").replace('"quiet": str', '"quiet": dict')


def put(project: Path, name: str, text: str) -> Path:
    path = project / "nodes" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_nearest_node_of_the_project_is_the_example(desk: MakeDesk, served: Served) -> None:
    server = served(in_turn(PLAIN.reply()))
    at = desk(server)
    put(at.project, "far", FAR)
    put(at.project, "near", NEAR)
    written = write_node(PLAIN.spec, at)
    assert "def whisper" in server.chats[0]["messages"][1]["content"]
    found = header.read(written.path.read_text())
    assert found is not None and found.origin.example == "nodes.near"
    assert current(PLAIN.spec, at) == written.path

    put(at.project, "nearer", NEAR.replace("whisper", "whistle"))
    put(at.project, "near", "# a comment\n" + NEAR.replace("{", "{ "))
    assert current(PLAIN.spec, at) == written.path  # neither another example nor its format is a reason
    put(at.project, "near", NEAR.replace("lower()", "casefold()"))
    assert current(PLAIN.spec, at) is None
    assert write_node(PLAIN.spec, at).state is WrittenState.KEPT
    (at.project / "nodes" / "near.py").unlink()
    assert current(PLAIN.spec, at) is None


@pytest.mark.parametrize(
    "text",
    [
        FAR.replace("times: list", "times: dict").replace("text: str", "text: bytes"),
        NEAR + "\n\n" + NEAR.partition("\n\n\n")[2].replace("whisper", "other"),
        NEAR + "# " + "x" * 3000,
        NEAR.replace("import workflow_node", "import workflow_node\nfrom nodes.other import x"),
        NEAR.replace("    return", "    try:\n        int(text)\n    except Exception:\n        pass\n    return"),
        NEAR.replace("@workflow_node(", "class A:\n    pass\n\n\n@workflow_node("),
        NEAR.replace('"""The text in lower case."""', "x = 1"),
        header.write(header.Origin("m", "w", "s", "p", 0), NEAR),
    ],
    ids=["unlike", "two", "long", "local", "dishonest", "class", "undocumented", "generated"],
)
def test_what_is_no_pattern_is_not_shown(tmp_path: Path, text: str) -> None:
    put(tmp_path, "near", text)
    assert nearest(PLAIN.spec, tmp_path, "packaged = 1") == Example("", "packaged = 1")


def test_a_node_of_no_known_type_gets_the_packaged_example(tmp_path: Path) -> None:
    put(tmp_path, "near", NEAR.replace("str", "int"))
    assert nearest(NodeSpec("x", "p", (Field("a"),), (Field("b"),)), tmp_path, "x = 1").module == ""


def test_other_weights_under_the_same_name_are_another_model(desk: MakeDesk, served: Served) -> None:
    server = served(in_turn(PLAIN.reply()))
    at = desk(server)
    first = write_node(PLAIN.spec, at)
    assert weights.last(at.project, at.model.name) == digest_of(at.model.name)
    server.weights = "pulled anew"
    before = len(server.requests)
    assert write_node(PLAIN.spec, at).state is WrittenState.CURRENT and len(server.requests) == before

    again = desk(server)  # another process, which asks the server for something else
    other = NodeSpec("other", PLAIN.spec.purpose, PLAIN.spec.inputs, PLAIN.spec.outputs)
    write_node(other, again)
    assert weights.last(at.project, at.model.name) == digest_of(at.model.name + server.weights)
    assert current(PLAIN.spec, again) is None
    anew = write_node(PLAIN.spec, again)
    found = header.read(first.path.read_text())
    assert anew.state is WrittenState.KEPT and found is not None
    assert found.origin.weights == digest_of(at.model.name + server.weights)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"qwen2.5-coder:7b": 3}'])
def test_a_damaged_record_of_weights_makes_nothing_fail(tmp_path: Path, text: str) -> None:
    (tmp_path / ".wfe").mkdir()
    (tmp_path / weights.RECORD).write_text(text)
    assert isinstance(weights.last(tmp_path, "qwen2.5-coder:7b"), str)
    changed = weights.changed(tmp_path, "qwen2.5-coder:7b", "d")
    assert changed is not None and changed["qwen2.5-coder:7b"] == "d"
