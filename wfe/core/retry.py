"""When a failed step is tried again, and after which pause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Retry(NamedTuple):
    """times: attempts after the first. delay: seconds before the second attempt; each further pause is `factor` times as
    long, at most `limit`. on: names of exception classes (bases count) or failure kinds ("died", "timeout"); empty: all."""

    times: int = 0
    delay: float = 1.0
    factor: float = 2.0
    limit: float = 60.0
    on: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Retry:
        """From a document or a decorator: a number, or an object with `count` (1 when left out) and the other fields."""
        if isinstance(given, dict):
            known = {name: given[name] for name in ("delay", "factor", "limit") if name in given}
            return cls(given.get("count", 1), on=tuple(given.get("on", ())), **known)
        return cls(int(given or 0))

    def again(self, attempt: int, kind: str, bases: Sequence[str] = ()) -> bool:
        """Whether to try again after the attempt number `attempt` (from 1) failed so."""
        if attempt > self.times or kind in ("environment", "cancelled"):
            return False
        return not self.on or kind in self.on or any(base in self.on for base in bases)

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the attempt number `attempt`."""
        try:
            return float(min(self.limit, self.delay * self.factor ** (attempt - 1)))
        except OverflowError:
            return float(self.limit)
