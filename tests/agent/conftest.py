from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desks import MakeDesk, maker
from ollama_server import Answer, OllamaServer, serving

from wfe.agent.sandbox import KINDS, Sandbox

TWICE = ("test_agent_corpus", "test_agent_run_repair", "test_agent_key")
"""What goes through whole drafts: with a second mechanism beside bubblewrap it is the same again, and slow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if KINDS[0].missing():
        return
    for item in items:
        if item.nodeid.rpartition("/")[2].partition(".")[0] in TWICE and f"{KINDS[1].name}" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def box(request: pytest.FixtureRequest) -> Sandbox:
    """Each sandbox that works on this machine."""
    if why := request.param.missing():
        pytest.skip(why)
    return request.param


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what it knows of the standard library: reading it again for each draft would be most of the
    time.
    """
    return tmp_path_factory.mktemp("tools")


@pytest.fixture
def desk(tmp_path: Path, tools: Path, box: Sandbox) -> MakeDesk:
    """A desk in a fresh project at `tmp_path / "project"`, asking the server that it is given."""
    project = tmp_path / "project"
    project.mkdir()
    return maker(project, tmp_path / "cache", tools, box)


@pytest.fixture
def served() -> Iterator[Callable[[Answer], OllamaServer]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda answer, **settings: stack.enter_context(serving(answer, **settings))
