"""Isolated steps through the engine: clashing packages side by side, keys, deaths, and installations that are shared,
interrupted or impossible."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab import Lab
from space import Space

from wfe.core.outcome import Note
from wfe.errors import EnvironmentFailure, ExitCode

CLASH = """
    @workflow_node(dependencies=["marker==1.0"])
    def old():
        import marker
        return {"version": marker.VERSION}

    @workflow_node(dependencies=["marker==2.0"])
    def new():
        import marker
        return {"version": marker.VERSION}

    @workflow_node()
    def both(x: int, y: int):
        return {"sum": x + y}
"""
NODES = [
    {"id": "old"},
    {"id": "new"},
    {"id": "both", "inputs": {"x": "$old.version", "y": "$new.version"}},
]
LOCK = "workflows/environments.lock.json"


@pytest.fixture
def project(made: Callable[[str], Lab]) -> Space:
    """A project with environments of its own: none is there yet."""
    return made("main").space


def installations(space: Space) -> list[str]:
    assert space.last is not None
    return [one.message for one in space.last.events if isinstance(one, Note) and "nstalling" in one.message]


def test_clashing_packages_in_one_workflow(project: Space) -> None:
    project.nodes(CLASH)
    project.workflow(NODES)
    found = project.run(inline=False, jobs=2)
    assert found.values == {"old": {"version": 1}, "new": {"version": 2}, "both": {"sum": 3}}
    assert sorted(installations(project)) == [
        "Installing 1 missing dependency: marker==1.0",
        "Installing 1 missing dependency: marker==2.0",
    ]
    project.run(inline=False)
    project.nothing_ran()
    project.run(inline=False, forced=["old"])
    project.ran("old")
    assert installations(project) == []


def test_isolated_steps_are_isolated_in_an_inline_run_too(project: Space) -> None:
    project.nodes(CLASH)
    project.workflow(NODES)
    assert project.run(inline=True).values["both"] == {"sum": 3}


def test_the_lock_holds_no_address_and_is_used_again(
    project: Space, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.nodes(CLASH)
    project.workflow(NODES)
    project.run(inline=False)
    text = (project.root / LOCK).read_text()
    assert "://" not in text and str(links) not in text
    shutil.rmtree(project.root / "cache")
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert project.run(inline=False).values["both"] == {"sum": 3}
    assert (project.root / LOCK).read_text() == text


def test_without_uv_what_is_there_runs(project: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    project.nodes(CLASH)
    project.workflow(NODES)
    project.run(inline=False)
    monkeypatch.setattr("wfe.env.uv.find", _no_uv)
    found = project.run(inline=False, forced=["old", "new"])
    assert found.code is ExitCode.OK
    project.ran("old", "new")
    shutil.rmtree(project.root / "cache" / "environments")
    found = project.run(inline=False, forced=["old"])
    project.failed("old")
    assert found.code is ExitCode.ENVIRONMENT
    assert "uv was not found" in found.failure("old")


def _no_uv() -> Path:
    raise EnvironmentFailure("uv was not found, and isolated environments are made by it", "install it")


def test_a_change_of_the_lock_runs_the_steps_of_that_environment_again(project: Space, links: Path) -> None:
    project.nodes("""
        @workflow_node(dependencies=["marker<2"])
        def old():
            import marker
            return {"version": marker.VERSION}

        @workflow_node(dependencies=["marker>=2"])
        def new():
            import marker
            return {"version": marker.VERSION}

        @workflow_node()
        def plain():
            return {}
    """)
    project.workflow([{"id": "old"}, {"id": "new"}, {"id": "plain"}])
    project.run(inline=False)
    from env.wheels import wheel

    later = wheel(links, "marker", "2.5", {"marker.py": "VERSION = 2.5\n"})
    try:
        project.run(inline=False)
        project.nothing_ran()  # a package that was published changes nothing that is locked
        said = project.doit("list", code=0)  # any command at all: nor does looking
        assert said.returncode == 0
        _wfe(project, "env", "lock", "--upgrade")
        found = project.run(inline=False)
        project.ran("new")
        project.current("old", "plain")
        assert "environment" in found.why("new")
        assert found.values["new"] == {"version": 2.5}
    finally:
        later.unlink()


def _wfe(space: Space, *words: str, code: int = 0) -> str:
    import subprocess
    import sys

    from space import environ

    ran = subprocess.run(
        [sys.executable, "-m", "wfe", *words], cwd=space.root, env=environ(), capture_output=True, text=True
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_the_list_says_which_step_runs_where_and_why(project: Space) -> None:
    project.nodes(CLASH)
    project.workflow(NODES)
    said = _wfe(project, "env", "list", "w")
    assert "not resolved yet" in said and "no isolated environments" in said
    assert not (project.root / LOCK).exists()
    _wfe(project, "env", "sync")
    rows = [json.loads(line) for line in _wfe(project, "env", "list", "w", "--json").splitlines()]
    seats = {row["step"]: row for row in rows if "step" in row}
    held = {row["digest"]: row for row in rows if "digest" in row}
    assert {name: one["runs"] for name, one in seats.items()} == {
        "w:old": "isolated",
        "w:new": "isolated",
        "w:both": "main",
    }
    assert "does not have marker==1.0; apart from new" in seats["w:old"]["why"]
    assert held[seats["w:old"]["environment"]]["packages"] == ["marker-1.0"]
    project.file("workflows/bad.json", '{"nodes": 3}')
    said = _wfe(project, "env", "list", code=3)
    assert "w:old" in said and "bad.json" in said  # what is wrong with one does not hide the others


def test_a_package_for_another_platform_is_a_skipped_step(project: Space) -> None:
    project.nodes("""
        @workflow_node(dependencies=["onlywin"], outputs=["x"])
        def win():
            return {"x": 1}

        @workflow_node()
        def spare(x: int | None):
            return {"got": x}
    """)
    project.workflow([{"id": "win"}, {"id": "spare", "inputs": {"x": "$win.x"}}])
    if os.name == "nt":
        pytest.skip("here it can run")
    found = project.run(inline=False)
    project.skipped("win")
    assert "onlywin has no wheel for" in found.outcomes["win"].skip
    assert found.values["spare"] == {"got": None}
    assert found.code is ExitCode.OK


@pytest.mark.parametrize(
    ("decorator", "words", "code"),
    [
        ('dependencies=["marker=>1"]', "'marker=>1' is not a requirement", 3),
        ('dependencies=["marker==9"]', "there is no version of marker==9", 4),
        ('dependencies=["alpha"], isolation_mode="never"', "the main environment does not have alpha", 4),
        ('dependencies=["marker==1.0", "marker==2.0"]', "cannot be made", 4),
        ('python=">=3.98"', "no Python >=3.98 was found", 4),
        ('python="three"', "'three' is not a Python version", 3),
        ('dependencies=["marker"], isolation_mode="often"', "often", 3),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(project: Space, decorator: str, words: str, code: int) -> None:
    project.nodes(f"""
        @workflow_node()
        def good():
            return {{}}

        @workflow_node({decorator})
        def bad():
            return {{}}
    """)
    project.workflow([{"id": "good"}, {"id": "bad"}])
    said = project.doit("run", "workflow=w", code=None)
    assert said.returncode == code
    assert "nodes/n.py:" in said.stderr and words in said.stderr and "bad" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_package_that_cannot_be_imported_fails_its_step_alone(project: Space) -> None:
    project.nodes("""
        @workflow_node(dependencies=["lacking"])
        def bad():
            return {}

        @workflow_node(dependencies=["marker==1.0"], environment="other")
        def good():
            return {}
    """)
    project.workflow([{"id": "bad"}, {"id": "good"}])
    found = project.run(inline=False)
    project.failed("bad")
    project.ran("good")
    assert found.code is ExitCode.ENVIRONMENT
    assert "nowhere_at_all" in found.failure("bad")
    root = project.root / "cache" / "environments"
    assert len([path for path in root.iterdir() if len(path.name) == 32]) == 1
    assert not list((root / "staging").iterdir())


class Kills:
    """Kills the worker of a step that says its process id."""

    def __init__(self) -> None:
        self.children: list[int] = []

    def hear(self, event: Any) -> None:
        if isinstance(event, Note) and event.message.startswith("pids "):
            worker, *self.children = map(int, event.message.split()[1:])
            os.kill(worker, signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_worker_is_a_failed_step_and_leaves_nothing(project: Space) -> None:
    project.nodes("""
        import numpy as np
        @workflow_node(dependencies=["numpy"], isolation_mode="always")
        def a(n: int):
            import os, subprocess, sys, wfe
            if n == 1:
                child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
                wfe.log(f"pids {os.getpid()} {child.pid}")
                child.wait()
            return {"grid": np.zeros(1_000_000)}

        @workflow_node()
        def b():
            return {}
    """)
    project.workflow([{"id": "a", "inputs": {"n": "${n}"}}, {"id": "b"}], params={"n": 1})
    kills = Kills()
    found = project.run(inline=False, change=lambda run: run.listeners.append(kills))
    project.failed("a")
    project.ran("b")
    failure = found.outcomes["a"].failure
    assert failure is not None and failure.kind == "died"
    [child] = kills.children
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert not list((project.cache / "staging").glob("*/*"))
    project.run(inline=False, n=2)
    project.ran("a")


STALLS = """
    @workflow_node(dependencies=["stalls"])
    def a():
        return {"x": 1}

    @workflow_node()
    def b():
        return {"x": 1}
