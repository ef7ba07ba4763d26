"""A call that is sent before anybody waits for its reply."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from executors.conftest import Bench

from wfe.engine import child
from wfe.engine.executor import Call, Died, Raised, Returned
from wfe.engine.workers import Workers

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="threads read the pipes there, and nothing is sent ahead"
)

SOURCE = """
import os
def one(): return {"n": 1}
def two(): print("said"); return {"n": 2}
def bad(): raise ValueError("no")
def dies(): os._exit(3)
def stays():
    import threading
    threading.Event().wait()
"""


@pytest.fixture
def warm(make: Callable[..., Bench]) -> Iterator[Bench]:
    """One worker that has served a call."""
    bench = make("workers", limit=1)
    bench.write("a", SOURCE)
    assert isinstance(bench.call("one"), Returned)
    yield bench


def begun(bench: Bench, function: str, **options: Any) -> Call:
    given = {"staging": str(bench.staging), "log": str(bench.log), "code": "v1", "inputs": {}, **options}
    call = Call("step", "nodes.a", function, str(bench.root), **given)
    assert isinstance(bench.executor, Workers)
    assert bench.executor.begin(call)
    return call


def reply_to(bench: Bench, call: Call) -> Any:
    return bench.executor.call(call, lambda kind, content: bench.heard.append((kind, content)))


def test_its_reply_is_what_a_call_gives(warm: Bench) -> None:
    reply = reply_to(warm, begun(warm, "two"))
    assert isinstance(reply, Returned) and reply.value == {"n": 2}
    assert warm.lines() == ["said"] and warm.log.read_text() == "said\n"
    failed = reply_to(warm, begun(warm, "bad"))
    assert isinstance(failed, Raised) and failed.kind == "ValueError"
    assert isinstance(warm.call("one"), Returned)


def test_only_where_a_worker_is_idle(warm: Bench) -> None:
    call = begun(warm, "one")
    other = Call("step", "nodes.a", "one", str(warm.root), {}, staging=str(warm.staging), log=str(warm.log), code="v1")
    assert isinstance(warm.executor, Workers)
    assert not warm.executor.begin(other)
    assert isinstance(reply_to(warm, call), Returned)
    assert warm.executor.begin(other)
    assert isinstance(reply_to(warm, other), Returned)


def test_one_that_dies(warm: Bench) -> None:
    died = reply_to(warm, begun(warm, "dies"))
    assert isinstance(died, Died) and "exit code 3" in died.message
    assert isinstance(warm.call("one"), Returned)


def test_one_that_nobody_waits_for_is_ended_with_the_executor(warm: Bench) -> None:
    begun(warm, "stays")
    warm.executor.close()


def test_one_that_was_cancelled(warm: Bench) -> None:
    call = begun(warm, "stays")
    warm.executor.cancel()
    died = reply_to(warm, call)
    assert isinstance(died, Died) and died.kind == "cancelled"


def test_its_timeout_counts_from_when_it_was_sent(warm: Bench) -> None:
    died = reply_to(warm, begun(warm, "stays", timeout=0.05))
    assert isinstance(died, Died) and died.kind == "timeout"


def test_a_reply_that_came_in_time_is_taken_however_late_one_looks(
    warm: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine was storing the result of the step before, for longer than this step may take."""
    call = begun(warm, "one", timeout=5.0)
    assert isinstance(warm.executor, Workers)
    ((worker, _),) = warm.executor._begun.values()
    assert worker.child._poll.poll(60_000)  # the reply is there
    honest = child.monotonic
    monkeypatch.setattr(child, "monotonic", lambda: honest() + 60.0)
    assert isinstance(reply_to(warm, call), Returned)
