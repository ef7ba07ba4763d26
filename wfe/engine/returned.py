"""What a call returned -> the result of a step: files adopted, declared outputs checked.

Knows the declarations of a step and what a reply looks like. Does not know keys or rows.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from wfe.core import syntax
from wfe.core.document import Path
from wfe.core.result import Artifact, Result, put
from wfe.core.step import Step
from wfe.core.types import Type, type_of
from wfe.engine.executor import Returned
from wfe.engine.hole import Hole
from wfe.engine.workspace import Workspace


class BadReturn(Exception):
    """The function returned what it must not; the text says which output, what was found and what to do."""


def result_of(step: Step, reply: Returned, staged: Mapping[str, str], workspace: Workspace, key: str) -> Result:
    """The result of a step whose call for this key returned. Raises BadReturn, and OSError when the store cannot take a file."""
    value, holes = _with_files(step, reply.value, list(reply.holes), staged)
    check(step.outputs, value, holes)
    artifacts: list[Artifact] = []
    adopted: dict[str, Artifact] = {}
    for hole in holes:
        known = adopted.get(hole.path)
        if known is not None:
            artifacts.append(known._replace(trail=hole.trail))
            continue
        note = key if hole.codec == "pickle" else _note(hole, staged)
        artifact, _ = workspace.adopt(hole.path, hole.codec, hole.trail, note)
        adopted[hole.path] = artifact
        artifacts.append(artifact)
    return Result(value, tuple(artifacts))


def _with_files(step: Step, value: Any, holes: list[Hole], staged: Mapping[str, str]) -> tuple[Any, list[Hole]]:
    """The value with every declared file in it: under its parameter's name where the function did not return it."""
    if not staged:
        return value, holes
    for name, path in staged.items():
        if not os.path.exists(path):
            raise BadReturn(f"it did not write its output {name!r}; create the file that the parameter names")
        if not os.path.isfile(path):
            raise BadReturn(f"what it left as its output {name!r} is no file; write one plain file there")
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadReturn(f"a step that writes files returns a dict or nothing, found {type(value).__name__}")
    paths = {path: name for name, path in staged.items()}
    # The path as text, str(output), is a staging path that will not be there tomorrow: it means the file. In a longer text it
    # means nothing, and is another in each run.
    call = next(iter(staged.values())).split(os.sep)[-4]
    for trail, text in _telling(value, (), call):
        if text not in paths:
            raise BadReturn(
                f"what it returned tells, under {'.'.join(map(str, trail))}, where it wrote a file, which is a place of this "
                "call alone; return the parameter itself, or the file's name"
            )
        holes.append(Hole(trail, "file", text))
        value = put(value, trail, None)
    told = {hole.path for hole in holes}
    for name, path in staged.items():
        if path not in told:
            if name in value:
                raise BadReturn(
                    f"it returned {name!r}, which is the name of a file that it writes; return the path or another name"
                )
            value = {**value, name: None}
            holes.append(Hole((name,), "file", path))
    return value, holes


def _telling(value: Any, trail: Path, word: str) -> list[tuple[Path, str]]:
    """Where in a value a text has the word in it, with that text; of a key nothing, since no file can be put there."""
    if isinstance(value, str):
        return [(trail, value)] if word in value else []
    if isinstance(value, list):
        return [found for index, entry in enumerate(value) for found in _telling(entry, (*trail, index), word)]
    if isinstance(value, dict):
        keys = [((*trail, key), "") for key in value if word in key]
        return keys + [found for key, entry in value.items() for found in _telling(entry, (*trail, key), word)]
    return []


def _note(hole: Hole, staged: Mapping[str, str]) -> str:
    if hole.codec == "file":
        return next((name for name, path in staged.items() if path == hole.path), "")
    return npy_note(hole.path) if hole.codec == "npy" else ""


def npy_note(path: str) -> str:
    """`float32[640x640x3]` of a .npy file, from its header.

    Format: NumPy's NEP 1: magic, version, header length (2 or 4 bytes, little endian), a Python literal.
    """
    with open(path, "rb") as file:
        head = file.read(8)
        size = 2 if head[6:7] == b"\x01" else 4
        length = int.from_bytes(file.read(size), "little")
        header = ast.literal_eval(file.read(length).decode("latin1").strip())
    names = {
        "f4": "float32",
        "f8": "float64",
        "f2": "float16",
        "u1": "uint8",
        "i1": "int8",
        "i4": "int32",
        "i8": "int64",
        "b1": "bool",
    }
    kind = header["descr"]
    kind = names.get(kind[1:], kind) if isinstance(kind, str) else "record"
    return f"{kind}[{'x'.join(map(str, header['shape']))}]"


@lru_cache(maxsize=512)
def _type(text: str) -> Type:
    return type_of(syntax.expression(text))


def check(outputs: Mapping[str, str] | None, value: Any, holes: Sequence[Hole]) -> None:
    """Declared outputs (None: there are none) must be there, and of their types. Raises BadReturn."""
    if outputs is None:
        return
    if not isinstance(value, dict):
        raise BadReturn(f"it declares the outputs {', '.join(outputs)}, so it must return a dict, found {_kind(value)}")
    missing = [name for name in outputs if name not in value]
    if missing:
        there = ", ".join(map(repr, value)) or "nothing"
        raise BadReturn(f"it returned no {', '.join(map(repr, missing))}, which it declares; it returned {there}")
    filled = {hole.trail[0]: hole for hole in holes if hole.trail}
    for name, text in outputs.items():
        wanted = _type(text)
        hole = filled.get(name)
        if hole is not None and len(hole.trail) == 1:
            kind = {"npy": "array", "file": "path", "bytes": "bytes"}.get(hole.codec, "any")
            if not wanted.may_be(Type(kind)):
                raise BadReturn(
                    f"output {name!r} must be {wanted}, found {'an array' if kind == 'array' else 'a ' + kind}"
                )
        elif (
            hole is None
            and not wanted.accepts(value[name])
            and not (wanted.has("bool") and isinstance(value[name], bool))
        ):
            raise BadReturn(f"output {name!r}{wanted.refusal(value[name])[1]}")


def _kind(value: Any) -> str:
    from wfe.core.kind import describe

    return describe(value)
