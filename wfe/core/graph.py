"""Order, cycles and closures of a directed graph given as `name -> names it needs`. Generic: knows nothing of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name")


def order(needs: Mapping[Name, Sequence[Name]]) -> list[Name]:
    """Every name after all that it needs, else in the order given. Raises Cycle. Names without an entry are ignored.

    Iterative depth-first search: a chain of 100,000 names costs no stack.
    """
    done: dict[Name, bool] = {}  # False: on the path now, True: finished
    result: list[Name] = []
    for root in needs:
        if root in done:
            continue
        done[root] = False
        stack = [(root, iter(needs[root]))]
        while stack:
            name, rest = stack[-1]
            for other in rest:
                if other not in needs:
                    continue
                state = done.get(other)
                if state is None:
                    done[other] = False
                    stack.append((other, iter(needs[other])))
                    break
                if not state:
                    path = [entry for entry, _ in stack]
                    raise Cycle([*path[path.index(other) :], other])
            else:
                stack.pop()
                done[name] = True
                result.append(name)
    return result


class Cycle(Exception):
    """A cycle was found: `path` names it, the first name again at the end; each needs the next."""

    def __init__(self, path: Sequence[object]) -> None:
        self.path = list(path)
        super().__init__(" -> ".join(map(str, path)))


def closure(names: Iterable[Name], needs: Mapping[Name, Sequence[Name]]) -> set[Name]:
    """`names` and everything that they need, however far."""
    found: set[Name] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(needs.get(name, ()))
    return found


def reverse(needs: Mapping[Name, Sequence[Name]]) -> dict[Name, list[Name]]:
    """`name -> names that need it`; every name of `needs` has an entry."""
    found: dict[Name, list[Name]] = {name: [] for name in needs}
    for name, others in needs.items():
        for other in dict.fromkeys(others):
            found.setdefault(other, []).append(name)
    return found
