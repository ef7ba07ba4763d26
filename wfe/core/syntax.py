"""Python text -> syntax tree, from any thread.

Knows that CPython (seen with 3.11) counts the depth of the tree that it makes in one place for all threads: of two that make
one at once, one fails now and then with a SystemError, "AST constructor recursion depth mismatch".
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")

_TRIES: Final = 50  # one in some hundred fails


def module(text: str) -> ast.Module:
    """The tree of a module. Raises SyntaxError, ValueError for a null character, RecursionError for a tree that is too deep."""
    return _made(lambda: ast.parse(text))


def expression(text: str) -> ast.expr:
    """The tree of an expression. Raises as `module` does."""
    return _made(lambda: ast.parse(text, mode="eval").body)


def quoted(annotation: ast.AST) -> ast.expr | None:
    """What the text of an annotation in quotes says, `"list[Path]"`; None for anything else."""
    if not isinstance(annotation, ast.Constant) or not isinstance(annotation.value, str):
        return None
    try:
        return expression(annotation.value.strip())
    except (SyntaxError, ValueError):
        return None


def dump(tree: ast.AST) -> str:
    """All that a tree says, as text; of equal trees the same, but for one so deep that it hangs on how deep this is called.

    `ast.dump` calls itself, which a chain of some hundred `elif` is too deep for, and shows no number of 4,300 digits.
    """
    try:
        return ast.dump(tree)
    except (RecursionError, ValueError):
        return "".join(_dumped(tree))


def _dumped(tree: ast.AST) -> Iterator[str]:
    todo: list[tuple[bool, Any]] = [(True, tree)]  # (whether it is a part of the tree, that or a text)
    while todo:
        part, one = todo.pop()
        if not part:
            yield one
        elif isinstance(one, ast.AST):
            yield f"{type(one).__name__}("
            todo.append((False, ")"))
            for name, value in reversed(list(ast.iter_fields(one))):
                todo += [(True, value), (False, f" {name}=")]
        elif isinstance(one, list):
            yield f"{len(one)} of "
            todo += [(True, entry) for entry in reversed(one)]
        else:
            yield hex(one) if type(one) is int else repr(one)


def _made(make: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        try:
            return make()
        except SystemError:
            continue
    return make()
