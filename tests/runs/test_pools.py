"""Pools from each command line, and the slot that a step is told of."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import FRONTS, WAITS, Running, door, entered, go
from space import Space, environ

from wfe.core.outcome import RunStarted, StepState
from wfe.door import MOST
from wfe.errors import ExitCode, WfeError
from wfe.report.board import Board

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses FIFOs")

NODES = """
import wfe
@workflow_node(outputs={"index": Any})
def uses(door: str, n: int):
    index = wfe.device("gpu")
    with open(door, "w") as out:
        out.write(f"{index} {wfe.device('npu')}")
    with open(door + ".go") as go:
        go.read()
    return {"index": index}
"""
SIZE = {"doit": ["pool.gpu={}"], "wfe": ["--pool", "gpu={}"]}


def prepare(space: Space, doors: list[Path], **settings: Any) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": f"u{n}", "function": "n.uses", "inputs": {"door": str(path), "n": n}, "resources": {"gpu": 1}}
            for n, path in enumerate(doors)
        ],
        **settings,
    )


@pytest.mark.parametrize("front", FRONTS)
def test_two_slots_are_two_devices(space: Space, front: str) -> None:
    with door(space, "a") as one, door(space, "b") as two:
        prepare(space, [one, two])
        running = Running(space, front, "-n", "2", *(word.format(2) for word in SIZE[front]))
        inside = {one.read_text(), two.read_text()}  # both are in before either may leave
        go(one)
        go(two)
        code, said = running.end()
        assert code == 0, said
        assert inside == {"0 None", "1 None"}
    space.run()
    space.nothing_ran()
    assert {space.value("u0")["index"], space.value("u1")["index"]} == {0, 1}


def test_two_at_once_stand_on_two_rows_of_the_timeline(space: Space) -> None:
    with door(space, "a") as one, door(space, "b") as two, door(space, "c") as three:
        prepare(space, [one, two, three], settings={"pools": {"gpu": 3}})
        space.edit("workflows/w.json", '"id": "u2"', '"id": "u2", "depends_on": ["u0", "u1"]')
        running = Running(space, "wfe", "-n", "2")
        for together in ([one, two], [three]):
            for waiting in together:
                waiting.read_text()
            for waiting in together:
                go(waiting)
        code, said = running.end()
        assert code == 0, said
    told = subprocess.run(
        [sys.executable, "-m", "wfe", "timeline"], cwd=space.root, capture_output=True, check=True, env=environ()
    )
    events = json.loads(told.stdout)["traceEvents"]
    rows: dict[int, list[tuple[float, float]]] = {}
    for event in sorted((event for event in events if event["ph"] == "X"), key=lambda event: event["ts"]):
        rows.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert sorted(map(len, rows.values())) == [1, 2]
    assert all(before[1] <= after[0] for bars in rows.values() for before, after in itertools.pairwise(bars))


@pytest.mark.parametrize("front", FRONTS)
def test_the_command_line_goes_over_the_document(space: Space, front: str) -> None:
    """With one slot the second step waits, though there would be a place."""
    with door(space, "a") as one, door(space, "b") as two:
        prepare(space, [one, two], settings={"pools": {"gpu": 2}})
        running = Running(space, front, "-n", "2", *(word.format(1) for word in SIZE[front]))
        seen = []
        ends = {os.open(path, os.O_RDONLY | os.O_NONBLOCK): path for path in (one, two)}
        while ends:
            at, _, _ = select.select(list(ends), [], [], 60)
            assert len(at) == 1, "one at a time"
            os.set_blocking(at[0], True)  # the step is in: it says who it is, and closes
            while text := os.read(at[0], 100):
                seen.append(text)
            go(ends.pop(at[0]))
            os.close(at[0])
        code, said = running.end()
        assert code == 0, said
        assert seen == [b"0 None", b"0 None"]


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["pool.gup=2"], "no step takes from a pool 'gup'; did you mean 'gpu'?", 2),
        (["pool.gpu=many"], "pool 'gpu': 'many' is no amount", 3),
        (["pool.gpu=0"], "step 'u0' asks for 1 of pool 'gpu', which has 0", 3),
    ],
)
def test_a_wrong_pool_is_told(space: Space, words: list[str], said: str, code: int) -> None:
    prepare(space, [space.root / "door"])
    done = space.doit("run", "workflow=w", *words, code=code)
    assert said in done.stdout + done.stderr
    assert not (space.cache / "steps").exists()


@pytest.mark.parametrize("front", FRONTS)
def test_a_failure_gives_its_place_to_nobody(space: Space, front: str) -> None:
    """doit hands out more steps than may run at once; one of them was begun before doit heard of the failure."""
    space.nodes(
        WAITS
        + """
