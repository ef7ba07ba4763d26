"""The steps that are to run whatever is stored: which others they take along, and whether they can be.

Knows a run's plan, its fans and what was chosen. Does not run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfe.core.graph import closure, reverse
from wfe.errors import ExitCode, WfeError

if TYPE_CHECKING:
    from wfe.engine.run import Run


def unmark(run: Run, marks: dict[str, str]) -> None:
    """Take the marks of forced steps and of all that comes after them."""
    after = reverse({name: run.steps[name].needs for name in run.index.ids})
    bases = {one.partition("[")[0] for one in run.forced}
    again = closure(bases & after.keys(), after)
    for name in list(marks):
        base = name.partition("[")[0]
        # Of a fan with one forced step the others stay as they are.
        if name in run.forced or (base in again and (base == name or base in run.forced or base not in bases)):
            del marks[name]


def check_forced(run: Run) -> None:
    """Raises WorkflowError for a step to force that does not exist, WfeError for one that a run of the chosen steps (see
    `Run.choose`) leaves out."""
    if not run.forced:
        return
    fans = {name: name.partition("[")[0] for name in run.forced}
    run.plan.select(sorted(fans.values()))
    for name, fan in sorted(fans.items()):
        run.check_item(name, fan)
    wanted = set(fans.values()) if run.chosen is None else run.chosen
    for name, fan in sorted(fans.items()):
        if fan not in wanted or (name != fan and fan in run.only and name not in run.only[fan]):
            what = f"step {name!r} cannot be forced: it is not among the chosen steps, nor needed by one"
            raise WfeError(what, "choose it too", ExitCode.USAGE)
