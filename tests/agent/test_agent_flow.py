"""Whole workflows: planned, written, run for real, resumed, left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import text_example
from desks import MakeDesk
from ollama_server import Answer, OllamaServer, Reply

from wfe.agent import approval, header
from wfe.agent.author import WrittenState
from wfe.agent.events import AgentEvent, GivenUp
from wfe.agent.flow import analyze, complete, create, generations
from wfe.agent.model import ModelFailure
from wfe.agent.ollama_model import OllamaModel
from wfe.agent.outline import check
from wfe.agent.sandbox import KINDS
from wfe.agent.spec import NodeSpec, Permissions
from wfe.errors import ExitCode, WorkflowError

Served = Callable[[Answer], OllamaServer]
PAGE = (
    "<html><head><style>p { color: red }</style></head><body><h1>Rivers.</h1><p>A river carries water to the sea."
    " The water of a river comes from rain.</p><script>steal()</script><p>Cats sleep.</p></body></html>"
)
DODO = "from wfe.dodo import open_project\n\nDOIT_CONFIG, task_workflow = open_project(__file__)\n"


@pytest.fixture
def page() -> Iterator[tuple[str, list[str]]]:
    """A web page on loopback: its address, and the requests that came."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = PAGE.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """The test looks at `asked`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/page", asked
        server.shutdown()
        thread.join()


def model_of_the_example(url: str) -> Answer:
    answers = text_example.nodes(url, url.split("/")[2])

    def answer(body: dict[str, Any]) -> Reply | dict[str, Any]:
        schema = body["format"]
        if schema["title"] == "outline":
            return text_example.outline(url)
        return answers[schema["properties"]["name"]["const"]]

    return answer


