"""A worker that is not needed any more ends as an interpreter does, as far as nodes can tell."""

from __future__ import annotations

from collections.abc import Callable

from executors.conftest import Bench

from wfe.engine.executor import Returned

SOURCE = """
import atexit
import sys
import threading

def registers():
    atexit.register(lambda: open("left.txt", "a").write("atexit "))
    go = threading.Event()
    def late():
        go.wait()
        open("left.txt", "a").write("thread ")
    threading.Thread(target=late).start()
    threading.Timer(0.0, go.set).start()
    return {"n": 1}
"""


def test_what_was_registered_for_its_end_is_done(make: Callable[..., Bench]) -> None:
    bench = make("workers", limit=1)
    bench.write("a", SOURCE)
    assert isinstance(bench.call("registers"), Returned)
    bench.executor.close()
    assert (bench.root / "left.txt").read_text() == "thread atexit "
