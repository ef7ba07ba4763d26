"""The desk at which a node is written, as all tests of the author set it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_server import OllamaServer

from wfe.agent import prompt
from wfe.agent.author import Desk
from wfe.agent.gate import Site
from wfe.agent.ollama_model import OllamaModel
from wfe.agent.sandbox import Sandbox
from wfe.agent.staged import Bounds
from wfe.agent.tries import TRIAL_LIMITS, Bench

MakeDesk = Callable[..., Desk]
BOUNDS = Bounds(size=32 << 20, entries=1_000, threads=64)
"""Below what drafts are really allowed: on a slow disk half a gigabyte takes ten seconds to write."""


def maker(project: Path, cache: Path, tools: Path, box: Sandbox) -> MakeDesk:
    """Makes desks in `project` that ask the server which they are given; `tools`: where mypy keeps what it knows."""

    def make(server: OllamaServer, **settings: Any) -> Desk:
        model = OllamaModel(host=server.host, pause=lambda seconds: None)
        limits = replace(TRIAL_LIMITS, cpu_seconds=2, memory=1 << 30)
        bench = Bench(project, cache, box, limits=limits, bounds=BOUNDS)
        return Desk(model, prompt.load(project), Site(project, tools), bench, **settings)

    return make
