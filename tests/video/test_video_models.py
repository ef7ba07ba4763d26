"""Models of every kind on a video, on both backends: each finds what the plain one finds, or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from nodes.vision.backends.agreement import agreement
from nodes.vision.backends.opening import open_runner
from nodes.vision.backends.protocol import BackendError
from nodes.vision.decode import Detection
from nodes.vision.video import postprocess_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import plan_segments
from wfe import Output, Refuse

from .conftest import SHAPES, Make

BACKENDS = ["onnxruntime", "openvino"]


def plain() -> onnx.ModelProto:
    return onnx.load(SHAPES)


def half() -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made = convert_float_to_float16(plain())
    assert made.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    return made


def opened_axes(model: onnx.ModelProto, *axes: str) -> onnx.ModelProto:
    """The model with these names in place of its input's lengths (batch, height, width), and free lengths in the output."""
    shape = model.graph.input[0].type.tensor_type.shape
    for place, name in zip((0, 2, 3), axes, strict=False):
        shape.dim[place].dim_param = name
    for place, dim in enumerate(model.graph.output[0].type.tensor_type.shape.dim):
        dim.dim_param = f"out{place}"
    return model


def dynamic() -> onnx.ModelProto:
    return opened_axes(plain(), "batch", "height", "width")


def silent() -> onnx.ModelProto:
    made = dynamic()
    del made.metadata_props[:]
    return made


def half_dynamic() -> onnx.ModelProto:
    return opened_axes(half(), "batch", "height", "width")


def channels_last() -> onnx.ModelProto:
    made = plain()
    (given,) = made.graph.input
    made.graph.node.insert(0, helper.make_node("Transpose", ["last"], [given.name], perm=[0, 3, 1, 2]))
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("last", onnx.TensorProto.FLOAT, [1, 256, 256, 3]))
    return made


def larger() -> onnx.ModelProto:
    """One that takes 512 x 384 pixels (width x height): it shrinks them by itself."""
    made = plain()
    (given,) = made.graph.input
    sizes = onnx.numpy_helper.from_array(np.array([1, 3, 256, 256], np.int64), "sizes")
    made.graph.initializer.append(sizes)
    resize = helper.make_node("Resize", ["wide", "", "", "sizes"], [given.name], mode="linear")
    made.graph.node.insert(0, resize)
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("wide", onnx.TensorProto.FLOAT, [1, 3, 384, 512]))
    factors = np.array([2, 1.5, 2, 1.5] + [1] * 6, np.float32)[None, :, None]
    made.graph.initializer.append(onnx.numpy_helper.from_array(factors, "factors"))
    (out,) = made.graph.output
    for node in made.graph.node:
        for place, name in enumerate(node.output):
            if name == out.name:
                node.output[place] = "small"
    made.graph.node.append(helper.make_node("Mul", ["small", "factors"], [out.name]))
    return made


def found(model: Path, video: Path, backend: str, folder: Path, **more: object) -> list[list[Detection]]:
    segments = plan_segments(video)["segments"]
    inferred = [infer_segment(str(video), one, model, backend, sessions=2, threads=1, **more) for one in segments]  # type: ignore[arg-type]
    detections: list[list[Detection]] = postprocess_video(inferred, Output(folder / "found.jsonl"))["detections"]
    return detections


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("build", "more"),
    [
        (half, {}),
        (dynamic, {}),
        (silent, {"input_size": 256, "layout": "yolov8"}),
        (half_dynamic, {}),
        (channels_last, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_same_model_in_another_form_finds_the_same(
    make_video: Make, tmp_path: Path, backend: str, build: Callable[[], onnx.ModelProto], more: dict[str, object]
) -> None:
    video = make_video(count=6)
    model = tmp_path / "model.onnx"
    onnx.save(build(), model)
    expected, mine = (
        found(SHAPES, video, "onnxruntime", tmp_path),
        found(model, video, backend, tmp_path, **more),
    )
    assert len(mine) == len(expected) == 6 and sum(map(len, expected)) > 12
    names = {str(one["class_id"]): one["class"] for frame in expected for one in frame}
    for theirs, ours in zip(expected, mine, strict=True):
        # float16 has 11 bits: boxes of 20 pixels may move by 0.1 of one
        same = agreement(ours, theirs, 0.25)
        assert same["agrees"], same
        for one in ours:
            assert one["class"] == (f"class {one['class_id']}" if build is silent else names[str(one["class_id"])])


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_input_size(make_video: Make, tmp_path: Path, backend: str) -> None:
    video = make_video(count=3)
    model = tmp_path / "model.onnx"
    onnx.save(larger(), model)
    (segment,) = plan_segments(video)["segments"]
    made = infer_segment(str(video), segment, model, backend, sessions=1, threads=1)
    assert (made["detector"]["width"], made["detector"]["height"]) == (512, 384)
    assert made["letterbox"]["inner_width"] == 512 and made["letterbox"]["inner_height"] == 384
    expected = found(SHAPES, video, "onnxruntime", tmp_path)
    mine = found(model, video, backend, tmp_path)
    assert [len(frame) for frame in mine] and sum(map(len, mine)) >= sum(map(len, expected)) / 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_no_model_can_do_is_said(make_video: Make, tmp_path: Path, backend: str) -> None:
    video = make_video(count=3)
    (segment,) = plan_segments(video)["segments"]
    text, empty, unsaid = tmp_path / "text.onnx", tmp_path / "empty.onnx", tmp_path / "unsaid.onnx"
    text.write_text("this is a text\n")
    empty.write_bytes(b"")
    onnx.save(silent(), unsaid)
    for model, kind, said in (
        (text, BackendError, r"text\.onnx: .* cannot open it as a model"),
        (empty, BackendError, r"empty\.onnx: .* cannot open it as a model"),
        (tmp_path / "none.onnx", Refuse, r"none\.onnx: no such model file"),
        (unsaid, ValueError, r"unsaid\.onnx: takes pictures of any size and names none; set 'input_size'"),
    ):
        with pytest.raises(kind, match=said) as caught:
            infer_segment(str(video), segment, model, backend, sessions=1, threads=1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"floor": 2}, "'floor' is 2; it must be from 0"),
        ({"floor": -1}, "'floor' is -1; it must be from 0"),
        ({"floor": float("nan")}, "'floor' is nan; it must be from 0"),
        ({"sessions": -1}, "'sessions' is -1; it must be 1 or more, or 0"),
        ({"threads": -1}, "'threads' is -1; it must be 1 or more, or 0"),
        ({"threads": 9999}, "'threads' is 9999; .* at most "),
        ({"sessions": 9999}, "'sessions' is 9999; .* at most "),
    ],
)
def test_what_is_out_of_range_is_said_before_the_work(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        infer_segment("no.mp4", {}, Path("no.onnx"), **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_detections": -1}, "'max_detections' is -1; it must be 1 or more"),
        ({"max_detections": 0}, "'max_detections' is 0; it must be 1 or more"),
        ({"floor": -1}, "'floor' is -1; it must be from 0 to 1"),
        ({"iou_threshold": 1.5}, "'iou_threshold' is 1.5; it must be from 0 to 1"),
    ],
)
def test_what_is_out_of_range_is_said_for_candidates(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        postprocess_video([], Output(tmp_path / "found.jsonl"), **given)


def test_threads_that_make_no_sense_are_refused_by_every_backend() -> None:
    for backend in BACKENDS:
        for threads in (-1, 9999):
            with pytest.raises(ValueError, match=f"'threads' is {threads}"):
                open_runner(SHAPES, backend, "cpu", threads)
