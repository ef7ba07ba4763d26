"""A step behaves the same wherever it runs: in the engine's process, in a worker, in an isolated environment.

Inline differs where it must, and only there: what can be done to a process of one's own (a timeout, a cancelled call,
a death) cannot be done to the engine itself.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

from wfe.core.outcome import Note, StepLine, StepProgress, StepState
from wfe.engine.run import Run
from wfe.errors import ExitCode


def test_it_runs_where_it_is_said(lab: Lab) -> None:
    lab.space.nodes("""
        import os, sys
        @workflow_node()
        def a():
            return {"prefix": sys.prefix, "pid": os.getpid()}
    """)
    lab.workflow([{"id": "a"}])
    found = lab.run().values["a"]
    assert (found["pid"] == os.getpid()) == (lab.kind == "inline")
    assert (found["prefix"] == sys.prefix) == (lab.kind != "isolated")


VALUES = """
    @workflow_node()
    def a(n: int):
        return {"n": n % 2, "text": "\\u00e9\\n", "deep": [{"x": [1.5, None, True]}], "big": 2 ** 70, "inf": float("inf")}

    @workflow_node()
    def b(n: int):
        return {"m": n + 1}
"""


def test_results_early_cutoff_and_why(lab: Lab) -> None:
    lab.space.nodes(VALUES)
    nodes = [{"id": "a", "inputs": {"n": "${n}"}}, {"id": "b", "inputs": {"n": "$a.n"}}]
    lab.workflow(nodes, params={"n": 1})
    first = lab.run()
    assert first.values == {
        "a": {"n": 1, "text": "\u00e9\n", "deep": [{"x": [1.5, None, True]}], "big": 2**70, "inf": float("inf")},
        "b": {"m": 2},
    }
    lab.run()
    lab.space.nothing_ran()
    found = lab.run(n=3)  # another input, the same output
    lab.space.ran("a")
    lab.space.current("b")
    assert found.why("a") == "input 'n': 1 -> 3"
    lab.space.edit("nodes/n.py", "n + 1", "n + 2")
    found = lab.run(n=3)
    lab.space.ran("b")
    assert "code" in found.why("b")
    assert found.values["b"] == {"m": 3}


def test_files_in_and_out(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node()
        def a(source: Path, to: Output):
            to.write_bytes(source.read_bytes()[::-1])
            return {"file": to, "raw": b"\\x00\\xff"}

        @workflow_node()
        def b(file: Path, raw: bytes):
            return {"text": file.read_text(), "raw": raw[0] + raw[1]}
    """)
    lab.space.file("in.txt", "abc")
    lab.workflow(
        [
            {"id": "a", "inputs": {"source": "in.txt", "to": "out/a.txt"}},
            {"id": "b", "inputs": {"file": "$a.file", "raw": "$a.raw"}},
        ]
    )
    assert lab.run().values["b"] == {"text": "cba", "raw": 255}
    target = lab.space.root / "out" / "a.txt"
    assert target.read_text() == "cba"
    target.unlink()
    lab.run()
    lab.space.restored("a")
    assert target.read_text() == "cba"
    lab.space.file("in.txt", "abcd")
    assert lab.run().values["b"]["text"] == "dcba"
    assert not list((lab.space.cache / "staging").glob("*/*"))


