"""What a model wants and gives, from shapes and metadata."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.vision.coco import COCO
from nodes.vision.layout import Detector, describe, grid, layout_of, names_of

A640, A416 = grid(640, 640), grid(416, 416)
IMAGES = [("images", (1, 3, 640, 640), "float32")]
TWO = {"names": "{0: 'a', 1: 'b'}"}


def test_cells_of_the_usual_sizes() -> None:
    assert (A640, A416) == (8400, 3549)


@pytest.mark.parametrize(
    ("shape", "side", "metadata", "layout"),
    [
        ((1, 84, A640), 640, {}, "yolov8"),
        ((1, 6, A640), 640, {}, "yolov8"),
        ((1, 5, A640), 640, {}, "yolov8"),
        ((1, A640, 84), 640, {}, "yolov8-rows"),
        ((1, A640, 6), 640, TWO, "yolov8-rows"),
        ((1, A416, 85), 416, {}, "yolox"),
        ((1, A640, 7), 640, TWO, "yolox"),
        ((1, 3 * A640, 85), 640, {}, "yolov5"),
        ((1, 300, 6), 640, {}, "end2end"),
        ((1, None, 6), 640, {}, "end2end"),
        ((1, A640, 6), 640, {"end2end": "True"}, "end2end"),
        ((None, 6, None), 640, TWO, "yolov8"),
    ],
)
def test_layouts_are_told_apart(
    shape: tuple[int | None, ...], side: int, metadata: dict[str, str], layout: str
) -> None:
    assert layout_of(shape, side, side, len(names_of(metadata)), metadata) == layout


@pytest.mark.parametrize(
    "text",
    [
        "{'aa': 0, 'bb': 1}",
        '{"aa": 0}',
        "{0: 'aa', 1000000000: 'bb'}",
        "{-1: 'aa', 0: 'bb'}",
        "{0.5: 'aa'}",
        "7",
        "(" * 5000,
        "[" * 100_000,
    ],
)
def test_names_that_are_no_map_from_ids_are_passed_over(text: str) -> None:
    assert names_of({"names": text}) == ()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, A640, 6), "yolov8-rows with 2 classes or yolox with 1"),
        ((1, 10, 20), "no known layout"),
        ((1, 1000), "no known layout"),
    ],
)
def test_a_doubtful_layout_is_asked_for(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*set 'layout'"):
        layout_of(shape, 640, 640, 0, {})
    assert layout_of(shape, 640, 640, 0, {}, "yolox") == "yolox"


def test_an_unknown_layout_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'yolo9000'; known: auto, yolov8"):
        layout_of((1, 84, A640), 640, 640, 0, {}, "yolo9000")


def test_yolov8_with_metadata() -> None:
    found = describe(IMAGES, [("output0", (1, 6, A640))], {**TWO, "imgsz": "[640, 640]", "task": "detect"})
    assert (found.layout, found.names, found.fit, found.colour, found.scale) == (
        "yolov8",
        ("a", "b"),
        "centre",
        "rgb",
        1.0,
    )
    assert (found.width, found.height, found.batch, found.channels_last) == (640, 640, 1, False)
    assert Detector.from_json(found.to_json()) == found
    assert (found.name(1), found.name(7)) == ("b", "class 7")


def test_yolox_without_metadata_gets_coco_and_its_own_input() -> None:
    found = describe([("images", (1, 3, 416, 416), "float32")], [("output", (1, A416, 85))], {})
    assert (found.layout, found.names, found.fit, found.colour, found.scale) == ("yolox", COCO, "corner", "bgr", 255.0)


def test_parameters_overrule() -> None:
    found = describe(
        IMAGES, [("o", (1, A640, 7))], {}, layout="yolox", fit="stretch", colour="rgb", class_names=["x", "y"]
    )
    assert (found.layout, found.fit, found.colour, found.names) == ("yolox", "stretch", "rgb", ("x", "y"))
    with pytest.raises(ValueError, match="parameter 'colour' is 'grb'; known: auto, rgb, bgr"):
        describe(IMAGES, [("o", (1, 84, A640))], {}, colour="grb")


def test_dynamic_axes() -> None:
    free: list[Any] = [("images", ("batch", 3, "height", "width"), "float32")]
    out: list[Any] = [("output0", ("batch", 6, "anchors"))]
    asked: list[tuple[int, ...]] = []

    def probe(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        asked.append(shape)
        return [(1, 6, grid(shape[3], shape[2]))]

    found = describe(free, out, {**TWO, "imgsz": "[320, 480]"}, probe=probe)
    assert (found.height, found.width, found.batch, found.layout) == (320, 480, 0, "yolov8")
    assert asked == [(1, 3, 320, 480)]
    assert describe(free, out, TWO, input_size=256, probe=probe).width == 256
    with pytest.raises(ValueError, match="set 'input_size'"):
        describe(free, out, TWO, probe=probe)


def test_channels_last() -> None:
    found = describe([("x", (1, 320, 640, 3), "float16")], [("o", (1, 84, grid(640, 320)))], {})
    assert (found.channels_last, found.height, found.width, found.dtype) == (True, 320, 640, "float16")


@pytest.mark.parametrize(
    ("inputs", "outputs", "metadata", "parameters", "said"),
    [
        (IMAGES, [("o", (1, 84, A640))], {"task": "segment"}, {}, "task is 'segment'"),
        (IMAGES * 2, [("o", (1, 84, A640))], {}, {}, "has 2 inputs"),
        ([("ids", (1, 77), "int64")], [("o", (1, 77))], {}, {}, "takes no pictures"),
        ([("x", (1, 1, 28, 28), "float32")], [("o", (1, 10))], {}, {}, "without an axis of 3 colours"),
        ([("x", (1, 3, 640, 640), "uint8")], [("o", (1, 84, A640))], {}, {}, "is uint8"),
        (IMAGES, [("o", (1, 84, A640))], {}, {"input_size": 320}, "takes 640 x 640 pixels only"),
        (IMAGES, [("o", (1, 84, A640))], {}, {"class_names": ["a"]}, "1 class names for 80 classes"),
        (IMAGES, [("a", (1, 100, 4)), ("b", (1, 100, 80))], {}, {}, "2 outputs .*single output"),
        ([("x", (1, 3, None, None), "float32")], [("o", (1, 84, None))], {}, {"input_size": 7}, "32 to 8192"),
    ],
)
def test_what_cannot_be_is_said(inputs: Any, outputs: Any, metadata: Any, parameters: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        describe(inputs, outputs, metadata, model="m.onnx", **parameters)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'a', 1: 'b c'}", ("a", "b c")),
        ('{"0": "a", "2": "c"}', ("a", "class 1", "c")),
        ('["a", "b"]', ("a", "b")),
        ("", ()),
        ("nonsense", ()),
    ],
)
def test_names_in_any_writing(text: str, names: tuple[str, ...]) -> None:
    assert names_of({"names": text}) == names


def test_coco_has_80_different_names() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert (COCO[0], COCO[5], COCO[32], COCO[79]) == ("person", "bus", "sports ball", "toothbrush")
