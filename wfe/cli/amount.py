"""Sizes and ages as people type and read them."""

from __future__ import annotations

import re
from typing import Final

from wfe.errors import ExitCode, WfeError

_SIZES: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES_BINARY: Final = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_AGES: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AMOUNT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")


def size(text: str) -> int:
    """Bytes of `2GB`, `500 MB`, `1GiB`. Raises WfeError."""
    match = _AMOUNT.match(text)
    units = {**_SIZES, **_SIZES_BINARY}
    if not match or match[2].upper() not in units:
        raise WfeError(f"{text!r} is no size", "write it like 500MB or 2GB", ExitCode.USAGE)
    return int(float(match[1]) * units[match[2].upper()])


def age(text: str) -> float:
    """Seconds of `30d`, `12h`, `90 min`. Raises WfeError."""
    match = _AMOUNT.match(text)
    if not match or match[2] not in _AGES:
        raise WfeError(f"{text!r} is no age", "write it like 30d, 12h or 90min", ExitCode.USAGE)
    return float(match[1]) * _AGES[match[2]]


def shown(number: float) -> str:
    """Bytes for people: `1.4 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
