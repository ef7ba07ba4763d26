"""Who may run now: a limit of steps at once, and named pools of which steps take amounts while they run.

Of those that wait, the one with the highest priority that fits goes first. Knows amounts and slots; does not know steps.
"""

from __future__ import annotations

import bisect
import itertools
import os
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from wfe.core.amount import amount
from wfe.errors import Problem, WorkflowError


def sizes(pools: Mapping[str, float | str], asked: Mapping[str, Sequence[tuple[str, float | str]]]) -> dict[str, float]:
    """The size of every pool that `asked` (step -> resources) names: as declared; else the machine's memory for `memory`,
    and one for any other. Raises WorkflowError for amounts that are none, and for a step that asks for more than there is.
    """
    found: dict[str, float] = {}
    problems = []
    for pool, size in pools.items():
        try:
            found[pool] = amount(size)
        except ValueError as error:
            problems.append(Problem(f"pool {pool!r}: {error}"))
            found[pool] = float("inf")  # so that no step asks for more
    for step, resources in asked.items():
        for pool, wanted in resources:
            if pool not in found:
                found[pool] = _memory() if pool == "memory" else 1.0
            try:
                if amount(wanted) > found[pool]:
                    hint = f"give the pool more: workflow.settings.pools, or --pool {shlex.quote(f'{pool}={wanted}')}"
                    has = pools[pool] if pool in pools else _in_gigabytes(found[pool]) if pool == "memory" else 1
                    problems.append(
                        Problem(f"step {step!r} asks for {wanted} of pool {pool!r}, which has {has}", hint=hint)
                    )
            except ValueError as error:
                problems.append(Problem(f"step {step!r}: resource {pool!r}: {error}"))
    if problems:
        raise WorkflowError(problems)
    return found


def _in_gigabytes(size: float) -> str:
    return f"{size / 1e9:.4g} GB"


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # no such thing on Windows
        import psutil

        return float(psutil.virtual_memory().total)


Begin = Callable[["Place"], object]
"""Does what can be done at once when a place was given. Called by whichever thread gave it: to wake the one that waits
takes half a millisecond on a busy machine. Must not raise."""


