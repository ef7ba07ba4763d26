"""Whether a model is all in one file, as it must be here: a step's result is kept by the content of the files it names.

Knows the protobuf of ONNX so far as to find where weights lie, since a runtime opens the files beside a model without a
word, and a change of them alone would be answered with the old result. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wfe import Refuse

_INSIDE = {
    # message -> (field -> message): the ways from a model to its tensors, as onnx.proto numbers them
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DATA_LOCATION, _EXTERNAL = 14, 1  # of TensorProto


def check_whole(model_path: Path) -> None:
    """Raise wfe.Refuse when a part of the model lies in another file."""
    outside = elsewhere(model_path)
    if outside:
        raise Refuse(f"{model_path}: {outside}")


def elsewhere(model_path: Path) -> str:
    """What lies outside this model file and what to do about it; empty when nothing does, or when it is no model or missing."""
    if not model_path.is_file():
        return ""
    content = model_path.read_bytes()
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return (
            "is XML, as OpenVINO's own models are: their weights lie in a .bin file beside it, of which a change would "
            "not be seen; give the ONNX file that it was made from"
        )
    if b"location" not in content:  # the key under which a tensor names its file; the walk takes 20 ms more
        return ""
    try:
        outside = _external(memoryview(content), "model")
    except (IndexError, RecursionError):  # cut off, or no protobuf: the runtime says so in its own words
        return ""
    if not outside:
        return ""
    return (
        "keeps weights in another file, of which a change would not be seen; save it as one file, with "
        "onnx.save(onnx.load(MODEL), ONE_FILE)"
    )


def _external(message: memoryview, kind: str) -> bool:
    """Whether a tensor anywhere in the message says that its data is in another file."""
    if kind == "tensor":
        return any(field == _DATA_LOCATION and value == _EXTERNAL for field, value in _fields(message))
    below = _INSIDE[kind]
    return any(
        isinstance(value, memoryview) and field in below and _external(value, below[field])
        for field, value in _fields(message)
    )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field: an int, or the bytes of what has a length. Raises IndexError where it is cut off."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield field, value
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise IndexError
            yield field, message[at : at + length]
            at += length
        else:
            at += {1: 8, 5: 4}.get(wire, 0)  # numbers of a fixed size; the marks of a group have none


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
