"""A stream of frames through stages that run in threads: bounded, in order, ended cleanly.

Knows items, stages and threads. Does not know what an item is. Threads suffice, since decoders, runtimes and OpenCV
let go of the interpreter's lock while they work; processes would pay for copying every frame.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


_END: Any = object()


class Ended(Exception):
    """Nothing more comes out of a channel: its writer has finished, or it was closed."""


class Channel(Generic[T]):
    """A queue of at most `depth` items between threads.

    Full, it lets `put` wait: this is the back-pressure. With `newest`, it drops its oldest item instead, and counts it.
    """

    def __init__(self, depth: int, newest: bool = False) -> None:
        self._depth, self._newest = max(1, depth), newest
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Add an item, waiting for room or making it. False when the channel is closed: nobody will read it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest or len(self._items) < self._depth)
            if self._closed:
                return False
            while len(self._items) >= self._depth:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> T:
        """The next item, waiting for it. Raises Ended after the last one, or when the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._finished or bool(self._items))
            if self._closed or not self._items:
                raise Ended
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def finish(self) -> None:
        """Say that no item will follow; those inside are still read."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what is inside and wake everyone."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


@dataclass(slots=True)
class Stage:
    """One step of every item: `work(item, worker)` runs in `workers` threads; `worker` counts from 0.

    Results leave in the order in which items came, whatever the threads do. With one worker, `work` may keep state.
    """

    name: str
    work: Callable[[Any, int], Any]
    workers: int = 1
    busy: float = 0.0  # seconds spent in `work`, all workers together
    done: int = 0


class _Ticket:
    """The place of one result in the order: filled when its worker is done."""

    __slots__ = ("error", "ready", "value")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def fill(self, make: Callable[..., Any], *given: Any) -> float:
        """Take what `make` returns or raises; the seconds that it took."""
        began = time.perf_counter()
        try:
            self.value = make(*given)
        except BaseException as error:  # noqa: BLE001  # raised again by `take`, at the end of the stream
            self.error = error
        self.ready.set()
        return time.perf_counter() - began

    def take(self) -> Any:
        self.ready.wait()
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(slots=True)
class Stream:
    """A source and its stages, started by iterating.

    source: an iterable, read by a thread of its own (policy "all": none is lost) or into a place for one item (policy
    "latest": an item that the stages are too slow for is dropped and counted). depth: how many finished items may wait
    between two stages. An exception of the source or of a stage comes out of the iteration at the place of its item,
    after the results of all items before it. Leaving the iteration early stops every thread.
    """

    source: Iterable[Any]
    stages: Sequence[Stage]
    depth: int = 2
    policy: str = "all"
    dropped: int = 0
    read: int = 0
    read_busy: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)
    _channels: list[Channel[_Ticket]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Any]:
        if self.policy not in ("all", "latest"):
            raise ValueError(f"policy {self.policy!r} is unknown; known: all, latest")
        if self._threads:
            raise RuntimeError("a stream can be iterated once")
        latest = self.policy == "latest"
        upstream: Channel[_Ticket] = Channel(1 if latest else self.depth, newest=latest)
        self._channels.append(upstream)
        self._start("read", self._read, upstream)
        for stage in self.stages:
            out: Channel[_Ticket] = Channel(max(self.depth, stage.workers))
            self._channels.append(out)
            pull, tally = threading.Lock(), threading.Lock()
            left = [stage.workers]
            for worker in range(stage.workers):
                self._start(f"{stage.name}-{worker}", self._run, stage, worker, upstream, out, pull, tally, left)
            upstream = out
        try:
            while True:
                try:
                    ticket = upstream.get()
                except Ended:
                    return
                yield ticket.take()
        finally:
            for channel in self._channels:
                channel.close()
            for thread in self._threads:
                thread.join()
            self.dropped = self._channels[0].dropped

    def seconds(self) -> dict[str, float]:
        """Seconds that the source and each stage worked, waiting apart."""
        return {"read": self.read_busy} | {stage.name: stage.busy for stage in self.stages}

    def _start(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name=f"stream-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, out: Channel[_Ticket]) -> None:
        items: Iterator[Any] | None = None

        def following() -> Any:
            nonlocal items
            items = iter(self.source) if items is None else items
            return next(items, _END)

        while True:
            # Unlike a worker's, an item of the source must be there before its place: a place that is dropped has no reader.
            ticket = _Ticket()
            self.read_busy += ticket.fill(following)
            if ticket.value is _END:
                break
            self.read += ticket.error is None
            if not out.put(ticket) or ticket.error is not None:
                break
        close = getattr(items, "close", None)
        if close is not None:
            close()
        out.finish()

    def _run(
        self,
        stage: Stage,
        worker: int,
        upstream: Channel[_Ticket],
        out: Channel[_Ticket],
        pull: threading.Lock,
        tally: threading.Lock,
        left: list[int],
    ) -> None:
        while True:
            ticket = _Ticket()
            # Taking an item and its place in the order is one act: the lock keeps both sequences the same. The place
            # may have to wait for room, so whoever finishes the oldest item must not need this lock.
            with pull:
                try:
                    before = upstream.get()
                except Ended:
                    break
                if not out.put(ticket):
                    break
            before.ready.wait()  # apart, so that waiting does not count as work
            spent = ticket.fill(lambda before=before: stage.work(before.take(), worker))
            with tally:
                stage.busy += spent
                stage.done += ticket.error is None
        with tally:
            left[0] -= 1
            if left[0] == 0:
                out.finish()
