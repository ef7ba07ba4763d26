"""The engine killed (SIGKILL) in the middle of a run: the next run redoes at most the steps that were running.

The moment is told by progress, not by a clock: the k-th call of a node, counted in a file, kills the engine's process
from the worker, before it returns or (where the engine is writing results meanwhile) after other steps have returned.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from space import DODO, Space

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")

NODES = """
import os, signal

ENGINE = int(os.environ.get("ENGINE", "0"))

def count(log, name):
    number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, (name + "\\n").encode())
    end = os.lseek(number, 0, os.SEEK_CUR)  # behind our own line: two at once get two numbers
    os.close(number)
    with open(log) as file:
        return file.read(end).count("\\n")

@workflow_node()
def step(name: str, before: list, log: str):
    at = count(log, name)
    try:
        with open(log + ".fatal") as file:
            due = int(file.read())
        # The worker of an earlier engine, held up anywhere here, kills nobody: either it has read of a call that has
        # killed already, or its engine is gone.
        if due <= at and os.getppid() == ENGINE:
            os.close(os.open(f"{log}.killed-{due}", os.O_CREAT | os.O_EXCL))
            os.kill(ENGINE, signal.SIGKILL)
    except (FileNotFoundError, FileExistsError):
        pass
    return {"made": name + "(" + ",".join(before) + ")", "long": name * 1000}
"""
LAYERS, WIDTH = 5, 10
COUNT = LAYERS * WIDTH


def begin(space: Space) -> Path:
    space.nodes(NODES)
    # Not what a worker takes for its parent: one that was just started when its engine died takes init for it.
    (space.root / "dodo.py").write_text(f"import os\nos.environ['ENGINE'] = str(os.getpid())\n{DODO}")
    log = space.root / "calls.txt"
    space.workflow(
        [
            {
                "id": f"s{layer}_{n}",
                "function": "n.step",
                "inputs": {
                    "name": f"s{layer}_{n}",
                    "before": [f"$s{layer - 1}_{m}.made" for m in (n, (n + 1) % WIDTH)] if layer else [],
                    "log": str(log),
                },
            }
            for layer in range(LAYERS)
            for n in range(WIDTH)
        ]
    )
    return log


def kill_at(space: Space, log: Path, at: int, jobs: int) -> int:
    """Run, and be killed at the call number `at`. Returns how many calls there were."""
    Path(f"{log}.fatal").write_text(str(at))
    killed = space.doit("run", "workflow=w", "-n", str(jobs), code=-signal.SIGKILL)
    assert "Traceback" not in killed.stderr
    return len(log.read_text().split())


def check(space: Space, log: Path, jobs: int, kills: int, want: dict[str, object]) -> None:
    """Ends the work: no step was called more often than a kill can explain, and all is as in a clean run."""
    Path(f"{log}.fatal").unlink()
    ended = space.run()
    assert ended.code == 0
    assert ended.values == want
    calls = log.read_text().split()
    assert set(calls) == set(want)
    lost = (
        kills * jobs
    )  # what has returned, the workers leave: also of short calls, which are handed to one several at once
    assert len(calls) <= COUNT + lost, f"{len(calls)} calls of {COUNT} steps after {kills} kills with -n {jobs}"
    space.run()
    space.nothing_ran()


def wanted() -> dict[str, object]:
    """The values of a clean run."""
    made: dict[str, object] = {}
    names: dict[str, str] = {}
    for layer in range(LAYERS):
        for n in range(WIDTH):
            name = f"s{layer}_{n}"
            before = [names[f"s{layer - 1}_{m}"] for m in (n, (n + 1) % WIDTH)] if layer else []
            names[name] = f"{name}({','.join(before)})"
            made[name] = {"made": names[name], "long": name * 1000}
    return made


def killed_often(space: Space, jobs: int, kills: int, seed: int) -> None:
    """Kills one run after the other, each at a random call of what is left."""
    log = begin(space)
    draw = random.Random(seed)
    done = 0
    for _ in range(kills):
        at = done + draw.randint(1, 3)
        assert at < COUNT, "fewer steps than kills need"
        done = kill_at(space, log, at, jobs)
    check(space, log, jobs, kills, wanted())


@pytest.mark.parametrize(("jobs", "kills"), [(1, 3), (2, 2)])
def test_killed(space: Space, jobs: int, kills: int) -> None:
    killed_often(space, jobs, kills, seed=jobs)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_killed_fifty_times(tmp_path: Path, jobs: int, seed: int) -> None:
    """Ten projects, each killed five times."""
    killed_often(Space(tmp_path / "project"), jobs, 5, seed=100 * jobs + seed)
