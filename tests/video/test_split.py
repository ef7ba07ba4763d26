"""How the cores are shared: what is tried, what is taken, and that no result of the trial is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from nodes.vision.backends.protocol import Port, Tensor
from nodes.vision.stream_split import ROUNDS, Choice, Split, candidates, choose, fastest


class Counting:
    """A runner that answers with its input and counts."""

    where, metadata = "here", {}
    inputs = outputs = (Port("x", (1,), "float32"),)

    def __init__(self, threads: int, streams: int) -> None:
        self.threads, self.streams, self.closed, self.runs = threads, streams, False, 0

    def run(self, batch: Tensor, shared: bool = False) -> list[Tensor]:
        assert not self.closed
        self.runs += 1
        return [batch]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("given", "splits"),
    [
        ((1, 0, 0), [(1, 1)]),
        ((2, 0, 0), [(2, 1), (1, 2)]),
        ((8, 0, 0), [(8, 1), (4, 2), (1, 8)]),
        ((8, 3, 2), [(3, 2)]),
        ((8, 0, 2), [(4, 2)]),
        ((8, 2, 0), [(2, 4)]),
        ((2, 0, 8), [(1, 8)]),
    ],
)
def test_what_is_tried(given: tuple[int, int, int], splits: list[tuple[int, int]]) -> None:
    assert [(one.sessions, one.threads) for one in candidates(*given)] == splits


def test_a_tie_goes_to_more_inferences_at_once() -> None:
    assert fastest([Split(2, 1, 51.0), Split(1, 2, 50.0)]).sessions == 2
    assert fastest([Split(2, 1, 60.0), Split(1, 2, 50.0)]).sessions == 1


def work(runner: Counting, item: int) -> int:
    return int(runner.run(np.array([item]))[0][0])


class Clock:
    """A clock that stands still but for `add`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def trial(items: Iterator[int], seconds: Callable[[Counting, int], float]) -> tuple[Choice[int], list[Counting]]:
    """Choose among (4, 1), (2, 2) and (1, 4); a frame of a runner takes `seconds` by the runner and its runs so far."""
    opened: list[Counting] = []
    clock, tally = Clock(), threading.Lock()

    def start(threads: int, streams: int) -> Counting:
        opened.append(Counting(threads, streams))
        return opened[-1]

    def timed(runner: Counting, item: int) -> int:
        with tally:
            found = work(runner, item)
            clock.now += seconds(runner, runner.runs)
        return found

    return choose(start, candidates(4), items, timed, clock), opened


def test_the_trial_keeps_every_result_and_closes_the_others() -> None:
    items = iter(range(100))
    choice, opened = trial(items, lambda runner, runs: 0.01 * runner.threads)
    once = 1 + ROUNDS
    used = once * (4 + 2 + 1) + once * (2 + 1)  # those that lose are tried a second time
    assert choice.results == list(range(used))
    assert next(items) == used, "the trial took an item that it gave no result for"
    assert [(one.sessions, one.threads, one.milliseconds) for one in choice.tried] == [
        (4, 1, 10),
        (2, 2, 20),
        (1, 4, 40),
    ]
    assert choice.split == choice.tried[0]
    assert [runner.closed for runner in opened] == [runner is not choice.runner for runner in opened]


def test_a_split_whose_trial_was_disturbed_wins_the_second_one() -> None:
    def seconds(runner: Counting, runs: int) -> float:
        disturbed = runner.threads == 1 and runs <= 4 * (1 + ROUNDS)
        return 0.01 * runner.threads * (9 if disturbed else 1)

    choice, opened = trial(iter(range(100)), seconds)
    assert (choice.split.sessions, choice.split.threads, choice.split.milliseconds) == (4, 1, 10)
    assert choice.runner is opened[0] and not opened[0].closed


def test_items_that_end_in_the_second_trial_leave_what_the_first_told() -> None:
    choice, opened = trial(iter(range((1 + ROUNDS) * 7 + 3)), lambda runner, runs: 0.01 / runner.threads)
    assert choice.results == list(range((1 + ROUNDS) * 7 + 3))
    assert (choice.split.sessions, len(choice.tried)) == (1, 3)
    assert [runner.closed for runner in opened] == [True, True, False]


@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_items_that_end_during_the_trial_are_all_kept(count: int) -> None:
    choice = choose(Counting, candidates(2), iter(range(count)), work)
    assert choice.results == list(range(count))
    assert (choice.split.sessions, choice.tried) == (2, ())
    assert not choice.runner.closed


def test_an_error_of_the_trial_closes_all() -> None:
    opened: list[Counting] = []

    def start(threads: int, streams: int) -> Counting:
        opened.append(Counting(threads, streams))
        return opened[-1]

    def fail(runner: Counting, item: int) -> int:
        if item == 9:
            raise ValueError("nine")
        return item

    with pytest.raises(ValueError, match="nine"):
        choose(start, candidates(2), iter(range(100)), fail)
    assert all(runner.closed for runner in opened)
