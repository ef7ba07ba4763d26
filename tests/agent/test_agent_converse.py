"""A conversation without a terminal: what an interrupt, a name that is taken and a person's edit do to it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import text_example
from desks import MakeDesk
from ollama_server import Answer, OllamaServer

from wfe.agent.converse import Conversation
from wfe.agent.events import AgentEvent, Answered, Asked, Heard
from wfe.agent.flow import Created
from wfe.agent.sandbox import KINDS
from wfe.agent.telling import Teller
from wfe.errors import ExitCode

Served = Callable[[Answer], OllamaServer]
# Nothing is tried here, so one sandbox does.
pytestmark = pytest.mark.parametrize("box", KINDS[:1], ids=["bubblewrap"], indirect=True)
WHOLE = text_example.outline("http://example.org/")
SMALL = {**WHOLE, "nodes": WHOLE["nodes"][:3]}


@pytest.fixture
def talk(desk: MakeDesk, served: Served) -> Conversation:
    server = served(lambda body: SMALL if "only" in body["messages"][-1]["content"] else WHOLE)
    return Conversation(desk(server), lambda name: ExitCode.INTERRUPTED)


def say(talk: Conversation, line: str) -> str:
    return "\n".join(talk.hear(line))


def document(talk: Conversation, name: str = "text_processing_pipeline") -> str:
    return (talk.desk.project / "workflows" / f"{name}.json").read_text()


def test_an_interrupted_answer_leaves_all_as_it_was(talk: Conversation) -> None:
    say(talk, "fetch and summarize")
    before = document(talk)

    def interrupt(event: AgentEvent) -> None:
        if isinstance(event, Heard):
            raise KeyboardInterrupt

    at, talk.desk = talk.desk, replace(talk.desk, tell=interrupt)
    with pytest.raises(KeyboardInterrupt):
        say(talk, "only fetch")
    talk.desk = at
    assert document(talk) == before and len(talk.outlines) == 1
    assert "notify_completion" not in say(talk, "only fetch").rpartition("fetch_web_content  (")[2]
    assert len(talk.outlines) == 2


def test_a_name_that_is_taken_gets_a_number(talk: Conversation) -> None:
    """The answer was waited for: it must not be lost to a name that the model chose."""
    path = talk.desk.project / "workflows" / "text_processing_pipeline.json"
    path.parent.mkdir()
    path.write_text("{}")
    assert "drafted workflows/text_processing_pipeline_2.json" in say(talk, "fetch and summarize")
    assert path.read_text() == "{}" and "fetch_web_content" in document(talk, "text_processing_pipeline_2")


def test_a_persons_edit_is_neither_overwritten_nor_a_turn_lost(talk: Conversation) -> None:
    say(talk, "fetch and summarize")
    say(talk, "only fetch")
    path = talk.desk.project / "workflows" / "text_processing_pipeline.json"
    path.write_text(path.read_text() + " ")
    for line in ("/undo", "only fetch", "/undo"):
        assert "not of this conversation" in say(talk, line)
    assert len(talk.outlines) == 2 and path.read_text().endswith(" ")
    (path.parent / "other.json").write_text("{}")
    assert "not of this conversation" in say(talk, "/name other")
    assert talk.name == "text_processing_pipeline"
    assert "the workflow is mine now" in say(talk, "/name mine")
    assert "store_summary" in say(talk, "/undo")


@pytest.mark.parametrize(
    ("code", "said"), [(ExitCode.INTERRUPTED, "the run was stopped"), (ExitCode.FAILED, "the run failed")]
)
def test_how_a_run_ended_is_said_in_words(
    talk: Conversation, code: ExitCode, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(talk, "fetch and summarize")
    made = Created("w", Path("w.json"), {}, (), code)
    monkeypatch.setattr("wfe.agent.converse.complete", lambda *_: made)
    assert say(talk, "/run") == said


def test_the_end_of_an_answer_clears_its_line(tmp_path: Path, box: object) -> None:
    """Else the next thing that is written, a question to the user say, stands at its end."""
    stream = io.StringIO()
    tell = Teller(stream, tmp_path, live=True, clock=lambda: 1.0)
    for event in (Asked("x", 1, "the types"), Heard("x", "some words"), Answered("x")):
        tell(event)
    assert stream.getvalue().startswith("x: asking the model for the types\n")
    assert stream.getvalue().endswith("some words\r\x1b[K")
