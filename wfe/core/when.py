"""The expression language of `when`: comparisons, and/or/not, arithmetic, indexing, and a few functions.

`$step.key` and `${param}` stand in it for values. It is Python's notation, read by Python's parser and evaluated here:
only the forms listed below exist, so an expression can neither call into Python nor run for long.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from wfe.core import syntax
from wfe.core.reference import names_in

_REF: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)")
_VALUE: Final = re.compile(_REF.pattern + r"|\$\{([^{}]*)\}")
_TEXT: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")

_COMPARE: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b,
}
_BINARY: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "len": len,
    "min": min,
    "max": max,
    "abs": abs,
    "any": any,
    "all": all,
    "sum": sum,
}
_FAILURES: Final = (TypeError, ValueError, ArithmeticError, LookupError)
_OPEN: Final = object()  # stands for a value that only the run gives
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


class WhenError(ValueError):
    """An expression that is not of the language, or whose values do not fit it; the text says which part."""


def split(text: str) -> tuple[str, list[str], list[str]]:
    """`text` with each `$a.b` outside quotes replaced by a name `_r0`, `_r1` ... and each `${p}` by `_p0`, `_p1` ...; those
    references and the parameters' names, in order.

    Raises WhenError when what remains is not of the language.
    """
    refs: list[str] = []
    params: list[str] = []

    def name(match: re.Match[str]) -> str:
        if match[1] is None:
            params.append(match[2])
            return f"_p{len(params) - 1}"
        refs.append(f"${match[1]}")
        return f"_r{len(refs) - 1}"

    for quoted in _TEXT.findall(text):
        for inside in names_in(quoted):
            raise WhenError(f"{quoted}: a text in quotes stands for itself; write ${{{inside}}} without them")
    # It may be written over several lines, as YAML lets one.
    expression = " ".join(_outside_quotes(text, _VALUE, name).split("\n"))
    _check(
        _parse(expression),
        [*(f"_r{index}" for index in range(len(refs))), *(f"_p{index}" for index in range(len(params)))],
    )
    return expression, refs, params


def renamed(text: str, name: Callable[[str], str]) -> str:
    """`text` with the step of each reference outside quotes replaced by what `name` says of it."""

    def one(match: re.Match[str]) -> str:
        step, dot, trail = match[1].partition(".")
        return f"${name(step)}{dot}{trail}"

    return _outside_quotes(text, _REF, one)


def _outside_quotes(text: str, what: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> str:
    parts = []
    end = 0
    for quoted in _TEXT.finditer(text):
        parts += [what.sub(replace, text[end : quoted.start()]), quoted[0]]
        end = quoted.end()
    parts.append(what.sub(replace, text[end:]))
    return "".join(parts)


def evaluate(expression: str, values: Mapping[str, Any]) -> bool:
    """Whether the expression holds, with `values` for `_r0`, `_p0` ... Raises WhenError when an operation fails on its values."""
    try:
        return bool(_value(_parse(expression), values))
    except WhenError:
        raise
    except RecursionError:
        raise WhenError("the expression is nested too deeply") from None
    except _FAILURES as error:
        raise WhenError(f"{type(error).__name__}: {error}") from error


def check(expression: str, values: Mapping[str, Any], literal: bool = True) -> None:
    """Raises WhenError for what fails whatever the values are that only the run gives: a part of `values` and constants that is
    surely evaluated and, where `literal`, one of constants alone that may be."""
    try:
        _foreseen(_parse(expression), values, True, literal)
    except RecursionError:
        raise WhenError("the expression is nested too deeply") from None


def _foreseen(node: ast.expr, values: Mapping[str, Any], sure: bool, literal: bool) -> Any:
    """The value of a part, _OPEN where it cannot be known yet. sure: whether it is evaluated whatever the rest gives."""
    if not sure and not literal:
        return _OPEN

    def of(part: ast.expr, surely: bool = True) -> Any:
        return _foreseen(part, values, sure and surely, literal)

    match node:
        case ast.Name(id=name) if name not in _CONSTANTS:
            return values[name] if sure and name in values else _OPEN
        case ast.BoolOp(op=op, values=parts):
            found, certain = None, True
            for part in parts:
                found = of(part, certain)
                certain = certain and found is not _OPEN
                if found is not _OPEN and bool(found) == isinstance(op, ast.Or):
                    break  # the rest is not evaluated
            return found if certain else _OPEN
        case ast.Compare(left=left, ops=ops, comparators=rights):
            first, certain = of(left), True
            for compare, right in zip(ops, rights, strict=True):
                second = of(right, certain)
                if first is _OPEN or second is _OPEN:
                    certain = False
                    second = of(right, False)  # what it is compared with next may not be evaluated
                elif not _tried(node, _COMPARE[type(compare)], first, second):
                    return False if certain else _OPEN
                first = second
            return True if certain else _OPEN
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Subscript(value=part, slice=index):
            parts = [part, index]
        case ast.UnaryOp(operand=part):
            parts = [part]
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Call(args=parts):
            pass
        case _:
            parts = []
    known = [of(part) is not _OPEN for part in parts]
    return _tried(node, _value, node, values) if all(known) else _OPEN


def _tried(node: ast.expr, act: Callable[..., Any], *given: Any) -> Any:
    """What an operation gives; an error is told with the part that it is."""
    try:
        return act(*given)
    except _FAILURES as error:
        said = str(error) if isinstance(error, WhenError) else f"{type(error).__name__}: {error}"
        raise WhenError(f"{said}, in {ast.unparse(node)}") from error


@lru_cache(maxsize=64)  # of a fan, each step asks the same
def _parse(expression: str) -> ast.expr:
    if len(expression) > 10_000:
        raise WhenError("the expression has more than 10,000 characters")
    try:
        return syntax.expression(expression.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = "write it like $step.output == 3 and not ${param}"
        raise WhenError(f"not an expression: {getattr(error, 'msg', error)}; {hint}") from None


def _check(node: ast.expr, names: Iterable[str]) -> None:
    try:
        _value(node, dict.fromkeys(names), dry=True)
    except RecursionError:
        raise WhenError("the expression is nested too deeply") from None


def _value(node: ast.expr, values: Mapping[str, Any], dry: bool = False) -> Any:
    """The value of an expression; `dry` looks at the form alone."""

    def of(part: ast.expr) -> Any:
        return _value(part, values, dry)

    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None):
            return node.value
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Name(id=name):
            raise WhenError(f"unknown name {name!r}; write $step.output, ${{param}}, or a text in quotes")
        case ast.BoolOp(op=op, values=parts):
            if dry:
                return [of(part) for part in parts]
            result = None
            for part in parts:
                result = of(part)
                if bool(result) == isinstance(op, ast.Or):
                    break
            return result
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not of(part)
        case ast.UnaryOp(op=ast.USub(), operand=part):
            value = of(part)
            return None if dry else -value
        case ast.Compare(left=left, ops=ops, comparators=rights):
            first = of(left)
            for compare, right in zip(ops, rights, strict=True):
                second = of(right)
                if not dry and not _COMPARE[type(compare)](first, second):
                    return False
                first = second
            return True
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            one, two = of(left), of(right)
            if not dry and isinstance(op, ast.Mod) and not all(isinstance(side, int | float) for side in (one, two)):
                raise WhenError("% takes numbers")  # '%999999999d' % 1 is a gigabyte
            return None if dry else _BINARY[type(op)](one, two)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            one, two = of(left), of(right)
            if dry:
                return None
            if not all(isinstance(side, int | float) for side in (one, two)):
                raise WhenError("* takes numbers")  # a text times a billion is no condition
            return one * two
        case ast.Subscript(value=part, slice=index):
            one, two = of(part), of(index)
            return None if dry else one[two]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [of(part) for part in parts]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _FUNCTIONS:
            given = [of(part) for part in parts]
            return None if dry else _FUNCTIONS[name](*given)
        case ast.Call(func=ast.Name(id=name)):
            raise WhenError(f"unknown function {name!r}; there are {', '.join(_FUNCTIONS)}")
    raise WhenError(f"{ast.unparse(node)!r} is not allowed in a condition")
