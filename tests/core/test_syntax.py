"""Python text becomes a tree beside whatever else makes trees in the process."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator

import pytest

from wfe.core import syntax

TEXT = "\n".join(
    f"def f{n}(a, b):\n    return [a.x[{n}], {{'k': (b, -a)}}, lambda: a if b else {n}]" for n in range(200)
)


@pytest.fixture
def beside() -> Iterator[list[int]]:
    """Another tree made in the middle of ours, as another thread may: the collector of garbage runs then. Gives how often."""
    made: list[int] = []

    def collected(phase: str, info: dict[str, int]) -> None:
        del info
        if phase == "start" and len(made) < 3:
            made.append(1)
            ast.parse("a.b + c[d]")

    before = gc.get_threshold()
    gc.set_threshold(500)
    gc.callbacks.append(collected)
    yield made
    gc.callbacks.remove(collected)
    gc.set_threshold(*before)


def test_a_tree_is_made_while_another_is(beside: list[int]) -> None:
    gc.disable()
    wanted = ast.dump(ast.parse(TEXT))
    gc.enable()
    del beside[:]
    assert ast.dump(syntax.module(TEXT)) == wanted
    assert beside


def test_what_is_no_python_is_told_at_once() -> None:
    with pytest.raises(SyntaxError):
        syntax.module("def f(:")
    with pytest.raises(SyntaxError):
        syntax.expression("a; b")
    assert isinstance(syntax.expression("a.b"), ast.Attribute)


def deep(number: str, name: str = "x", count: int = 900) -> ast.Module:
    """A chain that no function which calls itself gets through, with something at its end."""
    return ast.parse("".join(f"if x == {n}: pass\nel" for n in range(count)) + f"if {name} == {number}: pass")


def test_a_tree_that_is_very_deep_is_told_in_full() -> None:
    with pytest.raises(RecursionError):
        ast.dump(deep("1"))
    assert syntax.dump(deep("1")) == syntax.dump(deep("1"))
    others = [
        deep("1"),
        deep("2"),
        deep("1.0"),
        deep("True"),
        deep("'1'"),
        deep("1", "y"),
        deep("-1"),
        deep("1", "x", 901),
    ]
    assert len({syntax.dump(tree) for tree in others}) == len(others)


def test_a_number_of_many_digits_is_told_in_full() -> None:
    numbers = [f"0x{'f' * 4000}", f"0x{'f' * 3999}e", f"0x{'f' * 4001}", f"{{0x{'f' * 4000}}}"]
    assert len({syntax.dump(ast.parse(text)) for text in numbers}) == len(numbers)


def test_of_what_is_shallow_the_text_is_the_systems() -> None:
    assert syntax.dump(ast.parse(TEXT)) == ast.dump(ast.parse(TEXT))
