"""Models of every kind through the nodes: inspect, preprocess, infer, detect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nodes.vision.decode import Detection
from nodes.vision.detect import detect
from nodes.vision.inference import infer
from nodes.vision.layout import grid
from nodes.vision.model import inspect_model
from nodes.vision.preprocess import preprocess
from nodes.vision.video_model import open_model
from wfe import Refuse

Build = Callable[..., Path]
NAMES = {"names": "{0: 'a', 1: 'b'}"}


def answer(side: int = 64, batch: int = 1) -> NDArray[np.float32]:
    """A yolov8 output for two classes: class b with 0.8 at 10..30, 20..40 of the input."""
    raw = np.zeros((batch, 6, grid(side, side)), dtype=np.float32)
    raw[:, :, 3] = (20, 30, 20, 20, 0.1, 0.8)
    return raw


def chain(model: Path, picture: NDArray[np.uint8], **parameters: Any) -> list[Detection]:
    detector = inspect_model(model, **parameters)["detector"]
    ready = preprocess(picture, detector)
    raw = infer(model, ready["tensor"], detector)["raw"]
    found: list[Detection] = detect(raw, detector, ready["letterbox"])["detections"]
    return found


PICTURE = np.full((128, 128, 3), 100, dtype=np.uint8)
FOUND = [{"bbox": [20.0, 40.0, 60.0, 80.0], "confidence": 0.8, "class": "b", "class_id": 1}]


def near(found: list[Detection], wanted: list[dict[str, Any]] = FOUND) -> None:
    assert [one["class"] for one in found] == [one["class"] for one in wanted]
    np.testing.assert_allclose([one["bbox"] for one in found], [one["bbox"] for one in wanted], atol=0.1)
    np.testing.assert_allclose([one["confidence"] for one in found], [one["confidence"] for one in wanted], atol=1e-3)


def test_a_plain_model(constant_model: Build) -> None:
    near(chain(constant_model(answer(), metadata=NAMES), PICTURE))


def test_half_precision(constant_model: Build) -> None:
    model = constant_model(answer(), metadata=NAMES, half=True)
    detector = inspect_model(model)["detector"]
    assert detector["dtype"] == "float16"
    assert preprocess(PICTURE, detector)["tensor"].dtype == np.float16
    near(chain(model, PICTURE))


def test_another_input_size_that_is_not_square(constant_model: Build) -> None:
    raw = np.zeros((1, 6, grid(96, 64)), dtype=np.float32)
    raw[0, :, 0] = (48, 32, 20, 10, 0.0, 0.9)
    found = chain(constant_model(raw, (1, 3, 64, 96), metadata=NAMES), np.zeros((128, 192, 3), np.uint8))
    near(found, [{"bbox": [76, 54, 116, 74], "confidence": 0.9, "class": "b"}])


def test_dynamic_axes_with_and_without_a_size(constant_model: Build) -> None:
    model = constant_model(
        answer(), ("batch", 3, "height", "width"), ("batch", 6, "anchors"), metadata={**NAMES, "imgsz": "[64, 64]"}
    )
    near(chain(model, PICTURE))
    silent = constant_model(
        answer(), ("batch", 3, "height", "width"), ("batch", 6, "anchors"), metadata=NAMES, name="silent.onnx"
    )
    with pytest.raises(ValueError, match=r"silent\.onnx: takes pictures of any size and names none; set 'input_size'"):
        inspect_model(silent)
    near(chain(silent, PICTURE, input_size=64))


def test_a_fixed_batch(constant_model: Build) -> None:
    near(chain(constant_model(answer(batch=4), (4, 3, 64, 64), metadata=NAMES), PICTURE))


def test_no_metadata(constant_model: Build) -> None:
    found = chain(constant_model(answer()), PICTURE)
    assert [one["class"] for one in found] == ["class 1"]
    named = chain(constant_model(answer(), name="n.onnx"), PICTURE, class_names=["cat", "dog"])
    assert [one["class"] for one in named] == ["dog"]


def test_channels_last(constant_model: Build) -> None:
    near(chain(constant_model(answer(), (1, 64, 64, 3), metadata=NAMES), PICTURE))


def test_the_layout_must_be_told_when_in_doubt(constant_model: Build) -> None:
    model = constant_model(answer().transpose(0, 2, 1).copy())
    with pytest.raises(ValueError, match=r"model\.onnx: .*yolov8-rows with 2 classes or yolox with 1.*set 'layout'"):
        inspect_model(model)
    assert [one["class_id"] for one in chain(model, PICTURE, layout="yolov8-rows")] == [1]


def test_colour_order_range_and_place() -> None:
    picture = np.full((32, 64, 3), (10, 20, 30), dtype=np.uint8)  # blue 10, green 20, red 30
    common = {
        "width": 64, "height": 64, "names": [], "channels_last": False,
        "dtype": "float32", "batch": 1, "input": "i", "output": "o",
    }  # fmt: skip
    rgb = preprocess(picture, {**common, "layout": "yolov8", "fit": "centre", "colour": "rgb", "scale": 1.0})["tensor"]
    assert rgb.shape == (1, 3, 64, 64)
    assert rgb.flags.c_contiguous
    np.testing.assert_allclose(rgb[0, :, 32, 5] * 255, [30, 20, 10], rtol=1e-6)
    np.testing.assert_allclose(rgb[0, :, 2, 5] * 255, [114] * 3, rtol=1e-6)
    bgr = preprocess(picture, {**common, "layout": "yolox", "fit": "corner", "colour": "bgr", "scale": 255.0})["tensor"]
    assert bgr[0, :, 2, 5].tolist() == [10, 20, 30]
    assert bgr[0, :, 50, 5].tolist() == [114] * 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello, I am a text\n", "starts like text"),
        (b"", "the model file is empty"),
        (b"\x08\x07\x12\x00junk", "is no ONNX"),
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        inspect_model(path)
    assert "bad.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_model_is_said(constant_model: Build) -> None:
    path = constant_model(answer())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is no ONNX model that onnxruntime can load"):
        inspect_model(path)


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refuse, match=r"none\.onnx: there is no such model file; set 'model_path'"):
        inspect_model(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="is a folder"):
        inspect_model(tmp_path)


def test_a_changed_model_file_is_opened_again(constant_model: Build) -> None:
    path = constant_model(answer(), metadata=NAMES)
    assert len(chain(path, PICTURE)) == 1
    constant_model(np.zeros_like(answer()), metadata={**NAMES, "longer": "so that the size differs"})
    assert chain(path, PICTURE) == []


def test_a_size_that_is_not_square(constant_model: Build) -> None:
    raw = np.zeros((1, 6, 168), dtype=np.float32)
    raw[:, :, 3] = (64, 32, 40, 10, 0.9, 0.1)
    model = constant_model(raw, ("b", 3, "h", "w"), ("b", 6, "n"), metadata=NAMES)
    detector = inspect_model(model, input_size=[64, 128])["detector"]
    assert (detector["height"], detector["width"]) == (64, 128)
    opened = open_model(model, input_size=[64, 128])
    assert opened.prepare(PICTURE).shape == (1, 3, 64, 128)
    with pytest.raises(Refuse, match=r"input size \[64\] is not a side, or \[height, width\]"):
        inspect_model(model, input_size=[64])


def test_a_tensor_of_the_wrong_size_is_said(constant_model: Build) -> None:
    model = constant_model(answer(), metadata=NAMES)
    detector = inspect_model(model)["detector"]
    with pytest.raises(ValueError, match="does not run on an input of 1 x 3 x 32 x 32"):
        infer(model, np.zeros((1, 3, 32, 32), np.float32), detector)


def test_a_count_that_leaves_nothing_is_refused(constant_model: Build) -> None:
    detector = inspect_model(constant_model(answer(), metadata=NAMES))["detector"]
    letterbox = preprocess(PICTURE, detector)["letterbox"]
    for most in (0, -1):
        with pytest.raises(ValueError, match=f"'max_detections' is {most}; it must be 1 or more"):
            detect(answer(), detector, letterbox, max_detections=most)
