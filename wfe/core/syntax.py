"""Python text -> syntax tree, from any thread.

Knows that CPython (seen with 3.11) counts the depth of the tree that it makes in one place for all threads: of two that make
one at once, one fails now and then with a SystemError, "AST constructor recursion depth mismatch".
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final, TypeVar

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


def _made(make: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        try:
            return make()
        except SystemError:
            continue
    return make()