class Place:
    """A step that waits at a gate, or is inside. Ordered by priority, highest first, then by age.

    number: which of the places it has, -1 while it has none. slots: pool -> the numbers of what it holds there.
    """

    __slots__ = ("_gate", "begin", "called", "number", "rank", "slots", "stopping", "storing", "wanted")

    def __init__(
        self,
        gate: Gate,
        rank: tuple[float, int],
        wanted: Mapping[str, float],
        stopping: threading.Event,
        begin: Begin,
    ) -> None:
        self._gate = gate
        self.stopping = stopping
        self.begin = begin
        self.rank = rank
        self.wanted = wanted
        self.number = -1
        self.slots: dict[str, list[int]] = {}
        self.called: threading.Event | None = None  # of one that must wait: it is inside, or need not wait longer
        self.storing = False  # whether it gave its place away before its result was stored

    def __enter__(self) -> Place:
        self._gate.wait(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def __lt__(self, other: Place) -> bool:
        return self.rank < other.rank

    def leave(self) -> None:
        """Give up what it still holds."""
        self._gate.leave(self)

    def hand_on(self) -> None:
        """Let another run while the result of this one is stored; not where as many as there are places do so already:
        a kill would lose all of these."""
        self._gate.hand_on(self)


class Only:
    """The place in a run that does one step at a time, for a step that takes from no pool: nobody else can want it."""

    number = 0
    slots: Final[Mapping[str, list[int]]] = {}

    def __enter__(self) -> Only:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give up."""

    def hand_on(self) -> None:
        """Nobody to let in."""


ONLY: Final = Only()


class Gate:
    """Lets steps in, at most `jobs` at once and never more of a pool than there is.

    Whoever leaves lets in those that fit now, each by an event of its own: with hundreds of steps waiting, waking all of
    them to look for themselves cost more than the steps.
    """

    def __init__(self, jobs: int, pools: Mapping[str, float]) -> None:
        self.pools = pools
        self._places = list(range(jobs))
        self._spare = jobs  # how many more may be storing
        self._free = dict(pools)
        # A pool of whole units is a row of numbered slots as well: a gpu slot is a device index.
        self._slots = {
            pool: list(range(int(size))) for pool, size in pools.items() if size == int(size) and size <= 1024
        }
        self._waiting: list[Place] = []
        self._number = itertools.count()
        self._lock = threading.Lock()
        self._shut = False

    @property
    def crowded(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether every place is taken, and enough wait for one to take them for a while."""
        return not self._places and len(self._waiting) >= _ENOUGH

    def enter(
        self,
        priority: float,
        resources: Sequence[tuple[str, float | str]],
        stopping: threading.Event,
        begin: Begin = lambda place: None,
    ) -> Place:
        """A place to be waited for by `with`; held until the block's end, or until it is handed on. Its number says whether
        there was one: -1, soon, when `stopping` is set or the gate was shut before.
        """
        wanted = {pool: amount(given) for pool, given in resources}
        return Place(self, (-priority, next(self._number)), wanted, stopping, begin)

    def wait(self, place: Place) -> None:
        """As in `enter`."""
        called = None
        with self._lock:
            bisect.insort(self._waiting, place)
            admitted = self._admit()
            if place.number < 0 and not self._shut:
                called = place.called = threading.Event()
        try:
            _begin(admitted)
            while called is not None and not called.wait(_POLL):
                if place.stopping.is_set():
                    with self._lock:
                        if place.number < 0:
                            break
                    called.wait()  # somebody is just letting it in
        except BaseException:
            self.leave(place)
            raise
        if place.number < 0:
            with self._lock:
                if place.number < 0:
                    self._waiting.remove(place)

    def hand_on(self, place: Place) -> None:
        """As in Place."""
        with self._lock:
            if place.number < 0 or not self._spare:
                return
            self._spare -= 1
            place.storing = True
            admitted = self._clear(place)
        _begin(admitted)

    def leave(self, place: Place) -> None:
        """As in Place: what it held goes to those that wait."""
        admitted: list[Place] = []
        with self._lock:
            if place.storing:
                self._spare += 1
            elif place.number >= 0:
                admitted = self._clear(place)
            elif place in self._waiting:
                self._waiting.remove(place)
        _begin(admitted)

    def _clear(self, place: Place) -> list[Place]:
        bisect.insort(self._places, place.number)
        place.number = -1
        for pool, size in place.wanted.items():
            self._free[pool] += size
        for pool, numbers in place.slots.items():
            self._slots[pool] = sorted([*self._slots[pool], *numbers])
        return self._admit()

    def shut(self) -> None:
        """Let nobody in any more; those inside are left alone. Callable from any thread."""
        with self._lock:
            self._shut = True
            for place in self._waiting:
                if place.called is not None:
                    place.called.set()

    def _admit(self) -> list[Place]:
        """Give places, by priority, to whoever fits: to these. A step that must wait for a pool keeps those behind it from
        taking of that pool, or small steps would pass a large one for ever; it does not keep back those that take of
        others."""
        admitted: list[Place] = []
        short: set[str] = set()
        for place in list(self._waiting):
            if not self._places or self._shut:
                break
            lacking = [pool for pool, size in place.wanted.items() if pool in short or self._free[pool] < size]
            if lacking:
                short.update(lacking)
                continue
            self._waiting.remove(place)
            place.number = self._places.pop(0)
            for pool, size in place.wanted.items():
                self._free[pool] -= size
                if pool in self._slots and size == int(size):
                    place.slots[pool] = [self._slots[pool].pop(0) for _ in range(int(size))]
            admitted.append(place)
        return admitted


def _begin(admitted: Sequence[Place]) -> None:
    """Let them begin. Raises what a `begin` raised, when all were called: their threads would wait for ever."""
    wrong: BaseException | None = None
    for place in admitted:
        try:
            place.begin(place)
        except BaseException as error:  # noqa: BLE001 - raised below
            wrong = error
        finally:
            if place.called is not None:
                place.called.set()
    if wrong is not None:
        raise wrong


_ENOUGH: Final = 8
_POLL: Final = 0.5  # seconds until a waiting step sees that the run was asked to end
