"""What the benchmarks of runs share: a project written to disk, a command timed, sides that take turns, rows of a table."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

DODO = "from wfe.dodo import open_project\n\nDOIT_CONFIG, task_workflow = open_project(__file__)\n"
DOIT = [sys.executable, "-m", "doit"]
WFE = [sys.executable, "-m", "wfe", "run"]
HEAD = "| what | wfe | against | ratio | wanted |\n|---|---|---|---|---|"
BURN = """
@workflow_node(outputs={"total": int})
def burn(number: int, milliseconds: int):
    import time
    end = time.process_time() + milliseconds / 1000
    total = number
    while time.process_time() < end:
        for value in range(1000):
            total = (total * 31 + value) % 1000003
    return {"total": total}
"""
Nodes = Sequence[Mapping[str, object]]


def fresh(place: Path) -> Path:
    """A path that was never used: `place` with a number. What a side left before is not removed: for minutes after
    thousands of files were, ext4 takes ten times as long to make one."""
    return next(
        found for number in itertools.count() if not (found := place.with_name(f"{place.name}-{number}")).exists()
    )


def write_project(root: Path, nodes: str, workflows: Mapping[str, Nodes]) -> Path:
    """A project in a directory of its own, `root` with a number: nodes/bench.py with the source `nodes`, and a document for
    each workflow. Returns where it is."""
    root = fresh(root)
    for folder in ("nodes", "workflows"):
        (root / folder).mkdir(parents=True)
    (root / "dodo.py").write_text(DODO)
    (root / "nodes" / "bench.py").write_text(nodes)
    for name, entries in workflows.items():
        write_workflow(root, name, entries)
    return root


def write_workflow(root: Path, name: str, nodes: Nodes) -> None:
    document = {"workflow": {"name": name}, "nodes": nodes}
    (root / "workflows" / f"{name}.json").write_text(json.dumps(document, indent=1))


# As a user has it: with compiled modules kept, and a stdout that is not written to byte by byte.
_ENVIRON = {
    **{
        name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    },
    "CI": "1",
}


def run(command: Sequence[str], where: Path) -> float:
    """Wall seconds of one command. Ends the benchmark when it fails."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, env=_ENVIRON)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(
            f"{' '.join(command)} in {where}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return seconds


def turns(times: int, *sides: Callable[[], float]) -> list[float]:
    """The median of each side; the sides take turns, so that a busy neighbour meets all of them."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(times):
        for number, side in enumerate(sides):
            found[number].append(side())
    return [statistics.median(one) for one in found]


def row(what: str, ours: float, theirs: float, against: str, wanted: str, ratio: str = "") -> None:
    """A line of the table; both in seconds. ratio: as text, by default ours / theirs."""
    ratio = ratio or f"{ours / theirs:.3g}"
    print(f"| {what} | {shown(ours)} | {shown(theirs)} ({against}) | {ratio} | {wanted} |", flush=True)


def shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if abs(seconds) >= 0.1 else f"{seconds * 1000:.3g} ms"


def load() -> str:
    """How busy the machine is, to stand above a table."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