"""


@pytest.fixture
def gate() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def test_two_runs_at_once_make_the_environment_once(project: Space, gate: socket.socket) -> None:
    project.nodes(STALLS)
    project.workflow([{"id": "a"}])
    project.workflow([{"id": "a"}], name="other")
    port = {"WFE_TEST_PORT": str(gate.getsockname()[1])}
    runs = [project.start("run", f"workflow={name}", **port) for name in ("w", "other")]
    line, _ = gate.accept()  # one of them imports what it installed; the other waits, or comes later
    line.sendall(b"go")
    line.close()
    gate.settimeout(0.0)
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    with pytest.raises(BlockingIOError):  # nobody imported it a second time before the rename
        gate.accept()
    root = project.root / "cache" / "environments"
    assert len([path for path in root.iterdir() if len(path.name) == 32]) == 1
    assert "".join(said).count("ready in") == 1


@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_an_interrupted_installation_leaves_nothing(project: Space, gate: socket.socket) -> None:
    project.nodes(STALLS)
    project.workflow([{"id": "b"}, {"id": "a", "depends_on": ["b"]}])
    run = project.start("run", "workflow=w", WFE_TEST_PORT=str(gate.getsockname()[1]))
    line, _ = gate.accept()
    os.kill(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    line.close()
    assert run.returncode == 130, said
    assert "Traceback" not in said
    root = project.root / "cache" / "environments"
    assert not [path for path in root.iterdir() if len(path.name) == 32]
    assert not list((root / "staging").iterdir())
    project.run(inline=False)
    project.ran("a")
    project.current("b")


@pytest.mark.registry
@pytest.mark.slow
def test_two_versions_of_a_real_package(space: Space) -> None:
    space.nodes("""
        @workflow_node(dependencies=["six==1.15.0"])
        def old():
            import six
            return {"version": six.__version__}

        @workflow_node(dependencies=["six==1.16.0"])
        def new():
            import six
            return {"version": six.__version__}
    """)
    space.workflow([{"id": "old"}, {"id": "new"}])
    found = space.run(inline=False, jobs=2)
    assert found.values == {"old": {"version": "1.15.0"}, "new": {"version": "1.16.0"}}


def test_a_node_that_the_file_alone_puts_into_an_environment(project: Space) -> None:
    """No node of the workflow says anything itself."""
    project.nodes("""
        @workflow_node()
        def a():
            import marker
            return {"version": marker.VERSION}
    """)
    project.workflow([{"id": "a"}], environments="environments.json")
    for version in ("1.0", "2.0"):
        declared = {"lab": {"requirements": [f"marker=={version}"], "isolation_mode": "always", "nodes": ["a"]}}
        project.file("workflows/environments.json", json.dumps(declared))
        found = project.run(inline=False)
        assert found.values["a"] == {"version": int(version[0])}
    said = _wfe(project, "env", "list")  # the file is no workflow, where it lies
    assert "environment 'lab'" in said


def test_a_file_of_environments_nearer_than_the_one_before_is_noticed(project: Space) -> None:
    project.nodes(CLASH)
    project.workflow([{"id": "old", "environment": "lab"}], environments="environments.json")
    declared = {"lab": {"requirements": ["marker==1.0"], "isolation_mode": "always"}}
    project.file("environments.json", json.dumps(declared))
    assert project.run(inline=False).values["old"] == {"version": 1}
    project.file(
        "workflows/environments.json", json.dumps({"lab": {**declared["lab"], "requirements": ["marker==1.0", "x"]}})
    )
    with pytest.raises(EnvironmentFailure):
        project.run(inline=False)