def test_arrays(lab: Lab) -> None:
    lab.space.nodes("""
        import numpy as np
        @workflow_node()
        def a(n: int):
            return {"grid": np.arange(n * n, dtype=np.uint8).reshape(n, n)[:, ::2], "empty": np.zeros((0, 3)), "one": np.float32(0.5)}

        @workflow_node()
        def b(grid: Any, empty: Any):
            return {"sum": int(grid.sum()), "locked": not grid.flags.writeable, "shape": list(empty.shape), "half": grid // 2}
    """)
    lab.workflow([{"id": "a", "inputs": {"n": 4}}, {"id": "b", "depends_on": ["a"]}], asks=["numpy"])
    found = lab.run().values
    grid = [[0, 2], [4, 6], [8, 10], [12, 14]]
    assert found["a"] == {"grid": ["array", "uint8", grid], "empty": ["array", "float64", []], "one": 0.5}
    half = ["array", "uint8", [[item // 2 for item in row] for row in grid]]
    assert found["b"] == {"sum": 56, "locked": True, "shape": [0, 3], "half": half}
    lab.run()
    lab.space.nothing_ran()


def test_a_pickle_only_when_the_node_says_so(lab: Lab) -> None:
    lab.space.nodes("""
        from wfe import Pickled
        class Model:
            def __init__(self, weight):
                self.weight = weight

        @workflow_node()
        def a(w: int):
            return {"model": Pickled(Model(w))}

        @workflow_node()
        def b(model: Any):
            return {"kind": type(model).__name__, "weight": model.weight}

        @workflow_node()
        def c():
            return {"model": Model(1)}
    """)
    lab.workflow([{"id": "a", "inputs": {"w": 3}}, {"id": "b", "inputs": {"model": "$a.model"}}, {"id": "c"}])
    found = lab.run()
    assert found.values["b"] == {"kind": "Model", "weight": 3}
    lab.space.failed("c")
    assert "cannot be stored" in found.failure("c")
    lab.workflow([{"id": "a", "inputs": {"w": 3}}, {"id": "b", "inputs": {"model": "$a.model"}}])
    lab.run()
    lab.space.nothing_ran()


def test_skip(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node(outputs=["x"])
        def a():
            raise Skip("no device here")

        @workflow_node()
        def spare(x: int | None):
            return {"got": x}

        @workflow_node()
        def strict(x: int):
            return {"got": x}
    """)
    lab.workflow(
        [
            {"id": "a"},
            {"id": "spare", "inputs": {"x": "$a.x"}},
            {"id": "strict", "inputs": {"x": "$a.x"}},
        ]
    )
    found = lab.run()
    assert found.code is ExitCode.OK
    lab.space.skipped("a", "strict")
    assert found.outcomes["a"].skip == "no device here"
    assert found.values["spare"] == {"got": None}


def test_an_exception_with_its_traceback(lab: Lab) -> None:
    lab.space.nodes("""
        class Odd(ValueError):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")

        @workflow_node()
        def a():
            return inner(3)

        def inner(n):
            raise Odd(n, n + 1)

        @workflow_node()
        def b(x: int):
            return {}
    """)
    lab.workflow([{"id": "a"}, {"id": "b", "depends_on": ["a"], "inputs": {"x": 1}}])
    found = lab.run()
    assert found.code is ExitCode.FAILED
    lab.space.failed("a")
    lab.space.blocked("b")
    failure = found.outcomes["a"].failure
    assert failure is not None
    assert (failure.kind, failure.message) == ("Odd", "3 and 4")
    assert "in inner\n    raise Odd(n, n + 1)" in failure.traceback
    assert str(Path("nodes", "n.py")) in failure.traceback
    assert "worker.py" not in failure.traceback and "inline.py" not in failure.traceback


def test_declared_outputs_are_checked(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node(outputs={"x": int, "y": str})
        def a():
            return {"x": "no", "y": "yes"}

        @workflow_node(outputs=["x"])
        def b():
            return {}

        @workflow_node()
        def c():
            return {"x": {1, 2}}
    """)
    lab.workflow([{"id": "a"}, {"id": "b"}, {"id": "c"}])
    found = lab.run()
    lab.space.failed("a", "b", "c")
    kinds = {name: one.failure.kind for name, one in found.outcomes.items() if one.failure}
    assert kinds == {"a": "output", "b": "output", "c": "output"}
    assert "'x'" in found.failure("a") and "'x'" in found.failure("b")
    assert found.failure("c") == "output 'x' is of type set, which cannot be stored; return sorted(value), a list"


def test_retries(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node()
        def a(count: str):
            tries = Path(count)
            tries.write_text(tries.read_text() + "x")
            if len(tries.read_text()) < 3:
                raise ConnectionError("not yet")
            return {"tries": len(tries.read_text())}
    """)
    count = lab.space.file("tries.log")
    lab.workflow([{"id": "a", "inputs": {"count": str(count)}, "retries": {"count": 3, "delay": 0, "on": ["OSError"]}}])
    found = lab.run()
    assert found.values["a"] == {"tries": 3}
    assert found.outcomes["a"].attempts == 3


def test_pools_and_slots(lab: Lab) -> None:
    lab.space.nodes("""
        import wfe
        @workflow_node()
        def a(n: int):
            return {"slot": wfe.device("gpu")}

        @workflow_node()
        def b():
            return {"slot": wfe.device("gpu")}
    """)
    nodes: list[dict[str, Any]] = [
        {"id": f"a{n}", "function": "n.a", "inputs": {"n": n}, "resources": {"gpu": 1}} for n in range(3)
    ]
    lab.workflow([*nodes, {"id": "b"}], settings={"pools": {"gpu": 1}})
    found = lab.run(jobs=2).values
    assert [found[name]["slot"] for name in ("a0", "a1", "a2", "b")] == [0, 0, 0, None]


def test_foreach(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node()
        def items():
            return {"list": ["x", "yy"]}

        @workflow_node()
        def each(item: str):
            return {"size": len(item)}

        @workflow_node()
        def total(sizes: list):
            return {"sum": sum(sizes)}
    """)
    lab.workflow(
        [
            {"id": "items"},
            {"id": "each", "foreach": "$items.list", "inputs": {"item": "$item"}},
            {"id": "total", "inputs": {"sizes": "$each.size"}},
        ]
    )
    found = lab.run()
    assert found.values["total"] == {"sum": 3}
    lab.space.edit("nodes/n.py", '"yy"]', '"yy", "zzz"]')
    found = lab.run()
    assert found.values["total"] == {"sum": 6}
    assert sum(name.startswith("each[") for name in found.of(StepState.RAN)) == 1


def test_logs_and_progress(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.space.nodes("""
        import sys, wfe
        @workflow_node()
        def a():
            print("to stdout")
            print("to stderr", file=sys.stderr)
            wfe.progress(1, 2, "half")
            wfe.log("a word")
            return {}
    """)
    lab.workflow([{"id": "a"}])
    found = lab.run()
    assert not found.of(StepState.FAILED), found.outcomes
    lines = {(one.stream, one.line) for one in found.events if isinstance(one, StepLine)}
    assert lines == {("stdout", "to stdout"), ("stderr", "to stderr")}
    assert [(one.done, one.total, one.note) for one in found.events if isinstance(one, StepProgress)] == [
        (1, 2, "half")
    ]
    assert [one.message for one in found.events if isinstance(one, Note) and one.step == "a"] == ["a word"]
    [log] = (lab.space.cache / "logs").rglob("*a*.log")
    assert sorted(log.read_text().splitlines()) == ["to stderr", "to stdout"]


def test_seed(lab: Lab) -> None:
    lab.space.nodes("""
        import random
        @workflow_node(seed=7)
        def a():
            return {"x": random.random()}

        @workflow_node()
        def b():
            return {"x": random.random()}
    """)
    lab.workflow([{"id": "a"}, {"id": "b", "seed": 7}, {"id": "c", "function": "n.b", "seed": 8}])
    found = lab.run().values
    assert found["a"] == found["b"] == {"x": random.Random(7).random()}
    assert found["c"] == {"x": random.Random(8).random()}


def test_never_cached_and_forced(lab: Lab) -> None:
    lab.space.nodes("""
        @workflow_node(cache="never")
        def a():
            return {"x": 1}

        @workflow_node()
        def b(x: int):
            return {"y": x}
    """)
    lab.workflow([{"id": "a"}, {"id": "b", "inputs": {"x": "$a.x"}}])
    lab.run()
    lab.run()
    lab.space.ran("a")
    lab.space.current("b")
    lab.run(forced=["b"])
    lab.space.ran("a", "b")


def test_inline_and_workers_have_one_key(made: Callable[[str], Lab]) -> None:
    lab = made("inline")
    lab.space.nodes(VALUES)
    lab.workflow([{"id": "a", "inputs": {"n": 1}}])
    lab.run()
    lab.kind = "main"
    lab.run()
    lab.space.nothing_ran()


WAITS = """
    import threading, wfe
    @workflow_node()
    def a():
        wfe.log("begun")
        threading.Event().wait()
        return {}

    @workflow_node()
    def b():
        return {"x": 1}
"""


def test_a_timeout_ends_the_call(workers: Lab) -> None:
    workers.space.nodes(WAITS)
    workers.workflow([{"id": "a", "timeout": 0.4}, {"id": "b"}])
    found = workers.run()
    failure = found.outcomes["a"].failure
    assert failure is not None and failure.kind == "timeout"
    assert "timeout of 0.4 s" in failure.message
    workers.space.ran("b")


class Stops:
    """Stops the run when a step says that it has begun."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def hear(self, event: Any) -> None:
        if isinstance(event, Note) and event.message == "begun":
            threading.Thread(target=self.run.stop).start()


def test_a_stopped_run_ends_the_call_and_keeps_what_is_done(workers: Lab) -> None:
    workers.space.nodes(WAITS)
    workers.workflow([{"id": "b"}, {"id": "a", "depends_on": ["b"]}])
    found = workers.run(change=lambda run: run.listeners.append(Stops(run)))
    assert found.code is ExitCode.INTERRUPTED
    assert found.outcomes["a"].state is StepState.CANCELLED
    workers.space.ran("b")
    workers.space.edit("nodes/n.py", "threading.Event().wait()", "pass")
    workers.run()
    workers.space.ran("a")


def test_a_death_is_a_failed_step(workers: Lab) -> None:
    workers.space.nodes("""
        import os
        @workflow_node()
        def a():
            print("last words", flush=True)
            os._exit(3)

        @workflow_node()
        def b():
            return {"x": 1}
    """)
    workers.workflow([{"id": "a"}, {"id": "b"}])
    found = workers.run()
    failure = found.outcomes["a"].failure
    assert failure is not None and failure.kind == "died"
    assert found.code is ExitCode.FAILED
    workers.space.ran("b")
