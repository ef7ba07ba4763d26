"""How to share the cores among inferences: many at once with few threads each, or few with many. Found by measuring.

Knows runners and time. Does not know frames or files. The measuring is not wasted: it runs the first real inputs of a
stream, and their outputs are kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nodes.vision.backends.protocol import Runner, Tensor

ROUNDS = 2
TIE = 1.03
"""A split that is slower by less than this loses nothing that can be measured; then the one with more inferences at once
is taken, since a busy neighbour stalls all threads of an inference but only one of several inferences."""

Open = Callable[[int, int], Runner]
"""Opens a runner for (threads of one inference, inferences at once)."""


@dataclass(frozen=True, slots=True)
class Split:
    """`sessions` inferences at once with `threads` threads each; `milliseconds` a frame when measured, else None."""

    sessions: int
    threads: int
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken: the split, its open runner, outputs of the inputs that were used up, and all that was measured."""

    split: Split
    runner: Runner
    outputs: list[list[Tensor]]
    tried: tuple[Split, ...]

    def to_json(self) -> dict[str, Any]:
        """{sessions, threads, milliseconds, tried: [...]}: plain values for a step's result."""
        return {**asdict(self.split), "tried": [asdict(split) for split in self.tried]}


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def candidates(count: int, sessions: int = 0, threads: int = 0) -> list[Split]:
    """The splits of `count` cores worth a trial, most inferences at once first; `sessions` and `threads` above 0 are kept."""
    if sessions and threads:
        return [Split(sessions, threads)]
    if threads:
        return [Split(max(1, count // threads), threads)]
    if sessions:
        return [Split(sessions, max(1, count // sessions))]
    found = [Split(count, 1)]
    if count >= 4:
        found.append(Split(count // 2, 2))
    if count >= 2:
        found.append(Split(1, count))
    return found


def needed(splits: Sequence[Split]) -> int:
    """How many inputs `choose` uses up: for each split one to warm up and ROUNDS to time, per inference at once."""
    return sum(split.sessions * (1 + ROUNDS) for split in splits) if len(splits) > 1 else 0


def choose(open_runner: Open, splits: Sequence[Split], inputs: Sequence[Tensor]) -> Choice:
    """Time every split on its share of `inputs` and take the fastest; the first split when there are too few inputs.

    The outputs of all inputs used up come with the choice, in their order. Raises what opening or running raises.
    """
    if len(splits) == 1 or len(inputs) < needed(splits):
        split = splits[0]
        return Choice(split, open_runner(split.threads, split.sessions), [], ())
    outputs: list[list[Tensor]] = []
    measured: list[tuple[Split, Runner]] = []
    try:
        for split in splits:
            runner = open_runner(split.threads, split.sessions)
            taken = inputs[len(outputs) : len(outputs) + split.sessions * (1 + ROUNDS)]
            warm, timed = taken[: split.sessions], taken[split.sessions :]
            outputs += at_once(runner, warm, split.sessions)
            started = time.perf_counter()
            outputs += at_once(runner, timed, split.sessions)
            spent = (time.perf_counter() - started) / len(timed) * 1000
            measured.append((Split(split.sessions, split.threads, round(spent, 2)), runner))
    except BaseException:
        for _, runner in measured:
            runner.close()
        raise
    best = fastest([split for split, _ in measured])
    for split, runner in measured:
        if split is not best:
            runner.close()
    runner = next(runner for split, runner in measured if split is best)
    return Choice(best, runner, outputs, tuple(split for split, _ in measured))


def fastest(measured: Sequence[Split]) -> Split:
    """The split with the least time a frame; within TIE of it, the one with most inferences at once."""
    least = min(split.milliseconds or 0.0 for split in measured)
    good = [split for split in measured if (split.milliseconds or 0.0) <= least * TIE]
    return max(good, key=lambda split: split.sessions)


def at_once(runner: Runner, inputs: Sequence[Tensor], sessions: int) -> list[list[Tensor]]:
    """Run all inputs, `sessions` at a time; outputs in the order of the inputs. Raises the first error of any."""
    outputs: list[list[Tensor]] = [[] for _ in inputs]
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for index in range(worker, len(inputs), sessions):
                outputs[index] = runner.run(inputs[index])
        except BaseException as error:  # noqa: BLE001  # raised again when all are joined
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return outputs
