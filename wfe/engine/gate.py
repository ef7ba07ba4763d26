"""Who may run now: a limit of steps at once, and named pools of which steps take amounts while they run.

Of those that wait, the one with the highest priority that fits goes first. Knows amounts and slots; does not know steps.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wfe.errors import Problem, WorkflowError

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*\Z", re.IGNORECASE)


def amount(given: float | str) -> float:
    """A number, or a text like "4GB" (decimal) or "4GiB" (binary). Raises ValueError."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        if given < 0:
            raise ValueError(f"an amount cannot be negative: {given}")
        return float(given)
    match = _AMOUNT.match(str(given))
    if not match:
        raise ValueError(f"{given!r} is no amount; write a number, or a size like '4GB'")
    return float(match[1]) * _UNITS[(match[2] or "").upper()]


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
    for step, resources in asked.items():
        for pool, wanted in resources:
            if pool not in found:
                found[pool] = _memory() if pool == "memory" else 1.0
            try:
                if amount(wanted) > found[pool]:
                    hint = f"give the pool more: workflow.settings.pools, or --pool {pool}={wanted}"
                    problems.append(
                        Problem(
                            f"step {step!r} asks for {wanted} of pool {pool!r}, which has {found[pool]:g}", hint=hint
                        )
                    )
            except ValueError as error:
                problems.append(Problem(f"step {step!r}: resource {pool!r}: {error}"))
    if problems:
        raise WorkflowError(problems)
    return found


def _memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # no such thing on Windows
        import psutil

        return float(psutil.virtual_memory().total)


class Gate:
    """Lets steps in, at most `jobs` at once and never more of a pool than there is.

    Whoever leaves lets in those that fit now, each by an event of its own: with hundreds of steps waiting, waking all of
    them to look for themselves cost more than the steps.
    """

    def __init__(self, jobs: int, pools: Mapping[str, float]) -> None:
        self.pools = pools
        self._free_jobs = jobs
        self._free = dict(pools)
        # A pool of whole units is a row of numbered slots as well: a gpu slot is a device index.
        self._slots = {
            pool: list(range(int(size))) for pool, size in pools.items() if size == int(size) and size <= 1024
        }
        self._waiting: list[_Wish] = []
        self._number = itertools.count()
        self._lock = threading.Lock()
        self._shut = False

    @contextlib.contextmanager
    def enter(
        self, priority: float, resources: Sequence[tuple[str, float | str]], stopping: threading.Event
    ) -> Iterator[dict[str, list[int]] | None]:
        """Wait for a place; yields the numbers of the slots held, pool -> indexes.

        Yields None, soon, when `stopping` is set or the gate was shut before there was a place.
        """
        wish = _Wish(-priority, next(self._number), {pool: amount(given) for pool, given in resources})
        try:
            with self._lock:
                bisect.insort(self._waiting, wish)
                self._admit()
            while not wish.called.wait(_POLL) and not stopping.is_set():
                pass
            with self._lock:
                if not wish.inside:
                    self._waiting.remove(wish)
            yield wish.held if wish.inside else None
        finally:
            with self._lock:
                if wish.inside:
                    self._leave(wish)
                    self._admit()
                elif wish in self._waiting:
                    self._waiting.remove(wish)

    def shut(self) -> None:
        """Let nobody in any more; those inside are left alone. Callable from any thread."""
        with self._lock:
            self._shut = True
            for wish in self._waiting:
                wish.called.set()

    def _admit(self) -> None:
        """Let in, by priority, whoever fits. A step that must wait for a pool keeps those behind it from taking of that
        pool, or small steps would pass a large one for ever; it does not keep back those that take of others."""
        if self._shut:
            for wish in self._waiting:
                wish.called.set()
            return
        short: set[str] = set()
        for wish in list(self._waiting):
            if self._free_jobs < 1:
                return
            lacking = [pool for pool, size in wish.wanted.items() if pool in short or self._free[pool] < size]
            if lacking:
                short.update(lacking)
                continue
            self._waiting.remove(wish)
            self._free_jobs -= 1
            for pool, size in wish.wanted.items():
                self._free[pool] -= size
                if pool in self._slots and size == int(size):
                    wish.held[pool] = [self._slots[pool].pop(0) for _ in range(int(size))]
            wish.inside = True
            wish.called.set()

    def _leave(self, wish: _Wish) -> None:
        self._free_jobs += 1
        for pool, size in wish.wanted.items():
            self._free[pool] += size
        for pool, numbers in wish.held.items():
            self._slots[pool] = sorted([*self._slots[pool], *numbers])


_POLL: Final = 0.5  # seconds until a waiting step sees that the run was asked to end


@dataclass(order=True)
class _Wish:
    """A step that waits, or is in. Ordered by priority, highest first, then by age."""

    rank: float
    number: int
    wanted: Mapping[str, float] = field(compare=False)
    held: dict[str, list[int]] = field(default_factory=dict, compare=False)
    inside: bool = field(default=False, compare=False)
    called: threading.Event = field(
        default_factory=threading.Event, compare=False
    )  # inside, or it need not wait longer
