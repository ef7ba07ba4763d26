"""How the cores are shared: what is tried, what is taken, and that no result of the trial is lost."""

from __future__ import annotations

import numpy as np
import pytest

from nodes.vision.backends.protocol import Port, Tensor
from nodes.vision.stream_split import ROUNDS, Split, at_once, candidates, choose, fastest


class Counting:
    """A runner that answers with its input and counts."""

    where, metadata = "here", {}
    inputs = outputs = (Port("x", (1,), "float32"),)

    def __init__(self, threads: int, streams: int) -> None:
        self.threads, self.streams, self.closed, self.runs = threads, streams, False, 0

    def run(self, batch: Tensor) -> list[Tensor]:
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


def test_the_trial_keeps_every_result_and_closes_the_others() -> None:
    opened: list[Counting] = []

    def start(threads: int, streams: int) -> Counting:
        opened.append(Counting(threads, streams))
        return opened[-1]

    items = iter(range(100))
    choice = choose(start, candidates(4), items, work)
    used = (4 + 2 + 1) * (1 + ROUNDS)
    assert choice.results == list(range(used))
    assert next(items) == used, "the trial took an item that it gave no result for"
    assert [(one.sessions, one.threads) for one in choice.tried] == [(4, 1), (2, 2), (1, 4)]
    assert choice.split in choice.tried
    assert [runner.closed for runner in opened] == [runner is not choice.runner for runner in opened]


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


def test_at_once_keeps_the_order() -> None:
    assert at_once(Counting(1, 3), list(range(10)), 3, work) == list(range(10))
