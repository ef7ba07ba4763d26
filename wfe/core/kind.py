"""Kinds of JSON values: what each is called in a message, whether a value is of one, and what of an object is as it must be.

Does not know places: what is wrong is told with its path in the value, for whoever knows where that stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from wfe.core.document import Path
from wfe.errors import nearest

KINDS: Final = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Wrong(NamedTuple):
    """One thing that is wrong with a value: where in it, what, and what to do about it."""

    path: Path
    message: str
    hint: str = ""


def describe(value: Any) -> str:
    """A value for a message: its kind, and the value itself when it is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    kind = KINDS.get(type(value), type(value).__name__)
    if isinstance(value, str | int | float):
        shown = repr(value)
        return f"{kind} ({shown})" if len(shown) <= 60 else kind
    return kind


def is_a(value: Any, wanted: Any) -> bool:
    """Whether a value is of a kind of KINDS, or of any (`object`)."""
    if wanted is object:
        return True
    if isinstance(value, bool):
        return wanted is bool
    if wanted is float:  # no infinite one, and none that no clock can count
        return isinstance(value, int | float) and abs(value) < 1e15
    return isinstance(value, list | tuple if wanted is list else wanted)


def entries(value: Any, what: str, known: Mapping[str, Any]) -> tuple[dict[str, Any], list[Wrong]]:
    """The entries of an object that are known and of the right kind, and what is wrong with the others."""
    if not isinstance(value, dict):
        return {}, [Wrong((), f"{what} must be an object, found {describe(value)}")]
    good, wrong = {}, []
    for key, entry in value.items():
        wanted = known.get(key)
        if wanted is type(entry) and wanted is not float:  # nearly always
            good[key] = entry
        elif wanted is None:
            if not str(key).startswith("x-") and key not in ("$comment", "_comment"):
                wrong.append(Wrong((key,), f"{what} has no key {key!r}", nearest(str(key), list(known))))
        elif is_a(entry, wanted):
            good[key] = entry
        else:
            too_big = wanted is float and type(entry) in (int, float)
            kind = "a number below 1e15" if too_big else KINDS[wanted]
            wrong.append(Wrong((key,), f"{what}: {key!r} must be {kind}, found {describe(entry)}"))
    return good, wrong
