"""What is read of a node function: parameters, options, outputs, and what cannot be a node."""

from __future__ import annotations

from typing import Any

import pytest

from wfe.core.signature import Signature
from wfe.core.source import source_of


def read(text: str, name: str = "f") -> Signature:
    return source_of(text, "nodes.m").signatures[name]


def shown(text: str) -> str:
    return str(read(text))


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("@workflow_node\ndef f(): pass", "m.f() -> {}"),
        ("@workflow_node()\ndef f(a, b: int, c: str = 'x'): pass", "m.f(a: Any, b: int, c: str = ...) -> {}"),
        ("@wfe.workflow_node()\ndef f(*, a, b: int = 1, c): pass", "m.f(a: Any, b: int = ..., c: Any) -> {}"),
        ("@workflow_node()\ndef f(a, *more, b=1): pass", "m.f(a: Any, b: Any = ...) -> {}"),
        ("@other\n@workflow_node()\ndef f(a): return 1", "m.f(a: Any) -> ?"),
        ("@workflow_node()\ndef f(): return {'a': 1, 'b': 2}", "m.f() -> {a: Any, b: Any}"),
        ("@workflow_node()\ndef f(x):\n if x: return {'a': 1}\n return {'b': 2}", "m.f(x: Any) -> {a: Any, b: Any}"),
        ("@workflow_node()\ndef f(x): return {**x}", "m.f(x: Any) -> ?"),
        ("@workflow_node()\ndef f(x): return {x: 1}", "m.f(x: Any) -> ?"),
        ("@workflow_node()\ndef f():\n def g(): return {'no': 1}\n return {'a': 1}", "m.f() -> {a: Any}"),
        ("@workflow_node()\ndef f():\n g = lambda: {'no': 1}\n return", "m.f() -> {}"),
        ("@workflow_node(outputs=['a', 'b'])\ndef f(): return x", "m.f() -> {a: Any, b: Any}"),
        (
            "@workflow_node(outputs={'a': list[int], 'i': np.ndarray})\ndef f(): return x",
            "m.f() -> {a: list[int], i: array}",
        ),
        ("Box = list[float]\n@workflow_node()\ndef f(a: Box): return 1", "m.f(a: list[float]) -> ?"),
    ],
)
def test_a_signature(text: str, signature: str) -> None:
    assert shown(text) == signature


TYPED = "class Out(TypedDict):\n    boxes: list[int]\n    image: 'np.ndarray'\n    def no(self): ...\n"


@pytest.mark.parametrize("returns", ["Out", "'Out'"])
@pytest.mark.parametrize("base", ["TypedDict", "typing.TypedDict", "TypedDict, total=False"])
def test_outputs_by_a_typed_dict(returns: str, base: str) -> None:
    text = TYPED.replace("TypedDict", base) + f"@workflow_node()\ndef f() -> {returns}: return make()"
    found = read(text)
    assert found.declared and str(found) == "m.f() -> {boxes: list[int], image: array}"


def test_a_parameter_that_is_a_typed_dict_is_an_object() -> None:
    assert str(read(TYPED + "@workflow_node()\ndef f(a: Out): pass").parameters[0].type) == "dict"


@pytest.mark.parametrize("returns", ["dict", "dict[str, int]", "Unknown", "Plain"])
def test_other_return_types_declare_nothing(returns: str) -> None:
    found = read(f"class Plain: pass\n@workflow_node()\ndef f() -> {returns}: return {{'a': 1}}")
    assert not found.declared and found.outputs is not None and list(found.outputs) == ["a"]


def test_the_decorator_goes_before_the_annotation() -> None:
    found = read(TYPED + "@workflow_node(outputs=['x'])\ndef f() -> Out: return y")
    assert found.outputs is not None and list(found.outputs) == ["x"] and found.declared


OPTIONS: dict[str, Any] = {
    "cache": "never",
    "seed": 7,
    "ttl": 1.5,
    "dependencies": ["numpy>=2"],
    "environment": "gpu",
    "isolation_mode": "always",
    "python": "3.12",
    "device": "cuda",
    "resources": {"gpu": 1},
    "retries": {"count": 2, "on": ["OSError"]},
    "timeout": 3,
    "description": "what it does",
    "permissions": {"network": False},
    "name": "other",
}


def test_options() -> None:
    arguments = ", ".join(f"{name}={value!r}" for name, value in OPTIONS.items())
    found = read(f"@workflow_node({arguments})\ndef f(): pass")
    assert found.options == OPTIONS and not found.problems


