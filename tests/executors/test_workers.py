"""What only processes can do: die, be killed, leave children, print too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.executors.conftest import Bench
from tests.executors.pids import ends, posix
from wfe.engine.executor import Call, Died, Raised, Returned
from wfe.engine.hole import Hole
from wfe.engine.printed import Printed
from wfe.engine.workers import Workers
from wfe.errors import EnvironmentFailure
from wfe.wire import frames, shm


def test_exit_at_once_is_named(workers: Bench) -> None:
    workers.write(
        "a", "import os, sys\ndef f():\n    print('last words', file=sys.stderr)\n    os._exit(7)\ndef g(): return 1"
    )
    reply = workers.call("f")
    assert isinstance(reply, Died) and reply.kind == "died"
    assert "exit code 7" in reply.message and "last words" in reply.message
    assert "last words" in workers.log.read_text()
    assert workers.call("g").value == 1  # type: ignore[union-attr]


@posix
def test_a_crash_is_named(workers: Bench) -> None:
    workers.write("a", "import os\ndef f(): os.kill(os.getpid(), 11)\ndef g(): return 1")
    reply = workers.call("f")
    assert isinstance(reply, Died)
    assert "SIGSEGV" in reply.message and "nodes/a.py" in reply.message
    assert "wfe/worker.py" not in reply.message
    assert workers.call("g").value == 1  # type: ignore[union-attr]


@posix
def test_killed_in_a_call_fifty_times(make: Callable[..., Bench]) -> None:
    bench = make("workers", limit=1)
    bench.write(
        "a",
        "import os, signal, subprocess, sys, wfe\n"
        "def f(a):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    wfe.log(f'{os.getpid()} {child.pid}')\n"
        "    signal.pause()\n"
        "def g(): return 1\n",
    )
    import numpy

    pids = []

    def kill(kind: str, content: dict[str, object]) -> None:
        if kind == "note":
            worker, child = map(int, str(content["message"]).split())
            pids.extend([worker, child])
            os.kill(worker, signal.SIGKILL)

    bench.heard = type("Killer", (list,), {"append": lambda self, event: kill(*event)})()
    for turn in range(50):
        # Not an array each time: a worker that dies takes its import of NumPy (0.15 s) with it.
        arrays = {("a",): numpy.ones(100_000)} if turn % 10 == 0 else {}
        reply = bench.call("f", inputs={"a": None}, arrays=arrays, staging="")
        assert isinstance(reply, Died) and "SIGKILL" in reply.message, reply
    assert len(pids) == 100
    assert bench.call("g").value == 1  # type: ignore[union-attr]
    executor = bench.executor
    assert isinstance(executor, Workers) and executor._blocks is not None
    folder = executor._blocks.folder
    assert len(list(folder.iterdir())) <= 3  # the lock, the input's block, used again each time
    executor.close()
    assert not folder.exists()
    assert all(ends(pid) for pid in pids)


@pytest.mark.parametrize("function", ["f", "g"])
def test_blocks_are_used_again_from_call_to_call(make: Callable[..., Bench], function: str) -> None:
    import numpy

    bench = make("workers", limit=1)
    bench.write("a", "def f(a): return {'a': a}\ndef g(a): raise ValueError(a.sum())")
    seen = set()
    for turn in range(6):
        bench.call(function, inputs={"a": None}, arrays={("a",): numpy.full(100_000, turn)}, staging="")
        assert isinstance(bench.executor, Workers) and bench.executor._blocks is not None
        seen |= {path.name for path in bench.executor._blocks.folder.iterdir()}
    assert len(seen) <= 3  # the lock, one block in and one out


@posix
def test_killed_while_idle_is_replaced(workers: Bench) -> None:
    workers.write("a", "import os\ndef f(): return os.getpid()")
    first = workers.call("f").value  # type: ignore[union-attr]
    os.kill(first, signal.SIGKILL)  # and it may still be dying when it is written to
    second = workers.call("f")
    assert isinstance(second, Returned), second
    assert second.value != first


@posix
@pytest.mark.parametrize("up", [True, False], ids=["when it was up", "while it came up"])
def test_killed_before_its_first_call(make: Callable[..., Bench], up: bool) -> None:
    """By the system for want of memory, perhaps: nothing is wrong with its environment, as would be told else."""
    bench = make("workers", limit=1)
    bench.write("a", "import os\ndef f(): return os.getpid()")
    executor = bench.executor
    assert isinstance(executor, Workers)
    executor.warm(str(bench.root), 1)
    (warm,) = executor._idle
    if up:
        assert warm.child._poll.poll(60_000)  # it says so
    os.kill(warm.child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, warm.child.pid, os.WEXITED | os.WNOWAIT)
    warm.since = time.monotonic()  # too soon for a look whether it lives
    reply = bench.call("f")
    assert isinstance(reply, Died) and reply.kind == "died", reply
    assert reply.message.startswith("the process of the step was killed by SIGKILL (by somebody, or by the system")
    assert isinstance(bench.call("f"), Returned)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks a pipe how much is in it")
def test_what_was_printed_before_a_reply_is_never_lost(workers: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply comes after the look at all pipes that found one thing to read, and is read with it."""
    import fcntl
    import termios

    def held(number: int) -> int:
        return int.from_bytes(fcntl.ioctl(number, termios.FIONREAD, bytes(4)), sys.byteorder)

    feed = frames.Channel.feed
    fed = []

    def late(channel: frames.Channel) -> bool:
        if not fed:
            fed.append(held(channel.reader))
            end = time.monotonic() + 5.0  # all of it may have been there
            while held(channel.reader) <= fed[0] and time.monotonic() < end:
                os.sched_yield()
        return feed(channel)

    monkeypatch.setattr(frames.Channel, "feed", late)
    workers.write("a", "import sys\ndef f():\n    print('out')\n    print('err', file=sys.stderr)\n    return 1")
    assert isinstance(workers.call("f"), Returned)
    assert sorted(workers.lines()) == ["err", "out"]
    assert sorted(workers.log.read_text().split()) == ["err", "out"]


