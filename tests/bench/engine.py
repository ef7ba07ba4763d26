"""The engine against plain doit: the same DAG both ways, side by side in one run; medians.

    python tests/bench/engine.py [--quick] [--only noop,cold,parallel,cone,array,memory,linear]

The DAG has N steps in 10 layers of N/10. Step (l, i) reads the outputs of (l-1, i) and (l-1, i+1); a step of the first
layer reads a file of its own. Each does trivial Python work and gives about 1 KB. The plain side is a dodo.py with a task
a step, which reads and writes a file a step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sides import BURN, DOIT, HEAD, fresh, load, row, run, turns, write_project

NODES = """
import hashlib
from pathlib import Path
from wfe import workflow_node

@workflow_node(outputs={"text": str})
def first(source: Path):
    text = Path(source).read_text()
    return {"text": (text * 100)[:1000]}

@workflow_node(outputs={"text": str})
def join(left: str, right: str, number: int):
    return {"text": hashlib.sha256(f"{number} {left} {right}".encode()).hexdigest() * 16}

@workflow_node(outputs={"array": "ndarray"})
def big(megabytes: int):
    import numpy
    return {"array": numpy.ones(megabytes * 131072)}

@workflow_node(outputs={"seconds": float, "value": float})
def touch(array):
    import time
    begin = time.perf_counter()
    value = float(array[0] + array[-1])
    return {"seconds": time.perf_counter() - begin, "value": value}
"""

PLAIN = """
import hashlib
from pathlib import Path

DOIT_CONFIG = {{"verbosity": 0, "backend": "dbm"}}
WIDTH = {width}

def first(i):
    text = Path(f"in/{{i}}.txt").read_text()
    Path(f"out/0-{{i}}.txt").write_text((text * 100)[:1000])

def join(layer, i):
    left = Path(f"out/{{layer - 1}}-{{i}}.txt").read_text()
    right = Path(f"out/{{layer - 1}}-{{(i + 1) % WIDTH}}.txt").read_text()
    text = hashlib.sha256(f"{{layer * WIDTH + i}} {{left}} {{right}}".encode()).hexdigest() * 16
    Path(f"out/{{layer}}-{{i}}.txt").write_text(text)

def task_step():
    for i in range(WIDTH):
        yield {{"name": f"0-{{i}}", "actions": [(first, [i])], "file_dep": [f"in/{{i}}.txt"], "targets": [f"out/0-{{i}}.txt"]}}
    for layer in range(1, 10):
        for i in range(WIDTH):
            yield {{
                "name": f"{{layer}}-{{i}}",
                "actions": [(join, [layer, i])],
                "file_dep": [f"out/{{layer - 1}}-{{i}}.txt", f"out/{{layer - 1}}-{{(i + 1) % WIDTH}}.txt"],
                "targets": [f"out/{{layer}}-{{i}}.txt"],
            }}