def test_options_by_other_notations() -> None:
    assert read("@workflow_node('a name')\ndef f(): pass").options == {"name": "a name"}
    assert read("@workflow_node(dependencies=('a', 'b'))\ndef f(): pass").options == {"dependencies": ["a", "b"]}
    assert read("@workflow_node(seed=None, ttl=None)\ndef f(): pass").options == {}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("@workflow_node()\nasync def f(): pass", 2, 1, "an async function cannot be a node"),
        ("@workflow_node()\ndef f():\n  yield 1", 2, 1, "a generator cannot be a node; return a list"),
        ("@workflow_node()\ndef f():\n  yield from x", 2, 1, "a generator cannot be a node"),
        ("@workflow_node()\ndef f(a, /, b): pass", 2, 7, "positional-only parameters cannot be bound; remove the '/'"),
        ("@workflow_node(cahce='never')\ndef f(): pass", 1, 22, "has no argument 'cahce'; did you mean 'cache'?"),
        ("@workflow_node(**x)\ndef f(): pass", 1, 18, "@workflow_node has no argument '**'"),
        ("@workflow_node(seed='1')\ndef f(): pass", 1, 21, "'seed' must be a whole number, found a text ('1')"),
        ("@workflow_node(seed=True)\ndef f(): pass", 1, 21, "'seed' must be a whole number, found true"),
        ("@workflow_node(timeout=T)\ndef f(): pass", 1, 24, "'timeout' must be a literal"),
        (
            "@workflow_node(cache='maybe')\ndef f(): pass",
            1,
            22,
            "'cache' must be one of auto, never, found a text ('maybe')",
        ),
        ("@workflow_node(retries=-1)\ndef f(): pass", 1, 24, "'count' of 'retries' must be at least 0, found -1"),
        (
            "@workflow_node(retries={'on': 'OSError'})\ndef f(): pass",
            1,
            31,
            "'retries': 'on' must be a list, found a text ('OSError')",
        ),
        ("@workflow_node(retries={'on': ('A', 2)})\ndef f(): pass", 1, 37, "'on' takes names of exceptions"),
        ("@workflow_node(retries={'dely': 1})\ndef f(): pass", 1, 33, "has no key 'dely'; did you mean 'delay'?"),
        ("@workflow_node(retries={-1: 1})\ndef f(): pass", 1, 29, "'retries' has no key -1"),
        ("@workflow_node(retries={'count': 1.5})\ndef f(): pass", 1, 34, "'count' must be a whole number"),
        ("@workflow_node(retries={'factor': 0.5})\ndef f(): pass", 1, 35, "'factor' of 'retries' must be at least 1"),
        ("@workflow_node(timeout=0)\ndef f(): pass", 1, 24, "'timeout' must be a number of seconds above 0, found 0"),
        ("@workflow_node(ttl=-1)\ndef f(): pass", 1, 20, "'ttl' must be a number of seconds above 0, found -1"),
        ("@workflow_node(resources={'gpu': -1})\ndef f(): pass", 1, 34, "resource 'gpu': an amount is 0 or more"),
        ("@workflow_node(isolation_mode='x')\ndef f(): pass", 1, 31, "must be one of auto, always, never"),
        ("@workflow_node(outputs={x: int})\ndef f(): pass", 1, 24, "the keys of 'outputs' must be plain texts"),
        ("@workflow_node(outputs='a')\ndef f(): pass", 1, 24, "'outputs' must be a list, found a text ('a')"),
        ("@workflow_node(dependencies=[f()])\ndef f(): pass", 1, 29, "'dependencies' must be a literal"),
        (
            "@workflow_node(dependencies=['a>=1', 'b=>2'])\ndef f(): pass",
            1,
            38,
            "'b=>2' is not a requirement: Expected",
        ),
        ("@workflow_node(dependencies=('a', ''))\ndef f(): pass", 1, 35, "'' is not a requirement: Expected"),
        ("@workflow_node(dependencies=[3])\ndef f(): pass", 1, 30, "takes requirements as texts, found a whole number"),
        ("@workflow_node(dependencies=['a @ file:///a'])\ndef f(): pass", 1, 30, "'a' names an address"),
        ("@workflow_node(python='three')\ndef f(): pass", 1, 23, "'python': 'three' is not a Python version"),
    ],
)
def test_what_is_wrong_has_a_place(text: str, line: int, column: int, said: str) -> None:
    [(at_line, at_column, message)] = read(text).problems
    assert (at_line, at_column) == (line, column)
    assert said in message


def test_a_generator_inside_is_none_of_ours() -> None:
    text = "@workflow_node()\ndef f():\n  def g():\n    yield 1\n  return {'a': list(g()), 'b': [x for x in g()]}"
    assert not read(text).problems


def test_what_is_no_node() -> None:
    text = "def g(): pass\n@decorated\ndef h(): pass\nclass C:\n  @workflow_node()\n  def m(self): pass\n@workflow_node()\ndef f(): pass"
    assert list(source_of(text, "nodes.m").signatures) == ["f"]


def test_keywords_and_words() -> None:
    found = read('@workflow_node()\ndef f(a, **rest):\n  """First.\n\n  More."""')
    assert found.extra and found.doc == "First.\n\nMore."
    assert (found.line, found.column, found.module, found.name) == (2, 1, "nodes.m", "f")
    assert found.parameter("a") is not None and found.parameter("b") is None


@pytest.mark.parametrize("text", ["@workflow_node(", "def f(:", "\x00"])
def test_bad_text(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        source_of(text, "nodes.m")