@posix
def test_a_fork_that_returns_does_not_answer(workers: Bench) -> None:
    workers.write("a", "import os\ndef f():\n    os.fork()\n    return os.getpid()\ndef g(): return os.getpid()")
    first = workers.call("f").value  # type: ignore[union-attr]
    assert workers.call("g").value == first  # type: ignore[union-attr]


@posix
def test_a_forked_child_does_not_speak_for_its_worker(workers: Bench) -> None:
    workers.write(
        "a",
        "import os, wfe\n"
        "def f(path):\n"
        "    if os.fork() == 0:\n"
        "        files = [open(path + str(n), 'w') for n in range(8)]\n"  # they get the numbers of the pipes
        "        wfe.progress(1)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    return [os.path.getsize(path + str(n)) for n in range(8)]\n",
    )
    reply = workers.call("f", inputs={"path": str(workers.root / "file")})
    assert isinstance(reply, Returned) and reply.value == [0] * 8, reply
    assert not any(kind == "progress" for kind, _ in workers.heard)


@posix
def test_death_is_seen_while_a_daemon_holds_the_streams(workers: Bench) -> None:
    workers.write(
        "a",
        "import os, signal, time, wfe\n"
        "def f():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork():\n            os._exit(0)\n"
        "        wfe_pid = os.getpid()\n"
        "        signal.pause()\n"
        "    os.wait()\n"
        "    os.kill(os.getpid(), 9)\n",
    )
    reply = workers.call("f")
    assert isinstance(reply, Died), reply


