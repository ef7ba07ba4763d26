"""With a real model: only where WFE_TEST_MODEL names one that a reachable server has."""

from __future__ import annotations

import os

import pytest
from answers import GOOD
from desks import MakeDesk
from ollama_server import OllamaServer

from wfe.agent.author import WrittenState, write_node
from wfe.agent.events import silent
from wfe.agent.ollama_model import OllamaModel

NAME = os.environ.get("WFE_TEST_MODEL", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not NAME, reason="WFE_TEST_MODEL is not set"),
]


def test_a_real_model_writes_a_node(desk: MakeDesk) -> None:
    from dataclasses import replace

    model = OllamaModel(NAME)
    model.prepare(silent)
    at = replace(desk(OllamaServer(lambda body: "", host="http://127.0.0.1:9")), model=model)
    spec = next(case.spec for case in GOOD if case.name == "good_plain")
    written = write_node(spec, at)
    assert written.state is WrittenState.KEPT, written.verdicts