def doit(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (project / "dodo.py").write_text(DODO)
    line = [sys.executable, "-m", "doit", *arguments]
    # The switch of the tests' own environment must not lift the sandbox that this is about.
    environ = {key: value for key, value in os.environ.items() if key != "WFE_UNSAFE"}
    return subprocess.run(line, cwd=project, capture_output=True, text=True, check=False, env=environ)


def run_it(project: Path) -> Callable[[str], ExitCode]:
    def try_run(name: str) -> ExitCode:
        done = doit(project, "run", f"workflow={name}")
        assert done.returncode in list(ExitCode), done.stderr
        return ExitCode(done.returncode)

    return try_run


# Landlock cannot hold a node to its hosts, so the fetching node would not run unapproved.
@pytest.mark.parametrize("box", KINDS[:1], ids=["bubblewrap"], indirect=True)
def test_the_text_example_end_to_end(desk: MakeDesk, served: Served, page: tuple[str, list[str]]) -> None:
    url, asked = page
    server = served(model_of_the_example(url))
    at = desk(server, grant=lambda spec, wanted: wanted)
    made = create(text_example.WISH, at, agentic=True, try_run=run_it(at.project))
    assert made.good and made.ran is ExitCode.OK
    assert [one.spec.name for one in made.nodes] == list(text_example.nodes("", "x"))
    assert {one.state for one in made.nodes} == {WrittenState.KEPT}
    assert len(server.chats) == 6
    assert "/page" in asked
    summary = (at.project / "cache" / "results" / "summary.txt").read_text()
    assert summary == "A river carries water to the sea. The water of a river comes from rain.\n"
    for one in made.nodes:
        found = header.read(one.path.read_text())
        assert found is not None and {"runs (proposed input)", "runs (real input)", "proof"} <= set(found.origin.gates)
        assert not approval.trusted(at.project, one.path)
    fetched = len(asked)
    again = doit(at.project, "run", f"workflow={made.name}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "5 current" in again.stdout, again.stdout
    assert len(asked) == fetched
    resumed = create(text_example.WISH, at, agentic=True)
    assert resumed.nodes == () and len(server.chats) == 6


def stop_at(name: str, url: str) -> Answer:
    good = model_of_the_example(url)

    def answer(body: dict[str, Any]) -> Any:
        told = body["format"]["properties"]["name"].get("const")
        return Reply(status=400, error="stopped") if told == name else good(body)

    return answer


def test_a_stop_in_the_middle_loses_nothing(desk: MakeDesk, served: Served) -> None:
    url = "http://example.org/page"
    broken = desk(served(stop_at("generate_summary", url)))
    with pytest.raises(ModelFailure, match="stopped"):
        create(text_example.WISH, broken, agentic=True)
    names = sorted(path.name for path in (broken.project / "nodes" / "custom").glob("*.py"))
    assert names == ["clean_and_normalize_text.py", "fetch_web_content.py"]
    server = served(model_of_the_example(url))
    model = OllamaModel(host=server.host)
    made = create(text_example.WISH, replace(broken, model=model), agentic=True)
    assert [one.spec.name for one in made.nodes] == ["generate_summary", "store_summary", "notify_completion"]
    assert [body["format"]["properties"]["name"]["const"] for body in server.chats] == [
        one.spec.name for one in made.nodes
    ]


def test_who_stops_the_run_of_the_steps_before_stops_all(desk: MakeDesk, served: Served) -> None:
    """That run says that it was interrupted; the question for the next node must not be asked then."""
    server = served(model_of_the_example("http://example.org/"))
    at = desk(server)
    with pytest.raises(KeyboardInterrupt):
        create(text_example.WISH, at, agentic=True, try_run=lambda name: ExitCode.INTERRUPTED)
    asked = [body["format"]["properties"]["name"].get("const") for body in server.chats]
    assert asked == [None, "fetch_web_content"]
    made = create(text_example.WISH, at, agentic=True)
    assert made.good and len(server.chats) == 6


def test_an_outline_that_does_not_fit_is_sent_back(desk: MakeDesk, served: Served) -> None:
    good = text_example.outline("http://example.org/")
    wrong = json.loads(json.dumps(good))
    wrong["nodes"][1]["inputs"][0]["value"] = "$fetch_web_content.body"
    wrong["nodes"][4]["inputs"][0]["value"] = "$nobody.characters"
    left = [wrong, good]
    server = served(lambda body: left.pop(0))
    made = create(text_example.WISH, desk(server))
    assert len(server.chats) == 2 and made.path.is_file()
    assert "$nobody" in server.chats[1]["messages"][-1]["content"]


def test_an_outline_that_never_fits_is_an_error(desk: MakeDesk, served: Served) -> None:
    wrong = text_example.outline("http://example.org/")
    wrong["nodes"][3]["inputs"][1]["value"] = "../../outside.txt"
    at = desk(served(lambda body: wrong))
    with pytest.raises(WorkflowError, match="no usable outline.*relative path inside the project"):
        create(text_example.WISH, at)
    assert not (at.project / "workflows").exists()


def test_a_workflow_of_another_wish_is_not_overwritten(desk: MakeDesk, served: Served) -> None:
    at = desk(served(model_of_the_example("http://example.org/")))
    path = at.project / "workflows" / "text_processing_pipeline.json"
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(WorkflowError, match="is there already"):
        create(text_example.WISH, at)
    assert path.read_text() == "{}"
    assert create(text_example.WISH, at, name="another").path.name == "another.json"


def test_a_hand_written_document_tells_what_is_missing(desk: MakeDesk, served: Served) -> None:
    at = desk(served(model_of_the_example("http://example.org/")))
    path = at.project / "workflows" / "mine.json"
    path.parent.mkdir()
    document = {
        "workflow": {"name": "mine"},
        "nodes": [
            {"id": "count_the_words", "function": "custom.count.count", "inputs": {"text": "a b", "limit": 3}},
            {"id": "show", "function": "custom.show.show", "inputs": {"number": "$count_the_words.words"}},
            {"id": "odd", "function": "custom.show.show", "inputs": {"number": "$count_the_word.words"}},
        ],
    }
    path.write_text(json.dumps(document))
    found = analyze(path, at.project)
    count, show = found.missing
    assert count.purpose == "count the words" and [one.name for one in count.outputs] == ["words"]
    assert [(one.name, one.type) for one in count.inputs] == [("text", "str"), ("limit", "int")]
    assert show.path == "nodes/custom/show.py"
    assert any("count_the_word" in problem for problem in found.problems)


def test_generations_are_tasks_and_a_current_one_asks_nothing(desk: MakeDesk, served: Served) -> None:
    server = served(model_of_the_example("http://example.org/"))
    at = desk(server)
    made = create(text_example.WISH, at)
    tasks = generations(made.path, lambda: at, at.project)
    assert [task.name for task in tasks][0] == "generate:text_processing_pipeline:fetch_web_content"
    assert len(tasks) == 5 and not any(task.current() for task in tasks) and tasks[0].pool == {"llm": 1}
    for task in tasks:
        assert task.act().state is WrittenState.KEPT
    before = len(server.requests)
    again = generations(made.path, lambda: at, at.project)
    assert [task.key for task in again] == [task.key for task in tasks]
    assert all(task.current() for task in again)
    assert len(server.requests) == before


def test_a_rejected_node_stops_the_trial_and_says_so(desk: MakeDesk, served: Served) -> None:
    good = model_of_the_example("http://example.org/")

    def answer(body: dict[str, Any]) -> Any:
        told = good(body)
        if body["format"]["properties"]["name"].get("const") == "generate_summary":
            told = {**told, "code": "def generate_summary(): pass\n"}
        return told

    heard: list[AgentEvent] = []
    at = desk(served(answer), tell=heard.append)

    def tried(name: str) -> ExitCode:
        """The steps before a node may be run for their values; the workflow itself must not be tried."""
        assert Path(name).parent.name == "upstream", f"{name} must not be tried"
        return ExitCode.FAILED

    made = create(text_example.WISH, at, agentic=True, try_run=tried)
    assert not made.good and made.ran is None
    assert [event.subject for event in heard if isinstance(event, GivenUp)] == ["generate_summary"]
    with pytest.raises(WorkflowError, match="no draft passed 'signature'"):
        next(one for one in generations(made.path, lambda: at, at.project) if one.spec.name == "generate_summary").act()


def test_a_grant_is_no_more_than_what_was_asked_for(desk: MakeDesk, served: Served) -> None:
    at = desk(
        served(model_of_the_example("http://example.org/")),
        grant=lambda spec, wanted: Permissions(network=("evil.example",), read=("cache",)),
    )
    made = create(text_example.WISH, at)
    fetch = analyze(made.path, at.project).missing[0]
    assert isinstance(fetch, NodeSpec)
    written = complete(made.path, at).nodes[0]
    found = header.read(written.path.read_text())
    assert found is not None and not any(gate.startswith("runs") for gate in found.origin.gates)
    assert not approval.permitted(at.project, written.path)


def test_existing_nodes_are_told_to_the_model_and_used(desk: MakeDesk, served: Served) -> None:
    def entry(name: str, function: str, value: str, outputs: list[str]) -> dict[str, Any]:
        return {
            "id": name,
            "function": function,
            "purpose": "Count.",
            "inputs": [{"name": "text", "type": "str", "value": value}],
            "outputs": [{"name": key, "type": "int"} for key in outputs],
        }

    nodes = [entry("count", "text.count.count", "a b", ["words"])]
    outline = {"name": "counting", "description": "Count.", "nodes": nodes}
    server = served(lambda body: outline)
    at = desk(server)
    (at.project / "nodes" / "text").mkdir(parents=True)
    (at.project / "nodes" / "text" / "count.py").write_text(
        "from wfe import workflow_node\n\n\n@workflow_node(outputs={'words': int})\n"
        'def count(text: str) -> dict:\n    """How many words a text has."""\n    return {"words": len(text.split())}\n'
    )
    made = create("Count the words", at, agentic=True, try_run=run_it(at.project))
    assert made.good and made.nodes == () and made.ran is ExitCode.OK
    assert made.document["nodes"][0]["function"] == "text.count.count"
    told = server.chats[0]["messages"][1]["content"]
    assert "- text.count.count(text: str) -> {words: int}  # How many words a text has." in told
    assert len(server.chats) == 1


@pytest.mark.parametrize("value", ["/etc/passwd", "~/.ssh/id_ed25519", "../secret", "${url}"])
def test_a_model_cannot_name_a_private_file_as_an_input(tmp_path: Path, value: str) -> None:
    outline = text_example.outline("/etc/passwd")
    outline["nodes"][1]["inputs"].append({"name": "table", "type": "Path", "value": value})
    assert any("for a Path" in one.expected for one in check(outline, tmp_path))
    outline["nodes"][1]["inputs"][-1]["value"] = "tables/a.csv"
    assert not any("for a Path" in one.expected for one in check(outline, tmp_path))