"""


def wfe_project(root: Path, steps: int) -> Path:
    width = steps // 10
    nodes: list[dict[str, object]] = [
        {"id": f"s0_{i}", "function": "bench.first", "inputs": {"source": f"in/{i}.txt"}} for i in range(width)
    ]
    for layer in range(1, 10):
        for i in range(width):
            left, right = f"$s{layer - 1}_{i}.text", f"$s{layer - 1}_{(i + 1) % width}.text"
            nodes.append(
                {
                    "id": f"s{layer}_{i}",
                    "function": "bench.join",
                    "inputs": {"left": left, "right": right, "number": layer * width + i},
                }
            )
    root = write_project(root, NODES + BURN, {"dag": nodes})
    _sources(root, width)
    return root


def _sources(root: Path, width: int) -> None:
    (root / "in").mkdir(parents=True, exist_ok=True)
    for i in range(width):
        (root / "in" / f"{i}.txt").write_text(f"source {i}\n")


def plain_project(root: Path, steps: int) -> Path:
    root = fresh(root)
    (root / "out").mkdir(parents=True)
    (root / "dodo.py").write_text(PLAIN.format(width=steps // 10))
    _sources(root, steps // 10)
    return root


class Bench:
    def __init__(self, place: Path, quick: bool) -> None:
        self.place = place
        self.times = 3 if quick else 5
        self.quick = quick
        self.made: dict[tuple[str, int], Path] = {}

    def project(self, kind: str, steps: int) -> Path:
        """A project of `steps` steps, run once."""
        if (kind, steps) not in self.made:
            make = wfe_project if kind == "wfe" else plain_project
            root = make(self.place / f"{kind}-{steps}", steps)
            run(self.command(kind), root)
            if kind == "wfe":
                run(self.command(kind), root)  # the stamps of what was just written prove nothing yet
            self.made[kind, steps] = root
        return self.made[kind, steps]

    @staticmethod
    def command(kind: str) -> list[str]:
        return [*DOIT, "run", "workflow=dag"] if kind == "wfe" else DOIT

    def noop(self) -> None:
        steps = 10_000
        ours, theirs = self.project("wfe", steps), self.project("doit", steps)
        one, two = turns(self.times, lambda: run(self.command("wfe"), ours), lambda: run(DOIT, theirs))
        row(f"no-op, {steps:,} current steps", one, two, "plain doit", "<= 0.5, aim 0.25")

    def linear(self) -> None:
        small, large = self.project("wfe", 10_000), self.project("wfe", 100_000)
        command = self.command("wfe")
        one, two = turns(3, lambda: run(command, large), lambda: run(command, small))
        row("no-op, 100,000 current steps", one, two, "10,000 steps", "<= 10: linear")

    def cold(self) -> None:
        for steps in (1_000,) if self.quick else (2_000, 10_000):

            def side(kind: str, steps: int = steps) -> float:
                make = wfe_project if kind == "wfe" else plain_project
                return run(self.command(kind), make(self.place / f"cold-{kind}", steps))

            one, two = turns(self.times, lambda side=side: side("wfe"), lambda side=side: side("doit"))  # type: ignore[misc]
            row(f"cold, {steps:,} trivial steps, serial", one, two, "plain doit", "<= 1.0")

    def cone(self) -> None:
        for steps in (1_000, 10_000):
            ours, theirs = self.project("wfe", steps), self.project("doit", steps)
            number = iter(range(1_000_000))

            def side(root: Path, kind: str, number: object = number, steps: int = steps) -> float:
                (root / "in" / f"{steps // 20}.txt").write_text(f"changed {next(number)}\n")  # type: ignore[call-overload]
                return run(self.command(kind), root)

            one, two = turns(self.times, lambda: side(ours, "wfe"), lambda: side(theirs, "doit"))
            row(f"one changed source, {steps:,} steps (55 run)", one, two, "plain doit", "<= 0.6")

    def parallel(self) -> None:
        root = self.place / "parallel"
        count = 20 if self.quick else 200

        def side(jobs: int) -> float:
            nodes = [
                {"id": f"b{i}", "function": "bench.burn", "inputs": {"number": i, "milliseconds": 50}}
                for i in range(count)
            ]
            there = write_project(root, NODES + BURN, {"burn": nodes})
            return run([*DOIT, "run", "workflow=burn", "-n", str(jobs)], there)

        two, one = turns(self.times, lambda: side(2), lambda: side(1))
        row(f"-n 2, {count} CPU-bound steps of 50 ms", two, one, "-n 1", ">= 1.8 times", f"{one / two:.2f} times")

    def array(self) -> None:
        megabytes = 256 if self.quick else 1024
        root = self.place / "array"
        nodes = [
            {"id": "big", "function": "bench.big", "inputs": {"megabytes": megabytes}},
            {"id": "touch", "function": "bench.touch", "inputs": {"array": "$big.array"}},
        ]
        root = write_project(root, NODES + BURN, {"array": nodes})
        run([*DOIT, "run", "workflow=array"], root)
        mapped = json.loads((root / "cache" / "steps" / "array" / "touch.json").read_text())["seconds"]
        blob = max((root / "cache" / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
        begin = time.perf_counter()
        blob.read_bytes()
        row(
            f"reading a {megabytes:,} MB array of an earlier step",
            mapped,
            time.perf_counter() - begin,
            "reading the file",
            "<= 0.01",
        )

    def memory(self) -> None:
        root = self.project("wfe", 10_000)
        for name, command in (("no-op", self.command("wfe")), ("cold", [*self.command("wfe")])):
            if name == "cold":
                root = wfe_project(self.place / "memory", 10_000)
            code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=-3, check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            done = subprocess.run(
                [sys.executable, "-c", code, *command], cwd=root, capture_output=True, text=True, check=True
            )
            print(
                f"| peak memory, 10,000 steps, {name} | {int(done.stdout) / 1024:.0f} MB | | | < 150 MB |", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    parser.add_argument("--only", default="noop,cold,parallel,cone,array,memory,linear")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.quick)
        print(f"load average at the start: {load()}\n\n{HEAD}", flush=True)
        for name in given.only.split(","):
            getattr(bench, name)()


if __name__ == "__main__":
    main()
