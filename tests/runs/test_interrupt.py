"""Ctrl-C, SIGTERM and kill -9: what is done is kept, nothing is left behind, the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import WAITS, Running, door, entered, go, memory_of, staging
from space import Space, environ

from wfe.report.history import past

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc and uses FIFOs")


def prepare(space: Space, path: Path) -> None:
    space.nodes(WAITS)
    space.workflow(
        [
            {"id": "quick"},
            {"id": "waits", "inputs": {"door": str(path), "n": "$quick.n"}},
            {"id": "late", "inputs": {"n": "$waits.n"}},
        ]
    )


def nothing_left(space: Space, running: Running) -> None:
    running.gone()
    assert staging(space) == []
    assert memory_of(running.process.pid) == []


def resumes(space: Space, path: Path) -> None:
    """What was done is not done again, and no lock is in the way."""
    running = Running(space, "wfe")
    entered(path)
    go(path)
    code, said = running.end()
    assert code == 0, said
    assert "2 ran, 1 current" in said


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("front", ["doit", "wfe"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_lets_a_running_step_finish(space: Space, front: str, number: int, jobs: str) -> None:
    with door(space) as path:
        prepare(space, path)
        running = Running(space, front, "-n", jobs)
        entered(path)
        running.process.send_signal(number)
        running.until("stopping:")
        go(path)
        code, said = running.end()
        assert code == 130, said
        assert "stopping: what runs has 5 s to finish" in said
        assert "Traceback" not in said
        nothing_left(space, running)
    assert space.run().values["late"] == {"n": 0}
    space.ran("late")
    space.current("quick", "waits")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_step_may_ask_whether_the_run_is_to_end(space: Space, jobs: str) -> None:
    """A live source, say, which would go on for the five seconds, and be lost with what it has."""
    with door(space) as path:
        space.nodes("""
        import wfe
        @workflow_node(outputs={"n": int})
        def endless(door: str):
            with open(door, "w") as out:
                out.write("in")
            n = 0
            while not wfe.stopping():
                n += 1
            return {"n": min(n, 1)}
        """)
        space.workflow([{"id": "endless", "inputs": {"door": str(path)}}])
        running = Running(space, "wfe", "-n", jobs)
        entered(path)
        running.process.send_signal(signal.SIGINT)
        code, said = running.end()
        assert code == 130 and "ran       endless" in said, said
        nothing_left(space, running)
    space.run()
    space.nothing_ran()
    assert space.value("endless") in ({"n": 0}, {"n": 1})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_twice_ends_what_runs_inline(space: Space, number: int) -> None:
    """It is in the main thread of wfe's own process, where the signal's handler only takes notice."""
    with door(space) as path:
        prepare(space, path)
        running = Running(space, "wfe", "--inline")
        entered(path)
        running.process.send_signal(number)
        running.until("stopping:")
        running.process.send_signal(number)
        code, said = running.end()
        assert code == 130 and "1 ran, 2 cancelled" in said and "Traceback" not in said, said
        nothing_left(space, running)
        resumes(space, path)


@pytest.mark.parametrize(
    ("front", "jobs", "number"),
    [
        *((front, jobs, signal.SIGINT) for front in ("doit", "wfe") for jobs in ("1", "2")),
        ("wfe", "1", signal.SIGTERM),
        ("doit", "2", signal.SIGTERM),
    ],
)
def test_twice_ends_it_at_once(space: Space, front: str, jobs: str, number: int) -> None:
    with door(space) as path:
        prepare(space, path)
        running = Running(space, front, "-n", jobs)
        entered(path)
        running.process.send_signal(number)
        running.until("stopping:")
        running.process.send_signal(number)
        code, said = running.end()
        assert code == 130, said
        assert "Traceback" not in said
        assert "cancelled" in said
        nothing_left(space, running)
        resumes(space, path)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_ends_as_a_run_does(space: Space, number: int, again: bool) -> None:
    with door(space) as path:
        prepare(space, path)
        running = Running(space, "watch")
        entered(path)
        running.process.send_signal(number)
        running.until("stopping:")
        if again:
            running.process.send_signal(number)
        else:
            go(path)
        code, said = running.end()
        assert code == 130, said
        assert "waiting for a change" not in said and "Traceback" not in said
        assert ("ran       waits" in said) is not again
        nothing_left(space, running)
        assert [one.ending for one in past(space.cache / "runs")] == ["interrupted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_that_waits_ends_at_once(space: Space, number: int) -> None:
    space.nodes(WAITS)
    space.workflow([{"id": "quick"}])
    running = Running(space, "watch")
    running.until("waiting for a change")
    before = running.said
    running.process.send_signal(number)
    assert running.end() == (130, before)
    nothing_left(space, running)
    assert [one.ending for one in past(space.cache / "runs")] == ["ok"]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("front", ["doit", "wfe"])
def test_a_killed_engine_leaves_no_process_and_the_next_run_cleans_up(space: Space, front: str, jobs: str) -> None:
    with door(space) as path:
        prepare(space, path)
        running = Running(space, front, "-n", jobs)
        entered(path)
        running.process.kill()
        running.end()
        # The worker waits for the other side of a FIFO; that its engine is gone must end it all the same.
        running.gone()
        resumes(space, path)
        assert staging(space) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_doit_reads_the_workflow_it_ends_the_command(space: Space, number: int) -> None:
    """As it ends a run, and without doit's traceback."""
    space.file(
        "dodo.py",
        "import os\n"
        "import wfe.dodo\n"
        f"wfe.dodo.enter = lambda *given, **more: os.kill(os.getpid(), {int(number)})\n"
        "DOIT_CONFIG, task_workflow = wfe.dodo.open_project(__file__)\n",
    )
    line = [sys.executable, "-m", "doit", "run", "workflow=w"]
    done = subprocess.run(line, cwd=space.root, env=environ(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_signal_that_another_thread_got_is_heard() -> None:
    """Then Python's handler waits for the main thread, which sleeps."""
    program = (
        "import signal, threading\n"
        "from wfe.schedule.runner import Wakeful\n"
        "results = Wakeful()\n"
        "signal.signal(signal.SIGINT, lambda number, frame: results.put(number))\n"
        "def send():\n"
        "    while not results.not_empty._waiters: pass\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGINT)\n"
        "threading.Thread(target=send).start()\n"
        "print(results.get())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"{signal.SIGINT.value}\n", done.stderr


def test_a_terminal_gets_its_prompt_back(space: Space) -> None:
    """Ctrl-C typed in a real terminal goes to the whole foreground group; workers are not in it."""
    import pty

    with door(space) as path:
        prepare(space, path)
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(space.root)
            os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
            os.execv(sys.executable, [sys.executable, "-m", "wfe", "run", "w", "-n", "2"])
        entered(path)
        os.write(terminal, b"\x03")
        said = b""
        while b"stopping:" not in said:
            said += os.read(terminal, 65536)
        go(path)
        while True:
            try:
                more = os.read(terminal, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not more:
                break
            said += more
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == 130, said.decode()
    assert space.run().values["late"] == {"n": 0}
    space.current("quick", "waits")
