"""Divide specs into the fewest groups whose members fit together, given an oracle for "fit together".

Pure and deterministic: the same specs and verdicts give the same groups, whatever their order. Knows nothing of uv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from wfe.env import variants
from wfe.env.need import Spec, union

# Up to this many specs the search is exact (Bell(8) = 4140 partitions at worst, and at most 255 questions to the
# oracle); beyond it the first group that takes a spec gets it, which can use more groups than needed but asks few
# questions.
EXACT = 8


class Oracle(Protocol):
    """Says why the union of some specs cannot be one environment; an empty text when it can."""

    def __call__(self, spec: Spec, /) -> str: ...


def rivals(first: Spec, second: Spec) -> str:
    """Why two specs cannot share an environment by the table of variants alone; empty when the table allows it."""
    for one in first.names:
        for other in second.names:
            if variants.clash(one, other):
                return f"{one} and {other} take the same import name"
    return ""


class Verdicts:
    """The oracle's answers about groups, remembered, and stretched by monotony: a part of what fits fits."""

    def __init__(self, specs: Iterable[Spec], oracle: Oracle) -> None:
        self.specs = tuple(sorted(set(specs), key=lambda one: (one.requirements, one.python, one.exclude)))
        self._oracle = oracle
        self._fit: set[frozenset[int]] = set()
        self._clash: dict[frozenset[int], str] = {}
        for i, first in enumerate(self.specs):
            for j in range(i):
                why = rivals(first, self.specs[j])
                if why:
                    self._clash[frozenset((i, j))] = why

    def why(self, group: frozenset[int]) -> str:
        """Why the specs of these indexes do not fit together; empty when they do."""
        for known, why in self._clash.items():
            if known <= group:
                return why
        if any(group <= known for known in self._fit):
            return ""
        why = self._oracle(union(self.specs[i] for i in sorted(group)))
        if why:
            self._clash[group] = why
        else:
            self._fit.add(group)
        return why


def split(specs: Iterable[Spec], oracle: Oracle) -> tuple[list[tuple[Spec, ...]], dict[Spec, str]]:
    """Groups of specs that fit together, as few as can be, and the specs that fit not even alone, each with why.

    The union of all is tried first, so the usual case (nothing clashes) asks the oracle one question.
    """
    verdicts = Verdicts(specs, oracle)
    everything = frozenset(range(len(verdicts.specs)))
    if not everything:
        return [], {}
    alone: dict[Spec, str] = {}
    if not verdicts.why(everything):
        groups = [everything]
    else:
        for i in sorted(everything):
            why = verdicts.why(frozenset((i,)))
            if why:
                alone[verdicts.specs[i]] = why
        rest = [i for i in sorted(everything) if verdicts.specs[i] not in alone]
        groups = _fewest(rest, verdicts.why) if len(rest) <= EXACT else _first_fit(rest, verdicts.why)
    return [tuple(verdicts.specs[i] for i in sorted(group)) for group in groups], alone


def _first_fit(items: list[int], why: Callable[[frozenset[int]], str]) -> list[frozenset[int]]:
    groups: list[frozenset[int]] = []
    for item in items:
        for at, group in enumerate(groups):
            if not why(group | {item}):
                groups[at] = group | {item}
                break
        else:
            groups.append(frozenset((item,)))
    return groups


def _fewest(items: list[int], why: Callable[[frozenset[int]], str]) -> list[frozenset[int]]:
    for limit in range(1, len(items) + 1):
        found = _place(items, 0, [], limit, why)
        if found is not None:
            return found
    return []


def _place(
    items: list[int], at: int, groups: list[frozenset[int]], limit: int, why: Callable[[frozenset[int]], str]
) -> list[frozenset[int]] | None:
    if at == len(items):
        return groups
    item = items[at]
    for i, group in enumerate(groups):
        if not why(group | {item}):
            found = _place(items, at + 1, [*groups[:i], group | {item}, *groups[i + 1 :]], limit, why)
            if found is not None:
                return found
    if len(groups) < limit:
        return _place(items, at + 1, [*groups, frozenset((item,))], limit, why)
    return None
