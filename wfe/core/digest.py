"""xxh3-128 of bytes and of JSON values.

The store stands this side of a trust boundary, so a digest needs speed (it hashes near memory bandwidth), not resistance
to an adversary.
"""

from __future__ import annotations

import json
from typing import Any

from xxhash import xxh3_64_intdigest as checksum
from xxhash import xxh3_128_hexdigest as digest

__all__ = ["canonical", "checksum", "digest", "digest_of"]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=False).encode


def canonical(value: Any) -> str:
    """A JSON value as text: 1, 1.0 and true differ, NaN and infinities are kept, and so is the order of keys.

    Keys are not sorted: a function may iterate over a dict, so another order is another input.
    """
    return _encode(value)


def digest_of(value: Any) -> str:
    """The digest of a JSON value, 32 hex digits."""
    return digest(_encode(value).encode("utf-8", "surrogatepass"))