def test_closed_and_redirected_streams_are_put_back(workers: Bench) -> None:
    workers.write(
        "a",
        "import os, sys\n"
        "def f():\n    sys.stdout.close(); sys.stderr = None; os.close(1); os.close(2)\n"
        "def g():\n    print('out'); print('err', file=sys.stderr)\n    os.write(1, b'raw\\n')\n",
    )
    assert isinstance(workers.call("f"), Returned)
    assert isinstance(workers.call("g"), Returned)
    assert sorted(workers.lines()) == ["err", "out", "raw"]


def test_output_of_native_code_and_of_children(workers: Bench) -> None:
    workers.write(
        "a",
        "import ctypes, subprocess, sys\n"
        "def f():\n"
        "    ctypes.CDLL(None).printf(b'from C\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"from a child\")'], check=True)\n",
    )
    assert isinstance(workers.call("f"), Returned)
    assert sorted(workers.lines()) == ["from C", "from a child"]


def test_a_timeout_ends_the_tree(workers: Bench) -> None:
    workers.write(
        "a",
        "import subprocess, sys, wfe\n"
        "def f():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    wfe.log(str(child.pid))\n"
        "    child.wait()\n"
        "def g(): return 1\n",
    )
    reply = workers.call("f", timeout=0.7)
    assert isinstance(reply, Died) and reply.kind == "timeout" and "0.7 s" in reply.message
    for kind, content in workers.heard:
        if kind == "note":
            assert ends(int(content["message"]))
    assert workers.call("g", timeout=60.0).value == 1  # type: ignore[union-attr]


@posix
def test_cancel_ends_calls_in_flight(workers: Bench) -> None:
    workers.write("a", "import signal, wfe\ndef f():\n    wfe.log('here')\n    signal.pause()")
    replies = []
    here = threading.Barrier(3)

    def one() -> None:
        bench = Bench.__new__(Bench)
        bench.__dict__.update(workers.__dict__)
        bench.log = workers.root / f"{threading.get_ident()}.log"
        bench.heard = type("Heard", (list,), {"append": lambda self, event: event[0] == "note" and here.wait(30)})()
        replies.append(bench.call("f"))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    here.wait(30)
    workers.executor.cancel()
    for thread in threads:
        thread.join(30)
    assert [reply.kind for reply in replies] == ["cancelled", "cancelled"]


def test_more_threads_than_workers(workers: Bench) -> None:
    workers.write("a", "import os\ndef f(x): return [os.getpid(), x]")
    replies = {}

    def one(number: int) -> None:
        replies[number] = workers.call("f", inputs={"x": number}, log="")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {number: reply.value[1] for number, reply in replies.items()} == {number: number for number in range(12)}
    assert 1 <= len({reply.value[0] for reply in replies.values()}) <= 2


def test_the_listeners_own_error_does_not_spoil_the_next_call(workers: Bench) -> None:
    workers.write("a", "import wfe\ndef f(): wfe.log('x')\ndef g(): return 'g'")

    class Broken(list):  # type: ignore[type-arg]
        def append(self, event: object) -> None:
            raise ZeroDivisionError

    workers.heard = Broken()
    with pytest.raises(ZeroDivisionError):
        workers.call("f")
    workers.heard = []
    assert workers.call("g").value == "g"  # type: ignore[union-attr]


def test_a_node_that_writes_into_every_descriptor(workers: Bench) -> None:
    workers.write(
        "a",
        "import os\n"
        "def f():\n"
        "    for n in range(3, 1000):\n"  # they have the numbers that they had here
        "        try: os.write(n, b'garbage garbage')\n"
        "        except OSError: pass\n"
        "def g(): return 1\n",
    )
    reply = workers.call("f")
    assert isinstance(reply, Died) and "broke the connection" in reply.message, reply
    assert workers.call("g").value == 1  # type: ignore[union-attr]


