"""Calls that are sent behind a running one: the worker goes on with them by itself, and only while all is well."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executors.conftest import Bench

from wfe.engine.child import Child
from wfe.engine.executor import Call, Died, Raised, Reply, Returned, Skipped
from wfe.engine.workers import Workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker cannot tell whether it has printed")

SOURCE = """
import os
import subprocess
import sys
import wfe

def mark(name):
    with open("done.txt", "a") as file:
        file.write(f"{name} ")

def plain(name):
    mark(name)
    return {"name": name}

def says(name):
    mark(name)
    print(name)
    return {"name": name}

def bad(name):
    mark(name)
    raise ValueError(name)

def skips(name):
    mark(name)
    raise wfe.Skip(name)

def dies(name):
    mark(name)
    os._exit(3)

def dies_after(name):
    mark(name)
    print(name)
    import wfe.worker
    honest = wfe.worker.Sender.reply
    def reply(sender, message, *more):
        honest(sender, message, *more) if message["state"] != "unbegun" else os._exit(3)
    wfe.worker.Sender.reply = reply
    return {"name": name}

def leaves(name):
    mark(name)
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    return {"name": name}

def opens(name):
    mark(name)
    while not os.path.exists("go"):
        pass
    return {"name": name}

def stays(name):
    mark(name)
    import threading
    threading.Event().wait()

def repeats(name, text):
    mark(name)
    return {"name": name, "text": text * 2}

def reports(name):
    mark(name)
    wfe.progress(1, 2)
    return {"name": name}
