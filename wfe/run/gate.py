"""Who may run now: a limit of steps at once, and named pools of which steps take amounts while they run.

Of those that wait, the one with the highest priority that fits goes first. Knows amounts and slots; does not know steps.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence

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
    """Lets steps in, at most `jobs` at once and never more of a pool than there is."""

    def __init__(self, jobs: int, pools: Mapping[str, float]) -> None:
        self._free_jobs = jobs
        self._free = dict(pools)
        # A pool of whole units is a row of numbered slots as well: a gpu slot is a device index.
        self._slots = {
            pool: list(range(int(size))) for pool, size in pools.items() if size == int(size) and size <= 1024
        }
        self._waiting: list[tuple[float, int]] = []
        self._asked: dict[tuple[float, int], Mapping[str, float]] = {}
        self._number = 0
        self._change = threading.Condition()

    @contextlib.contextmanager
    def enter(
        self, priority: float, resources: Sequence[tuple[str, float | str]], stopping: threading.Event
    ) -> Iterator[dict[str, list[int]]]:
        """Wait for a place; yields the numbers of the slots held, pool -> indexes. Goes on at once when `stopping` is set."""
        wanted = {pool: amount(given) for pool, given in resources}
        held: dict[str, list[int]] = {}
        with self._change:
            self._number += 1
            mine = (-priority, self._number)
            self._waiting.append(mine)
            self._asked[mine] = wanted
            self._waiting.sort()
            while not stopping.is_set() and not self._turn(mine):
                self._change.wait(0.5)
            self._waiting.remove(mine)
            del self._asked[mine]
            self._free_jobs -= 1
            for pool, size in wanted.items():
                self._free[pool] -= size
                if pool in self._slots and size == int(size):
                    held[pool] = [self._slots[pool].pop(0) for _ in range(min(int(size), len(self._slots[pool])))]
            self._change.notify_all()
        try:
            yield held
        finally:
            with self._change:
                self._free_jobs += 1
                for pool, size in wanted.items():
                    self._free[pool] += size
                for pool, numbers in held.items():
                    self._slots[pool] = sorted([*self._slots[pool], *numbers])
                self._change.notify_all()

    def _turn(self, mine: tuple[float, int]) -> bool:
        """Whether the first that fits is this one."""
        if self._free_jobs < 1:
            return False
        for one in self._waiting:
            if all(self._free[pool] >= size for pool, size in self._asked[one].items()):
                return one == mine
        return False
