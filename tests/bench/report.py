"""What it costs to tell a run: `python tests/bench/report.py [--quick]`.

Prints, as medians of runs in this one process (imports: of fresh ones):

- what importing the plain lines adds to a process that has the events, against an import of rich;
- the cost of an event for every listener, against writing one fixed line a event to the same file;
- the share of a core that the live display takes while 100,000 events come within some ten seconds, against the wall
  time of that run; the thread that paints and the listener's part of the engine's thread are both counted;
- the memory that a listener holds more after 100,000 events than after 10,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TextIO

from wfe.core.outcome import (
    Event,
    Listener,
    Outcome,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepProgress,
    StepStarted,
    StepState,
)
from wfe.report.lines import Lines
from wfe.report.live import Live
from wfe.report.ndjson import Json
from wfe.report.outlet import Outlet
from wfe.report.recording import Recording


def run_of(steps: int, ran: bool, chatter: int = 0) -> Iterator[Event]:
    """A run's events; `chatter` progress and output events a step that ran."""
    now = time.time()
    yield RunStarted("run", "bench", steps, 4, now)
    for index in range(steps):
        step = f"layer{index // 100}.step{index}"
        if ran:
            yield StepStarted(step, time.time(), index % 4)
            for part in range(chatter):
                yield StepProgress(step, part, chatter)
                yield StepLine(step, "a line of some forty characters, as usual")
        state = StepState.RAN if ran else StepState.CURRENT
        yield StepFinished(step, Outcome(step, state, 0.02 if ran else 0.0), time.time())
    yield RunFinished(
        "run",
        {state.value: 0 for state in StepState} | {"ran" if ran else "current": steps},
        1.0,
        now,
    )


def per_event(make: Callable[[TextIO, Path], Listener], events: list[Event], rounds: int) -> float:
    """Median microseconds that a listener takes an event."""
    taken: list[float] = []
    for _ in range(rounds):
        with (
            tempfile.TemporaryDirectory() as folder,
            (Path(folder) / "out").open("w") as stream,
        ):
            listener = make(stream, Path(folder) / "runs")
            before = time.perf_counter()
            for event in events:
                listener.hear(event)
            taken.append((time.perf_counter() - before) / len(events) * 1e6)
            close = getattr(listener, "close", None)
            if close is not None:
                close()
    return median(taken)


class Fixed:
    """The floor: one write and flush an event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def hear(self, event: Event) -> None:
        """Write a line."""
        self._stream.write("ran       layer0.step0  0.02 s\n")
        self._stream.flush()


def imports(statement: str, rounds: int) -> float:
    """Median milliseconds that a fresh process takes for a statement, what every run imports being there."""
    program = (
        "import json, time, wfe.core.outcome, wfe.errors; before = time.perf_counter(); "
        f"{statement}; print((time.perf_counter() - before) * 1e3)"
    )
    with tempfile.TemporaryDirectory() as cache:
        # As on a user's second run: compiled already, wherever this process keeps (or does not keep) such files.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ["PYTHONPYCACHEPREFIX"] = cache
        command = [sys.executable, "-c", program]
        taken = [
            float(subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout)
            for _ in range(rounds + 1)
        ]
    return median(taken[1:])


def live_share(events: int, seconds: float) -> tuple[float, float, float]:
    """Replay a run on a live display within `seconds`; wall seconds, processor seconds of listening and painting."""
    with open(os.devnull, "w", encoding="utf-8") as stream:
        live = Live(stream, lambda: (120, 40), ticking=True)
        # The same import that the first painting makes: a cost of once, shown in a row of its own.
        import wfe.report.screen  # noqa: F401

        painted = 0.0
        real = live.paint

        def counted() -> None:
            nonlocal painted
            before = time.thread_time()
            real()
            painted += time.thread_time() - before

        live.paint = counted  # type: ignore[method-assign]
        story = list(run_of(events // 10, ran=True, chatter=4))
        began = time.perf_counter()
        heard = 0.0
        bunch = 200
        for index in range(0, len(story), bunch):
            before = time.thread_time()
            for event in story[index : index + bunch]:
                if type(event) is StepStarted:
                    event = StepStarted(event.step, time.time(), event.worker)
                elif type(event) is RunStarted:
                    event = RunStarted("run", "bench", event.steps, 4, time.time())
                live.hear(event)
            heard += time.thread_time() - before
            ahead = began + seconds * index / len(story) - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
        wall = time.perf_counter() - began
        live.close()
    return wall, heard, painted


def held(make: Callable[[TextIO, Path], Listener], steps: int) -> float:
    """Kibibytes that a listener holds after a run of `steps` steps has been heard but for its last event."""
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "out").open("w") as stream,
    ):
        listener = make(stream, Path(folder) / "runs")
        tracemalloc.start()
        try:
            for event in run_of(steps, ran=True):
                if type(event) is not RunFinished:
                    listener.hear(event)
            return tracemalloc.get_traced_memory()[0] / 1024
        finally:
            tracemalloc.stop()


def main() -> None:
    """Measure and print."""
    quick = "--quick" in sys.argv
    rounds, size = (1, 1_000) if quick else (5, 10_000)
    print("import, beyond events, errors                   ms     of rich")
    rich = imports("import rich.console, rich.text", rounds)
    for name in ("wfe.report.choose", "wfe.report.ndjson", "wfe.report.live"):
        taken = imports(f"import {name}", rounds)
        print(f"{name:<40} {taken:8.2f} {taken / rich:10.2f}")
    print(f"{'rich.console, rich.text':<40} {rich:8.2f} {1:10.2f}\n")

    print("listener                     events             us/event   of one fixed line")
    ran, current = list(run_of(size, ran=True)), list(run_of(size, ran=False))
    floor = per_event(lambda stream, _: Fixed(stream), ran, rounds)
    kinds: dict[str, Callable[[TextIO, Path], Listener]] = {
        "plain lines": lambda stream, _: Lines(Outlet(stream)),
        "live, not painting": lambda stream, _: Live(stream, lambda: (120, 40), ticking=False),
        "json": lambda stream, _: Json(Outlet(stream)),
        "recording": lambda _, folder: Recording(folder),
    }
    for name, make in kinds.items():
        for what, story in (
            ("start and end of steps", ran),
            ("current steps", current),
        ):
            taken = per_event(make, story, rounds)
            print(f"{name:<28} {what:<22} {taken:6.2f} {taken / floor:12.2f}")
    print(f"{'one fixed line':<28} {'any':<22} {floor:6.2f} {1:12.2f}\n")

    events, seconds = (10_000, 2.0) if quick else (100_000, 12.0)
    wall, heard, painted = live_share(events, seconds)
    print(f"live display, {events:,} events in {wall:.1f} s")
    print(f"  listening {heard / wall:7.2%} of a core\n  painting  {painted / wall:7.2%} of a core")
    print(f"  together  {(heard + painted) / wall:7.2%} of a core\n")

    print("memory held                  after 10,000 events   after 100,000   ratio")
    for name, make in kinds.items():
        small, large = held(make, 5_000), held(make, 50_000)
        print(f"{name:<28} {small:12.0f} KiB {large:13.0f} KiB {large / max(small, 0.1):8.2f}")
    assert threading.active_count() == 1


if __name__ == "__main__":
    main()
