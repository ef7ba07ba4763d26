"""What a failure leaves of earlier results: all of them."""

from __future__ import annotations

import pytest
from space import Space

NODES = """
@workflow_node()
def first(n: int):
    if n == 13:
        raise ValueError("unlucky")
    return {"n": n}

@workflow_node()
def second(n: int):
    return {"m": n + 1}
"""


@pytest.fixture
def pair(space: Space) -> Space:
    space.nodes(NODES)
    space.workflow(
        [{"id": "first", "inputs": {"n": "${n}"}}, {"id": "second", "depends_on": ["first"]}], params={"n": 1}
    )
    return space


def test_a_failure_loses_neither_its_own_earlier_result_nor_those_after_it(pair: Space) -> None:
    pair.run()
    pair.ran("first", "second")
    pair.run(n=13)
    pair.failed("first")
    pair.blocked("second")
    pair.run()
    pair.nothing_ran()
    pair.current("first", "second")


def test_the_same_by_doit(pair: Space) -> None:
    pair.doit("run", "workflow=w")
    pair.doit("run", "workflow=w", "n=13", code=1)
    pair.run()
    pair.nothing_ran()


def test_forget_still_forgets(pair: Space) -> None:
    pair.run()
    pair.doit("forget", "workflow=w", "second")
    pair.run()
    pair.ran("second")
    pair.doit("forget", "workflow=w", "--all")
    pair.run()
    pair.ran("first", "second")


def test_a_file_of_an_earlier_run_is_named_where_the_step_failed_or_had_no_turn(pair: Space) -> None:
    pair.nodes(
        NODES
        + """
@workflow_node()
def third(m: int, path: Output):
    path.write_text(str(m))
"""
    )
    steps = [
        {"id": "first", "inputs": {"n": "${n}"}},
        {"id": "second", "depends_on": ["first"]},
        {"id": "third", "depends_on": ["second"], "inputs": {"path": "${path}"}},
    ]
    pair.workflow(steps, params={"n": 1, "path": "out.txt"})
    pair.run()
    said = pair.doit("run", "workflow=w", "n=13", code=1)
    assert "not written by this run, but there from before: out.txt\n" in said.stdout
    assert (pair.root / "out.txt").read_text() == "2"
    assert "from before" not in pair.doit("run", "workflow=w", "n=13", "path=new.txt", code=1).stdout
    assert "from before" not in pair.doit("run", "workflow=w").stdout
