"""`wfe env lock` and `wfe env sync` where something is wrong with some of the workflows."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from env.wheels import wheel
from lab import Lab
from space import Space, environ

LOCK = "workflows/environments.lock.json"
NODES = """
    @workflow_node(dependencies=["alpha<2"])
    def good():
        return {}

    @workflow_node(dependencies=["beta"])
    def other():
        return {}

    @workflow_node(dependencies=["alpha>5"])
    def late():
        return {}

    @workflow_node(dependencies=["no-such-thing>=1"])
    def unknown():
        return {}

    @workflow_node(dependencies=["stalls"])
    def stalls():
        return {}

    @workflow_node(dependencies=["lacking"])
    def lacks():
        return {}
"""


@pytest.fixture
def project(made: Callable[[str], Lab]) -> Space:
    space = made("main").space
    space.nodes(NODES)
    return space


def wfe(space: Space, *words: str, code: int = 0) -> tuple[str, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "wfe", *words], cwd=space.root, env=environ(), capture_output=True, text=True
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout, ran.stderr


def locked(space: Space) -> set[str]:
    path = space.root / LOCK
    return {
        text
        for one in (json.loads(path.read_text())["environments"] if path.exists() else ())
        for text in one["requirements"]
    }


def test_all_that_cannot_be_resolved_is_told_and_the_rest_is_locked(project: Space) -> None:
    project.workflow([{"id": "late"}, {"id": "good"}], name="a")
    project.workflow([{"id": "unknown"}], name="b")
    project.workflow([{"id": "late"}], name="c")
    project.workflow([{"id": "other"}], name="d")
    out, told = wfe(project, "env", "lock", code=4)
    assert "nodes/n.py:" in told and told.count("node 'late': its environment of alpha>5 cannot be made") == 1
    assert "require alpha>5, we can conclude that your requirements are unsatisfiable; ask for a version" in told
    assert "node 'unknown': its environment of no-such-thing>=1 cannot be made" in told
    assert "look at the spelling" in told
    assert [line.split(":")[0] for line in out.splitlines() if "not locked" in line] == ["a", "b", "c"]
    assert f"{LOCK} written" in out
    # Which nodes of a workflow share an environment depends on all of them: of one that fails nothing is locked.
    assert locked(project) == {"beta"}
    out, told = wfe(project, "env", "lock", code=4)
    assert LOCK not in out and "node 'unknown'" in told


def test_an_upgrade_keeps_the_locks_of_all_workflows(project: Space, links: Path) -> None:
    project.workflow([{"id": "good"}], name="a")
    project.workflow([{"id": "other"}], name="b")
    wfe(project, "env", "lock")
    assert locked(project) == {"alpha<2", "beta"}
    added = wheel(links, "alpha", "1.5", {"alpha/__init__.py": "VERSION = 1\n"})
    try:
        out, _ = wfe(project, "env", "lock", "--upgrade")
        assert "alpha 1.0 -> 1.5" in out
        assert locked(project) == {"alpha<2", "beta"}
        project.workflow([{"id": "good"}, {"id": "late"}], name="a")
        wfe(project, "env", "lock", "--upgrade", code=4)
        assert locked(project) == {"alpha<2", "beta"}
    finally:
        added.unlink()


def test_syncing_goes_on_after_an_environment_that_cannot_be_made(project: Space) -> None:
    project.workflow([{"id": "lacks"}], name="a")
    project.workflow([{"id": "other"}], name="b")
    out, told = wfe(project, "env", "sync", code=4)
    assert "the environment of lacks: lacking was installed, but importing 'lacking' fails" in told
    assert "b:other: " in out and "1 environment ready" in out


@pytest.mark.parametrize(
    "words",
    [
        ("run", "w"),
        ("validate", "w"),
        ("env", "lock"),
        ("env", "sync"),
        ("env", "list", "w"),
        ("run", "w", "--dry-run"),
    ],
)
def test_a_requirement_that_is_none_is_a_wrong_workflow_everywhere(project: Space, words: tuple[str, ...]) -> None:
    project.nodes("""
        @workflow_node()
        def fine():
            print("it ran")

        @workflow_node(dependencies=["alpha<2", "beta=>1"])
        def bad():
            return {}
    """)
    project.workflow([{"id": "fine"}, {"id": "bad"}])
    out, told = wfe(project, *words, code=3)
    line = (
        (project.root / "nodes/n.py")
        .read_text()
        .splitlines()
        .index('@workflow_node(dependencies=["alpha<2", "beta=>1"])')
    )
    assert f"nodes/n.py:{line + 1}:41: bad: @workflow_node: 'beta=>1' is not a requirement" in out + told
    assert "write it like 'numpy>=2'" in out + told and "it ran" not in out
    assert project.doit("run", "workflow=w", code=None).returncode == 3
    assert not (project.root / LOCK).exists()


@pytest.mark.parametrize("words", [("env", "lock"), ("env", "sync"), ("run", "w")])
def test_a_place_that_cannot_be_written_is_no_error_of_ours(project: Space, words: tuple[str, ...]) -> None:
    project.workflow([{"id": "good"}])
    project.cache.mkdir(exist_ok=True)
    (project.cache / "environments").write_text("a file")
    _, told = wfe(project, *words, code=4)
    assert "Traceback" not in told
    assert f"cannot write under {project.cache / 'environments'}: Not a directory; see that it is a directory" in told


def test_what_a_killed_run_left_is_named_and_removed(project: Space) -> None:
    project.workflow([{"id": "good"}])
    wfe(project, "env", "sync")
    left = project.cache / "environments" / "staging" / f"{'0' * 32}-12345678"
    left.mkdir()
    (left / "half").write_bytes(bytes(100_000))
    for _ in range(2):
        out, _ = wfe(project, "env", "gc")
        assert out.count("000000000000") == 1 and "a run that was killed left it" in out and "--yes deletes" in out
    out, _ = wfe(project, "env", "gc", "--yes")
    assert "freed 1" in out
    assert not left.exists()
    assert wfe(project, "env", "gc")[0] == "nothing to delete\n"
    assert "good" in wfe(project, "env", "list")[0]


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_leaves_nothing(project: Space, number: signal.Signals) -> None:
    project.workflow([{"id": "stalls"}])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        variables = environ(WFE_TEST_PORT=str(server.getsockname()[1]))
        command = [sys.executable, "-m", "wfe", "env", "sync"]
        sync = subprocess.Popen(command, cwd=project.root, env=variables, stderr=subprocess.PIPE, text=True)
        line, _ = server.accept()  # it imports what it has installed
        sync.send_signal(number)
        _, told = sync.communicate(timeout=60)
        line.close()
    assert sync.returncode == 130
    assert "Traceback" not in told
    root = project.cache / "environments"
    assert not [path for path in root.iterdir() if len(path.name) == 32]
    assert not list((root / "staging").iterdir())
    assert "1 environment ready" in wfe(project, "env", "sync")[0]


def test_validating_ends_with_the_code_that_a_run_would_have(project: Space) -> None:
    project.workflow([{"id": "late"}], name="a")
    project.workflow([{"id": "good"}], name="b")
    for words in (("validate",), ("validate", "a"), ("run", "a")):
        assert "its environment of alpha>5 cannot be made" in "".join(wfe(project, *words, code=4))
    wfe(project, "validate", "b")
    project.workflow([{"id": "nothing"}], name="c")
    wfe(project, "validate", code=3)
