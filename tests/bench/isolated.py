"""What a call into another environment costs, against Appose and execnet in the same run.

    python tests/bench/isolated.py [--python INTERPRETER] [--quick]

Needs the dependency group `bench`. The worker of each side is the same interpreter (it must have numpy, and appose and
execnet for their own workers). Prints medians, and ratios; "figure" is what the project asks of itself.

1. A trivial call with a small input, warm: `y = x + 1`.
2. An array of 1, 10 and 100 MB in and one of the same size out, warm, from memory to memory. The function makes no copy
   of its own: what is timed is the way there and back. The caller gets a NumPy array at the end.
3. The same against two plain copies of that many bytes between arrays that exist already.
4. An array in from a stored file (.npy): mapped, so the time must not grow with its size.
5. The start of a worker, to its first answer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from wfe.engine.executor import Call, Returned
from wfe.engine.hole import Hole
from wfe.engine.workers import Workers

NODES = """
def add(x):
    return {"y": x + 1}

def echo(a):
    return {"out": a}

def touch(a):
    return {"first": float(a[0])}
"""

Round = Callable[[Any], Any]


def timed(rounds: dict[str, Round], value: Any, repeats: int, burst: int = 1) -> dict[str, float]:
    """Median seconds of each round. They take turns of `burst` calls, so that a busy neighbour disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in rounds}
    for turn in range(repeats + 3):
        for name, call in rounds.items():
            for _ in range(burst):
                begun = perf_counter()
                result = call(value)
                seconds = perf_counter() - begun
                del result
                if turn >= 3:
                    times[name].append(seconds)
    return {name: median(found) for name, found in times.items()}


def nothing(kind: str, content: dict[str, Any]) -> None:
    """A listener that does not listen."""


@contextmanager
def ours(python: str, root: Path) -> Iterator[tuple[Round, Round, Round]]:
    (root / "nodes").mkdir()
    (root / "nodes" / "bench.py").write_text(NODES)
    staging = root / "staging"
    staging.mkdir()

    def call(function: str, inputs: dict[str, Any], **options: Any) -> Returned:
        reply = workers.call(Call("bench", "nodes.bench", function, str(root), inputs, code="1", **options), nothing)
        assert isinstance(reply, Returned), reply
        return reply

    with Workers(python, limit=1) as workers:
        yield (
            lambda x: call("add", {"x": x}, staging=str(staging)).value["y"],
            lambda a: call("echo", {"a": None}, arrays={("a",): a}).arrays["out",],
            lambda path: call("touch", {"a": None}, holes=(Hole(("a",), "npy", path),), staging=str(staging)),
        )


@contextmanager
def appose_rounds(python: str) -> Iterator[tuple[Round, Round]]:
    import appose
    from appose.environment import Environment

    program = (
        "import appose\n"
        "out = appose.NDArray(image.dtype, image.shape)\n"
        "out.ndarray()[:] = image.ndarray()\n"
        "task.outputs['out'] = out\n"
    )

    def add(x: int) -> Any:
        task = service.task("task.outputs['y'] = x + 1", inputs={"x": x})
        task.wait_for()
        return task.outputs["y"]

    def echo(array: Any) -> Any:
        given = appose.NDArray(str(array.dtype), list(array.shape))
        given.ndarray()[:] = array
        task = service.task(program, inputs={"image": given})
        task.wait_for()
        out = task.outputs["out"]
        result = out.ndarray().copy()
        for block in (given, out):
            block.shm.dispose()
        return result

    # Not appose.wrap: with a uv environment that would download a uv of its own.
    with Environment(Path(python).parent.parent).python() as service:
        service.init("import numpy")
        yield add, echo


@contextmanager
def execnet_rounds(python: str) -> Iterator[tuple[Round, Round]]:
    import execnet

    group = execnet.Group()
    gateway = group.makegateway(f"popen//python={python}")
    adder = gateway.remote_exec("for x in channel: channel.send(x + 1)")
    echoer = gateway.remote_exec(
        "import numpy\n"
        "for dtype, shape, raw in channel:\n"
        "    array = numpy.frombuffer(raw, dtype).reshape(shape)\n"
        "    channel.send((str(array.dtype), array.shape, array.tobytes()))\n"
    )

    def add(x: int) -> Any:
        adder.send(x)
        return adder.receive()

    def echo(array: Any) -> Any:
        echoer.send((str(array.dtype), array.shape, array.tobytes()))
        dtype, shape, raw = echoer.receive()
        return np.frombuffer(raw, dtype).reshape(shape)

    try:
        yield add, echo
    finally:
        group.terminate(timeout=2)


def copies(array: Any) -> Round:
    first, second = array.copy(), array.copy()

    def run(value: Any) -> None:
        np.copyto(first, value)
        np.copyto(second, first)

    return run


def cold_start(python: str, root: Path) -> float:
    with Workers(python, limit=1) as workers:
        begun = perf_counter()
        workers.call(Call("bench", "nodes.bench", "add", str(root), {"x": 1}, code="1"), nothing)
        return perf_counter() - begun


def row(name: str, seconds: dict[str, float], against: str = "") -> None:
    shown = "  ".join(f"{side} {value * 1e3:9.3f} ms" for side, value in seconds.items())
    ratios = "  ".join(f"{seconds['wfe'] / value:5.2f} of {side}" for side, value in seconds.items() if side != "wfe")
    print(f"{name:<22}{shown}  |  {ratios}{against}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the worker's interpreter (default: this one)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        add, echo, touch = stack.enter_context(ours(options.python, root))
        appose_add, appose_echo = stack.enter_context(appose_rounds(options.python))
        execnet_add, execnet_echo = stack.enter_context(execnet_rounds(options.python))
        sides = {"wfe": add, "appose": appose_add, "execnet": execnet_add}
        assert {call(4) for call in sides.values()} == {5}
        row("trivial call", timed(sides, 4, 100 // scale, burst=20), "   figure: 0.50 of appose, 1.00 of execnet")
        for megabytes in (1, 10, 100):
            array = np.random.default_rng(0).integers(0, 256, megabytes * 1_000_000, np.uint8)
            sides = {"wfe": echo, "appose": appose_echo, "execnet": execnet_echo, "two copies": copies(array)}
            for name in ("wfe", "appose", "execnet"):
                assert np.array_equal(sides[name](array), array), name
            repeats = max({1: 200, 10: 60, 100: 15}[megabytes] // scale, 3)
            note = "   figure: 3.00 of two copies" if megabytes == 100 else ""
            row(f"{megabytes} MB there and back", timed(sides, array, repeats), note)
        for megabytes in (1, 100):
            path = root / f"{megabytes}.npy"
            np.save(path, np.ones(megabytes * 125_000))
            load = timed({"wfe": touch, "np.load": np.load}, str(path), 40 // min(scale, 4))
            row(f"{megabytes} MB from the store", load)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nodes").mkdir()
        (Path(folder) / "nodes" / "bench.py").write_text(NODES)
        starts = [cold_start(options.python, Path(folder)) for _ in range(10)]
    print(f"start of a worker, to its first answer: {median(starts) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
