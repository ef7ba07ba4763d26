"""Generation as doit's tasks: listed, offered, run in parallel, left alone when current."""

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
from ollama_server import OllamaServer
from test_agent_cli import pytestmark as needs_a_sandbox
from test_agent_flow import DODO, model_of_the_example

from wfe.agent.outline import document_of
from wfe.catalog import Catalogue
from wfe.errors import ExitCode

Served = Callable[..., OllamaServer]
pytestmark = needs_a_sandbox
NAME = "text_processing_pipeline"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A workflow whose five nodes nobody has written, as `wfe create` leaves it."""
    root = tmp_path / "project"
    (root / "workflows").mkdir(parents=True)
    (root / "dodo.py").write_text(DODO)
    outline = text_example.outline("http://example.org/")
    (root / "workflows" / f"{NAME}.json").write_text(json.dumps(document_of(outline, Catalogue(root)), indent=2))
    (root / ".wfe" / "outlines").mkdir(parents=True)
    (root / ".wfe" / "outlines" / f"{NAME}.json").write_text(json.dumps({"asked": "x", "outline": outline}))
    return root


def doit(project: Path, *words: str, host: str = "http://127.0.0.1:9") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "doit", *words]
    environ = {**os.environ, "OLLAMA_HOST": host}
    return subprocess.run(line, cwd=project, env=environ, capture_output=True, text=True, check=False)


def test_they_are_listed_and_offered(project: Path) -> None:
    listed = doit(project, "list", "--all")
    assert listed.returncode == 0, listed.stderr
    for name in text_example.nodes("", "x"):
        assert f"generate:{NAME}:{name}" in listed.stdout
    refused = doit(project, "run", f"workflow={NAME}")
    assert refused.returncode == ExitCode.WORKFLOW
    assert "missing nodes: fetch_web_content, clean_and_normalize_text" in refused.stderr
    assert f"`doit run generate:{NAME}`" in refused.stderr


def test_they_run_in_parallel_and_ask_nothing_when_current(project: Path, served: Served) -> None:
    server = served(model_of_the_example("http://example.org/"))
    done = doit(project, "run", "-n", "2", f"generate:{NAME}", host=server.host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((project / "nodes" / "custom").glob("*.py"))) == 5 and len(server.chats) == 5
    before = len(server.requests)
    again = doit(project, "run", f"generate:{NAME}", host=server.host)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("-- generate:") == 5
    assert len(server.requests) == before  # not even whether the server is there
    asked = [body["format"]["properties"]["name"]["const"] for body in server.chats]
    assert sorted(asked) == sorted(text_example.nodes("", "x"))

    (project / "nodes" / "custom" / "store_summary.py").unlink()
    one = doit(project, "run", f"generate:{NAME}:store_summary", host=server.host)
    assert one.returncode == 0 and len(server.chats) == 6


def test_a_failure_is_told_and_the_others_are_kept(project: Path, served: Served) -> None:
    good = model_of_the_example("http://example.org/")

    def answer(body: dict[str, Any]) -> Any:
        told = good(body)
        name = body["format"]["properties"]["name"]["const"]
        return {**told, "code": "x = 1\n"} if name == "store_summary" else told

    server = served(answer)
    done = doit(project, "run", "--continue", f"generate:{NAME}", host=server.host)
    assert done.returncode == 2, done.stdout  # doit: the group was not done, since one that it needs failed
    assert "node 'store_summary': no draft passed 'signature'; the best is in store_summary.py.rejected" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr and "returned False" not in done.stdout + done.stderr
    assert len(list((project / "nodes" / "custom").glob("*.py"))) == 4


def test_a_wrong_setting_is_named(project: Path) -> None:
    done = doit(project, "run", f"generate:{NAME}", "modle=x")
    assert done.returncode == ExitCode.USAGE
    assert "did you mean 'model'?" in done.stderr
