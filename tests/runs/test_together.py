"""Several runs at once in one workspace, and several one after another in one process."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading

import psutil
import pytest
from processes import WAITS, Running, counting, door, entered, go, so_far
from space import Space, environ

import wfe
from wfe.core.outcome import Event, RunFinished, StepFinished, StepStarted, StepState
from wfe.errors import EnvironmentFailure, WfeError
from wfe.store import claims

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc and uses FIFOs")

COUNTED = """
@workflow_node(outputs={"n": int, "a": Any})
def work(name: str, n: int = 0):
    import numpy
    count(name)
    return {"n": n + 1, "a": numpy.arange(1000) + n}

@workflow_node(outputs={"n": int})
def write(name: str, n: int, to: Output):
    count(name)
    to.write_text(str(n))
    return {"n": n}
"""


def lattice(space: Space) -> list[str]:
    """Chains beside each other, the ends written to files; the names of its steps."""
    counting(space, COUNTED)
    nodes = []
    for chain in range(4):
        before = ""
        for link in range(5):
            name = f"c{chain}_{link}"
            inputs = {"name": name, **({"n": f"${before}.n"} if before else {"n": chain * 100})}
            nodes.append({"id": name, "function": "n.work", "inputs": inputs})
            before = name
        nodes.append(
            {
                "id": f"w{chain}",
                "function": "n.write",
                "inputs": {"name": f"w{chain}", "n": f"${before}.n", "to": f"out/{chain}.txt"},
            }
        )
    space.workflow(nodes)
    return [str(node["id"]) for node in nodes]


@linux
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_two_runs_of_one_cold_workflow_make_each_step_once(space: Space, jobs: str) -> None:
    steps = lattice(space)
    runs = [Running(space, front, "-n", jobs) for front in ("wfe", "doit")]
    for one in runs:
        code, said = one.end()
        assert code == 0, said
    assert sorted((space.root / "log").read_text().split()) == sorted(steps)
    assert [(space.root / f"out/{chain}.txt").read_text() for chain in range(4)] == ["5", "105", "205", "305"]
    space.run()
    space.nothing_ran()


@linux
def test_three_at_once_of_which_one_is_killed(space: Space) -> None:
    steps = lattice(space)
    runs = [Running(space, "wfe", "-n", "2") for _ in range(3)]
    while not (space.root / "log").exists():
        assert runs[0].process.poll() is None or (space.root / "log").exists()
    runs[0].process.kill()
    for one in runs[1:]:
        code, said = one.end()
        assert code == 0, said
    runs[0].end()
    runs[0].gone()
    ran = (space.root / "log").read_text().split()
    assert set(ran) == set(steps)
    assert len(ran) <= len(steps) + 2, "more was made twice than what the killed one had in hand"
    space.run()
    space.nothing_ran()


DYING = """
@workflow_node(outputs={"n": int})
def quick(name: str):
    count(name)
    return {"n": 1}

@workflow_node(outputs={"n": int})
def kills_its_run(n: int, m: int):
    import signal
    os.kill(os.getppid(), signal.SIGKILL)
    return {"n": 1}

@workflow_node(outputs={"n": int})
def waits(door: str):
    with open(door, "w") as out:
        out.write("in")
    with open(door + ".go") as go:
        go.read()
    return {"n": 1}
