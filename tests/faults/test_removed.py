"""A cache that somebody removes in the middle of a run: the run goes on where it can, and says what it was where not."""

from __future__ import annotations

import os

import pytest
from space import Space

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed")

NODES = """
import shutil

@workflow_node(cache="never")
def removes():
    shutil.rmtree("cache")
    return {"n": 3}

@workflow_node()
def plain(n: int):
    return {"n": n + 1}

@workflow_node()
def prints(n: int):
    print("says", n)
    return {"n": n + 1}

@workflow_node()
def array(n: int):
    import numpy
    return {"array": numpy.arange(n)}

@workflow_node()
def long(array):
    return {"text": str(array.sum()) * 200_000}

@workflow_node()
def save(text: str, to: Output):
    to.write_text(text[:2])

@workflow_node(cache="never")
def removes_and_writes(to: Output):
    shutil.rmtree("cache")
    to.write_text("x")

@workflow_node(cache="never")
def removes_late(array):
    shutil.rmtree("cache")
    return {"other": array + 1}
"""
REMOVED = "the cache, or a part of it, was removed while the run went on: run again"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_run_goes_on(space: Space, jobs: str) -> None:
    """Folders are made anew; what stood in the cache is not recorded, and is made again by the next run."""
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "array0", "function": "n.array", "inputs": {"n": 5}},
            {"id": "removes", "depends_on": ["array0"]},
            {"id": "plain", "depends_on": ["removes"]},
            {"id": "prints", "depends_on": ["plain"]},
            {"id": "array", "depends_on": ["prints"]},
            {"id": "long", "depends_on": ["array"]},
            {"id": "save", "depends_on": ["long"], "inputs": {"to": "out.txt"}},
        ]
    )
    found = space.doit("run", "workflow=w", "-n", jobs)
    assert "7 ran" in found.stdout
    assert (space.root / "out.txt").read_text() == "10"
    assert "7 ran" in space.doit("run", "workflow=w", "-n", jobs).stdout


def test_a_result_that_is_returned_after_it(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "array", "inputs": {"n": 5}},
            {"id": "removes_late", "depends_on": ["array"]},
            {"id": "lost", "function": "n.long", "inputs": {"array": "$array.array"}, "depends_on": ["removes_late"]},
        ]
    )
    found = space.doit("run", "workflow=w", code=None)
    assert "ran       removes_late" in found.stdout
    # What it needs was there when it was decided about, and the worker found it gone; or it was made again in time.
    assert found.returncode == 0 or ("No such file or directory: " in found.stdout and REMOVED in found.stdout)
    assert "Traceback" not in found.stdout + found.stderr and "disk" not in found.stdout


def test_a_file_that_cannot_be_written_any_more(space: Space) -> None:
    """It is the function that fails then, in a place that its author does not know."""
    space.nodes(NODES)
    space.workflow([{"id": "removes_and_writes", "inputs": {"to": "out.txt"}}])
    found = space.doit("run", "workflow=w", code=4)
    assert "failed    removes_and_writes" in found.stdout and REMOVED in found.stdout
    assert "Traceback" not in found.stdout + found.stderr
    assert not (space.root / "out.txt").exists()
