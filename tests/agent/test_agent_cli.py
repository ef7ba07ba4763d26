"""The five verbs as commands, in a process of their own, against the scripted server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import text_example
from answers import BAD, GOOD
from ollama_server import Answer, OllamaServer, Reply, in_turn
from test_agent_flow import DODO, model_of_the_example

from wfe.agent import approval
from wfe.agent.sandbox import KINDS
from wfe.errors import ExitCode

Served = Callable[..., OllamaServer]
Wfe = Callable[..., subprocess.CompletedProcess[str]]
PLAIN = next(case for case in GOOD if case.name == "good_plain")
pytestmark = pytest.mark.skipif(all(kind.missing() for kind in KINDS), reason="no sandbox on this machine")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "workflows").mkdir(parents=True)
    (root / "dodo.py").write_text(DODO)
    return root


@pytest.fixture
def wfe(project: Path) -> Wfe:
    def run(*words: str, host: str = "http://127.0.0.1:9", typed: str | None = None) -> Any:
        line = [sys.executable, "-c", "from wfe.cli import main; main()", *words]
        environ = {key: value for key, value in os.environ.items() if key != "WFE_UNSAFE"} | {"OLLAMA_HOST": host}
        return subprocess.run(
            line, cwd=project, input=typed or "", capture_output=True, text=True, env=environ, check=False
        )

    return run


def typed_first(answer: Answer) -> Answer:
    """The types are asked for before the node."""

    def reply(body: dict[str, Any]) -> Any:
        if body["format"]["title"] == "signature":
            return {"purpose": "Loud.", "inputs": {"text": "str", "marks": "int"}, "outputs": {"loud": "str"}}
        return answer(body)

    return reply


def test_generate_asks_for_types_and_writes_one_node(wfe: Wfe, served: Served, project: Path) -> None:
    server = served(typed_first(in_turn(PLAIN.reply())))
    words = ("generate", "shout", "-i", "text", "-i", "marks", "-o", "loud", "-c", "")
    done = wfe(*words, host=server.host)
    assert done.returncode == 0, done.stderr
    assert "shout.py: written" in done.stdout and "wrote nodes/custom/shout.py" in done.stderr
    assert (project / "nodes" / "custom" / "shout.py").is_file()
    assert len(server.chats) == 2
    said = [line for line in done.stderr.splitlines() if "asking the model" in line]
    assert said == ["shout: asking the model for the types of its inputs and outputs", "shout: asking the model"]
    again = wfe(*words, host=server.host)
    assert again.returncode == 0 and "current" in again.stdout, again.stderr
    assert len(server.chats) == 2


def test_generate_with_types_and_a_category(wfe: Wfe, served: Served, project: Path) -> None:
    answer = json.loads(PLAIN.reply().text)
    answer["test"] = answer["test"].replace("nodes.custom.shout", "nodes.custom.atomic.shout")
    server = served(in_turn(answer))
    words = ("-i", "text:str", "-i", "marks:int", "-o", "loud:str", "-c", "atomic", "--name", "shout")
    done = wfe("generate", "Make a text loud", *words, host=server.host)
    assert done.returncode == 0, done.stderr
    assert (project / "nodes" / "custom" / "atomic" / "shout.py").is_file()


def test_a_node_that_never_passes_fails_the_command(wfe: Wfe, served: Served, project: Path) -> None:
    bad = next(case for case in BAD if case.name == "bad_returns_a_constant")
    server = served(in_turn(bad.reply()))
    done = wfe("generate", "shout", "-i", "text:str", "-i", "marks:int", "-o", "loud:str", host=server.host)
    assert done.returncode == ExitCode.FAILED
    assert "shout.py.rejected: rejected by proof" in done.stdout
    assert "all tests pass on a stub" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("create", "x"), ("generate", "x", "-o", "y:str"), ("interactive",)])
def test_without_a_server_each_says_how_to_start_one(wfe: Wfe, words: tuple[str, ...]) -> None:
    done = wfe(*words)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert "ollama serve" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("generate", "", "-i", "a"), "the description is empty"),
        (("generate", "shout", "-i", "1bad"), "1bad"),
        (("generate", "shout", "-i", "a", "-c", "../.."), "../.."),
        (("create", "", "--name", "x"), "the description is empty"),
        (("create", "shout", "--name", "../y"), "../y"),
    ],
)
def test_what_is_wrong_with_the_words_is_told_before_a_server_is_looked_for(
    wfe: Wfe, words: tuple[str, ...], told: str
) -> None:
    done = wfe(*words)
    assert done.returncode == ExitCode.WORKFLOW and told in done.stderr and "server" not in done.stderr


def test_a_node_does_not_take_the_name_of_another(wfe: Wfe, project: Path) -> None:
    """The workflows that call that one by its bare name would not know which of the two is meant."""
    (project / "nodes").mkdir()
    (project / "nodes" / "hello.py").write_text(
        "from wfe import workflow_node\n@workflow_node\ndef greet(): return {'n': 1}\n"
    )
    done = wfe("generate", "greet", "-i", "text:str", "-o", "words:int")
    assert done.returncode == ExitCode.WORKFLOW and "there is a node 'greet' already: hello.greet" in done.stderr


def test_create_takes_the_name_that_it_is_given(wfe: Wfe, served: Served, project: Path) -> None:
    """And asks nobody where a document of that name is there."""
    server = served(model_of_the_example("http://example.org/"))
    done = wfe("create", text_example.WISH, "--name", "mine", host=server.host)
    assert done.returncode == 0, done.stderr
    assert json.loads((project / "workflows" / "mine.json").read_text())["workflow"]["name"] == "mine"
    asked = len(server.chats)
    done = wfe("create", "something else", "--name", "mine", host=server.host)
    assert done.returncode == ExitCode.WORKFLOW and "is there already" in done.stderr and len(server.chats) == asked


def test_a_missing_model_is_pulled_when_asked(wfe: Wfe, served: Served) -> None:
    answer = in_turn(text_example.outline("http://example.org/"))
    server = served(answer, models=[], pullable=["qwen2.5-coder:7b"])
    refused = wfe("create", text_example.WISH, host=server.host)
    assert refused.returncode == ExitCode.ENVIRONMENT and "ollama pull qwen2.5-coder:7b" in refused.stderr
    assert wfe("create", text_example.WISH, "--pull", host=server.host).returncode == 0


def test_create_then_analyze_then_the_rest(wfe: Wfe, served: Served, project: Path) -> None:
    server = served(model_of_the_example("http://example.org/"))
    done = wfe("create", text_example.WISH, host=server.host)
    assert done.returncode == 0, done.stderr
    path = project / "workflows" / "text_processing_pipeline.json"
    assert [node["id"] for node in json.loads(path.read_text())["nodes"]] == list(text_example.nodes("", "x"))
    assert len(server.chats) == 1 and not (project / "nodes").exists()

    done = wfe("analyze", "workflows/text_processing_pipeline.json", host=server.host)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("missing: ") == 5 and done.stdout.count(": written") == 5
    assert len(server.chats) == 6

    done = wfe("analyze", "text_processing_pipeline", "--test")  # needs no server: nothing is missing
    assert "lacks nothing" in done.stdout
    assert done.returncode == ExitCode.FAILED  # the host was not granted, so the fetching node has no network
    assert "Traceback (most recent call last)" not in done.stderr


def test_analyze_names_the_functions_of_nodes_that_name_none(wfe: Wfe, served: Served, project: Path) -> None:
    server = served(model_of_the_example("http://example.org/"))
    assert wfe("create", text_example.WISH, host=server.host).returncode == 0
    path = project / "workflows" / "text_processing_pipeline.json"
    whole = json.loads(path.read_text())
    nodes = [{key: value for key, value in node.items() if key != "function"} for node in whole["nodes"]]
    path.write_text(json.dumps({**whole, "nodes": nodes}, indent=4))
    assert "has no 'function'" in wfe("validate").stdout + wfe("validate").stderr
    done = wfe("analyze", "text_processing_pipeline", host=server.host)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("names no function; custom.") == 5 and done.stdout.count(": written") == 5
    assert [node["function"] for node in json.loads(path.read_text())["nodes"]] == [
        f"custom.{node['id']}.{node['id']}" for node in nodes
    ]
    assert wfe("validate").returncode == 0
    assert "names no function" not in wfe("analyze", "text_processing_pipeline").stdout


def test_a_function_of_the_name_that_is_there_is_taken(wfe: Wfe, project: Path) -> None:
    """And no model is asked; what else stands in the document stays as it is, letter by letter."""
    (project / "nodes").mkdir()
    (project / "nodes" / "texts.py").write_text(
        "from wfe import workflow_node\n\n\n@workflow_node()\ndef say_it(text: str) -> dict:\n    return {}\n"
    )
    path = project / "workflows" / "mine.json"
    text = '{"nodes": [\r\n  {"inputs": {"text": "\u00e4 \U0001f600"}, "id" :  "say-it" }, {"id": "b", "function": "say_it",\r\n "inputs": {"text":"x"}}]}\r\n'
    path.write_bytes(text.encode())
    done = wfe("analyze", "mine")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "workflows/mine.json: node 'say-it' names no function; texts.say_it is taken\nmine.json lacks nothing\n"
    )
    assert path.read_bytes().decode() == text.replace('"say-it"', '"say-it", "function": "texts.say_it"')


def test_analyze_tells_what_does_not_fit_and_asks_nothing(wfe: Wfe, project: Path) -> None:
    node = {"id": "a", "function": "custom.a.a", "inputs": {"x": "$b.y"}}
    (project / "workflows" / "odd.json").write_text(json.dumps({"workflow": {"name": "odd"}, "nodes": [node]}))
    done = wfe("analyze", "odd")
    assert done.returncode == ExitCode.WORKFLOW
    assert "workflows/odd.json:1:" in done.stdout and "'b'" in done.stdout


def test_approve(wfe: Wfe, served: Served, project: Path) -> None:
    server = served(in_turn(PLAIN.reply()))
    wfe("generate", "shout", "-i", "text:str", "-i", "marks:int", "-o", "loud:str", host=server.host)
    path = project / "nodes" / "custom" / "shout.py"
    shown = wfe("approve", "shout", typed="n\n")
    assert shown.returncode == ExitCode.FAILED and "text.upper()" in shown.stdout and "asks for nothing" in shown.stdout
    assert not approval.trusted(project, path)
    done = wfe("approve", "shout", typed="y\n")
    assert done.returncode == 0 and approval.trusted(project, path), done.stderr
    path.write_text(path.read_text() + "# edited\n")
    assert not approval.trusted(project, path)
    assert wfe("approve", "nodes/custom/shout.py", "--yes").returncode == 0 and approval.trusted(project, path)
    assert "not trusted any more" in wfe("approve", "shout", "--withdraw").stdout
    assert not approval.trusted(project, path)
    missing = wfe("approve", "nobody")
    assert missing.returncode == ExitCode.WORKFLOW and "there is no node 'nobody'" in missing.stderr


def test_a_conversation_drafts_changes_undoes_and_writes(wfe: Wfe, served: Served, project: Path) -> None:
    first = text_example.outline("http://example.org/")
    second = {**first, "nodes": first["nodes"][:3]}
    good = model_of_the_example("http://example.org/")
    outlines = [first, second]

    def answer(body: dict[str, Any]) -> Reply | Any:
        return outlines.pop(0) if body["format"]["title"] == "outline" else good(body)

    server = served(answer)
    lines = [
        "/show",
        text_example.WISH,
        "only fetch, clean and summarize",
        "/graph",
        "/undo",
        "/undo",
        "/odd",
        "/run",
    ]
    done = wfe("interactive", host=server.host, typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert "nothing is drafted yet" in done.stdout
    assert "drafted workflows/text_processing_pipeline.json" in done.stdout
    assert done.stdout.endswith("workflows/text_processing_pipeline.json stays\n")  # Ctrl-D is an end as good as /quit
    assert "notify_completion  <- store_summary, generate_summary  (to be written)" in done.stdout
    assert '-      "id": "store_summary",' in done.stdout
    assert "there is nothing to go back to" in done.stdout and "there is no /odd" in done.stdout
    assert "the run failed" in done.stdout  # the network was not granted
    document = json.loads((project / "workflows" / "text_processing_pipeline.json").read_text())
    assert len(document["nodes"]) == 5
    assert len(list((project / "nodes" / "custom").glob("*.py"))) == 5
    assert "The user wants this change" in server.chats[1]["messages"][-1]["content"]


def test_what_a_model_says_cannot_move_the_cursor(wfe: Wfe, served: Served) -> None:
    server = served(in_turn(Reply("\x1b[2J\x1b]0;evil\x07 not JSON")))
    done = wfe("generate", "shout", "-i", "text:str", "-o", "loud:str", host=server.host)
    assert done.returncode == ExitCode.FAILED
    assert "\x1b" not in done.stdout + done.stderr
