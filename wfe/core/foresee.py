"""What would fail at its turn whatever the steps before it give: told before anything runs.

Knows conditions, references and the items that are known. Does not know places of a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from wfe.core.document import Path
from wfe.core.include import SEPARATOR
from wfe.core.reference import unescape
from wfe.core.step import Binding, Step
from wfe.core.when import WhenError, check
from wfe.core.workflow import Ref


def condition(step: str, when: Binding, known: bool = True) -> str:
    """Why the condition of a step must fail, "" where it need not. known: whether it will be asked with the values that it has
    for now; of a fan without items it is not."""
    expression, given = when.value
    # A constant of an included workflow may be a parameter's value there, from which another part is to keep it.
    literal = SEPARATOR not in step
    try:
        check(unescape(expression), {hole: value for hole, (_, value) in given.items()} if known else {}, literal)
    except WhenError as error:
        return re.sub(r"\b_[rp]\d+\b", lambda match: given[match[0]][0] if match[0] in given else "...", str(error))
    return ""


def beyond(step: Step, members: Mapping[str, Sequence[Step]]) -> Iterator[tuple[Path, str]]:
    """(where in its node, what) of each reference of a step to an item that a fan over constants does not have.

    Not of one without items: their list may stand for a parameter that has no value yet. Nor of the inputs of a step that its
    condition may leave out.
    """
    asked: list[tuple[Path, tuple[tuple[Path, str, Path], ...]]] = []
    if step.when is not None:
        asked = [(("when",), step.when.refs)]
    else:
        asked = [(("inputs", name), binding.refs) for name, binding in step.inputs.items()]
        asked += [(("foreach",), step.fan.steps)] if step.fan is not None else []
    for at, refs in asked:
        for path, other, trail in refs:
            index = trail[0] if trail and other in members else None
            if not isinstance(index, int) or not 0 < len(members[other]) <= index:
                continue
            count = len(members[other])
            have = f"{count} item{'s' if count > 1 else ''}, the last is ${other}.{count - 1}"
            yield (*at, *(path if at[0] == "inputs" else ())), f"{Ref(other, trail)}: step {other!r} has {have}"
