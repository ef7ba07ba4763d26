"""What a call leaves running is ended with it, or with its worker."""

from __future__ import annotations

import sys
from typing import Any

from tests.executors.conftest import Bench
from tests.executors.pids import ends, posix
from wfe.engine.executor import Call, Died, Returned


@posix
def test_children_that_stay_are_ended_and_the_worker_goes_on(workers: Bench) -> None:
    workers.write(
        "a",
        "import os, signal, subprocess, sys\n"
        "def f():\n"
        "    kept = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    f.kept = kept\n"
        "    r, w = os.pipe()\n"
        "    if os.fork() == 0:\n"  # a daemon: a session of its own, its parent gone
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            os.write(w, str(os.getpid()).encode())\n"
        "            signal.pause()\n"
        "        os._exit(0)\n"
        "    return [os.getpid(), kept.pid, int(os.read(r, 100))]\n"
        "def g(): return os.getpid()\n",
    )
    worker, *left = workers.call("f").value  # type: ignore[union-attr]
    assert all(ends(pid) for pid in left)
    after = workers.call("g")
    assert isinstance(after, Returned)
    if sys.platform == "linux":
        assert after.value == worker  # still warm


@posix
def test_children_of_children_are_ended_too(workers: Bench) -> None:
    """Those come to the worker when their parent is killed, after it counted its children: it waited for ever for them."""
    workers.write(
        "a",
        "import os, subprocess\n"
        "def f():\n"
        "    subprocess.Popen('sleep 1000 & sleep 1000 & echo; wait', shell=True, stdout=subprocess.PIPE).stdout.readline()\n"
        "    return os.getpid()\n",
    )
    for _ in range(3):
        assert isinstance(workers.call("f", timeout=100), Returned)


@posix
def test_a_child_with_nothing_of_the_worker_is_ended_with_it(workers: Bench) -> None:
    """Neither the process group nor a variable tells of it, only whose child it is."""
    workers.write(
        "a",
        "import subprocess, time, wfe\n"
        "def f():\n"
        "    child = subprocess.Popen(['/bin/sleep', '1000'], env={}, start_new_session=True)\n"
        "    wfe.progress(child.pid)\n"
        "    time.sleep(1000)\n",
    )
    children = []

    def hear(kind: str, content: dict[str, Any]) -> None:
        if kind == "progress":
            children.append(int(content["done"]))
            workers.executor.cancel()

    call = Call("step", "nodes.a", "f", str(workers.root), inputs={}, staging=str(workers.staging), code="v1")
    found = workers.executor.call(call, hear)
    assert isinstance(found, Died) and found.kind == "cancelled"
    assert ends(children[0])


@posix
def test_a_pool_that_stays_ends_its_worker(workers: Bench) -> None:
    """A pool begins others in place of those that are killed, and waits for ever for the lock that one of them held."""
    workers.write(
        "a",
        "import multiprocessing, os\n"
        "def f():\n"
        "    f.pool = multiprocessing.get_context('fork').Pool(2)\n"
        "    return [os.getpid(), sum(f.pool.map(abs, [1, 2, 3]))]\n",
    )
    found = [workers.call("f", timeout=100) for _ in range(3)]
    assert all(isinstance(one, Returned) and one.value[1] == 6 for one in found), found
    assert len({one.value[0] for one in found if isinstance(one, Returned)}) == 3
