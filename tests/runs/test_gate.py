"""Who may run: amounts, priorities, slots; never a deadlock and nobody left waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfe.core.amount import amount
from wfe.engine.gate import Gate, Place, sizes
from wfe.errors import WorkflowError

POOLS = {"gpu": 2.0, "memory": 10.0}
LONG = 20.0  # seconds after which a test calls it a deadlock


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(2, 2.0), (0.5, 0.5), ("3", 3.0), ("4GB", 4e9), ("4GiB", 4 * 2**30), ("1.5 kb", 1500.0), ("2M", 2e6)],
)
def test_amounts(given: float | str, wanted: float) -> None:
    assert amount(given) == wanted


@pytest.mark.parametrize("given", ["", "many", "-1", -1, "4 apples", "1e3"])
def test_what_is_no_amount(given: float | str) -> None:
    with pytest.raises(ValueError, match="amount"):
        amount(given)


def test_a_step_that_asks_for_more_than_there_is_is_told_with_the_pool() -> None:
    with pytest.raises(WorkflowError) as caught:
        sizes({"gpu": 1}, {"a": [("gpu", 2)], "b": [("npu", 2)], "c": [("gpu", "x")]})
    text = str(caught.value)
    assert "step 'a' asks for 2 of pool 'gpu', which has 1" in text
    assert "step 'b' asks for 2 of pool 'npu', which has 1" in text
    assert "step 'c': resource 'gpu'" in text


@pytest.mark.parametrize(
    ("pools", "pool", "wanted", "said"),
    [
        ({"disk": "1GiB"}, "disk", "2GB", "asks for 2GB of pool 'disk', which has 1GiB"),
        ({"disk": 1073741824}, "disk", 2 * 10**9, "asks for 2000000000 of pool 'disk', which has 1073741824"),
        ({}, "memory", "900TB", " GB"),
    ],
)
def test_sizes_are_told_as_they_were_written(pools: dict[str, Any], pool: str, wanted: float | str, said: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        sizes(pools, {"a": [(pool, wanted)]})
    assert said in str(caught.value) and "e+" not in str(caught.value)


def test_a_wrong_size_is_told_alone() -> None:
    with pytest.raises(WorkflowError) as caught:
        sizes({"gpu": "many"}, {"a": [("gpu", 2)]})
    assert [str(one) for one in caught.value.problems] == [
        "pool 'gpu': 'many' is no amount; write a number, or a size like '4GB'"
    ]


def test_memory_has_the_size_of_the_machine() -> None:
    assert sizes({}, {"a": [("memory", "1MB")]})["memory"] > 1e6


class Crowd:
    """Threads that go through a gate and stay inside until they are told to leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.stopping = threading.Event()
        self.entered: list[str] = []
        self.slots: dict[str, dict[str, list[int]] | None] = {}
        self.change = threading.Condition()
        self.leave: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []

    def come(self, name: str, priority: float = 0.0, wanted: Sequence[tuple[str, float | str]] = ()) -> None:
        """Send a thread; returns when it is inside."""
        count = len(self.entered) + 1
        self._send(name, priority, wanted)
        self.inside(count)

    def wait(self, name: str, priority: float = 0.0, wanted: Sequence[tuple[str, float | str]] = ()) -> None:
        """Send a thread that finds no place; returns when it waits."""
        count = self.waiting() + 1
        self._send(name, priority, wanted)
        end = time.monotonic() + LONG
        while self.waiting() < count:  # the gate tells nobody who waits
            assert time.monotonic() < end, "it did not wait"

    def waiting(self) -> int:
        with self.gate._lock:
            return len(self.gate._waiting)

    def _send(self, name: str, priority: float, wanted: Sequence[tuple[str, float | str]]) -> None:
        self.leave[name] = threading.Event()

        def go() -> None:
            with self.gate.enter(priority, wanted, self.stopping) as place:
                with self.change:
                    self.slots[name] = None if place.number < 0 else place.slots
                    self.entered.append(name)
                    self.change.notify_all()
                assert self.leave[name].wait(LONG)

        thread = threading.Thread(target=go, daemon=True)
        self.threads.append(thread)
        thread.start()

    def go(self, name: str, then: int) -> None:
        """Let one leave; returns when `then` in all have entered."""
        self.leave[name].set()
        self.inside(then)

    def inside(self, count: int) -> None:
        with self.change:
            assert self.change.wait_for(lambda: len(self.entered) >= count, LONG), self.entered

    def end(self) -> None:
        for one in self.leave.values():
            one.set()
        for thread in self.threads:
            thread.join(LONG)
            assert not thread.is_alive(), "a thread waits for ever"


def test_the_highest_priority_that_waits_goes_first() -> None:
    crowd = Crowd(Gate(1, {}))
    crowd.come("first")
    for name, priority in (("low", 1.0), ("high", 3.0), ("middle", 2.0)):
        crowd.wait(name, priority=priority)
    crowd.go("first", 2)
    crowd.go("high", 3)
    crowd.go("middle", 4)
    crowd.end()
    assert crowd.entered == ["first", "high", "middle", "low"]


def test_a_step_that_waits_for_a_pool_does_not_hold_up_one_that_does_not() -> None:
    crowd = Crowd(Gate(3, POOLS))
    crowd.come("a", wanted=[("gpu", 2)])
    crowd.wait("b", priority=9.0, wanted=[("gpu", 1)])
    crowd.come("c", priority=0.0)
    assert crowd.entered == ["a", "c"]
    crowd.end()


