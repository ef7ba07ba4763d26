"""The provider, through its official client, against a server that speaks its protocol."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from ollama_server import Reply, digest_of, in_turn, serving

from wfe.agent.events import AgentEvent, Heard, Pulled, silent
from wfe.agent.model import Message, ModelFailure, Watch, read
from wfe.agent.ollama_model import OPTIONS, TRIES, OllamaModel
from wfe.agent.verdict import Unusable
from wfe.errors import EnvironmentFailure, ExitCode

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
ASKED = [Message("system", "You are brief."), Message("user", "Say a word.")]


def model(host: str, name: str = "qwen2.5-coder:7b", **settings: Any) -> OllamaModel:
    return OllamaModel(name, seed=7, host=host, pause=lambda seconds: None, **settings)


def test_an_answer_is_streamed_and_the_request_is_fixed() -> None:
    heard: list[AgentEvent] = []
    with serving(in_turn(Reply('{"word": "hello"}', piece=4))) as server:
        text = model(server.host).ask("x", ASKED, SCHEMA, heard.append)
    assert read(text, SCHEMA) == {"word": "hello"}
    pieces = [event.text for event in heard if isinstance(event, Heard)]
    assert len(pieces) > 3 and "".join(pieces) == text
    (body,) = server.chats
    assert body["format"] == SCHEMA
    assert body["options"] == {**OPTIONS, "seed": 7} and body["options"]["temperature"] == 0
    assert body["messages"][0] == {"role": "system", "content": "You are brief."}


def test_the_model_is_there() -> None:
    with serving(in_turn("")) as server:
        one = model(server.host)
        one.prepare(silent)
        assert one.digest() == digest_of("qwen2.5-coder:7b")
    assert [path for path, _ in server.requests] == ["/api/tags"]


def test_a_name_without_a_tag_is_the_latest() -> None:
    with serving(in_turn(""), models=["mistral:latest"]) as server:
        model(server.host, "mistral").prepare(silent)


def test_no_server_says_how_to_start_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ModelFailure, match="ollama serve") as caught:
        model(f"http://127.0.0.1:{port}").prepare(silent)
    assert isinstance(caught.value, EnvironmentFailure) and caught.value.code == ExitCode.ENVIRONMENT


def test_a_missing_model_says_how_to_pull_it() -> None:
    with serving(in_turn(""), models=[]) as server:
        with pytest.raises(ModelFailure, match=r"ollama pull qwen2\.5-coder:7b"):
            model(server.host).prepare(silent)
        with pytest.raises(ModelFailure, match=r"ollama pull qwen2\.5-coder:7b"):
            model(server.host).ask("x", ASKED, SCHEMA, silent)
        with pytest.raises(ModelFailure, match=r"ollama pull"):
            model(server.host).digest()


def test_pull_shows_progress() -> None:
    heard: list[AgentEvent] = []
    with serving(in_turn(""), models=[], pullable=["qwen2.5-coder:7b"]) as server:
        one = model(server.host)
        one.prepare(heard.append, pull=True)
        assert one.digest() == digest_of("qwen2.5-coder:7b")
    assert Pulled("pulling 60e05f210007", 500, 1000) in heard
    assert heard[-1] == Pulled("success")


def test_a_model_that_nobody_has_cannot_be_pulled() -> None:
    with (
        serving(in_turn(""), models=[]) as server,
        pytest.raises(ModelFailure, match="could not be pulled.*file does not exist"),
    ):
        model(server.host, "no-such-model").prepare(silent, pull=True)


@pytest.mark.parametrize(
    "broken",
    [
        Reply('{"word": "hello"}', cut=2, piece=2),
        Reply('{"word"', done=False),
        Reply(garbage=True),
        Reply(status=503),
        Reply("x", error="out of memory"),
    ],
    ids=["disconnect", "no end", "no JSON", "overloaded", "error in the stream"],
)
def test_a_lost_answer_is_asked_for_again_and_not_for_ever(broken: Reply) -> None:
    with serving(in_turn(broken, '{"word": "again"}')) as server:
        assert read(model(server.host).ask("x", ASKED, SCHEMA, silent), SCHEMA) == {"word": "again"}
        assert len(server.chats) == 2
    with serving(in_turn(broken)) as server:
        with pytest.raises(ModelFailure, match="3 times"):
            model(server.host).ask("x", ASKED, SCHEMA, silent)
        assert len(server.chats) == TRIES


def test_silence_ends() -> None:
    with serving(in_turn(Reply(hang=True))) as server, pytest.raises(ModelFailure, match="broke off"):
        model(server.host, silence=0.05).ask("x", ASKED, SCHEMA, silent)


def test_a_refused_request_is_not_repeated() -> None:
    with serving(in_turn(Reply(status=400, error="bad option"))) as server:
        with pytest.raises(ModelFailure, match="refused: bad option"):
            model(server.host).ask("x", ASKED, SCHEMA, silent)
        assert len(server.chats) == 1


def test_an_answer_that_takes_too_long_is_stopped() -> None:
    with (
        serving(in_turn(Reply("abc", endless=True))) as server,
        pytest.raises(Unusable, match="was not done after 0 s"),
    ):
        model(server.host, longest=0).ask("x", ASKED, SCHEMA, silent)


@pytest.mark.parametrize("text", ["ha ", "\n", '{"word": "a"}, ', "def f():\n    return 1\n" * 10])
def test_endless_repetition_is_stopped_and_the_server_is_told(text: str) -> None:
    with serving(in_turn(Reply('{"word": "' + text, endless=True, piece=50))) as server:
        with pytest.raises(Unusable, match="repeats"):
            model(server.host).ask("x", ASKED, SCHEMA, silent)
        assert server.client_left.wait(30)


def test_who_interrupts_an_answer_stops_the_model() -> None:
    def interrupt(event: AgentEvent) -> None:
        raise KeyboardInterrupt

    with serving(in_turn(Reply("word ", endless=True))) as server:
        with pytest.raises(KeyboardInterrupt):
            model(server.host).ask("x", ASKED, SCHEMA, interrupt)
        assert server.client_left.wait(30)


@pytest.mark.parametrize("host", ["http://127.0.0.1:port", "http://["])
def test_an_address_that_is_none_is_told(host: str) -> None:
    with pytest.raises(ModelFailure, match="is no address"):
        model(host)
    # The client's package makes a client for OLLAMA_HOST when it is imported.
    code = "from wfe.agent.ollama_model import OllamaModel\nfrom wfe.errors import WfeError\n"
    code += "try: OllamaModel()\nexcept WfeError as error: print(error)"
    environ = {**os.environ, "OLLAMA_HOST": host}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"OLLAMA_HOST={host!r} is no address")


def test_an_answer_cut_off_at_the_limit_is_unusable() -> None:
    with serving(in_turn(Reply('{"word": "hel', reason="length"))) as server, pytest.raises(Unusable, match="cut off"):
        model(server.host).ask("x", ASKED, SCHEMA, silent)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(in_turn("")) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.host)
        OllamaModel().prepare(silent)
    assert server.requests


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Sure! Here it is:\n```json\n{}\n```", "no ``` fences"),
        ('{"word": 3}', "answer.word"),
        ("{}", "'word' is a required property"),
        ('{"word": "a", "more": 1}', "'more' was unexpected"),
        ("[" * 100_000, "one JSON object"),
        ("", "one JSON object"),
    ],
)
def test_a_schema_is_checked_here_again(text: str, part: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(text, SCHEMA)
    assert part in str(caught.value)
    assert all(len(str(verdict)) < 1000 for verdict in caught.value.verdicts)


def test_code_that_only_looks_alike_is_not_stopped() -> None:
    watch = Watch()
    for number in range(400):
        assert watch.hear(f"    total += weights[{number}] * values[{number}]\n") == ""


def test_a_very_long_answer_is_stopped() -> None:
    watch = Watch()
    assert any(watch.hear(json.dumps({"number": number})) for number in range(10_000))
