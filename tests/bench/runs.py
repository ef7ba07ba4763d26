"""Runs: parallelism, fans, the worker's round trip, two runs at once, memory; each against something in the same run.

python tests/bench/runs.py [--quick] [--only parallel,fan,noop,trip,together,memory]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sides import BURN, HEAD, WFE, Nodes, fresh, load, row, run, turns, write_project

NODES = """
from wfe import workflow_node

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

BARE = """
import sys, time, multiprocessing
sys.path.insert(0, {nodes!r})

def one(number):
    import bench
    return bench.burn(number, 20)

if __name__ == "__main__":
    jobs = int(sys.argv[1])
    if jobs == 1:
        one(0)
        begin = time.perf_counter()
        for number in range({steps}):
            one(number)
    else:
        with multiprocessing.Pool(jobs) as pool:
            pool.map(one, range(jobs), chunksize=1)
            begin = time.perf_counter()
            pool.map(one, range({steps}), chunksize=1)
            end = time.perf_counter()
    print((end if jobs > 1 else time.perf_counter()) - begin)
"""


class Bench:
    def __init__(self, place: Path, quick: bool) -> None:
        self.place = place
        self.quick = quick
        self.times = 3

    def project(self, name: str, **workflows: Nodes) -> Path:
        return write_project(self.place / name, NODES + BURN, workflows)

    def parallel(self) -> None:
        steps = 100 if self.quick else 1_000
        nodes = [
            {"id": f"s{n}", "function": "bench.burn", "inputs": {"number": n, "milliseconds": 20}} for n in range(steps)
        ]

        def side(jobs: int) -> float:
            return run([*WFE, "w", "-q", "-n", str(jobs)], self.project("parallel", w=nodes))

        bare = self.place / "bare.py"
        bare.write_text(BARE.format(nodes=str(self.project("bare") / "nodes"), steps=steps))

        def plain(jobs: int) -> float:
            """The same work without wfe, the start of processes left out."""
            done = subprocess.run([sys.executable, str(bare), str(jobs)], capture_output=True, text=True, check=True)
            return float(done.stdout)

        one, two, loop, pool = turns(self.times, lambda: side(1), lambda: side(2), lambda: plain(1), lambda: plain(2))
        what = f"{steps:,} CPU-bound steps of 20 ms"
        row(f"{what}, -n 2", two, one, "-n 1", ">= 1.9 times", f"{one / two:.2f} times")
        row(
            "  the same by a multiprocessing pool of 2",
            pool,
            loop,
            "a bare loop",
            "(the machine)",
            f"{loop / pool:.2f} times",
        )
        row(
            "  engine time a step, serial, its start included", (one - loop) / steps, loop / steps, "the step", "< 1 ms"
        )

    def sides(self) -> tuple[int, dict[str, Nodes]]:
        steps = 1_000 if self.quick else 10_000
        written: Nodes = [{"id": f"s{n}", "function": "bench.trivial", "inputs": {"n": n}} for n in range(steps)]
        fan: Nodes = [
            {"id": "numbers", "function": "bench.numbers", "inputs": {"count": steps}},
            {"id": "s", "function": "bench.trivial", "foreach": "$numbers.numbers", "inputs": {"n": "$item"}},
        ]
        return steps, {"written": written, "fan": fan}

    def fan(self) -> None:
        steps, workflows = self.sides()

        def cold(name: str) -> float:
            return run([*WFE, name, "-q"], self.project(f"cold-{name}", **{name: workflows[name]}))

        one, two = turns(self.times, lambda: cold("fan"), lambda: cold("written"))
        row(f"{steps:,} steps by foreach, cold", one, two, "written out", "<= 1.2")

    def noop(self) -> None:
        steps, workflows = self.sides()
        roots = {}
        for name in workflows:
            roots[name] = self.project(f"noop-{name}", **{name: workflows[name]})
            for _ in range(3):
                run([*WFE, name, "-q"], roots[name])
        one, two = turns(5, *(lambda name=name: run([*WFE, name, "-q"], roots[name]) for name in ("fan", "written")))  # type: ignore[misc]
        row(f"{steps:,} steps by foreach, all current", one, two, "written out", "")

    def trip(self) -> None:
        """Seconds from one trivial step's start to its end in a chain, store included, by the run's own events."""
        nodes = [
            {"id": f"s{n}", "function": "bench.trivial", "inputs": {"n": n} if not n else {"n": f"$s{n - 1}.n"}}
            for n in range(300)
        ]
        code = (
            "import statistics, sys, wfe\n"
            "class Ends:\n"
            "    times = []\n"
            "    def hear(self, event):\n"
            "        if type(event).__name__ == 'StepFinished': self.times.append(event.time)\n"
            "    def rest(self): pass\n"
            "ends = Ends(); wfe.run('w', listeners=[ends])\n"
            "gaps = [b - a for a, b in zip(ends.times[20:], ends.times[21:])]\n"
            "print(statistics.median(gaps))\n"
        )
        found = []
        for _ in range(self.times):
            root = self.project("trip", w=nodes)
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
            "<= 1.0 ms",
        )

    def together(self) -> None:
        steps = 60 if self.quick else 200

        def side(count: int) -> float:
            log = fresh(self.place / "log")
            nodes = [
                {"id": f"s{n}", "function": "bench.counted", "inputs": {"n": n, "log": str(log)}} for n in range(steps)
            ]
            root = self.project("together", w=nodes)
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
            "<= 1.15",
        )

    def memory(self) -> None:
        """Resident memory of the engine while a step sends events: after the first tenth, and at the end."""
        events = 20_000 if self.quick else 100_000
        root = self.project("memory", w=[{"id": "s", "function": "talks.talks", "inputs": {"events": events}}])
        (root / "nodes" / "talks.py").write_text(
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer")
    parser.add_argument("--only", default="parallel,fan,noop,trip,together,memory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.quick)
        print(f"load average at the start: {load()}\n\n{HEAD}", flush=True)
        for name in given.only.split(","):
            getattr(bench, name)()


if __name__ == "__main__":
    main()
