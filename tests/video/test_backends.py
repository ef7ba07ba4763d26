"""Backends: what is here, what is missing and why, and none that runs elsewhere than asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from nodes.vision.backends import onnxrt, openvino_
from nodes.vision.backends.agreement import agreement, overlap
from nodes.vision.backends.detect import detect_devices
from nodes.vision.backends.measure import measure_backend
from nodes.vision.backends.opening import open_runner
from nodes.vision.backends.protocol import BackendError
from nodes.vision.video_model import open_model
from wfe import Refuse, Skip

from .conftest import ROOT, SHAPES

HERE = [("onnxruntime", "CPUExecutionProvider"), ("openvino", "CPU")]


@pytest.mark.parametrize(("backend", "where"), HERE)
def test_the_processor_is_there_and_named(backend: str, where: str) -> None:
    runner = open_runner(SHAPES, backend, "cpu", 1)
    assert runner.where == where
    assert runner.inputs[0].dtype == "float32"
    runner.close()
    runner.close()
    assert runner.closed
    with pytest.raises(BackendError, match="closed"):
        runner.run(np.zeros((1, 3, 256, 256), np.float32))


def test_devices_are_listed_with_the_reason_of_those_that_are_missing() -> None:
    found = detect_devices()
    by_name = {f"{one['backend']}:{one['device']}": one for one in found["devices"]}
    assert {"onnxruntime:cpu", "onnxruntime:cuda", "onnxruntime:directml", "openvino:cpu", "openvino:npu"} <= set(
        by_name
    )
    assert {"onnxruntime:cpu", "openvino:cpu"} <= set(found["available"])
    for one in found["devices"]:
        assert one["available"] != bool(one["reason"]), one


@pytest.mark.parametrize(
    ("backend", "device"), [("onnxruntime", "cuda"), ("onnxruntime", "directml"), ("openvino", "npu")]
)
def test_a_missing_device_is_skipped_with_its_reason(backend: str, device: str) -> None:
    missing = onnxrt.missing(device) if backend == "onnxruntime" else openvino_.missing(device)
    if not missing:
        pytest.skip("the device is here")
    with pytest.raises(Skip, match=device):
        open_runner(SHAPES, backend, device, 1)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_runtime_that_falls_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    if not onnxrt.missing("cuda"):
        pytest.skip("CUDA is here")
    # As if the package had CUDA, and the driver did not start: the runtime itself then answers with the CPU.
    monkeypatch.setattr(onnxrt, "missing", lambda device: "")
    with pytest.raises(BackendError, match="asked onnxruntime for CUDAExecutionProvider, got CPUExecutionProvider"):
        onnxrt.open_model(SHAPES, "cuda")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("content", [b"", b"this is no model\n" * 9, "half"])
def test_what_is_no_model_is_named(tmp_path: Path, backend: str, content: bytes | str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(SHAPES.read_bytes()[: SHAPES.stat().st_size // 2] if isinstance(content, str) else content)
    with pytest.raises((BackendError, ValueError)) as caught:
        open_model(path, backend)
    assert str(path) in str(caught.value)
    with pytest.raises(Refuse, match="none.onnx"):
        open_model(tmp_path / "none.onnx", backend)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="onnxruntime"):
        open_runner(SHAPES, "onnx", "cpu", 1)
    with pytest.raises(ValueError, match="cpu"):
        open_runner(SHAPES, "openvino", "tpu", 1)


def test_threads_of_python_may_run_one_model_at_once() -> None:
    from nodes.vision.stream import Stage, Stream

    opened = open_model(SHAPES, "openvino", "cpu", 1, 2)
    tensor = opened.prepare(cv2.imread(str(ROOT / "models" / "shapes.jpg")))
    alone = opened.runner.run(tensor)[0].copy()
    together = list(Stream([tensor, tensor * 0] * 8, [Stage("run", lambda item, _: opened.runner.run(item)[0], 4)]))
    for found in together[::2]:
        assert np.allclose(found, alone, atol=1e-3)
    assert not np.allclose(together[1], alone, atol=1e-3)


def test_openvino_computes_in_float32_on_every_processor() -> None:
    """Where the processor has bfloat16, OpenVINO's own choice was that, and boxes moved by pixels."""
    compiled = openvino_.open_model(SHAPES)._compiled
    assert compiled is not None
    assert "float" in str(compiled.get_property("INFERENCE_PRECISION_HINT"))
    assert "bfloat" not in str(compiled.get_property("INFERENCE_PRECISION_HINT"))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_measuring_says_where_it_ran(backend: str) -> None:
    tensor = np.zeros((1, 3, 256, 256), np.float32)
    found = measure_backend(SHAPES, tensor, backend, "cpu", iterations=3, warmup=1, threads=1)
    measured = found["measurement"]
    assert measured["where"] == dict(HERE)[backend]
    assert measured["iterations"] == 3 and 0 < measured["p50_ms"] <= measured["p95_ms"]
    assert found["raw"].ndim == 3
    if backend == "onnxruntime":
        assert measured["shares"] == {"CPUExecutionProvider": 1.0}
    with pytest.raises(ValueError, match="iterations"):
        measure_backend(SHAPES, tensor, backend, iterations=0)


def box(*edges: float, score: float = 0.9, kind: int = 0) -> dict:
    return {"bbox": list(edges), "confidence": score, "class": "x", "class_id": kind}


def test_agreement() -> None:
    one, near = box(0, 0, 100, 100), box(1, 0, 100, 100, score=0.91)
    assert overlap(one["bbox"], near["bbox"]) == pytest.approx(0.99)
    assert agreement([near], [one], 0.25)["agrees"]
    change: list[tuple[list[dict], list[dict], Callable[[dict], bool]]] = [
        ([], [one], lambda found: found["missing"] == 1),
        ([one, box(300, 300, 400, 400)], [one], lambda found: found["extra"] == 1),
        ([box(0, 0, 100, 100, kind=1)], [one], lambda found: found["missing"] == found["extra"] == 1),
        ([box(0, 0, 80, 100)], [one], lambda found: found["worst_iou"] == 0.8),
        ([box(0, 0, 100, 100, score=0.8)], [one], lambda found: found["worst_score_difference"] == 0.1),
    ]
    for found, reference, holds in change:
        result = agreement(found, reference, 0.25)
        assert not result["agrees"] and holds(result), result
    # at the threshold either side may leave a box out
    assert agreement([], [box(0, 0, 9, 9, score=0.26)], 0.25)["agrees"]