"""


@pytest.fixture
def warm(make: Callable[..., Bench]) -> Iterator[Bench]:
    """One worker that has served a call."""
    bench = make("workers", limit=1)
    bench.write("a", SOURCE)
    assert isinstance(bench.call("plain", inputs={"name": "first"}), Returned)
    yield bench


def call_of(bench: Bench, function: str, name: str) -> Call:
    given: dict[str, Any] = {"staging": str(bench.staging), "log": str(bench.root / f"{name}.log"), "code": "v1"}
    return Call("step", "nodes.a", function, str(bench.root), {"name": name}, **given)


def in_one_go(bench: Bench, *calls: tuple[str, str]) -> tuple[list[Reply], list[str]]:
    """Send the calls (function, name) behind the first one; the replies in order, and what was done, in order."""
    (bench.root / "done.txt").write_text("")
    first, *others = [call_of(bench, function, name) for function, name in calls]
    assert isinstance(bench.executor, Workers)
    executor = bench.executor

    def emit(kind: str, content: dict[str, Any]) -> None:
        if kind == "sent" and not bench.heard:
            assert executor.begin_behind(first, others) == len(others)
        bench.heard.append((kind, content))

    bench.heard.clear()
    replies = [executor.call(first, emit)]
    replies += [executor.call(one, lambda kind, content: bench.heard.append((kind, content))) for one in others]
    return replies, (bench.root / "done.txt").read_text().split()


def names(replies: list[Reply]) -> list[Any]:
    return [one.value["name"] if isinstance(one, Returned) else type(one) for one in replies]


def test_they_are_done_in_order(warm: Bench) -> None:
    replies, done = in_one_go(warm, *(("plain", name) for name in "abcde"))
    assert names(replies) == done == list("abcde")


@pytest.mark.parametrize(("function", "kind"), [("bad", Raised), ("skips", Skipped)])
def test_after_one_that_did_not_return_none_is_begun(warm: Bench, function: str, kind: type) -> None:
    """Whoever goes on all the same asks for them, and then they are sent anew: each is done once."""
    (warm.root / "done.txt").write_text("")
    bad, *others = [call_of(warm, function, "bad"), call_of(warm, "plain", "x"), call_of(warm, "plain", "y")]
    executor = warm.executor
    assert isinstance(executor, Workers)

    def emit(what: str, content: dict[str, Any]) -> None:
        if what == "sent":
            assert executor.begin_behind(bad, others) == 2

    assert isinstance(executor.call(bad, emit), kind)
    assert (warm.root / "done.txt").read_text().split() == ["bad"]
    assert [executor.call(one, lambda *_: None).value["name"] for one in others] == ["x", "y"]  # type: ignore[union-attr]
    assert (warm.root / "done.txt").read_text().split() == ["bad", "x", "y"]


def test_each_has_what_it_printed(warm: Bench) -> None:
    replies, done = in_one_go(warm, ("plain", "a"), ("says", "b"), ("says", "c"), ("plain", "d"), ("says", "e"))
    assert names(replies) == done == list("abcde")
    logs = {name: (warm.root / f"{name}.log").read_text() for name in "abcde" if (warm.root / f"{name}.log").exists()}
    assert logs == {"b": "b\n", "c": "c\n", "e": "e\n"}


def test_each_has_the_progress_that_it_told(warm: Bench) -> None:
    replies, _ = in_one_go(warm, ("reports", "a"), ("reports", "b"))
    assert names(replies) == ["a", "b"]
    assert [kind for kind, _ in warm.heard if kind in ("sent", "progress")] == ["sent", "progress", "sent", "progress"]


def test_when_one_dies_those_behind_it_are_done_by_another_worker(warm: Bench) -> None:
    replies, done = in_one_go(warm, ("plain", "a"), ("dies", "b"), ("plain", "c"), ("plain", "d"))
    assert names(replies) == ["a", Died, "c", "d"]
    assert done == ["a", "b", "c", "d"]


def test_a_reply_counts_though_the_worker_dies_after_it(warm: Bench) -> None:
    """What was printed ends the line of calls; the worker is gone before it has said that it did not begin the others."""
    replies, done = in_one_go(warm, ("plain", "a"), ("dies_after", "b"), ("plain", "c"), ("plain", "d"))
    assert names(replies) == done == ["a", "b", "c", "d"]


def test_after_one_that_left_a_process_behind_none_is_begun(warm: Bench) -> None:
    replies, done = in_one_go(warm, ("leaves", "a"), ("plain", "b"), ("plain", "c"))
    assert names(replies) == done == ["a", "b", "c"]


def unasked(bench: Bench, function: str = "plain") -> tuple[Workers, list[Call]]:
    """Two calls that were sent behind one that has been answered."""
    executor, calls = bench.executor, [call_of(bench, function, name) for name in "bc"]
    assert isinstance(executor, Workers)
    first = call_of(bench, "plain", "a")

    def emit(kind: str, content: dict[str, Any]) -> None:
        if kind == "sent":
            assert executor.begin_behind(first, calls) == 2

    executor.call(first, emit)
    assert all(call.sent for call in calls)
    return executor, calls


def test_those_that_nobody_asks_for_are_ended_with_the_executor(warm: Bench) -> None:
    executor, _ = unasked(warm)
    executor.close()


def test_of_a_cancelled_run_none_is_asked_again(warm: Bench) -> None:
    executor, calls = unasked(warm, "stays")
    executor.cancel()
    assert [type(executor.call(one, lambda *_: None)) for one in calls] == [Died, Died]


def test_held_back_none_is_begun(warm: Bench) -> None:
    """The run ends, while one call runs and others wait behind it."""
    (warm.root / "done.txt").write_text("")
    executor, first, calls = warm.executor, call_of(warm, "opens", "a"), [call_of(warm, "plain", name) for name in "bc"]
    assert isinstance(executor, Workers)

    def emit(kind: str, content: dict[str, Any]) -> None:
        if kind == "sent":
            assert executor.begin_behind(first, calls) == 2
            executor.hold()
            (warm.root / "go").touch()

    assert isinstance(executor.call(first, emit), Returned)
    assert not any(call.sent for call in calls)
    assert (warm.root / "done.txt").read_text().split() == ["a"]
    assert isinstance(warm.call("plain", inputs={"name": "z"}), Returned)  # what is asked for by itself is done


def test_of_a_long_call_it_is_told_again_and_again_that_there_is_time(warm: Bench) -> None:
    """What another thread has done meanwhile is written then: its claims are held until it is."""
    told: list[str] = []

    def emit(kind: str, content: dict[str, Any]) -> None:
        told.append(kind)
        if told.count("waits") == 2:
            (warm.root / "go").touch()

    assert isinstance(warm.executor.call(call_of(warm, "opens", "a"), emit), Returned)
    assert told.count("waits") >= 2


def test_one_that_has_ended_is_not_held_back(tmp_path: Path) -> None:
    """Its pipe's number may be another file's by then: that of the state database, say."""
    child = Child(sys.executable, str(tmp_path), os.environ)
    child.close()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((tmp_path / str(number)).open("wb")) for number in range(8)]
        child.hold()
        assert [os.fstat(one.fileno()).st_size for one in files] == [0] * 8


def test_only_behind_a_running_one(warm: Bench) -> None:
    assert isinstance(warm.executor, Workers)
    running, call = call_of(warm, "plain", "a"), call_of(warm, "plain", "b")
    assert warm.executor.begin_behind(running, [call]) == 0 and not call.sent


def test_no_more_is_sent_than_the_pipe_takes(warm: Bench) -> None:
    """The worker waits for its long reply to be read, and whoever reads it must not be waiting for the worker."""
    (warm.root / "done.txt").write_text("")
    calls = [call_of(warm, "repeats", name) for name in "abcde"]
    for one, length in zip(calls, (90_000, 10_000, 10_000, 90_000, 10_000), strict=True):
        one.inputs["text"] = "x" * length
    executor, sent = warm.executor, []
    assert isinstance(executor, Workers)

    def emit(kind: str, content: dict[str, Any]) -> None:
        if kind == "sent" and not sent:
            sent.append(executor.begin_behind(calls[0], calls[1:]))
            sent.append(executor.begin_behind(calls[0], calls[3:4]))

    replies = [executor.call(calls[0], emit)]
    assert sent == [2, 0] and [one.sent for one in calls[1:]] == [True, True, False, False]
    replies += [executor.call(one, lambda *_: None) for one in calls[1:]]
    assert names(replies) == (warm.root / "done.txt").read_text().split() == list("abcde")
