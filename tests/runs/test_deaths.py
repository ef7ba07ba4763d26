"""What a node may do to itself and to its process: the message names it, the others go on, the next step is unaffected."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from processes import Running, staging
from space import Space, environ

from wfe.engine.printed import LOG_LIMIT
from wfe.errors import ExitCode

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

BAD = """
import ctypes, os, signal, subprocess, sys
@workflow_node(outputs={"n": int})
def bad(how: str, n: int = 0):
    if how == "segfault":
        ctypes.string_at(0)
    if how == "oom":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "_exit":
        os._exit(3)
    if how == "exit":
        sys.exit(4)
    if how == "unpicklable":
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__("odd")
                self.it = lambda: None
            def __reduce__(self):
                raise TypeError("no")
        raise Odd(1, 2)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recursion":
        return bad.__wrapped__ if hasattr(bad, "__wrapped__") else bad(how, n)
    if how == "memory":
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        return {"n": len(bytearray(2**34))}
    if how == "noise":
        for _ in range(200):
            print("x" * 1_000_000)
    if how == "chdir":
        os.chdir("/")
        os.environ["SOILED"] = "yes"
        sys.path.insert(0, "/nowhere")
    if how == "closes":
        for number in range(3):
            os.close(number)
    if how == "gigabyte":
        for _ in range(1000):
            print("x" * 1_000_000)
    if how == "fork":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pause()
            os._exit(0)
        os.wait()
    if how == "child":
        subprocess.Popen(["sleep", "600"])
    if how == "timeout":
        subprocess.Popen(["sleep", "600"])
        subprocess.run(["sleep", "600"])
    return {"n": n}

@workflow_node(outputs={"where": str, "soiled": str, "path": bool})
def after(number: int):
    return {"where": os.getcwd(), "soiled": os.environ.get("SOILED", ""), "path": "/nowhere" in sys.path}
"""

FAILS = {
    "segfault": ("died", "SIGSEGV"),
    "oom": ("died", "SIGKILL"),
    "_exit": ("died", "3"),
    "exit": ("SystemExit", "4"),
    "unpicklable": ("Odd", "odd"),
    "interrupt": ("KeyboardInterrupt", ""),
    "recursion": ("RecursionError", "recursion"),
    "memory": ("MemoryError", ""),
    "timeout": ("timeout", "1 s"),
}


def prepare(space: Space, how: str) -> None:
    space.nodes(BAD)
    limit = {"timeout": 1} if how == "timeout" else {}
    space.workflow(
        [
            {"id": "bad", "inputs": {"how": how}, **limit},
            {"id": "after", "inputs": {"number": 1}},
            {"id": "needs", "function": "n.after", "inputs": {"number": "$bad.n"}},
        ]
    )


@pytest.mark.parametrize("how", FAILS)
def test_it_fails_with_a_name_and_the_run_goes_on(space: Space, how: str) -> None:
    prepare(space, how)
    found = space.run(inline=False)
    space.failed("bad")
    space.blocked("needs")
    space.ran("after")
    failure = found.outcomes["bad"].failure
    assert failure is not None
    kind, word = FAILS[how]
    assert failure.kind == kind, failure
    assert word in failure.message, failure
    assert ("how", f'"{how}"') in failure.inputs
    assert found.code is ExitCode.FAILED
    assert staging(space) == []


@pytest.mark.parametrize("how", ["noise", "chdir", "closes", "child"])
def test_it_may_do_that_and_the_next_step_is_unaffected(space: Space, how: str) -> None:
    prepare(space, how)
    space.run(inline=False)
    space.ran("bad", "after", "needs")
    assert space.value("needs") == space.value("after")
    assert space.value("after")["soiled"] == ""
    assert not space.value("after")["path"]
    assert space.value("after")["where"] != "/"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("how", ["child", "fork", "timeout"])
def test_children_do_not_stay(space: Space, how: str) -> None:
    prepare(space, how)
    running = Running(space, "wfe", "-k")
    code, said = running.end()
    assert code == (1 if how == "timeout" else 0), said
    running.gone()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in KiB")
def test_a_gigabyte_that_is_printed_stays_out_of_memory_and_off_the_disk(space: Space) -> None:
    program = (
        "import resource, wfe\n"
        "report = wfe.run('w')\n"
        "print(sorted(report.ran), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    found = {}
    for how in ("nothing", "gigabyte"):
        prepare(space, how)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=space.root, env=environ(), capture_output=True, text=True, check=True
        )
        ran, _, most = done.stdout.splitlines()[-1].rpartition(" ")
        assert ran == ("['after', 'bad', 'needs']" if how == "nothing" else "['bad']")
        found[how] = int(most)
    assert found["gigabyte"] < found["nothing"] + 64, found
    log = space.root / "cache/logs/w/bad.log"
    assert LOG_LIMIT <= log.stat().st_size < LOG_LIMIT + 2**20
    assert sum(path.stat().st_size for path in space.cache.rglob("*") if path.is_file()) < 2 * LOG_LIMIT + 2**22


def test_the_end_says_what_failed_with_what_and_how_to_run_it_alone(space: Space) -> None:
    space.nodes(
        """
        @workflow_node()
        def bad(text: str, file: Path):
            print("a line of its own")
            raise ValueError("no good")
        """
    )
    space.file("in.txt", "x")
    space.workflow(
        [
            {"id": "bad", "inputs": {"text": "a" * 300, "file": "in.txt"}},
            {"id": "c", "function": "n.bad", "depends_on": ["bad"], "inputs": {"text": "", "file": "in.txt"}},
        ]
    )
    said = space.doit("run", "workflow=w", code=1).stdout
    assert "failed    bad" in said
    assert "ValueError: no good" in said
    assert 'with text = "aaaa' in said
    assert "a" * 200 not in said
    assert "with file = in.txt" in said
    assert "log: cache/logs/w/bad.log" in said
    assert "wfe run w bad --inline --pdb" in said
    assert "blocked   c" in said
    assert (space.root / "cache/logs/w/bad.log").read_text() == "a line of its own\n"


def test_without_continue_nothing_new_begins_after_a_failure(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"n": int})
        def bad(n: int):
            raise ValueError(n)

        @workflow_node(outputs={"n": int})
        def fine(n: int):
            return {"n": n}
        """
    )
    fine = [{"id": f"f{n}", "function": "n.fine", "inputs": {"n": n}} for n in range(20)]
    space.workflow(
        [{"id": "bad", "inputs": {"n": 1}}, *fine, {"id": "after", "function": "n.fine", "inputs": {"n": "$bad.n"}}]
    )
    found = space.run(keep_going=False)
    space.failed("bad")
    space.ran()
    space.blocked("after")
    assert len(found.outcomes) == 22
    space.run(keep_going=True)
    space.failed("bad")
    assert space.run(keep_going=True).code is ExitCode.FAILED
