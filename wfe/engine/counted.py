"""Which steps of a run count for those who watch it: what was asked for, each once.

Knows a run's plan, its fans and what it found current. Tells nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wfe.engine.run import Run


def asked(run: Run, name: str) -> bool:
    """Whether a step was asked for, or is needed for one that was."""
    return run.chosen is None or name.partition("[")[0] in run.chosen


def counts(run: Run) -> tuple[int, int]:
    """How many steps there are, and how many of them need nothing done: these are told by that number alone."""
    names = run.index.ids if run.chosen is None else [name for name in run.index.ids if name in run.chosen]
    found = [one for name in names for one in (_steps(run, name) if name in run.members else (name,))]
    return len(found), _current(run, found)


def counts_of(run: Run, fan: str) -> tuple[int, int]:
    """The same of a fan whose items became known."""
    found = _steps(run, fan)
    return len(found), _current(run, found)


def each(run: Run) -> set[str]:
    """The steps that are told of at the end."""
    found = {*run.index.ids, *run.added} if run.chosen is None else set(run.chosen)
    for fan in list(found):
        found.update(one for one in run.members.get(fan, ()) if fan not in run.only or one in run.only[fan])
    # A fan whose items never became known counts as one, and so does one that has none.
    return found - {name for name, names in run.members.items() if names}


def _steps(run: Run, name: str) -> Sequence[str]:
    """A fan counts as one step, until its items are known, then as those that were asked for."""
    only = run.only.get(name)
    return [one for one in run.members.get(name, ()) if only is None or one in only] or [name]


def _current(run: Run, names: Sequence[str]) -> int:
    return 0 if run.everything else sum(1 for name in names if name in run.outcomes)
