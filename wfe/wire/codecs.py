"""Codecs: values that JSON cannot say, each as one file.

Knows the format of each codec. Does not know where in a tree a value stands. NumPy is looked up among the modules that
are already imported when a value is written (who has an array has NumPy) and imported only when an array is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Codec(NamedTuple):
    """How values of some types go to a file and back. `suffix`: of the file's name, with its dot."""

    name: str
    suffix: str
    accepts: Callable[[Any], bool]
    write: Callable[[Any, str], None]
    read: Callable[[str], Any]


class Pickled:
    """Wraps a value that shall travel as a pickle: the explicit opt-in, `from wfe import Pickled`.
    `return {"model": Pickled(model)}`; a parameter that gets it, and `report["step"]["model"]`, have the model itself.

    A pickle runs code when it is read, and reads only where the same packages are (another environment's worker may
    lack them): prefer arrays, bytes and JSON values. Only pickles of the project's own store are read, which its own
    steps wrote; one that a confined step (unapproved generated code) returns is refused.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def refusal(array: Any) -> str:
    """Why a NumPy array cannot be written as .npy, or "" when it can."""
    numpy = sys.modules["numpy"]
    if array.dtype.hasobject:
        return f"an array of Python objects (dtype {array.dtype}); return an array of numbers, or a list"
    if isinstance(array, numpy.ma.MaskedArray):
        return "a masked array, whose mask would be lost; return .data and .mask, or .filled(value)"
    if type(array) not in (numpy.ndarray, numpy.memmap):  # a matrix multiplies otherwise, a quantity has a unit
        kind = f"{type(array).__module__.split('.')[0]}.{type(array).__name__}"
        return f"an array of the class {kind}, of which only the plain array would be kept; return numpy.asarray(it)"
    return ""


def _write_array(array: Any, path: str) -> None:
    import numpy

    with open(path, "xb") as file:
        numpy.lib.format.write_array(file, numpy.asarray(array), allow_pickle=False)


def _read_array(path: str) -> Any:
    import numpy

    try:
        mapped = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        # An empty file region cannot be mapped; "mmap" is what both CPython and NumPy say about it.
        if "mmap" not in str(error):
            raise
        array = numpy.load(path, allow_pickle=False)
        array.flags.writeable = False
        return array
    # A plain ndarray over the mapping: numpy.memmap is a subclass that some libraries refuse or copy.
    return mapped.view(numpy.ndarray)


def _write_bytes(value: Any, path: str) -> None:
    with open(path, "xb") as file:
        file.write(value)


def _write_pickle(value: Pickled, path: str) -> None:
    import pickle

    with open(path, "xb") as file:
        pickle.dump(value.value, file, protocol=5)


def _read_pickle(path: str) -> Any:
    import pickle

    with open(path, "rb") as file:
        return pickle.load(file)


CODECS: dict[str, Codec] = {}


def register(codec: Codec) -> None:
    """Add a codec; one of the same name is an error (ValueError), since stored files would change their meaning."""
    if codec.name in CODECS or codec.name in {"path", "output", "file", "shm"}:
        raise ValueError(f"a codec named {codec.name!r} is registered already")
    CODECS[codec.name] = codec


def codec_of(value: Any) -> Codec | None:
    """The codec that takes `value`, or None."""
    for codec in CODECS.values():
        if codec.accepts(value):
            return codec
    return None


register(Codec("npy", ".npy", _is_array, _write_array, _read_array))
register(
    Codec(
        "bytes",
        ".bin",
        lambda value: isinstance(value, (bytes, bytearray, memoryview)),
        _write_bytes,
        lambda path: Path(path).read_bytes(),
    )
)
register(Codec("pickle", ".pickle", lambda value: isinstance(value, Pickled), _write_pickle, _read_pickle))
