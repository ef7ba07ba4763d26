"""A plan as it is written down, and read back as long as nothing that made it has changed.

Holds in columns what the look at every step needs (its digest, what it needs, its input files); a step itself is unpacked
when somebody asks for it. Making the plan of 10,000 steps anew takes about a second, reading this 15 ms.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Mapping
from typing import Any, Final

from wfe.core.plan import Plan
from wfe.core.step import Step

LONG: Final = 0  # looked at one by one: a condition, `cache: never`, `ttl`
PLAIN: Final = 1  # the look at every step may find it current
FAN: Final = 2  # so for its steps


class Steps(Mapping[str, Step]):
    """Steps by id, each unpacked at first use."""

    def __init__(self, ids: tuple[str, ...], packed: tuple[bytes, ...]) -> None:
        self._packed = dict(zip(ids, packed, strict=True))
        self._steps: dict[str, Step] = {}

    def __getitem__(self, name: str) -> Step:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = Step.unpack(marshal.loads(self._packed[name]))
        return step

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        return name in self._packed


class Index:
    """The columns: ids (each after all it needs), static digests, positions of what each needs, input files, and how a
    step is looked at (LONG, PLAIN or FAN)."""

    def __init__(self, plan: Plan, columns: tuple[Any, ...]) -> None:
        self.plan = plan
        self.sources: tuple[Any, ...] = ()  # (path, stamp, digest) of every file that the plan was made from
        self.ids, self.statics, self.needs, self.files, self.plain = columns

    @classmethod
    def of(cls, plan: Plan) -> Index:
        ids = tuple(plan.steps)
        position = {name: index for index, name in enumerate(ids)}
        steps = list(plan.steps.values())
        return cls(
            plan,
            (
                ids,
                tuple(step.static for step in steps),
                tuple(tuple(position[other] for other in step.needs) for step in steps),
                tuple(tuple(step.files()) for step in steps),
                tuple(map(_way, steps)),
            ),
        )

    def pack(self) -> tuple[Any, ...]:
        plan = self.plan
        head = (
            plan.workflow,
            plan.title,
            plan.description,
            dict(plan.params),
            plan.max_parallel,
            dict(plan.pools),
            plan.functions,
        )
        packed = tuple(marshal.dumps(step.pack(), 4) for step in plan.steps.values())
        return head, (self.ids, self.statics, self.needs, self.files, self.plain), packed

    @classmethod
    def unpack(cls, value: tuple[Any, ...]) -> Index:
        (workflow, title, description, params, max_parallel, pools, functions), columns, packed = value
        plan = Plan(workflow, title, description, Steps(columns[0], packed), params, max_parallel, pools, functions)
        return cls(plan, columns)


def _way(step: Step) -> int:
    if step.options.cache != "auto" or step.options.ttl is not None or step.when is not None:
        return LONG
    return PLAIN if step.fan is None else FAN
