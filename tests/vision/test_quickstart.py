"""The quickstart: its scenes, its picture, its detector, its steps and its document."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import wfe
from models.draw_picture import HEIGHT, THINGS, WIDTH, draw_picture
from models.evaluate_shapes import held_out, iou, matched, measure
from models.shapes import (
    CLASSES,
    LARGEST,
    MOST_HIDDEN,
    SMALLEST,
    box_of,
    draw_scene,
    fill,
    hidden_part,
    outline,
    place,
)
from nodes.vision.decode import Detection, counts
from nodes.vision.detect import detect
from nodes.vision.drawing import annotate, class_colour, draw
from nodes.vision.inference import infer
from nodes.vision.model import inspect_model
from nodes.vision.picture import load_picture
from nodes.vision.preprocess import preprocess
from nodes.vision.results import save_detections, show_table, table_of
from wfe import Output

SOME: list[Any] = [
    {"bbox": [10.0, 60.0, 60.0, 90.0], "confidence": 0.9, "class": "star", "class_id": 3},
    {"bbox": [70.0, 5.0, 99.0, 50.0], "confidence": 0.4, "class": "circle", "class_id": 0},
]


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Any]:
    model = root / "models" / "shapes.onnx"
    loaded = load_picture(root / "models" / "shapes.jpg")
    detector = inspect_model(model)["detector"]
    ready = preprocess(loaded["image"], detector)
    raw = infer(model, ready["tensor"], detector)["raw"]
    return {**loaded, "detector": detector, "raw": raw, **detect(raw, detector, ready["letterbox"])}


def test_the_detector_says_what_it_is(root: Path, found: dict[str, Any]) -> None:
    detector = found["detector"]
    assert (detector["layout"], detector["width"], detector["height"]) == ("yolov8", 256, 256)
    assert tuple(detector["names"]) == CLASSES
    assert found["raw"].shape == (1, 4 + len(CLASSES), 1344)
    assert (root / "models" / "shapes.onnx").stat().st_size < 1_000_000


def test_every_thing_on_the_default_picture_is_found(found: dict[str, Any]) -> None:
    left = list(found["detections"])
    for name, x, y, radius, angle, _, thickness, _ in THINGS:
        points = place(outline(CLASSES.index(name)), x, y, radius, float(np.radians(angle)))
        box = np.array(box_of(points, thickness / 2))
        near = [one for one in left if one["class"] == name and iou(np.array(one["bbox"]), box) > 0.75]
        assert len(near) == 1, (name, box, near)
        left.remove(near[0])
    assert left == []


def test_the_default_picture_holds_only_what_the_detector_is_made_for() -> None:
    """Its things have the sizes of the training's scenes, all classes are there, and none is hidden more than there."""
    boxes = []
    for name, x, y, radius, angle, _, thickness, _ in THINGS:
        assert SMALLEST <= radius / max(WIDTH, HEIGHT) <= LARGEST
        boxes.append(box_of(place(outline(CLASSES.index(name)), x, y, radius, float(np.radians(angle))), thickness / 2))
    assert {thing[0] for thing in THINGS} == set(CLASSES)
    for index, box in enumerate(boxes):
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT
        assert hidden_part(box, boxes[index + 1 :]) <= MOST_HIDDEN


def test_shapes_on_a_scene_are_never_hidden_more_than_said() -> None:
    for index in range(20):
        boxes = [shape.box for shape in draw_scene(np.random.default_rng([5, index]), 160, 120).shapes]
        assert boxes
        for place_, box in enumerate(boxes):
            assert hidden_part(box, boxes[place_ + 1 :]) < MOST_HIDDEN + 0.05  # boxes were cut at the picture's edge


def test_the_hidden_part_counts_every_later_shape() -> None:
    assert hidden_part((0, 0, 10, 10), []) == 0
    assert hidden_part((0, 0, 10, 10), [(5, 5, 20, 20), (-5, 0, 1, 10), (10, 0, 20, 10)]) == pytest.approx(0.35)


