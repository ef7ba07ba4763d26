"""A disk that is full and a cache that cannot be written to: told, with exit code 4 or by using what is there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from space import Space, environ

from wfe.core.outcome import StepState
from wfe.engine.run import Run
from wfe.errors import EnvironmentFailure

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits and mode bits of POSIX")

NODES = """
@workflow_node()
def small(n: int):
    return {"n": n, "text": str(n) * 20_000}

@workflow_node()
def array(n: int):
    import numpy
    return {"array": numpy.arange(400_000.0) + n}

@workflow_node()
def long(n: int):
    return {"text": str(n) * 2_000_000}

@workflow_node()
def write(n: int, to: Output):
    to.write_bytes(bytes(2_000_000))
"""
ROOM = 1_000_000  # bytes
COUNT = {"small": 60, "array": 2, "long": 2, "write": 2}


def child(space: Space, before: Callable[[], object] | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "doit", *arguments],
        cwd=space.root,
        env=environ(),
        capture_output=True,
        text=True,
        preexec_fn=before,
        timeout=120,
    )


def no_file_longer() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


@contextlib.contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    """A file system of ROOM bytes at `folder`; skips where none may be mounted."""
    folder.mkdir(exist_ok=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)  # this process keeps the file of claims open


def begin(space: Space, function: str) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {
                "id": f"s{n}",
                "function": f"n.{function}",
                "inputs": {"n": n, **({"to": f"out/{n}"} if function == "write" else {})},
            }
            for n in range(COUNT[function])
        ]
    )


def tells_of_room(found: subprocess.CompletedProcess[str], function: str) -> None:
    assert found.returncode == 4, found.stdout + found.stderr
    assert "environment: " in found.stdout or "disk is full" in found.stderr, found.stdout
    assert any(
        words in found.stdout + found.stderr
        for words in ("No space left", "File too large", "disk full", "disk is full", "disk I/O error")
    ), found.stdout
    assert "BUG" not in found.stdout + found.stderr
    if function != "write":  # there it is the node's own, which writes the file
        assert "Traceback" not in found.stdout + found.stderr


def after(space: Space, function: str) -> None:
    """With room again everything is made and has its right value."""
    space.run()
    assert space.last is not None and space.last.code == 0
    for n in range(COUNT[function]):
        value = space.value(f"s{n}")
        if function == "small":
            assert value == {"n": n, "text": str(n) * 20_000}
        elif function == "long":
            assert value == {"text": str(n) * 2_000_000}
        elif function == "array":
            assert value["array"][2][:2] == [n, n + 1] and len(value["array"][2]) == 400_000
        else:
            assert (space.root / f"out/{n}").stat().st_size == 2_000_000
    space.run()
    space.nothing_ran()


@pytest.mark.parametrize("function", ["array", "long", "small"])
def test_no_file_may_grow(space: Space, function: str) -> None:
    begin(space, function)
    tells_of_room(child(space, no_file_longer, "run", "workflow=w", "--continue"), function)
    after(space, function)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("function", list(COUNT))
def test_the_disk_is_full(space: Space, function: str) -> None:
    begin(space, function)
    with tiny_disk(space.cache):
        tells_of_room(child(space, None, "run", "workflow=w", "-n", "2", "--continue"), function)
        tells_of_room(child(space, None, "run", "workflow=w", "--continue"), function)
        subprocess.run(["mount", "-o", "remount,size=64m", space.cache], check=True)
        after(space, function)


@pytest.mark.parametrize("inline", [True, False])
def test_when_the_database_is_full_and_the_journal_is_not(space: Space, inline: bool) -> None:
    """Two steps make one result: the second must not wait for the claim of the first, which nobody can give up."""
    space.nodes(NODES)
    space.workflow([{"id": name, "function": "n.small", "inputs": {"n": 1}} for name in "abc"])

    def fill(run: Run) -> None:
        def full(rows: object) -> None:
            raise EnvironmentFailure("the disk is full")

        run.workspace.state._commit = full  # type: ignore[method-assign]

    ended = space.run(inline=inline, change=fill)
    assert ended.of(StepState.RAN) == {"a"} and ended.of(StepState.RESTORED) == {"b", "c"} and ended.code == 4
    space.run(inline=inline)
    space.nothing_ran()


def obey_mode_bits() -> None:
    """Root may write everywhere; without this capability it may not."""
    if os.geteuid() == 0:
        import ctypes

        if ctypes.CDLL(None).prctl(24, 1, 0, 0, 0):  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
            os._exit(77)


@pytest.mark.skipif(sys.platform != "linux", reason="drops a capability of Linux")
def test_a_cache_that_cannot_be_written_to(space: Space) -> None:
    space.nodes(
        "@workflow_node()\ndef load(path: Path):\n    return {'text': path.read_text()}\n"
        "@workflow_node()\ndef ramp(text: str):\n    import numpy\n    return {'array': numpy.arange(len(text) * 2.0)}\n"
        "@workflow_node()\ndef write(array: Any, by: int, to: Output):\n    to.write_text(str(array.sum() * by))\n"
    )
    space.file("in.txt", "abc")
    space.workflow(
        [
            {"id": "load", "inputs": {"path": "in.txt"}},
            {"id": "ramp", "inputs": {"text": "$load.text"}},
            {"id": "write", "inputs": {"array": "$ramp.array", "by": "${by}", "to": "out/a.txt"}},
        ],
        params={"by": 1},
    )
    space.run()
    inside = [space.cache, *space.cache.rglob("*")]
    kept = {path: path.read_bytes() for path in inside if path.is_file()}
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        same = child(space, obey_mode_bits, "run", "workflow=w")
        if same.returncode == 77:
            pytest.skip("this root cannot give up its rights")
        assert same.returncode == 0, same.stdout + same.stderr
        assert "cannot be written to" in same.stdout and "results are not kept" in same.stdout
        assert "w: 3 current" in same.stdout
        for jobs in ("1", "2"):
            other = child(space, obey_mode_bits, "run", "workflow=w", "by=7", "-n", jobs)
            assert other.returncode == 0, other.stdout + other.stderr
            assert "1 ran, 2 current" in other.stdout and "results are not kept" in other.stdout
            assert (space.root / "out/a.txt").read_text() == "105.0"
        listed = child(space, obey_mode_bits, "list", "workflow=w", "--status")
        assert listed.returncode == 0, listed.stderr
    finally:
        for path in inside:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert {path: path.read_bytes() for path in space.cache.rglob("*") if path.is_file()} == kept
