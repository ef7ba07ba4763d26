"""xxh3-128 of bytes and of JSON values.

The store stands this side of a trust boundary, so a digest needs speed (it hashes near memory bandwidth), not resistance
to an adversary.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from typing import Any, Final

from xxhash import xxh3_64_intdigest as checksum
from xxhash import xxh3_128_hexdigest as digest

__all__ = ["canonical", "checksum", "digest", "digest_of"]

_encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=False)


def _make_encode() -> Callable[[Any], str]:
    if c_make_encoder is None:
        return _encoder.encode
    # `encode` makes this anew each time, half the price of a short value; a trivial step encodes ten.
    pieces = c_make_encoder(None, _encoder.default, encode_basestring, None, ":", ",", False, False, True)
    return lambda value: "".join(pieces(value, 0))


_encode: Final = _make_encode()


def canonical(value: Any) -> str:
    """A JSON value as text: 1, 1.0 and true differ, NaN and infinities are kept, and so is the order of keys.

    Keys are not sorted: a function may iterate over a dict, so another order is another input.
    """
    return _encode(value)


def digest_of(value: Any) -> str:
    """The digest of a JSON value, 32 hex digits."""
    return digest(_encode(value).encode("utf-8", "surrogatepass"))
