"""A plan as a picture in text: a tree, Mermaid, DOT. Pure: steps in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wfe.core.graph import reverse
from wfe.core.step import Step

_FEW = 6
"""Steps that look alike below one step, and are drawn one by one."""


def tree(steps: Mapping[str, Step], ascii_only: bool = False) -> str:
    """Every step once, below the last of those that it needs; what it needs besides is named beside it.

    A step drawn below each of its needs would stand there many times over (in a lattice of n layers 2^n times). Leaves
    that share function, parent and needs are drawn as one line when there are many of them.
    """
    branch, last, bar = ("|- ", "`- ", "|  ") if ascii_only else ("\u251c\u2500 ", "\u2514\u2500 ", "\u2502  ")
    position = {name: index for index, name in enumerate(steps)}
    below: dict[str, list[str]] = {"": []}
    for name, step in steps.items():
        needs = [other for other in step.needs if other in steps]
        below.setdefault(max(needs, key=position.__getitem__) if needs else "", []).append(name)
    lines: list[str] = []
    # Iterative: a chain of 100,000 steps costs no stack; and it is not indented without end.
    todo: list[tuple[str, str, str, int]] = [("", "", "", 1)]
    while todo:
        name, lead, mark, count = todo.pop()
        if name:
            lines.append(f"{lead}{mark}{_label(steps, name, position, count)}")
            lead += "   " if mark == last else bar if mark else ""
        children = _grouped(below.get(name, []) if count == 1 else [], steps, below)
        follows = [
            (child, lead, "" if not name else last if index == len(children) - 1 else branch, number)
            for index, (child, number) in enumerate(children)
        ]
        if len(children) == 1 and name and children[0][1] == 1:
            # An only child stays in its parent's column, so a long chain does not walk off the screen.
            follows = [(children[0][0], _shallow(lead, last), last, 1)]
        todo.extend(reversed(follows))
    return "".join(line + "\n" for line in lines)


def _shallow(lead: str, last: str) -> str:
    return lead if len(lead) < 60 else lead[: -len(last)]


def _grouped(
    names: Sequence[str], steps: Mapping[str, Step], below: Mapping[str, Sequence[str]]
) -> list[tuple[str, int]]:
    """(first step, how many alike) in order."""
    alike: dict[object, list[str]] = {}
    for name in names:
        step = steps[name]
        alike.setdefault(name if below.get(name) else (step.function, step.needs), []).append(name)
    found: list[tuple[str, int]] = []
    for group in alike.values():
        found.extend([(group[0], len(group))] if len(group) > _FEW else [(name, 1) for name in group])
    return found


def _label(steps: Mapping[str, Step], name: str, position: Mapping[str, int], count: int) -> str:
    step = steps[name]
    needs = sorted((other for other in step.needs if other in position), key=position.__getitem__)
    text = f"{name} and {count - 1:,} like it" if count > 1 else name
    text += _fan(step) + f"  {step.function.removeprefix('nodes.')}"
    more = needs[:-1]
    if more:
        shown = ", ".join(more[:4]) + (f" and {len(more) - 4:,} more" if len(more) > 4 else "")
        text += f"  (also needs {shown})"
    return text + ("  when ..." if step.when else "")


def _fan(step: Step) -> str:
    if step.fan is None:
        return ""
    return f"[{len(step.fan.items)}]" if isinstance(step.fan.items, list) and not step.fan.refs else "[*]"


def mermaid(steps: Mapping[str, Step]) -> str:
    """A Mermaid flowchart; a fan is a stacked shape, a step with a condition a rhombus-ended one."""
    numbers = {name: f"s{index}" for index, name in enumerate(steps)}
    lines = ["flowchart TD"]
    for name, step in steps.items():
        text = _quoted_mermaid(name + _fan(step)) + "<br/><small>" + _quoted_mermaid(_short(step)) + "</small>"
        opening, closing = ("[[", "]]") if step.fan else ("{{", "}}") if step.when else ("[", "]")
        lines.append(f'  {numbers[name]}{opening}"{text}"{closing}')
    lines += [f"  {numbers[one]} --> {numbers[two]}" for one, two in _edges(steps)]
    return "\n".join(lines) + "\n"


def dot(steps: Mapping[str, Step], title: str) -> str:
    """A Graphviz digraph."""
    lines = [f"digraph {_quoted_dot(title)} {{", "  rankdir=TB; node [shape=box, fontname=Helvetica];"]
    for name, step in steps.items():
        label = _quoted_dot(f"{name}{_fan(step)}\n{_short(step)}")
        look = ", peripheries=2" if step.fan else ", style=dashed" if step.when else ""
        lines.append(f"  {_quoted_dot(name)} [label={label}{look}];")
    lines += [f"  {_quoted_dot(one)} -> {_quoted_dot(two)};" for one, two in _edges(steps)]
    return "\n".join([*lines, "}"]) + "\n"


def _short(step: Step) -> str:
    return step.function.removeprefix("nodes.")


def _edges(steps: Mapping[str, Step]) -> Iterable[tuple[str, str]]:
    after = reverse({name: [other for other in step.needs if other in steps] for name, step in steps.items()})
    return [(one, two) for one, others in after.items() for two in others]


def _quoted_mermaid(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
