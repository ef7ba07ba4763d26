"""What the vision tests share: tiny ONNX models built on the spot, and the folder of real models and pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root, with nodes/, models/ and workflows/ in it."""
    return ROOT


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real models and pictures; the test is skipped where there is none."""
    place = os.environ.get("WFE_TEST_DATA", "")
    if not place or not Path(place).is_dir():
        pytest.skip("WFE_TEST_DATA names no folder of real models and pictures")
    return Path(place)


Build = Callable[..., Path]


@pytest.fixture
def constant_model(tmp_path: Path) -> Build:
    """Builds an ONNX model that answers every input with the same output, cast and shaped as told."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def build(
        output: NDArray[np.float32],
        input_shape: Sequence[int | str] = (1, 3, 64, 64),
        output_shape: Sequence[int | str] | None = None,
        metadata: Mapping[str, str] | None = None,
        half: bool = False,
        name: str = "model.onnx",
        input_type: int | None = None,
    ) -> Path:
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        nodes = [
            helper.make_node("Cast", ["images"], ["cast"], to=kind),
            helper.make_node("ReduceMean", ["cast"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
            helper.make_node("Add", ["answer", "zero"], ["output0"]),
        ]
        dtype = np.float16 if half else np.float32
        graph = helper.make_graph(
            nodes,
            "constant",
            [helper.make_tensor_value_info("images", input_type or kind, list(input_shape))],
            [helper.make_tensor_value_info("output0", kind, list(output_shape or output.shape))],
            [
                numpy_helper.from_array(output.astype(dtype), "answer"),
                numpy_helper.from_array(np.zeros((), dtype), "nothing"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        helper.set_model_props(model, dict(metadata or {}))
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return build
