"""A model whose weights lie beside it is refused: a change of them would be answered with a result that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nodes.vision.backends.measure import measure_backend
from nodes.vision.backends.onnxrt import open_model
from nodes.vision.backends.opening import open_runner
from nodes.vision.inference import infer
from nodes.vision.model import inspect_model
from nodes.vision.one_file import elsewhere
from wfe import Refuse

WEIGHTS = numpy_helper.from_array(np.arange(4, dtype=np.float32), "weights")


def outside(tensor: TensorProto) -> TensorProto:
    """The tensor as one whose data is in another file."""
    moved = TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    moved.external_data.add(key="location", value="beside.data")
    return moved


def model(nodes: list[Any], weights: list[TensorProto], sparse: list[Any] | None = None) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    made = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights, sparse_initializer=sparse or [])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def in_a_constant(tensor: TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Constant", [], ["y"], value=tensor)], [])


def in_a_branch(tensor: TensorProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    branch = helper.make_graph([helper.make_node("Identity", ["weights"], ["y"])], "branch", [], [value], [tensor])
    return model([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)], [])


def in_a_sparse_one(tensor: TensorProto) -> onnx.ModelProto:
    places = numpy_helper.from_array(np.arange(4, dtype=np.int64), "places")
    return model([], [], [helper.make_sparse_tensor(tensor, places, [9])])


def in_a_function(tensor: TensorProto) -> onnx.ModelProto:
    made = model([], [])
    body = [helper.make_node("Constant", [], ["y"], value=tensor)]
    made.functions.append(helper.make_function("here", "Weights", [], ["y"], body, made.opset_import))
    return made


def as_a_weight(tensor: TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Add", ["x", "weights"], ["y"])], [WEIGHTS, tensor])


@pytest.mark.parametrize("build", [as_a_weight, in_a_constant, in_a_branch, in_a_sparse_one, in_a_function])
def test_weights_outside_are_found_wherever_they_are_named(
    tmp_path: Path, build: Callable[[TensorProto], onnx.ModelProto]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(build(outside(WEIGHTS)).SerializeToString())
    assert "onnx.save" in elsewhere(path)
    path.write_bytes(build(WEIGHTS).SerializeToString())
    assert elsewhere(path) == ""
    named = build(WEIGHTS)
    named.doc_string = "the location of the weights is this file"
    path.write_bytes(named.SerializeToString())
    assert elsewhere(path) == ""


@pytest.fixture
def parted(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "parted.onnx"
    onnx.save(onnx.load(root / "models" / "shapes.onnx"), path, save_as_external_data=True, location="parted.data")
    return path


TENSOR = np.zeros((1, 3, 256, 256), np.float32)


@pytest.mark.parametrize(
    "use",
    [
        inspect_model,
        lambda path: infer(path, TENSOR, inspect_model(path)["detector"]),
        lambda path: measure_backend(path, TENSOR, "onnxruntime", iterations=1, warmup=1),
        lambda path: measure_backend(path, TENSOR, "openvino", iterations=1, warmup=1),
        open_model,
        lambda path: open_runner(path, "openvino", "cpu", 1),
    ],
)
def test_every_way_to_open_a_model_refuses_it(parted: Path, tmp_path: Path, use: Callable[[Path], object]) -> None:
    with pytest.raises(Refuse, match=r"parted\.onnx: keeps weights in another file.*onnx\.save"):
        use(parted)
    whole = tmp_path / "whole.onnx"
    onnx.save(onnx.load(parted), whole)  # what the message says to do
    use(whole)


@pytest.mark.parametrize("name", ["m.xml", "m.onnx"])
def test_openvinos_own_format_is_refused_under_any_name(root: Path, tmp_path: Path, name: str) -> None:
    import openvino as ov

    ov.save_model(ov.Core().read_model(root / "models" / "shapes.onnx"), tmp_path / "m.xml")
    path = (tmp_path / "m.xml").rename(tmp_path / name)
    with pytest.raises(Refuse, match=r"m\.\w+: is XML.*\.bin file.*give the ONNX file"):
        open_runner(path, "openvino")


def test_a_whole_model_is_read_and_what_is_none_is_left_to_the_runtime(root: Path, tmp_path: Path) -> None:
    shapes = root / "models" / "shapes.onnx"
    assert elsewhere(shapes) == ""
    path = tmp_path / "bad.onnx"
    for content in (b"", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x7f", shapes.read_bytes()[:5000], b"hello, a text\n"):
        path.write_bytes(content + b"location")
        assert elsewhere(path) == ""
