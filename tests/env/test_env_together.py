"""Several at once, and the sudden end of one: an environment is made once, and never seen half-made.

The package `stalls` calls the test while it is being imported in the check of a new environment, and waits for the
answer: so a test acts at that moment without sleeping.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from wfe.env import Environments, Need, Uv, lease
from wfe.env import need as needs
from wfe.env.listing import collect
from wfe.errors import EnvironmentFailure, Interrupted

Make = Callable[..., Environments]
SCRIPT = Path(__file__).with_name("run_prefix.py")
LONG = 60.0  # a bound for the case that the code under test hangs; no test waits for it to pass


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG)
        monkeypatch.setenv("WFE_TEST_PORT", str(server.getsockname()[1]))
        yield server


def start(root: Path, lock_file: Path) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(SCRIPT), str(root), str(lock_file), "stalls"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_processes_make_it_once(environments: Make, calls: socket.socket) -> None:
    found = environments()
    found.lock(needs.spec(["stalls"]))
    running = [start(found.root, found.file.path) for _ in range(3)]
    line, _ = calls.accept()
    with line:
        assert list((found.root / "staging").iterdir())
        assert found.entries() == []
        line.sendall(b"go")
    paths = set()
    for process in running:
        out, err = process.communicate(timeout=LONG)
        assert (process.returncode, err) == (0, "")
        paths.add(out.strip())
    assert len(paths) == 1
    assert Path(paths.pop()).is_dir()
    calls.settimeout(0)
    with pytest.raises(BlockingIOError):
        calls.accept()


def test_several_threads_make_it_once(environments: Make, calls: socket.socket) -> None:
    lock = environments().lock(needs.spec(["stalls"]))
    made: list[float] = []
    threads = [Thread(target=lambda: made.append(environments().prefix(lock).made)) for _ in range(4)]
    for thread in threads:
        thread.start()
    line, _ = calls.accept()
    with line:
        line.sendall(b"go")
    for thread in threads:
        thread.join(LONG)
    assert len(made) == 4
    assert len(set(made)) == 1


def test_a_kill_leaves_nothing_that_is_used_and_the_next_use_cleans_up(
    environments: Make, calls: socket.socket
) -> None:
    found = environments()
    lock = found.lock(needs.spec(["stalls"]))
    process = start(found.root, found.file.path)
    line, _ = calls.accept()
    with line:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        line.settimeout(LONG)
        assert line.recv(1) == b""  # the process that was importing has gone with it: no orphan
    assert psutil.wait_procs(children, timeout=LONG)[1] == []
    left = list((found.root / "staging").iterdir())
    assert len(left) == 1
    assert (left[0] / "requirements.txt").exists()
    assert found.entries() == []

    thread = Thread(target=lambda: answer(calls))
    thread.start()
    prefix = found.prefix(lock)
    thread.join(LONG)
    assert prefix.path.is_dir()
    assert list((found.root / "staging").iterdir()) == []


def answer(calls: socket.socket) -> None:
    line, _ = calls.accept()
    with line:
        line.sendall(b"go")


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process")
def test_ctrl_c_removes_what_was_begun(environments: Make, calls: socket.socket) -> None:
    found = environments()
    found.lock(needs.spec(["stalls"]))
    process = start(found.root, found.file.path)
    line, _ = calls.accept()
    with line:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONG)
    assert process.returncode != 0
    assert list((found.root / "staging").iterdir()) == []
    assert found.entries() == []


def test_stop_from_another_thread(environments: Make, calls: socket.socket) -> None:
    runner = Uv()
    found = environments(uv=runner)
    lock = found.lock(needs.spec(["stalls"]))
    ended: list[type] = []

    def work() -> None:
        try:
            found.prefix(lock)
        except Interrupted as error:
            ended.append(type(error))

    thread = Thread(target=work)
    thread.start()
    line, _ = calls.accept()
    with line:
        runner.stop.set()
        thread.join(LONG)
    assert ended == [Interrupted]
    assert list((found.root / "staging").iterdir()) == []


def test_who_waits_for_another_can_be_stopped(tmp_path: Path) -> None:
    runner = Uv()
    with (
        lease.holding(tmp_path, "x"),
        pytest.raises(Interrupted),
        lease.holding(tmp_path, "x", runner.stop, runner.stop.set),
    ):
        raise AssertionError("held twice")


def test_two_runs_add_to_one_lock_file(environments: Make) -> None:
    one, two = environments(), environments()
    assert one.file.read() == two.file.read()
    one.place([])
    first = one.lock(needs.spec(["alpha"]))
    two._read()
    second = two.lock(needs.spec(["beta"]))
    third = one.lock(needs.spec(["epsilon"]))
    assert {lock.digest for lock in environments().file.read().locks} == {first.digest, second.digest, third.digest}


def test_what_is_in_use_is_not_collected(environments: Make) -> None:
    found = environments()
    lock, other = found.lock(needs.spec(["alpha<2"])), found.lock(needs.spec(["beta"]))
    found.prefix(other)
    with found.using(lock) as prefix:
        assert [one.digest for one in found.collect(unused_for=0)] == [other.digest]
        assert prefix.path.is_dir()
        with pytest.raises(EnvironmentFailure, match=f"environment {lock.digest} is in use .process {os.getpid()}."):
            found.remove(lock.digest[:8])
        entry = found.entries()[0]
        assert entry.users == (os.getpid(),)
    assert [one.digest for one in found.collect(unused_for=0)] == [lock.digest]
    assert found.entries() == []


def test_the_lease_of_a_dead_process_does_not_count(environments: Make) -> None:
    found = environments()
    lock = found.lock(needs.spec(["beta"]))
    found.prefix(lock)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = found.root / "leases" / lock.digest
    folder.mkdir(parents=True)
    me = psutil.Process()
    node = lease.platform.node()
    (folder / "dead").write_text(f'{{"pid": {dead.pid}, "started": 1.0, "host": "{node}"}}')
    (folder / "again").write_text(f'{{"pid": {me.pid}, "started": {me.create_time() - 500}, "host": "{node}"}}')
    (folder / "torn").write_text('{"pid": ')
    assert lease.users(found.root, lock.digest) == []
    assert list(folder.iterdir()) == []


def test_collecting_by_age_and_by_size(environments: Make) -> None:
    found = environments()
    locks = [found.lock(needs.spec([name])) for name in ("alpha<2", "beta", "epsilon")]
    for age, lock in enumerate(locks, start=1):
        found.prefix(lock)
        lease.touch(found.root, lock.digest)
        os.utime(found.root / "leases" / lock.digest / "used", (1000.0 * age, 1000.0 * age))
    digests = [lock.digest for lock in locks]
    dry = collect(found.root, unused_for=1500, now=4000.0, dry_run=True)
    assert [one.digest for one in dry] == digests[:2]
    assert len(found.entries()) == 3
    size = max(entry.own for entry in found.entries())
    assert [one.digest for one in collect(found.root, at_most=2 * size + 1, now=4000.0)] == digests[:1]
    assert [one.digest for one in collect(found.root, unused_for=0, keep=digests[1:2], now=4000.0)] == digests[2:]
    assert [entry.digest for entry in found.entries()] == digests[1:2]
    assert collect(found.root, now=9e9) == []


def test_what_is_damaged_is_collected(environments: Make) -> None:
    found = environments()
    prefix = found.prefix(found.lock(needs.spec(["beta"])))
    prefix.python.unlink()
    assert [entry.usable for entry in found.entries()] == [False]
    assert [one.why for one in found.collect()] == ["it is damaged"]


def test_the_listing_says_for_whom_and_why(environments: Make) -> None:
    found = environments()
    placed = found.place([Need("blur", ("alpha<2",))])
    found.sync([Need("blur", ("alpha<2",))])
    entry = found.entries(placed)[0]
    assert entry.nodes == {"blur": "the main environment does not have alpha<2"}
    assert (entry.packages, entry.asked) == (("alpha-1.0",), ("alpha",))
    assert entry.own > 0
    with pytest.raises(EnvironmentFailure, match="there is no environment 'zz'"):
        found.remove("zz")
    assert found.remove(entry.digest).bytes == entry.own
    assert not entry.path.exists()