def test_an_interpreter_that_does_not_start(tmp_path: Path) -> None:

    call = Call("s", "nodes.a", "f", str(tmp_path), {})
    with Workers(tmp_path / "no-python") as missing, pytest.raises(EnvironmentFailure, match="cannot be started"):
        missing.call(call, print)
    if os.name != "nt":
        broken = tmp_path / "broken"
        broken.write_text("#!/bin/sh\necho 'no libpython here' >&2\nexit 3\n")
        broken.chmod(0o755)
        with Workers(broken) as workers, pytest.raises(EnvironmentFailure, match="exit code 3(.|\n)*no libpython here"):
            workers.call(call, print)


def test_a_missing_array_package_is_named(make: Callable[..., Bench]) -> None:
    import numpy

    bench = make("bare")
    bench.write("a", "def f(a): pass")
    numpy.save(bench.root / "a.npy", numpy.ones(3))
    hole = Hole(("a",), "npy", str(bench.root / "a.npy"))
    reply = bench.call("f", inputs={"a": None}, holes=(hole,))
    assert isinstance(reply, Raised) and "numpy" in reply.message
    reply = bench.call("f", inputs={"a": None}, arrays={("a",): numpy.ones(3)}, staging="")
    assert isinstance(reply, Raised) and "numpy" in reply.message


