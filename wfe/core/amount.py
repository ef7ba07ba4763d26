"""Amounts of a pool: a number, or a size as text."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*\Z", re.IGNORECASE)


def amount(given: float | str) -> float:
    """A number, or a text like "4GB" (decimal) or "4GiB" (binary). Raises ValueError."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not 0 <= given < float("inf"):
            raise ValueError(f"an amount is 0 or more, and finite: {given}")
        return float(given)
    match = _AMOUNT.match(str(given))
    if not match:
        raise ValueError(f"{given!r} is no amount; write a number, or a size like '4GB'")
    return float(match[1]) * _UNITS[(match[2] or "").upper()]