@workflow_node()
def fails(door: str):
    waits(door)
    raise ValueError("no")
"""
    )
    with door(space, "one") as one, door(space, "two") as two, door(space, "three") as three:
        behind = {"function": "n.waits", "depends_on": ["first"]}
        space.workflow(
            [
                {"id": "first", "function": "n.waits", "inputs": {"door": str(one)}},
                {"id": "fails", "inputs": {"door": str(two)}},
                *({"id": f"q{n}", **behind, "inputs": {"door": str(three), "n": n}} for n in range(8)),
            ]
        )
        running = Running(space, front, "-n", "2")
        entered(one)
        entered(two)
        go(one)
        entered(three)  # one of eight has the place of the first step, the others wait
        go(two)
        running.until("failed")
        go(three)
        code, said = running.end()
        assert code == 1, said
    assert said.count("ran       q") == 1, said


SIMPLE = """
@workflow_node(outputs={"v": int}, resources={"gpu": 1})
def a(x: int):
    return {"v": x}

@workflow_node(outputs={"v": int})
def b(v: int, by: int = 1):
    return {"v": v * by}
"""


def simple(space: Space, by: int = 1) -> None:
    space.nodes(SIMPLE)
    space.workflow([{"id": "a", "inputs": {"x": 1}}, {"id": "b", "inputs": {"v": "$a.v", "by": by}}])


def test_all_of_a_current_workflow_can_be_run_again(space: Space) -> None:
    simple(space)
    space.run()
    assert space.run(force=True).of(StepState.RAN) == {"a", "b"}


@pytest.mark.parametrize("front", FRONTS)
def test_a_pool_that_is_too_small_is_told_where_all_is_current(space: Space, front: str) -> None:
    simple(space)
    space.run()
    again = {"doit": ["doit", "run", "-a", "workflow=w"], "wfe": ["wfe", "run", "w", "--force-all"]}[front]
    command = [sys.executable, "-m", *again, *(one.format(0) for one in SIZE[front])]
    done = subprocess.run(command, cwd=space.root, env=environ(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 3 and "asks for 1 of pool 'gpu'" in done.stderr, done


def test_a_damaged_result_of_a_step_with_resources_is_made_again(space: Space) -> None:
    simple(space)
    space.run()
    with contextlib.closing(sqlite3.connect(space.root / "cache" / "state.db", isolation_level=None)) as db:
        db.execute("UPDATE trace SET body = zeroblob(20)")
    simple(space, by=3)
    board = Board()
    assert space.run(change=lambda run: run.listeners.append(board)).values["b"]["v"] == 3
    assert (board.done, board.steps) == (2, 2) and board.counts["ran"] == 2


@pytest.mark.parametrize("jobs", [-1, "a"])
def test_a_number_of_jobs_that_is_none(space: Space, jobs: Any) -> None:
    simple(space)
    with pytest.raises(WfeError, match="steps at once") as caught:
        space.run(jobs=jobs)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize("where", ["given", "document"])
def test_more_jobs_than_a_system_has_threads_for(space: Space, where: str) -> None:
    space.nodes(SIMPLE)
    node = {"id": "a", "inputs": {"x": 1}}
    space.workflow([node], **({} if where == "given" else {"settings": {"max_parallel_nodes": 1_000_000}}))
    space.run(jobs=1_000_000 if where == "given" else 0, inline=False)
    space.ran("a")
    assert space.last is not None
    assert [event.jobs for event in space.last.events if isinstance(event, RunStarted)] == [MOST]
