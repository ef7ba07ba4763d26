"""A plan: the frozen DAG of the steps of one workflow with one set of parameters. Made by `planner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wfe.core.graph import closure
from wfe.errors import Problem, WorkflowError, nearest

if TYPE_CHECKING:
    from wfe.core.step import Step

_SHOWN: Final = 8  # how many steps a hint names


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow by id, each after all that it needs.

    params: the values taken. max_parallel, pools: the document's settings. functions: how many distinct ones it uses.
    """

    workflow: str
    title: str
    description: str
    steps: Mapping[str, Step]
    params: Mapping[str, Any] = field(default_factory=dict)
    max_parallel: int = 0
    pools: Mapping[str, float | str] = field(default_factory=dict)
    functions: int = 0

    def select(self, ids: Sequence[str]) -> set[str]:
        """`ids` and all that they need. Raises WorkflowError for an id that no step has."""
        unknown = [name for name in ids if name not in self.steps and name.partition("[")[0] not in self.steps]
        if unknown:
            raise WorkflowError([self.no_step(name, list(self.steps)) for name in unknown])
        return closure(ids, {name: step.needs for name, step in self.steps.items()})

    def no_step(self, name: str, known: Sequence[str]) -> Problem:
        """What to say of a name that no step has. known: the names of steps, those of a fan's too where they are known."""
        return no_step(self.workflow, name, known)


def no_step(workflow: str, name: str, known: Sequence[str]) -> Problem:
    """As `Plan.no_step`, for a workflow that cannot be planned too."""
    from wfe.core.include import SEPARATOR  # a run that goes well needs none of it

    fact = f"workflow {workflow!r} has no step {name!r}"
    inside = [one for one in known if one.startswith(name + SEPARATOR)]
    if not inside:
        return Problem(fact, hint=nearest(name, known))
    more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
    return Problem(f"{fact}, which stands for others", hint=f"name one of these: {', '.join(inside[:_SHOWN])}{more}")