"""


@linux
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_a_killed_run_had_done_a_live_one_need_not_do_again(space: Space, jobs: str) -> None:
    """It had not told anybody but its journal."""
    with door(space) as path:
        counting(space, DYING)
        quick = [{"id": name, "function": "n.quick", "inputs": {"name": name}} for name in ("a", "b")]
        last = {"id": "last", "function": "n.kills_its_run", "inputs": {"n": "$a.n", "m": "$b.n"}}
        space.workflow([{"id": "waits", "inputs": {"door": str(path)}}, *quick, last])
        ours = Running(space, "wfe", "waits", "a", "b")
        entered(path)
        other = Running(space, "wfe", "a", "b", "last", "-n", jobs)
        assert other.end()[0] == -9
        assert sorted(so_far(space)) == ["a", "b"]
        go(path)
        code, said = ours.end()
        assert code == 0 and "1 ran, 2 restored" in said, said
        assert sorted(so_far(space)) == ["a", "b"]
        other.gone()


@linux
@pytest.mark.parametrize("end", ["it finishes", "it is killed"])
def test_a_step_that_another_run_makes_is_waited_for(space: Space, end: str) -> None:
    with door(space) as path:
        space.nodes(WAITS)
        space.workflow([{"id": "waits", "inputs": {"door": str(path)}}])
        first = Running(space, "wfe")
        entered(path)
        second = Running(space, "wfe")
        second.until("waits: it is being made already")
        if end == "it finishes":
            go(path)
            assert first.end()[0] == 0
        else:
            first.process.kill()
            first.end()
            entered(path)  # the second noticed, and makes it itself
            go(path)
        code, said = second.end()
        assert code == 0, said
        assert ("1 restored" if end == "it finishes" else "1 ran") in said
        first.gone()


@linux
def test_waiting_for_another_run_can_be_interrupted(space: Space) -> None:
    with door(space) as path:
        space.nodes(WAITS)
        space.workflow([{"id": "waits", "inputs": {"door": str(path)}}])
        first = Running(space, "wfe")
        entered(path)
        second = Running(space, "wfe")
        second.until("waits: it is being made already")
        second.process.terminate()
        assert second.end()[0] == 130
        go(path)
        assert first.end()[0] == 0


def test_where_files_cannot_be_locked_the_run_is_refused(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*given: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    lattice(space)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(EnvironmentFailure, match="cannot lock files") as caught:
        wfe.run("w", project=space.root)
    assert "WFE_CACHE" in str(caught.value)
    assert not (space.root / "log").exists()


def test_threads_of_one_process_share_what_they_make(space: Space) -> None:
    steps = lattice(space)
    found: list[wfe.Report] = []
    threads = [
        threading.Thread(target=lambda: found.append(wfe.run("w", project=space.root, jobs=2, inline=True)))
        for _ in range(3)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(found) == 3
    assert sorted((space.root / "log").read_text().split()) == sorted(steps)


@linux
@pytest.mark.parametrize(("front", "arguments"), [("wfe", ()), ("doit", ()), ("wfe", ("-n", "2"))])
def test_a_step_that_another_run_makes_is_put_aside(space: Space, front: str, arguments: tuple[str, ...]) -> None:
    with door(space) as path:
        space.nodes(WAITS)
        space.workflow(
            [
                *({"id": f"q{n}", "function": "n.quick", "inputs": {"n": n}} for n in range(4)),
                {"id": "waits", "inputs": {"door": str(path)}},
                {"id": "late", "inputs": {"n": "$waits.n"}},
            ]
        )
        first = Running(space, "wfe", "waits")
        entered(path)
        second = Running(space, front, *arguments)
        while second.said.count("ran ") < 4:  # the first still stands at the door
            second.until("")
        assert "late" not in second.said
        go(path)
        assert first.end()[0] == 0
        code, said = second.end()
        assert code == 0, said
        assert "5 ran, 1 restored" in said


STARTS = [("c",), ("b0", "b1"), ("a0", "a1", "a2")]


@pytest.mark.parametrize("others", [0, 1, 2, 3])
def test_a_run_beside_others_begins_elsewhere(space: Space, others: int) -> None:
    """Each step after what it needs all the same."""
    space.nodes('@workflow_node(outputs={"n": int})\ndef more(n: int):\n    return {"n": n + 1}\n')
    space.workflow(
        {"id": name, "function": "n.more", "inputs": {"n": f"${chain[n - 1]}.n" if n else 100 * ord(name[0])}}
        for chain in reversed(STARTS)
        for n, name in enumerate(chain)
    )
    claimed = claims.Claims(space.cache / "claims.lock")
    with contextlib.ExitStack() as stack:
        for _ in range(others):
            stack.enter_context(claimed.seat())
        found = space.run()
    starts = [event.step for event in found.events if isinstance(event, StepStarted)]
    orders = {
        0: [name for chain in reversed(STARTS) for name in chain],
        1: [name for chain in STARTS for name in chain],
    }
    assert starts == orders.get(others, starts)
    assert sorted(starts) == sorted(orders[0])
    assert all(starts.index(chain[n - 1]) < starts.index(chain[n]) for chain in STARTS for n in range(1, len(chain)))
    with claimed.seat() as number:
        assert number == 0, "the run gave its seat up"


@linux
def test_runs_of_one_process_leave_no_thread_and_no_descriptor(space: Space) -> None:
    lattice(space)

    def once(number: int) -> tuple[int, int]:
        space.file("nodes/n.py", (space.root / "nodes/n.py").read_text() + f"\nVERSION = {number}\n")
        wfe.run("w", project=space.root, jobs=2, force=True)
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    once(0)
    before = once(1)
    for number in range(2, 6):
        assert once(number) <= before


@linux
@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("state", ["blocked", "begins", "ends"])
def test_what_a_listener_raises_ends_the_run_and_leaves_nothing(space: Space, jobs: int, state: str) -> None:
    """Neither workers, threads and descriptors, nor a claim that the next run of this process would wait for."""
    counting(space, COUNTED + "@workflow_node(outputs={'n': int})\ndef bad():\n    raise ValueError('no')\n")
    steps = [{"id": f"g{n}", "function": "n.work", "inputs": {"name": f"g{n}", "n": n}} for n in range(6)]
    after = {"id": "after", "function": "n.work", "inputs": {"name": "after", "n": "$bad.n"}}
    space.workflow([{"id": "bad", "function": "n.bad"}, after, *steps] if state == "blocked" else steps)

    class Raises:
        def hear(self, event: Event) -> None:
            told = {
                "blocked": isinstance(event, StepFinished) and event.outcome.state is StepState.BLOCKED,
                "begins": isinstance(event, StepStarted),
                "ends": isinstance(event, RunFinished),
            }
            if told[state]:
                raise ValueError("a listener")

        def rest(self) -> None:
            """Nothing to do."""

    def once() -> tuple[int, int]:
        with pytest.raises((ValueError, WfeError)):
            wfe.run("w", project=space.root, jobs=jobs, listeners=[Raises()], keep_going=True)
        for thread in threading.enumerate():
            if "execute_task" in thread.name:  # doit's, which end by themselves
                thread.join(30)
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = once()
    assert once() <= before
    assert not psutil.Process().children()
    report = wfe.run("w", project=space.root, jobs=jobs, check=False, keep_going=True)
    assert all(report[f"g{n}"]["n"] == n + 1 for n in range(6))


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_listener_may_run_the_same_workflow_when_he_hears_of_a_step(space: Space, jobs: int) -> None:
    """The steps that the outer run is at just then do not wait for him, who waits for them."""
    counting(space, COUNTED)
    space.workflow([{"id": f"s{n}", "function": "n.work", "inputs": {"name": f"s{n}", "n": n}} for n in range(30)])
    program = (
        "import sys, wfe\n"
        "from wfe.core.outcome import StepFinished\n"
        "class Own:\n"
        "    heard, inner = [], None\n"
        "    def hear(self, event):\n"
        "        self.heard.append(type(event).__name__)\n"
        "        if isinstance(event, StepFinished) and self.inner is None:\n"
        "            self.inner = 0\n"
        f"            self.inner = wfe.run('w', jobs={jobs})\n"
        "own = Own()\n"
        f"outer = wfe.run('w', jobs={jobs}, listeners=[own])\n"
        "print(own.inner.counts['failed'] + outer.counts['failed'], len(own.inner.ran) + len(outer.ran))\n"
        "print(own.heard[0], own.heard[-1], own.heard.count('StepFinished'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=space.root,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "0 30\nRunStarted RunFinished 30\n", done.stderr
