"""Which files the default of a parameter names, read from its syntax tree.

Knows the ways in which such a default is written. Does not know whether the files are there, and never runs anything.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Mapping
from typing import Any, Final

CLASSES: Final = ("Path", "PurePath", "PosixPath", "WindowsPath", "Output", "str", "fspath")
_SAME: Final = ("resolve", "absolute")
_CHANGED: Final[Mapping[str, Callable[..., str]]] = {
    "joinpath": posixpath.join,
    "with_name": lambda path, name: posixpath.join(posixpath.dirname(path), name),
    "with_stem": lambda path, stem: posixpath.join(posixpath.dirname(path), stem + posixpath.splitext(path)[1]),
    "with_suffix": lambda path, suffix: posixpath.splitext(path)[0] + suffix,
}


class Unreadable(ValueError):
    """A default that can only be known by running the module."""


def files_of(default: ast.expr, names: Mapping[str, ast.expr], file: str) -> Any:
    """The paths of a default as a JSON value: a text, a list or an object of such, None for None.

    names: what the module's names stand for. file: the module's own, relative to the project. Raises Unreadable.
    """
    return _value(default, names, file, 0)


def _value(node: ast.expr, names: Mapping[str, ast.expr], file: str, depth: int) -> Any:
    def of(part: ast.expr) -> Any:
        return _value(part, names, file, depth + 1)

    def path(part: ast.expr) -> str:
        found = of(part)
        if not isinstance(found, str):
            raise Unreadable
        return found

    if depth > 20:
        raise Unreadable
    match node:
        case ast.Constant(value=str() | None):
            return node.value
        case ast.Name(id="__file__"):
            return file
        case ast.Name(id=name) if name in names:
            return of(names[name])
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return [of(part) for part in parts]
        case ast.Dict(keys=keys, values=parts) if all(isinstance(key, ast.Constant) for key in keys):
            return {
                str(key.value): of(part) for key, part in zip(keys, parts, strict=True) if isinstance(key, ast.Constant)
            }
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return posixpath.join(path(left), path(right))
        case ast.Attribute(value=base, attr="parent"):
            return posixpath.dirname(posixpath.normpath(path(base))) or "."
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if isinstance(names.get(name), ast.Name):
            return of(ast.Call(names[name], parts, []))  # `from pathlib import Path as P`
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=parts, keywords=[]) if name in CLASSES:
            return posixpath.normpath(posixpath.join(*map(path, parts))) if parts else "."
        case ast.Call(func=ast.Attribute(value=base, attr=name), args=[], keywords=[]) if name in _SAME:
            return of(base)
        case ast.Call(func=ast.Attribute(value=base, attr=name), args=[_, *_] as parts, keywords=[]) if (
            name in _CHANGED
        ):
            return _CHANGED[name](path(base), *map(path, parts))
    raise Unreadable
