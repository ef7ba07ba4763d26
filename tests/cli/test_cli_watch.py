"""`wfe watch` through its real output: what it says is waited for, never slept for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from wfe.testing import ProjectUnderTest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="interrupts a child by SIGINT")


class Watching:
    """A running `wfe watch`; `until` reads its output up to a text."""

    def __init__(self, project: ProjectUnderTest, *words: str) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wfe", "watch", *words, "--debounce", "50"],
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environ, "PYTHONUNBUFFERED": "1"},
        )
        # A reader that waits for a line that never comes would hang the suite.
        self.limit = threading.Timer(100, self.process.kill)
        self.limit.start()

    def until(self, text: str) -> list[str]:
        lines = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        raise AssertionError(f"{text!r} was never said: {lines}")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def close(self) -> None:
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def watching(project: ProjectUnderTest) -> Iterator[Watching]:
    found = Watching(project, "sum")
    yield found
    found.close()


def test_a_saved_file_reruns_what_it_touches_and_an_error_waits(project: ProjectUnderTest, watching: Watching) -> None:
    assert any("4 ran" in line for line in watching.until("waiting"))
    project.write("in.txt", "1 2 30\n")
    said = watching.until("waiting")
    assert "in.txt changed" in said and any("3 ran, 1 current" in line for line in said)
    project.write("unrelated.txt", "x")
    project.write("nodes/some.py", "def (")
    said = watching.until("waiting")
    assert "nodes/some.py changed" in said and any("nodes/some.py:1:" in line for line in said)
    assert not any("unrelated" in line for line in said)
    assert watching.interrupt() == 130


def test_a_run_that_became_stale_is_ended(project: ProjectUnderTest) -> None:
    """The first run blocks on a pipe that nobody writes to; saving the node's source ends it."""
    os.mkfifo(project.root / "never")
    blocks = """
from wfe import log, workflow_node


@workflow_node()
def block() -> dict:
    log("blocking")
    with open(%r) as pipe:
        return {"text": pipe.read()}
"""
    project.node("blocks", blocks % str(project.root / "never"))
    project.workflow("w", nodes=[{"id": "block", "function": "blocks.block"}])
    found = Watching(project, "w")
    try:
        found.until("blocking")
        project.node(
            "blocks", blocks.replace('with open(%r) as pipe:\n        return {"text": pipe.read()}', "return {}")
        )
        said = found.until("waiting")
        said += found.until("waiting")
        assert "nodes/blocks.py changed" in said and any("w: 1 ran" in line for line in said)
        assert found.interrupt() == 130
    finally:
        found.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["sum", "--set", "pluss=1"],
            "workflows/sum.json: workflow 'sum' has no parameter 'pluss'; did you mean 'plus'?",
        ),
        (["sum", "--set", "plus=x"], "command line: parameter 'plus': expected number, found 'x'"),
        (["sum", "wirte"], "workflow 'sum' has no step 'wirte'; did you mean 'write'?"),
    ],
)
def test_a_slip_of_the_command_line_ends_it(project: ProjectUnderTest, words: list[str], said: str) -> None:
    """No change of a file is likely to mend it."""
    found = Watching(project, *words)
    try:
        assert found.process.wait(60) == 3
        assert found.process.stdout is not None and found.process.stdout.read() == f"{said}\n"
    finally:
        found.close()


def test_a_parameter_that_is_there_when_the_document_is_mended(project: ProjectUnderTest) -> None:
    """A document that cannot be read does not say that it has no such parameter, and one that lost it may get it back."""
    good = project.root.joinpath("workflows/sum.json").read_text()
    project.write("workflows/sum.json", "{")
    found = Watching(project, "sum", "--set", "plus=1")
    try:
        found.until("not run; waiting")
        project.write("workflows/sum.json", good)
        assert any("4 ran" in line for line in found.until("waiting"))
        project.write("workflows/sum.json", good.replace('"plus": 0', '"more": 0').replace("${plus}", "${more}"))
        assert any("has no parameter 'plus'" in line for line in found.until("not run; waiting"))
        project.write("workflows/sum.json", good)
        assert any("4 current" in line for line in found.until("waiting"))
        assert found.interrupt() == 130
    finally:
        found.close()
