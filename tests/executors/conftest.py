"""Executors under test: in this process, workers of this interpreter, workers of a bare one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wfe.engine.executor import Call, Executor, Reply
from wfe.engine.hole import Hole
from wfe.engine.inline import Inline
from wfe.engine.workers import Workers

Event = tuple[str, dict[str, Any]]


class Bench:
    """A root with node sources, an executor, and what was heard."""

    def __init__(self, root: Path, executor: Executor) -> None:
        self.root = root
        self.executor = executor
        self.heard: list[Event] = []
        self.staging = root / "staging"
        self.staging.mkdir()
        self.log = root / "step.log"
        (root / "nodes").mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.root / "nodes" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def call(self, function: str, *, module: str = "a", holes: tuple[Hole, ...] = (), **options: Any) -> Reply:
        made = {"staging": str(self.staging), "log": str(self.log), "code": "v1", "inputs": {}, **options}
        call = Call("step", f"nodes.{module}", function, str(self.root), holes=holes, **made)
        return self.executor.call(call, lambda kind, content: self.heard.append((kind, content)))

    def lines(self) -> list[str]:
        return [content["line"] for kind, content in self.heard if kind == "line"]


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment without any package."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


KINDS = ("inline", "workers", "threaded", "bare")


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench of a kind; closes its executor."""
    made: list[Executor] = []

    def make(kind: str, **options: Any) -> Bench:
        executor: Executor
        if kind == "inline":
            executor = Inline()
        elif kind == "bare":
            executor = Workers(request.getfixturevalue("bare"), **{"limit": 2, **options})
        else:
            executor = Workers(**{"limit": 2, "threaded": kind == "threaded", **options})
        made.append(executor)
        return Bench(tmp_path, executor)

    yield make
    for executor in made:
        executor.close()


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, make: Callable[..., Bench]) -> Bench:
    return make(request.param)


@pytest.fixture(params=KINDS[1:])
def workers(request: pytest.FixtureRequest, make: Callable[..., Bench]) -> Bench:
    return make(request.param)


@pytest.fixture(params=["inline", "workers", "threaded"])
def with_numpy(request: pytest.FixtureRequest, make: Callable[..., Bench]) -> Bench:
    return make(request.param)
