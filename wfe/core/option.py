"""The options of a node: which there are and what they may be, wherever they are said: in a document or in
`@workflow_node(...)`.

Knows values. Does not know places, nor what an option does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wfe.core.amount import amount
from wfe.core.kind import Wrong, describe, entries, is_a
from wfe.errors import nearest

OPTIONS: Final[Mapping[str, Any]] = {
    "cache": object,  # one of the choices below, and so is isolation_mode
    "seed": int,
    "ttl": float,
    "device": str,
    "environment": str,
    "isolation_mode": object,
    "resources": dict,
    "retries": object,
    "timeout": float,
}
_CHOICES: Final = {"cache": ("auto", "never"), "isolation_mode": ("auto", "always", "never")}
_RETRIES: Final = {"count": int, "delay": float, "factor": float, "limit": float, "on": list}


def wrong_with(value: Any, key: str, what: str) -> Iterator[Wrong]:
    """What is wrong with the value of an option that is of the right kind. what: whose it is, for the messages."""
    choices = _CHOICES.get(key)
    if choices and value not in choices:
        text = f"{what}: {key!r} must be one of {', '.join(choices)}, found {describe(value)}"
        yield Wrong((), text, nearest(value, choices) if isinstance(value, str) else "")
    if key in ("ttl", "timeout") and not value > 0:
        yield Wrong((), f"{what}: {key!r} must be a number of seconds above 0, found {value}")
    if key == "retries":
        yield from _retries(value, what)
    if key == "resources":
        yield from amounts(value, f"{what}: resource")


def amounts(sizes: Mapping[str, Any], what: str) -> Iterator[Wrong]:
    """What is wrong with the sizes of pools, or with what is taken of them."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | float | str):
            text = f"{what} {name!r} must be a number or a text like '4GB', found {describe(size)}"
            yield Wrong((name,), text)
            continue
        try:
            amount(size)
        except ValueError as error:
            yield Wrong((name,), f"{what} {name!r}: {error}")


def _retries(value: Any, what: str) -> Iterator[Wrong]:
    if not isinstance(value, dict) and not is_a(value, int):
        yield Wrong((), f"{what}: 'retries' must be a whole number or an object, found {describe(value)}")
        return
    good, wrong = entries(value if isinstance(value, dict) else {"count": value}, f"{what}: 'retries'", _RETRIES)
    yield from wrong
    for key, entry in good.items():
        at = (key,) if isinstance(value, dict) else ()
        if key == "on":
            for position, name in enumerate(entry):
                if not isinstance(name, str):
                    yield Wrong((*at, position), f"{what}: 'on' takes names of exceptions, found {describe(name)}")
        elif entry < (least := 1 if key == "factor" else 0):
            yield Wrong(at, f"{what}: {key!r} of 'retries' must be at least {least}, found {entry}")
