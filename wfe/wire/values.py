"""Value trees: what a node takes and returns, as a JSON value and a list of holes.

A hole is `[trail, codec, path]`: at `trail` (the keys and indexes that lead there) the tree holds null and the real
value is what `codec` makes of the file `path`. Knows which values can travel and says what to return instead of one
that cannot. Does not know pipes, processes or stores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePath
from typing import Any

from wfe.wire.codecs import CODECS, codec_of, refusal

Hole = list[Any]
Place = Callable[[str, str, Any], "tuple[str, str]"]
"""Puts one value somewhere: (codec's name, suffix, value) -> (codec's name, path) of the hole."""

# Both json's encoder and its decoder recurse in C and stop at the interpreter's limit (1000 by default).
DEEPEST = 200
# More decimal digits than CPython converts in either direction by default (sys.get_int_max_str_digits).
WIDEST = 4300 * 3

_PLAIN = frozenset({str, int, float, bool, type(None)})


class ValueRefused(Exception):
    """A value that cannot travel. The text names where it stands, its type, and what to return instead."""


def show_trail(trail: Sequence[Any]) -> str:
    """A trail for people: `masks[0].area`, or "the returned value" for the root."""
    text = ""
    for part in trail:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return repr(text) if text else "the returned value"


def _refuse(trail: Sequence[Any], why: str) -> ValueRefused:
    place = show_trail(trail)
    return ValueRefused(f"{place} is {why}" if not trail else f"output {place} is {why}")


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _Encoder:
    def __init__(self, place: Place, outputs: Collection[str]) -> None:
        self.place = place
        self.outputs = frozenset(outputs)
        self.holes: list[Hole] = []
        self.trail: list[Any] = []
        self.above: set[int] = set()

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int:
            return self.integer(value)
        if kind is float or kind is bool or value is None:
            return value
        if kind is dict:
            return self.mapping(value)
        if kind is list or kind is tuple:
            return self.sequence(value)
        return self.other(value)

    def text(self, value: str) -> Any:
        if self.outputs and value in self.outputs:
            return self.file(value)
        return value

    def integer(self, value: int) -> int:
        if value.bit_length() > WIDEST:
            raise _refuse(self.trail, "an integer of more than 3,800 digits; return it as hex(...) text")
        return value

    def enter(self, value: Any) -> None:
        if id(value) in self.above:
            raise _refuse(self.trail, f"a {_type_name(value)} that contains itself; return a tree without cycles")
        if len(self.above) >= DEEPEST:
            trail = self.trail[:3]
            raise _refuse(trail, f"nested more than {DEEPEST} levels deep; return flat lists, an array, or a file")
        self.above.add(id(value))

    def mapping(self, value: dict[Any, Any]) -> dict[str, Any]:
        self.enter(value)
        tree = {}
        for key, item in value.items():
            if type(key) is not str:
                if not isinstance(key, str):
                    text = f"a dict with the key {key!r:.80} of type {_type_name(key)}; use str keys"
                    raise _refuse(self.trail, text)
                key = str.__str__(key)
            self.trail.append(key)
            tree[key] = self.encode(item)
            self.trail.pop()
        self.above.discard(id(value))
        return tree

    def sequence(self, value: Any) -> list[Any]:
        # A long list of numbers: one pass in C over its types instead of a Python call an item. Integers are left out,
        # since one of them may be too wide.
        kinds = set(map(type, value))
        if kinds <= {float, bool, type(None)} or (not self.outputs and kinds <= {float, bool, str, type(None)}):
            return list(value)
        self.enter(value)
        tree = []
        trail = self.trail
        trail.append(0)
        for index, item in enumerate(value):
            trail[-1] = index
            tree.append(self.encode(item))
        trail.pop()
        self.above.discard(id(value))
        return tree

    def other(self, value: Any) -> Any:
        if isinstance(value, PurePath):
            path = str(value)
            if path in self.outputs:
                return self.file(path)
            known = "declare the file as a parameter annotated wfe.Output and return that parameter"
            raise _refuse(
                self.trail,
                f"the path {path!r:.200}, which is no output file of this step; {known}, or return str(path)",
            )
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic):
            return self.numpy_scalar(value, numpy)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, int):
            return self.integer(int.__int__(value))
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, dict):
            return self.mapping(value)
        if isinstance(value, (list, tuple)):
            return self.sequence(value)
        codec = codec_of(value)
        if codec is None:
            raise _refuse(self.trail, f"of type {_type_name(value)}, which cannot be stored; {_advice(value)}")
        if codec.name == "npy":
            why = refusal(value)
            if why:
                raise _refuse(self.trail, why)
        try:
            name, path = self.place(codec.name, codec.suffix, value)
        except OSError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            text = f"of type {_type_name(value)} and could not be written as {codec.name!r}: {why}"
            raise _refuse(self.trail, text) from error
        self.holes.append([list(self.trail), name, path])
        return None

    def numpy_scalar(self, value: Any, numpy: Any) -> Any:
        if isinstance(value, (numpy.bool_, numpy.integer)):
            return value.item()
        if isinstance(value, numpy.floating):
            return float(value)
        if isinstance(value, numpy.str_):
            return self.text(str(value))
        raise _refuse(self.trail, f"a NumPy scalar of type {value.dtype}; return str(value), a number or an array")

    def file(self, path: str) -> None:
        if not Path(path).exists():
            raise _refuse(self.trail, f"the output file {path!r}, which the function did not write")
        self.holes.append([list(self.trail), "file", path])


def _advice(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return "return sorted(value), a list"
    if isinstance(value, complex):
        return "return [value.real, value.imag]"
    if hasattr(value, "__next__"):
        return "return list(value)"
    if hasattr(value, "__await__"):
        return "a node is a plain function: run the coroutine with asyncio.run and return what it gives"
    if hasattr(value, "__array__"):
        return "return numpy.asarray(value)"
    if hasattr(value, "__dataclass_fields__"):
        return "return dataclasses.asdict(value)"
    if hasattr(value, "isoformat"):
        return "return value.isoformat()"
    return "return JSON values (dict, list, str, number, bool, None), NumPy arrays, bytes, or an output file"


def encode(value: Any, place: Place, outputs: Collection[str] = ()) -> tuple[Any, list[Hole]]:
    """A node's value as (JSON tree, holes). Never changes `value`.

    JSON scalars, dicts with str keys, lists and tuples (as lists) stand in the tree; NumPy scalars become Python
    numbers. What a codec takes goes through `place`; a path or text equal to one of `outputs` (absolute paths) becomes
    a hole of codec "file". Raises ValueRefused for everything else, cycles and nesting beyond DEEPEST included;
    OSError as `place` raises it (a full disk).
    """
    encoder = _Encoder(place, outputs)
    return encoder.encode(value), encoder.holes


def decode(tree: Any, holes: Sequence[Sequence[Any]], read: Callable[[str, str], Any]) -> Any:
    """The value of a tree: `read(codec, path)` gives what stands at each hole. Fills `tree` in place and returns it."""
    for trail, codec, path in holes:
        value = read(codec, path)
        if not trail:
            return value
        parent = tree
        for part in trail[:-1]:
            parent = parent[part]
        parent[trail[-1]] = value
    return tree


class Staging:
    """Puts values into files of a directory, named by a running number. It is made anew where somebody has removed the cache
    meanwhile."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.count = 0

    def __call__(self, codec: str, suffix: str, value: Any) -> tuple[str, str]:
        path = str(Path(self.directory, f"{self.count}{suffix}"))
        self.count += 1
        try:
            CODECS[codec].write(value, path)
        except FileNotFoundError:
            os.makedirs(self.directory, exist_ok=True)
            CODECS[codec].write(value, path)
        return codec, path


def unwritten(error: OSError) -> str:
    """What to say when a value could not be put into a file."""
    # NumPy tells how many bytes were written, and drops the system's reason.
    hint = "was the cache removed meanwhile?" if isinstance(error, FileNotFoundError) else "is the disk full?"
    return f"its result cannot be written: {error.strerror or error}; {hint}"


def read_file(codec: str, path: str) -> Any:
    """The value in a file, by a registered codec, "path" or "file" (a pathlib.Path)."""
    if codec == "path" or codec == "file":
        return Path(path)
    known = CODECS.get(codec)
    if known is None:
        raise ValueRefused(f"a value of the unknown codec {codec!r}; known: {', '.join(sorted(CODECS))}")
    return known.read(path)
