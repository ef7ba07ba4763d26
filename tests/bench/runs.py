"""Runs: parallelism, fans, the worker's round trip, two runs at once, memory; each against something in the same run.

python tests/bench/runs.py [--quick] [--only parallel,fan,noop,trip,together,memory]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NODES = """
from wfe import workflow_node

@workflow_node(outputs={"total": int})
def burn(number: int, milliseconds: int):
    import time
    end = time.process_time() + milliseconds / 1000
    total = number
    while time.process_time() < end:
        for value in range(1000):
            total = (total * 31 + value) % 1000003
    return {"total": total}

@workflow_node(outputs={"n": int})
def trivial(n: int):
    return {"n": n + 1}

@workflow_node(outputs={"numbers": list})
def numbers(count: int):
    return {"numbers": list(range(count))}

@workflow_node(outputs={"n": int})
def counted(n: int, log: str):
    import os
    import time
    number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, b"x")
    os.close(number)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    return {"n": n}
"""
DODO = "from wfe.dodo import open_project\n\nDOIT_CONFIG, task_workflow = open_project(__file__)\n"
WFE = [sys.executable, "-m", "wfe", "run"]


class Bench:
    def __init__(self, place: Path, quick: bool) -> None:
        self.place = place
        self.quick = quick
        self.times = 3

    def project(self, name: str, **workflows: list[dict[str, object]]) -> Path:
        root = self.place / name
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("nodes", "workflows"):
            (root / folder).mkdir(parents=True)
        (root / "dodo.py").write_text(DODO)
        (root / "nodes" / "b.py").write_text(NODES)
        for workflow, nodes in workflows.items():
            (root / "workflows" / f"{workflow}.json").write_text(json.dumps({"nodes": nodes}))
        return root

    def parallel(self) -> None:
        steps = 100 if self.quick else 1_000
        nodes: list[dict[str, object]] = [
            {"id": f"s{n}", "function": "b.burn", "inputs": {"number": n, "milliseconds": 20}} for n in range(steps)
        ]

        def side(jobs: int) -> float:
            return run([*WFE, "w", "-q", "-n", str(jobs)], self.project("parallel", w=nodes))

        one, two = turns(self.times if self.quick else 1, lambda: side(1), lambda: side(2))
        row(f"{steps:,} CPU-bound steps of 20 ms, -n 2", two, one, "-n 1", f"{one / two:.2f} times", ">= 1.9 times")
        both = self.bare(steps)
        row(
            "  the same by a multiprocessing pool of 2",
            both[1],
            both[0],
            "a bare loop",
            f"{both[0] / both[1]:.2f} times",
            "(the machine)",
        )
        row(
            "  engine time a step, serial, its start included",
            (one - both[0]) / steps,
            both[0] / steps,
            "a step by the bare loop",
            "",
            "< 1 ms",
        )

    def bare(self, steps: int) -> tuple[float, float]:
        """The same work without wfe: seconds of one process, of two."""
        code = (
            "import sys, time, multiprocessing as m\n"
            "sys.path.insert(0, 'nodes')\n"
            "def one(n):\n import b\n return b.burn(n, 20)\n"
            "if __name__ == '__main__':\n"
            f" begin = time.perf_counter(); [one(n) for n in range({steps})]; middle = time.perf_counter()\n"
            f" with m.Pool(2) as pool: pool.map(one, range({steps}), chunksize=1)\n"
            " print(middle - begin, time.perf_counter() - middle)\n"
        )
        (self.place / "parallel" / "bare.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "bare.py"], cwd=self.place / "parallel", capture_output=True, text=True, check=True
        )
        one, two = done.stdout.split()
        return float(one), float(two)

    def sides(self) -> tuple[int, dict[str, list[dict[str, object]]]]:
        steps = 1_000 if self.quick else 10_000
        written: list[dict[str, object]] = [
            {"id": f"s{n}", "function": "b.trivial", "inputs": {"n": n}} for n in range(steps)
        ]
        fan: list[dict[str, object]] = [
            {"id": "numbers", "function": "b.numbers", "inputs": {"count": steps}},
            {"id": "s", "function": "b.trivial", "foreach": "$numbers.numbers", "inputs": {"n": "$item"}},
        ]
        return steps, {"written": written, "fan": fan}

    def fan(self) -> None:
        steps, workflows = self.sides()

        def cold(name: str) -> float:
            return run([*WFE, name, "-q"], self.project(f"cold-{name}", **{name: workflows[name]}))

        one, two = turns(self.times, lambda: cold("fan"), lambda: cold("written"))
        row(f"{steps:,} steps by foreach, cold", one, two, "written out", f"{one / two:.2f}", "<= 1.2")

    def noop(self) -> None:
        steps, workflows = self.sides()
        roots = {}
        for name in workflows:
            roots[name] = self.project(f"noop-{name}", **{name: workflows[name]})
            for _ in range(3):
                run([*WFE, name, "-q"], roots[name])
        one, two = turns(5, *(lambda name=name: run([*WFE, name, "-q"], roots[name]) for name in ("fan", "written")))  # type: ignore[misc]
        row(f"{steps:,} steps by foreach, all current", one, two, "written out", f"{one / two:.2f}", "")

    def trip(self) -> None:
        """Seconds from one trivial step's start to its end in a chain, store included, by the run's own events."""
        root = self.project(
            "trip",
            w=[
                {"id": f"s{n}", "function": "b.trivial", "inputs": {"n": n} if not n else {"n": f"$s{n - 1}.n"}}
                for n in range(300)
            ],
        )
        code = (
            "import statistics, sys, wfe\n"
            "class Ends:\n"
            "    times = []\n"
            "    def hear(self, event):\n"
            "        if type(event).__name__ == 'StepFinished': self.times.append(event.time)\n"
            "ends = Ends(); wfe.run('w', listeners=[ends])\n"
            "gaps = [b - a for a, b in zip(ends.times[20:], ends.times[21:])]\n"
            "print(statistics.median(gaps))\n"
        )
        found = []
        for _ in range(self.times):
            shutil.rmtree(root / "cache", ignore_errors=True)
            found.append(
                float(
                    subprocess.run(
                        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
                    ).stdout
                )
            )
        written = []
        for number in range(1_000):
            begin = time.perf_counter()
            (root / f"{number}.json").write_text('{"n":1}\n')
            written.append(time.perf_counter() - begin)
        row(
            "a trivial step in a chain: worker, store, scheduler",
            statistics.median(found),
            statistics.median(written),
            "writing its file",
            "",
            "<= 1.0 ms",
        )

    def together(self) -> None:
        steps = 60 if self.quick else 200

        def side(count: int) -> float:
            root = self.project("together")
            log = root / "log"
            nodes = [
                {"id": f"s{n}", "function": "b.counted", "inputs": {"n": n, "log": str(log)}} for n in range(steps)
            ]
            (root / "workflows" / "w.json").write_text(json.dumps({"nodes": nodes}))
            begin = time.perf_counter()
            runs = [subprocess.Popen([*WFE, "w", "-q"], cwd=root) for _ in range(count)]
            if any(one.wait() for one in runs):
                sys.exit("a run failed")
            seconds = time.perf_counter() - begin
            if len(log.read_bytes()) != steps:
                sys.exit(f"{len(log.read_bytes())} executions of {steps} steps")
            return seconds

        one, two = turns(self.times, lambda: side(1), lambda: side(2))
        row(
            f"two runs at once of {steps} steps of 20 ms ({steps} executions)",
            two,
            one,
            "one run",
            f"{two / one:.2f}",
            "<= 1.15",
        )

    def memory(self) -> None:
        """Resident memory of the engine while a step sends events: after the first tenth, and at the end."""
        events = 20_000 if self.quick else 100_000
        root = self.project("memory", w=[{"id": "s", "function": "c.talks", "inputs": {"events": events}}])
        (root / "nodes" / "c.py").write_text(
            "import wfe\nfrom wfe import workflow_node\n\n@workflow_node(outputs={'n': int})\ndef talks(events: int):\n"
            "    for n in range(events):\n        wfe.log(f'line {n}')\n    return {'n': events}\n"
        )
        code = (
            "import wfe, os\n"
            "class Weigh:\n"
            "    count, seen = 0, []\n"
            "    def hear(self, event):\n"
            "        self.count += 1\n"
            "        if self.count % 2000 == 0: self.seen.append(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))\n"
            "weigh = Weigh(); wfe.run('w', listeners=[weigh])\n"
            "print(weigh.count, weigh.seen[len(weigh.seen) // 10] if weigh.seen else 0, max(weigh.seen or [0]))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        count, first, most = map(int, done.stdout.split())
        print(
            f"| engine's memory over {events:,} events ({count:,} heard) | {most / 2**20:.1f} MB | {first / 2**20:.1f} MB (after a tenth) | {most / max(first, 1):.3f} | flat |",
            flush=True,
        )


def run(command: list[str], where: Path) -> float:
    """Wall seconds of one command. Ends the benchmark when it fails."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
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


def row(what: str, ours: float, theirs: float, against: str, ratio: str, limit: str) -> None:
    print(f"| {what} | {shown(ours)} | {shown(theirs)} ({against}) | {ratio} | {limit} |", flush=True)


def shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    parser.add_argument("--only", default="parallel,fan,noop,trip,together,memory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.quick)
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
        print(
            f"load average at the start: {load}\n\n| what | wfe | against | ratio | wanted |\n|---|---|---|---|---|",
            flush=True,
        )
        for name in given.only.split(","):
            getattr(bench, name)()


if __name__ == "__main__":
    main()