def test_a_large_request_is_not_passed_by_small_ones_that_came_later() -> None:
    crowd = Crowd(Gate(4, POOLS))
    crowd.come("small", wanted=[("gpu", 1)])
    crowd.wait("large", priority=1.0, wanted=[("gpu", 2)])
    crowd.wait("later", priority=0.5, wanted=[("gpu", 1)])  # one slot is free, and kept for the large one
    crowd.go("small", 2)
    assert crowd.entered == ["small", "large"]
    crowd.go("large", 3)
    crowd.end()


def test_slots_are_numbered_and_never_held_twice() -> None:
    crowd = Crowd(Gate(4, POOLS))
    crowd.come("a", wanted=[("gpu", 1)])
    crowd.come("b", wanted=[("gpu", 1)])
    assert [crowd.slots["a"], crowd.slots["b"]] == [{"gpu": [0]}, {"gpu": [1]}]
    crowd.wait("c", wanted=[("gpu", 1)])
    crowd.go("a", 3)
    assert crowd.slots["c"] == {"gpu": [0]}
    crowd.end()


def test_a_place_is_handed_on_before_the_block_ends_but_only_to_as_many_as_there_are_places() -> None:
    gate, stopping = Gate(2, POOLS), threading.Event()
    with gate.enter(0, [("gpu", 2)], stopping) as one, gate.enter(0, [], stopping) as two:
        assert (one.number, two.number) == (0, 1)
        one.hand_on()
        one.hand_on()
        assert gate._places == [0]
        with gate.enter(0, [("gpu", 1)], stopping) as three:
            assert three.number == 0 and three.slots == {"gpu": [0]}
            two.hand_on()
            three.hand_on()
            assert gate._places == [1]
        assert gate._places == [0, 1]
    assert gate._free == POOLS and gate._spare == 2


def test_who_waits_when_the_run_is_stopped_or_halted_gets_no_place() -> None:
    for how in ("stop", "shut"):
        gate = Gate(1, POOLS)
        crowd = Crowd(gate)
        crowd.come("a")
        crowd.wait("b")
        if how == "stop":
            crowd.stopping.set()
        else:
            gate.shut()
        crowd.inside(2)
        assert crowd.slots == {"a": {}, "b": None}
        crowd.end()
        assert gate._places == [0]


wishes = st.lists(
    st.tuples(
        st.floats(0, 100),
        st.lists(
            st.sampled_from([("gpu", 1), ("gpu", 2), ("memory", 4), ("memory", 10)]),
            max_size=2,
            unique_by=lambda one: one[0],
        ),
    ),
    max_size=25,
)


@given(jobs=st.integers(1, 4), wishes=wishes)
def test_everybody_gets_in_and_no_limit_is_passed(
    jobs: int, wishes: list[tuple[float, list[tuple[str, float | str]]]]
) -> None:
    gate = Gate(jobs, POOLS)
    stopping = threading.Event()
    inside: list[dict[str, float]] = []
    held: set[int] = set()
    places: set[int] = set()
    wrong: list[str] = []
    lock = threading.Lock()

    def go(priority: float, wanted: list[tuple[str, float | str]]) -> None:
        with gate.enter(priority, wanted, stopping) as place:
            mine = {pool: amount(size) for pool, size in wanted}
            assert place.number >= 0
            devices = place.slots.get("gpu", [])
            with lock:
                inside.append(mine)
                number = place.number
                if len(inside) > jobs or number in places or not 0 <= number < jobs:
                    wrong.append(f"too many, or place {number} twice")
                places.add(number)
                for pool, size in POOLS.items():
                    if sum(one.get(pool, 0.0) for one in inside) > size:
                        wrong.append(f"too much {pool}")
                if held & set(devices) or len(devices) != mine.get("gpu", 0):
                    wrong.append(f"slots {devices}")
                held.update(devices)
            with lock:
                inside.remove(mine)
                places.discard(number)
                held.difference_update(devices)

    threads = [threading.Thread(target=go, args=one, daemon=True) for one in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    assert not wrong
    assert gate._free == POOLS
    assert gate._places == list(range(jobs))


def test_who_is_let_in_beside_one_that_cannot_begin_is_called_all_the_same() -> None:
    """What a listener raises when it hears of a start comes to whoever gave the place."""
    gate = Gate(3, {"gpu": 2.0})
    stopping = threading.Event()

    def fails(place: Place) -> None:
        raise ValueError("a listener")

    found: dict[str, int] = {}

    def wait(name: str, begin: Callable[[Place], object]) -> None:
        with gate.enter(0, [("gpu", 1)], stopping, begin) as place:
            found[name] = place.number

    with gate.enter(1, [("gpu", 2)], stopping) as all_of_it:
        waiting = [
            threading.Thread(target=wait, args=(name, begin))
            for name, begin in (("first", fails), ("second", lambda place: None))
        ]
        for thread in waiting:
            thread.start()
        while len(gate._waiting) < 2:
            pass
        with pytest.raises(ValueError, match="a listener"):
            all_of_it.hand_on()
        for thread in waiting:
            thread.join(30)
    assert sorted(found) == ["first", "second"]
