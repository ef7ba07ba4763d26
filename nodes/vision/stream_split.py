"""How to share the cores among inferences: many at once with few threads each, or few with many. Found by measuring.

Knows runners and time. Does not know frames or files. The measuring is not wasted: it works on the first real items of a
stream, and its results are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from nodes.vision.backends.protocol import Runner
from nodes.vision.stream import Stage, Stream
from wfe import Refuse

ROUNDS = 3
"""How many frames each inference of a trial does after its first; the best stretch counts, since a neighbour only adds time."""
TIE = 1.05
"""A split that is slower by less than this loses nothing that so short a trial can tell; then the one with more inferences
at once is taken, since a busy neighbour stalls all threads of an inference but only one of several inferences."""

Item = TypeVar("Item")
Result = TypeVar("Result")

Open = Callable[[int, int], Runner]
"""Opens a runner for (threads of one inference, inferences at once)."""


@dataclass(frozen=True, slots=True)
class Split:
    """`sessions` inferences at once with `threads` threads each; `milliseconds` a frame when measured, else None."""

    sessions: int
    threads: int
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Choice(Generic[Result]):
    """What was taken: the split, its open runner, results of the items that were used up, and all that was measured."""

    split: Split
    runner: Runner
    results: list[Result]
    tried: tuple[Split, ...]

    def to_json(self) -> dict[str, Any]:
        """{sessions, threads, milliseconds, tried: [...]}: plain values for a step's result."""
        return {**asdict(self.split), "tried": [asdict(split) for split in self.tried]}


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def check_share(**counts: int) -> None:
    """Raise wfe.Refuse unless each of the counts of threads or inferences, by its parameter's name, makes sense here."""
    most = max(64, 4 * cores())
    for name, count in counts.items():
        if not 0 <= count <= most:
            raise Refuse(
                f"{name!r} is {count}; it must be 1 or more, or 0 for the best that is known, and at most {most}"
            )


@contextmanager
def opencv_alone() -> Iterator[None]:
    """Within, OpenCV works in the thread that calls it: its own ones wait by spinning, on cores that have work."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


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


def choose(
    open_runner: Open,
    splits: Sequence[Split],
    items: Iterator[Item],
    work: Callable[[Runner, Item], Result],
    clock: Callable[[], float] = time.perf_counter,
) -> Choice[Result]:
    """Time every split on items of its own and take the fastest; the first split when the items end before that is known.

    What loses is tried a second time: a neighbour that was busy throughout a trial makes a good split lose, but makes
    none win. The results of all items used up come with the choice, in their order. Raises what opening or working raises.
    """
    if len(splits) == 1:
        return Choice(splits[0], open_runner(splits[0].threads, splits[0].sessions), [], ())
    results: list[Result] = []
    runners: list[Runner] = []
    least = [float("inf")] * len(splits)

    def measured() -> tuple[Split, ...]:
        timed = zip(splits, least, strict=True)
        return tuple(Split(split.sessions, split.threads, round(spent, 2)) for split, spent in timed)

    def best() -> int:
        return 0 if float("inf") in least else measured().index(fastest(measured()))

    def measure() -> None:
        for second in (False, True):
            won = best()
            for place, split in enumerate(splits):
                if second and place == won:
                    continue
                if not second:
                    runners.append(open_runner(split.threads, split.sessions))
                spent = _trial(runners[place], split.sessions, items, work, results, clock)
                if spent is None:
                    return
                least[place] = min(least[place], spent)

    try:
        measure()
    except BaseException:
        _close_others(runners, None)
        raise
    runner = runners[best()]
    _close_others(runners, runner)
    tried = () if float("inf") in least else measured()
    return Choice(tried[best()] if tried else splits[0], runner, results, tried)


def _trial(
    runner: Runner,
    sessions: int,
    items: Iterator[Item],
    work: Callable[[Runner, Item], Result],
    results: list[Result],
    clock: Callable[[], float],
) -> float | None:
    """Milliseconds a frame: the least over `sessions` frames in a row, after as many that warm up; None when items end.

    Adds to `results`. One stream for the whole trial, as in earnest: a runtime sets up memory for each thread that calls,
    which in rounds of new threads made two inferences at once look half as slow again.
    """
    ends: list[float] = []

    def timed(item: Item, worker: int) -> Result:
        found = work(runner, item)
        ends.append(clock())
        return found

    taken = sessions * (1 + ROUNDS)
    results += Stream(islice(items, taken), [Stage("try", timed, workers=sessions)], depth=sessions)
    if len(ends) < taken:
        return None
    ends.sort()
    return min(after - before for before, after in zip(ends, ends[sessions:], strict=False)) / sessions * 1000


def fastest(measured: Sequence[Split]) -> Split:
    """The split with the least time a frame; within TIE of it, the one with most inferences at once."""
    least = min(split.milliseconds or 0.0 for split in measured)
    good = [split for split in measured if (split.milliseconds or 0.0) <= least * TIE]
    return max(good, key=lambda split: split.sessions)


def _close_others(runners: Sequence[Runner], kept: Runner | None) -> None:
    for runner in runners:
        if runner is not kept:
            runner.close()
