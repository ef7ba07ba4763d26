"""The stream of stages: order, bounds, ends and errors. Threads are held by events and barriers, never by time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nodes.vision.stream import Channel, Ended, Stage, Stream


def started() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stream-")]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("depth", [1, 4])
def test_all_items_leave_in_order(workers: int, depth: int) -> None:
    stream = Stream(
        range(300), [Stage("a", lambda item, _: item + 1, workers), Stage("b", lambda item, _: item * 2)], depth
    )
    assert list(stream) == [(item + 1) * 2 for item in range(300)]
    assert stream.read == 300 and stream.dropped == 0
    assert started() == []


@pytest.mark.timeout(30)
def test_order_is_kept_when_a_later_item_is_done_first() -> None:
    second_done = threading.Event()

    def work(item: int, worker: int) -> int:
        if item == 0:
            assert second_done.wait(20)
        if item == 1:
            second_done.set()
        return item

    assert list(Stream(range(6), [Stage("a", work, workers=2)])) == list(range(6))


@pytest.mark.timeout(30)
def test_the_worker_of_the_oldest_item_finishes_while_another_waits_for_room() -> None:
    # A deadlock once: the tally of a stage was kept under the lock that a worker holds while it waits for room.
    full = threading.Event()

    def source() -> Iterator[int]:
        for item in range(40):
            if item == 6:
                full.set()  # 0 is being worked on, 1 to 3 wait behind it, 4 has been taken by a worker without room
            yield item

    def work(item: int, worker: int) -> int:
        if item == 0:
            assert full.wait(20)
        return item

    assert list(Stream(source(), [Stage("a", work, workers=3)], depth=1)) == list(range(40))


@pytest.mark.timeout(30)
def test_a_slow_reader_holds_the_source_back() -> None:
    read = []

    def source() -> Iterator[int]:
        for item in range(1000):
            read.append(item)
            yield item

    stream = iter(Stream(source(), [Stage("a", lambda item, _: item, workers=2)], depth=2))
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert len(read) < 20
    assert started() == []


@pytest.mark.timeout(30)
def test_an_error_of_a_stage_comes_at_its_place() -> None:
    def work(item: int, worker: int) -> int:
        if item == 7:
            raise ValueError("seven")
        return item

    seen = []
    with pytest.raises(ValueError, match="seven"):
        for item in Stream(range(100), [Stage("a", work, workers=3), Stage("b", lambda item, _: item)]):
            seen.append(item)
    assert seen == list(range(7))
    assert started() == []


@pytest.mark.timeout(30)
def test_an_error_of_the_source_comes_after_what_it_gave() -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("cable")

    seen = []
    with pytest.raises(OSError, match="cable"):
        for item in Stream(source(), [Stage("a", lambda item, _: item, workers=2)]):
            seen.append(item)
    assert seen == list(range(5))


@pytest.mark.timeout(30)
def test_leaving_early_closes_the_source_and_ends_the_threads() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    for item in Stream(source(), [Stage("a", lambda item, _: item, workers=2)]):
        if item == 10:
            break
    assert started() == []
    assert closed.is_set()


@pytest.mark.timeout(30)
def test_latest_drops_and_counts() -> None:
    release, given = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 0
        assert release.wait(20)
        yield from range(1, 100)
        given.set()

    def work(item: int, worker: int) -> int:
        if item == 0:
            release.set()
            assert given.wait(20)
        return item

    stream = Stream(source(), [Stage("a", work)], policy="latest")
    seen = list(stream)
    assert seen[0] == 0 and seen[-1] == 99
    assert stream.dropped == 100 - len(seen) and stream.dropped > 90


def test_a_closed_channel_wakes_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    assert channel.put(1)
    answers: list[object] = []
    writer = threading.Thread(target=lambda: answers.append(channel.put(2)))
    writer.start()
    channel.close()
    writer.join(20)
    assert answers == [False]
    with pytest.raises(Ended):
        channel.get()
    place: Channel[int] = Channel(1, newest=True)
    place.close()
    assert not place.put(1)


def test_a_full_channel_of_the_newest_drops_the_oldest() -> None:
    channel: Channel[int] = Channel(2, newest=True)
    assert all(channel.put(number) for number in range(5))
    channel.finish()
    assert (channel.get(), channel.get(), channel.dropped) == (3, 4, 3)
    with pytest.raises(Ended):
        channel.get()


@pytest.mark.timeout(30)
def test_an_end_of_iteration_raised_by_a_stage_is_its_error_and_no_hang() -> None:
    def work(item: int, worker: int) -> int:
        return item if item < 3 else next(iter(()))

    seen = []
    with pytest.raises(RuntimeError) as raised:
        for item in Stream(range(9), [Stage("a", work, workers=2)]):
            seen.append(item)
    assert seen == [0, 1, 2] and isinstance(raised.value.__cause__, StopIteration)
    assert started() == []


def test_a_stream_is_iterated_once_and_knows_its_policies() -> None:
    stream = Stream([1], [])
    assert list(stream) == [1]
    with pytest.raises(RuntimeError, match="once"):
        list(stream)
    with pytest.raises(ValueError, match="latest"):
        list(Stream([1], [], policy="some"))
