"""A project in a temporary directory, and the real command run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wfe.testing import ProjectUnderTest

NODES = '''
import sys
from pathlib import Path

from wfe import Output, Skip, workflow_node


@workflow_node(outputs={"numbers": list})
def numbers(source: Path) -> dict:
    """The numbers of a file."""
    print("reading", source.name)
    return {"numbers": [int(word) for word in source.read_text().split()]}


@workflow_node(outputs={"total": int})
def total(numbers: list, plus: int = 0) -> dict:
    """Their sum."""
    return {"total": sum(numbers) + plus}


@workflow_node()
def write(total: int, path: Output) -> dict:
    """Write the sum to a file."""
    path.write_text(f"{total}\\n")
    return {"path": path}


@workflow_node(outputs={"array": "ndarray"})
def array(size: int = 4) -> dict:
    import numpy

    return {"array": numpy.arange(size * 2, dtype="float32").reshape(size, 2)}


@workflow_node()
def half(total: int) -> dict:
    return {"half": total // 1000}


@workflow_node()
def fails(total: int = 0) -> dict:
    print("about to fail")
    raise ValueError("the total is " + str(total))


@workflow_node()
def skips() -> dict:
    raise Skip("no such device")


@workflow_node(cache="never")
def chance() -> dict:
    import random

    return {"fixed": 1, "number": random.random()}


@workflow_node()
def double(item: int) -> dict:
    return {"doubled": 2 * item}
'''


@dataclass(frozen=True)
class Done:
    """A finished process."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Wfe = Callable[..., Done]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectUnderTest:
    monkeypatch.delenv("WFE_CACHE", raising=False)
    made = ProjectUnderTest(tmp_path / "project")
    made.node("some", NODES)
    made.write("in.txt", "1 2 3\n")
    made.workflow(
        "sum",
        description="Add numbers",
        params={"source": "in.txt", "plus": 0},
        nodes=[
            {"id": "read", "function": "some.numbers", "inputs": {"source": "${source}"}},
            {"id": "add", "function": "some.total", "depends_on": ["read"], "inputs": {"plus": "${plus}"}},
            {"id": "half", "function": "some.half", "inputs": {"total": "$add.total"}},
            {"id": "write", "function": "some.write", "inputs": {"total": "$half.half", "path": "out/sum.txt"}},
        ],
    )
    return made


@pytest.fixture
def wfe(project: ProjectUnderTest) -> Wfe:
    """Run `wfe` with the given words in the project."""

    def run(*words: str, cwd: Path | None = None, stdin: str = "", **environ: str) -> Done:
        found = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS", "WFE_CACHE")}
        done = subprocess.run(
            [sys.executable, "-m", "wfe", *words],
            cwd=cwd or project.root,
            env={**found, "COLUMNS": "100", **environ},
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
