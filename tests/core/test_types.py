"""The types that annotations name: how they are read, what they accept, and what may fit what."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from wfe.core.types import ANY, Type, type_of


def read(text: str, **aliases: str) -> Type:
    known = {name: ast.parse(value, mode="eval").body for name, value in aliases.items()}
    return type_of(ast.parse(text, mode="eval").body, known)


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        ("int", "int"),
        ("Any", "Any"),
        ("SomeClass", "Any"),
        ("np.ndarray", "array"),
        ("npt.NDArray[np.float32]", "array"),
        ("pathlib.Path", "Path"),
        ("Output", "Output"),
        ("None", "None"),
        ("int | None", "int | None"),
        ("Optional[int]", "int | None"),
        ("typing.Optional[Path]", "Path | None"),
        ("Union[int, str, int]", "int | str"),
        ("int | (str | None)", "int | str | None"),
        ("int | Whatever", "Any"),
        ("'int | None'", "int | None"),
        ("'not a type('", "Any"),
        ("list", "list"),
        ("list[int]", "list[int]"),
        ("List['Path']", "list[Path]"),
        ("Sequence[list[float]]", "list[list[float]]"),
        ("tuple[int, ...]", "list[int]"),
        ("tuple[int, str]", "list[int | str]"),
        ("tuple[int, Foo]", "list"),
        ("dict", "dict"),
        ("dict[str, int]", "dict[str, int]"),
        ("Mapping[str, Path]", "dict[str, Path]"),
        ("dict[str]", "dict"),
        ("Annotated[int, 'x']", "int"),
        ("Literal['a', 1, None]", "'a' | 1 | None"),
        ("Literal[x]", "Any"),
        ("Callable[[int], str]", "Any"),
        ("1 + 2", "Any"),
    ],
)
def test_an_annotation_is_read(annotation: str, shown: str) -> None:
    assert str(read(annotation)) == shown


def test_aliases() -> None:
    assert str(read("Box", Box="list[Point]", Point="tuple[float, float]")) == "list[list[float]]"
    assert read("A", A="B", B="A") == ANY
    assert read("A", A="list[A]") == Type("list", (ANY,))
    assert read("int", int="str") == Type("str")


def test_no_annotation_is_any() -> None:
    assert type_of(None) == ANY


def test_depth_is_bounded() -> None:
    assert str(read("list[" * 60 + "int" + "]" * 60)).startswith("list[list[")


ACCEPTS = {
    "Any": ([None, 1, "x", [], {}, 0.5, True], []),
    "None": ([None], [0, "", False]),
    "int": ([0, -1, 10**30], [True, 1.0, "1", None]),
    "float": ([0.5, 1, float("nan")], [True, "1", None]),
    "bool": ([True, False], [0, 1, "true", None]),
    "str": (["", "x"], [1, None, ["x"]]),
    "Path": (["a.png"], [1, None]),
    "Output": (["a.png"], [1, None]),
    "list": ([[], [1, "x"]], [{}, "ab", None]),
    "list[int]": ([[], [1]], [[1, "x"], [True], [None]]),
    "list[int | None]": ([[1, None]], [["x"]]),
    "dict": ([{}, {"a": 1}], [[], None]),
    "dict[str, list[int]]": ([{"a": [1]}], [{"a": 1}]),
    "int | None": ([1, None], ["x", 0.5]),
    "Literal['a', 1, True, None]": (["a", 1, True, None], ["b", 1.0, False, 0]),
    "np.ndarray": ([], [1, [1], None]),
    "bytes": ([], ["x", 1]),
}


@pytest.mark.parametrize("annotation", ACCEPTS)
def test_what_a_type_accepts(annotation: str) -> None:
    good, bad = ACCEPTS[annotation]
    kind = read(annotation)
    assert [value for value in good if not kind.accepts(value)] == []
    assert [value for value in bad if kind.accepts(value)] == []


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("int", "int", True),
        ("int", "str", False),
        ("int", "float", False),
        ("float", "int", True),
        ("int", "bool", False),
        ("Any", "int", True),
        ("int", "Any", True),
        ("str", "Path", True),
        ("Path", "Output", True),
        ("Path", "str", True),
        ("Path", "list", False),
        ("np.ndarray", "list", False),
        ("np.ndarray", "np.ndarray", True),
        ("int | None", "None", True),
        ("int", "None", False),
        ("int", "int | str", True),
        ("int", "str | list", False),
        ("int | str", "list | dict", False),
        ("list[int]", "list", True),
        ("list", "list[int]", True),
        ("list[int]", "list[str]", False),
        ("list[float]", "list[int]", True),
        ("dict[str, int]", "dict[str, str]", False),
        ("list", "dict", False),
        ("Literal['a']", "str", True),
        ("Literal['a']", "int", False),
        ("str", "Literal['a', 1]", True),
        ("int", "Literal['a']", False),
        ("Literal['a']", "Literal['a', 'b']", True),
        ("Literal[None]", "None", True),
    ],
)
def test_what_may_fit(wanted: str, offered: str, fits: bool) -> None:
    assert read(wanted).may_be(read(offered)) is fits


@pytest.mark.parametrize(
    ("annotation", "optional"),
    [
        ("int", False),
        ("int | None", True),
        ("Any", True),
        ("None", True),
        ("Literal['a', None]", True),
        ("list[None]", False),
    ],
)
def test_optional(annotation: str, optional: bool) -> None:
    assert read(annotation).optional is optional


@pytest.mark.parametrize(
    ("annotation", "has", "holds"),
    [
        ("Path", True, True),
        ("Path | None", True, True),
        ("list[Path]", False, True),
        ("dict[str, list[Path]] | int", False, True),
        ("str", False, False),
    ],
)
def test_paths_inside(annotation: str, has: bool, holds: bool) -> None:
    kind: Any = read(annotation)
    assert (kind.has("path"), kind.holds("path")) == (has, holds)


@pytest.mark.parametrize(
    ("annotation", "value", "path", "said"),
    [
        ("int", "a", (), " must be int, found a text ('a')"),
        ("list[int]", [1, 2, "a"], (2,), "[2] must be int, found a text ('a')"),
        ("list[int]", ["a", 2, None, True], (0,), "[0] must be int, found a text ('a'), and 2 more"),
        ("list[int]", {"a": 1}, (), " must be list[int], found an object"),
        ("list[list[int]]", [[1], [2, 1.5]], (1, 1), "[1][1] must be int, found a number (1.5)"),
        ("dict[str, list[int]]", {"a": [1], "b": ["x"]}, ("b", 0), "['b'][0] must be int, found a text ('x')"),
        ("list[int] | None", [1, "a"], (1,), "[1] must be int, found a text ('a')"),
        ("list[int] | list[str]", [1, "a"], (), " must be list[int] | list[str], found a list"),
        ("list[int | None]", [None, "a"], (1,), "[1] must be int | None, found a text ('a')"),
    ],
)
def test_what_is_wrong_with_a_value_is_named(annotation: str, value: Any, path: tuple[Any, ...], said: str) -> None:
    told = type_of(ast.parse(annotation, mode="eval").body)
    assert not told.accepts(value)
    assert told.refusal(value) == (path, said)
