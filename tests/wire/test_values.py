"""Value trees: there and back, and what is refused."""

from __future__ import annotations

import enum
import json
import math
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wfe.wire import codecs
from wfe.wire.values import Staging, ValueRefused, decode, encode, read_file, show_trail


def there_and_back(value: object, folder: Path) -> object:
    tree, holes = encode(value, Staging(str(folder)))
    return decode(json.loads(json.dumps(tree)), json.loads(json.dumps(holes)), read_file)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4), (1,)])
@pytest.mark.parametrize("dtype", ["f4", ">i2", "?", "c16", "U3", "S2", "M8[s]", [("x", "f8"), ("y", "i4", (2,))]])
def test_arrays(tmp_path: Path, shape: tuple[int, ...], dtype: object, order: str) -> None:
    array = numpy.zeros(shape, dtype, order=order)  # type: ignore[call-overload]
    back = there_and_back({"k": [array]}, tmp_path)["k"][0]  # type: ignore[index]
    assert type(back) is numpy.ndarray
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert not back.flags.writeable
    numpy.testing.assert_array_equal(back, array)


def test_an_array_that_is_not_contiguous(tmp_path: Path) -> None:
    array = numpy.arange(60).reshape(3, 4, 5)[::-1, ::2, 1:4]
    numpy.testing.assert_array_equal(there_and_back(array, tmp_path), array)  # type: ignore[arg-type]


def test_an_array_that_was_read_is_mapped(tmp_path: Path) -> None:
    back = there_and_back(numpy.arange(1000), tmp_path)
    base = back
    while isinstance(getattr(base, "base", None), numpy.ndarray):
        base = base.base  # type: ignore[union-attr, attr-defined]
    assert isinstance(base, numpy.memmap)


@settings(max_examples=60)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_any_array(tmp_path_factory: pytest.TempPathFactory, array: numpy.ndarray) -> None:  # type: ignore[type-arg]
    back = there_and_back(array, tmp_path_factory.mktemp("a"))
    assert back.dtype == array.dtype  # type: ignore[attr-defined]
    assert back.tobytes() == array.tobytes()  # type: ignore[attr-defined]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=30,
    )
)
def test_any_json_value(value: object) -> None:
    tree, holes = encode(value, Staging("unused"))
    assert holes == []
    assert json.loads(json.dumps(tree)) == value


def test_floats_that_json_lacks() -> None:
    tree, _ = encode([math.nan, math.inf, -math.inf, -0.0], Staging("unused"))
    back = json.loads(json.dumps(tree))
    assert math.isnan(back[0]) and back[1:3] == [math.inf, -math.inf] and math.copysign(1, back[3]) == -1


def test_types_that_are_nearly_json() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Name(str):
        pass

    value = {
        "l": Level.HIGH,
        Name("k"): Name("v"),
        "n": numpy.float16(0.5),
        "t": (numpy.uint8(200), numpy.bool_(False)),
    }
    tree, _ = encode(value, Staging("unused"))
    assert tree == {"l": 3, "k": "v", "n": 0.5, "t": [200, False]}
    assert [type(tree["l"]), type(tree["n"]), type(tree["t"][1])] == [int, float, bool]


def test_the_value_itself_is_not_changed(tmp_path: Path) -> None:
    value = {"a": [numpy.ones(2), (1,)]}
    encode(value, Staging(str(tmp_path)))
    assert isinstance(value["a"][0], numpy.ndarray) and value["a"][1] == (1,)


def test_the_same_object_twice_is_no_cycle() -> None:
    inner = [1, {"x": 2}]
    assert encode({"a": inner, "b": [inner, inner]}, Staging("unused"))[0] == {"a": inner, "b": [inner, inner]}


def test_pickle_only_when_wrapped(tmp_path: Path) -> None:
    with pytest.raises(ValueRefused, match="set"):
        encode({"s": {1}}, Staging(str(tmp_path)))
    assert there_and_back({"s": codecs.Pickled({1, 2})}, tmp_path) == {"s": {1, 2}}


def test_a_pickle_that_fails_names_the_output(tmp_path: Path) -> None:
    with pytest.raises(ValueRefused, match="'m'.*could not be written as 'pickle'"):
        encode({"m": codecs.Pickled(lambda: 1)}, Staging(str(tmp_path)))


def test_a_codec_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "CODECS", codecs.CODECS)
    codec = codecs.Codec(
        "complex",
        ".txt",
        lambda value: isinstance(value, complex),
        lambda value, path: Path(path).write_text(str(value)) and None,
        lambda path: complex(Path(path).read_text()),
    )
    codecs.register(codec)
    try:
        assert there_and_back([1j], tmp_path) == [1j]
        with pytest.raises(ValueError, match="registered already"):
            codecs.register(codec)
    finally:
        del codecs.CODECS["complex"]


def test_an_unknown_codec_names_the_known() -> None:
    with pytest.raises(ValueRefused, match="'zarr'; known: bytes, npy, pickle"):
        read_file("zarr", "x")


def test_an_output_that_was_not_written(tmp_path: Path) -> None:
    path = str(tmp_path / "missing.png")
    with pytest.raises(ValueRefused, match="did not write"):
        encode({"o": Path(path)}, Staging(str(tmp_path)), [path])


def test_trails_for_people() -> None:
    assert show_trail(["masks", 0, "area"]) == "'masks[0].area'"
    assert show_trail([]) == "the returned value"


def test_a_hole_at_the_root(tmp_path: Path) -> None:
    assert there_and_back(b"abc", tmp_path) == b"abc"