def test_thread_pools_are_sized_and_the_users_word_counts(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    bench = make("workers", threads=3)
    bench.write("a", "import os\ndef f(): return [os.environ.get(n) for n in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')]")
    assert bench.call("f").value == ["3", "9"]  # type: ignore[union-attr]


def test_too_big_a_worker_is_replaced(make: Callable[..., Bench]) -> None:
    bench = make("workers", memory=100 * 2**20, limit=1)
    bench.write("a", "import os\nkept = []\ndef f(n):\n    kept.append(b'x' * n)\n    return os.getpid()")
    small = bench.call("f", inputs={"n": 10}).value  # type: ignore[union-attr]
    assert bench.call("f", inputs={"n": 150 * 2**20}).value == small  # type: ignore[union-attr]
    assert bench.call("f", inputs={"n": 10}).value != small  # type: ignore[union-attr]


def test_an_idle_worker_is_ended(make: Callable[..., Bench]) -> None:
    bench = make("workers", idle=0.01)
    bench.write("a", "import os\ndef f(): return os.getpid()")
    pid = bench.call("f").value  # type: ignore[union-attr]
    assert ends(pid)
    assert isinstance(bench.call("f"), Returned)


@posix
def test_workers_end_with_a_killed_engine(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "a.py").write_text(
        "import os, signal, subprocess, sys, wfe\n"
        "def f(a):\n"
        "    command = [sys.executable, '-c', 'input()']\n"
        "    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)\n"
        "    wfe.log(f'{os.getpid()} {child.pid}')\n"
        "    signal.pause()\n"
    )
    engine = (
        "import numpy, sys\n"
        "from wfe.engine.executor import Call\n"
        "from wfe.engine.workers import Workers\n"
        "workers = Workers(limit=1)\n"
        f"call = Call('s', 'nodes.a', 'f', {str(tmp_path)!r}, {{'a': None}}, arrays={{('a',): numpy.ones(9)}})\n"
        "workers.call(call, lambda k, c: k == 'note' and print(c['message'], workers._blocks.folder, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker, child, folder = process.stdout.readline().split()
        process.kill()
    assert ends(int(worker))
    assert ends(int(child))
    shm.reap(Path(folder).parent)  # if nobody else, beginning just now, has done so
    assert not Path(folder).exists()


@posix
def test_a_worker_ends_with_a_killed_engine_though_its_will_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "a.py").write_text(
        "import json, os, signal, wfe\n"
        "def f(): return 1\n"
        "def g():\n"
        "    json.dumps = None\n"
        "    wfe.log(f'{os.getpid()}')\n"
        "    signal.pause()\n"
    )
    engine = (
        "from wfe.engine.executor import Call\n"
        "from wfe.engine.workers import Workers\n"
        "workers = Workers(limit=1)\n"
        "for name in ('f', 'g'):\n"
        f"    call = Call('s', 'nodes.a', name, {str(tmp_path)!r}, {{}}, bequest='\"none\"\\n')\n"
        "    workers.call(call, lambda k, c: k == 'note' and print(c['message'], flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = process.stdout.readline()
        process.kill()
    assert ends(int(worker))


def test_a_worker_of_every_python_imports_nothing_else_of_ours(tmp_path: Path) -> None:
    found = _interpreters()
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "a.py").write_text(
        "import sys, wfe\ndef f(): return [sorted(sys.modules), list(sys.version_info), sys.path]"
    )

    seen = set()
    for python in found:
        with Workers(python, limit=1) as workers:
            reply = workers.call(Call("s", "nodes.a", "f", str(tmp_path), {}), print)
        assert isinstance(reply, Returned), (python, reply)
        modules, version, paths = reply.value
        ours = {name for name in modules if name.split(".")[0] == "wfe"}
        allowed = {"wfe", "wfe.worker", "wfe.wire"}
        assert all(name in allowed or name.startswith("wfe.wire.") for name in ours), ours
        plain = subprocess.run(
            [python, "-I", "-c", "import sys, pathlib, ctypes; print(*sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        )
        slow = {"logging", "asyncio", "dataclasses", "inspect", "subprocess", "multiprocessing"} - set(
            plain.stdout.split()
        )
        assert not slow & set(modules), python
        if python != Path(sys.executable):  # in this one wfe is installed
            here = Path(__file__).resolve().parents[2]
            assert not any(Path(path).resolve() == here for path in paths)
        seen.add(tuple(version[:2]))
    assert seen


def _interpreters() -> list[Path]:
    """This one, and those of pyenv and uv that a worker supports."""
    found = [Path(sys.executable)]
    for folder in (Path.home() / ".pyenv" / "versions", Path.home() / ".local" / "share" / "uv" / "python"):
        for minor in range(10, 15):
            found += sorted(folder.glob(f"*3.{minor}.*/bin/python"))[:1]
    return found


def test_a_log_has_a_bound_and_lines_a_rate(tmp_path: Path) -> None:
    heard: list[str] = []
    printed = Printed(str(tmp_path / "log"), lambda kind, content: heard.append(content["line"]), limit=10_000)
    for number in range(20_000):
        printed.add("stdout", b"line %d\n" % number)
    printed.close()
    text = (tmp_path / "log").read_text()
    assert text.startswith("line 0\nline 1\n") and "log cut off here" in text
    assert len(text) < 10_200
    assert heard[:2] == ["line 0", "line 1"] and "lines not shown" in heard[-1]
    assert len(heard) < 2_000


def test_lines_are_cut_anywhere_and_bars_are_one_line(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    printed = Printed("", lambda kind, content: heard.append((content["stream"], content["line"])))
    for piece in (b"ab", b"c\nd\xc3", b"\xa9", b"\n10%\r20%\r\n", b"end"):
        printed.add("stdout", piece)
    printed.add("stderr", b"\xff\n")
    printed.close()
    assert heard == [("stdout", "abc"), ("stdout", "dé"), ("stdout", "20%"), ("stderr", "\ufffd"), ("stdout", "end")]


@pytest.mark.slow
def test_a_gigabyte_of_print(make: Callable[..., Bench]) -> None:
    bench = make("workers")
    bench.write(
        "a",
        "import os\n"
        "def f():\n"
        "    piece = b'x' * 99 + b'\\n'\n"
        "    for _ in range(10_000): os.write(1, piece * 1000)\n"
        "    return 1\n",
    )
    reply = bench.call("f")
    assert isinstance(reply, Returned)
    assert 64 * 2**20 <= bench.log.stat().st_size <= 64 * 2**20 + 500
    assert len(bench.heard) < 20_000