def test_the_default_picture_is_the_drawn_one(found: dict[str, Any]) -> None:
    assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert np.abs(found["image"].astype(int) - draw_picture()).mean() < 4  # JPEG took the rest


@pytest.mark.slow
def test_accuracy_on_scenes_that_no_training_saw(root: Path) -> None:
    accuracy = measure(root / "models" / "shapes.onnx", list(held_out(50)))
    assert accuracy.map50 > 0.97
    assert accuracy.map50_95 > 0.72
    assert accuracy.precision > 0.92
    assert accuracy.recall > 0.95


def test_matching_takes_each_shape_once() -> None:
    truth = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30]])
    assert matched(boxes, np.array([1, 1, 2]), truth, np.array([1, 2])) == 2
    assert matched(boxes, np.array([1, 1, 1]), truth, np.array([1, 2])) == 1


def test_a_seed_decides_a_scene() -> None:
    one, two = (draw_scene(np.random.default_rng([3, 4]), 200, 150) for _ in range(2))
    assert one.shapes == two.shapes
    assert hashlib.sha256(one.picture.tobytes()).digest() == hashlib.sha256(two.picture.tobytes()).digest()
    assert draw_scene(np.random.default_rng([3, 5]), 200, 150).shapes != one.shapes


@pytest.mark.parametrize("class_id", range(len(CLASSES)))
def test_boxes_are_tight(class_id: int) -> None:
    points = place(outline(class_id), 100.3, 90.7, 60, 0.4)
    canvas = np.zeros((200, 200, 3), dtype=np.uint8)
    fill(canvas, points, (255, 255, 255))
    rows, columns = np.where(canvas[..., 0] > 127)
    np.testing.assert_allclose(box_of(points), [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.5)


def test_drawing_marks_the_boxes_and_leaves_the_picture(tmp_path: Path) -> None:
    picture = np.full((100, 100, 3), 90, dtype=np.uint8)
    drawn = annotate(picture, SOME)
    assert (picture == 90).all()
    assert drawn[75, 10].tolist() == pytest.approx(class_colour(3), abs=40)
    assert drawn[30, 99].tolist() == pytest.approx(class_colour(0), abs=40)
    assert drawn[75, 35].tolist() == [90, 90, 90]
    draw(picture, SOME, Output(tmp_path / "a.png"))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), drawn)
    with pytest.raises(ValueError, match=r"cannot be written as \.docx; use \.jpg or \.png"):
        draw(picture, SOME, Output(tmp_path / "a.docx"))


def test_drawing_nothing_and_at_the_edge() -> None:
    picture = np.zeros((40, 40, 3), dtype=np.uint8)
    assert (annotate(picture, []) == 0).all()
    edge: list[Any] = [{"bbox": [0.0, 0.0, 40.0, 40.0], "confidence": 1.0, "class": "x" * 50, "class_id": 99}]
    assert annotate(picture, edge).any()


def test_json_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_detections(SOME, 100, 80, Output(tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text()) == {"width": 100, "height": 80, "detections": SOME}
    told: list[str] = []
    monkeypatch.setattr(wfe, "_emit", lambda kind, fields: told.append(fields["message"]))
    table = show_table(SOME)["table"]
    assert told == table.split("\n")
    assert told == [
        "class   score   x1     y1     x2     y2",
        "star    0.900     10     60     60     90",
        "circle  0.400     70      5     99     50",
        "2 found: 1 circle, 1 star",
    ]
    assert table_of([]) == ["nothing found above the confidence threshold"]


def test_a_higher_threshold_finds_a_part_of_it(found: dict[str, Any]) -> None:
    ready = preprocess(found["image"], found["detector"])
    fewer: list[Detection] = detect(found["raw"], found["detector"], ready["letterbox"], 0.9)["detections"]
    assert 0 < len(fewer) < len(found["detections"])
    assert all(one in found["detections"] for one in fewer)
    assert sum(counts(fewer).values()) == len(fewer)
