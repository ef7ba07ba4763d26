"""Reading raw outputs, and suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nodes.vision.decode import Candidates, candidates, cells, counts, read, suppress
from nodes.vision.layout import Detector, Layout, describe, grid
from nodes.vision.letterbox import Letterbox
from wfe import Refuse

SIDE, CLASSES = 64, 3
ANCHORS = grid(SIDE, SIDE)
BOXES = np.array([[4, 6, 20, 30], [30, 8, 60, 40], [10, 40, 30, 62]], dtype=np.float32)
SCORES, LABELS = np.array([0.9, 0.6, 0.3], dtype=np.float32), np.array([2, 0, 1])
NAMES = ["a", "b", "c"]


def raw_of(layout: Layout) -> NDArray[np.float32]:
    """A raw output of this layout that holds BOXES at the anchors 5, 17 and 29."""
    if layout == "end2end":
        rows = np.zeros((1, 10, 6), dtype=np.float32)
        rows[0, :3] = np.concatenate([BOXES, SCORES[:, None], LABELS[:, None]], axis=1)
        return rows
    head = 4 if layout.startswith("yolov8") else 5
    rows = np.zeros((1, ANCHORS, head + CLASSES), dtype=np.float32)
    centre, size = (BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]
    for index, anchor in enumerate((5, 17, 29)):
        if layout == "yolox":
            corner, stride = cells(SIDE, SIDE)[0][anchor], cells(SIDE, SIDE)[1][anchor]
            rows[0, anchor, :2] = centre[index] / stride - corner
            rows[0, anchor, 2:4] = np.log(size[index] / stride)
        else:
            rows[0, anchor, :4] = np.concatenate([centre[index], size[index]])
        rows[0, anchor, head + LABELS[index]] = SCORES[index]
        if head == 5:
            rows[0, anchor, 4] = 0.5
            rows[0, anchor, head + LABELS[index]] *= 2
    return rows.transpose(0, 2, 1) if layout == "yolov8" else rows


def detector_of(layout: Layout, raw: NDArray[Any]) -> Detector:
    images: list[Any] = [("images", (1, 3, SIDE, SIDE), "float32")]
    return describe(images, [("o", raw.shape)], {}, layout=layout, class_names=NAMES)


@pytest.mark.parametrize("layout", ["yolov8", "yolov8-rows", "yolov5", "yolox", "end2end"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_layout_reads_the_same(layout: Layout, dtype: type) -> None:
    raw: NDArray[Any] = raw_of(layout).astype(dtype)
    found = read(raw, detector_of(layout, raw), Letterbox.fit(128, 128, SIDE, SIDE, "centre"), 0.25, 0.45)
    assert [one["class"] for one in found] == ["c", "a", "b"]
    assert [one["class_id"] for one in found] == [2, 0, 1]
    tolerance = 1e-3 if dtype == np.float32 else 0.2
    np.testing.assert_allclose([one["bbox"] for one in found], BOXES * 2, atol=tolerance)
    np.testing.assert_allclose([one["confidence"] for one in found], SCORES, atol=1e-3)


@pytest.mark.parametrize("layout", ["yolov8", "yolox", "end2end"])
def test_threshold(layout: Layout) -> None:
    raw = raw_of(layout)
    way = Letterbox.fit(SIDE, SIDE, SIDE, SIDE, "centre")
    assert len(read(raw, detector_of(layout, raw), way, 0.5)) == 2
    assert read(raw, detector_of(layout, raw), way, 0.95) == []


def test_suppression_keeps_classes_apart() -> None:
    same = np.repeat(BOXES[:1], 3, axis=0)
    found = suppress(Candidates(same, np.array([0.5, 0.9, 0.7], np.float32), np.array([1, 1, 2])), 0.45)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.classes.tolist() == [1, 2]


def test_end2end_is_not_suppressed_again() -> None:
    raw = raw_of("end2end")
    raw[0, 1] = raw[0, 0]
    assert len(read(raw, detector_of("end2end", raw), Letterbox.fit(64, 64, 64, 64, "centre"))) == 3


def overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2)),
        max_size=25,
    ),
    st.sampled_from([0.3, 0.45, 0.7]),
)
def test_suppression_agrees_with_its_definition(rows: list[tuple[int, ...]], threshold: float) -> None:
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    scores = np.linspace(0.9, 0.3, len(rows), dtype=np.float32)  # best first, no ties
    found = suppress(Candidates(boxes, scores, table[:, 4].astype(np.int64)), threshold)
    kept: list[int] = []
    for index in range(len(rows)):
        doubled = [overlap(boxes[index], boxes[other]) for other in kept if table[other, 4] == table[index, 4]]
        if any(abs(value - threshold) < 1e-4 for value in doubled):
            return  # a rounding error away from the threshold, either answer is right
        if not any(value > threshold for value in doubled):
            kept.append(index)
    assert found.scores.tolist() == scores[kept].tolist()
    np.testing.assert_array_equal(found.boxes, boxes[kept])


def test_most_keeps_the_best() -> None:
    boxes = np.array([[10 * i, 0, 10 * i + 5, 5] for i in range(20)], dtype=np.float32)
    scores = np.linspace(0.3, 0.9, 20, dtype=np.float32)
    found = suppress(Candidates(boxes, scores, np.zeros(20, np.int64)), 0.45, most=4)
    assert found.scores.tolist() == scores[::-1][:4].tolist()


def test_rows_keep_every_bit() -> None:
    raw = raw_of("yolox")
    found = candidates(raw, detector_of("yolox", raw), 0.01)
    again = Candidates.from_rows(found.to_rows())
    np.testing.assert_array_equal(found.boxes, again.boxes)
    np.testing.assert_array_equal(found.scores, again.scores)
    np.testing.assert_array_equal(found.classes, again.classes)


def test_boxes_off_the_picture_are_dropped_and_others_clipped() -> None:
    raw = np.zeros((1, 4 + CLASSES, ANCHORS), dtype=np.float32)
    raw[0, :5, 0] = (32, 8, 10, 10, 0.9)  # in the padding above the picture
    raw[0, :5, 1] = (2, 32, 20, 10, 0.8)  # half over the left edge
    found = read(raw, detector_of("yolov8", raw), Letterbox.fit(128, 64, SIDE, SIDE, "centre"))
    assert [one["bbox"] for one in found] == [[0.0, 22.0, 24.0, 42.0]]


def test_bad_values_are_errors() -> None:
    raw = raw_of("yolov8")
    detector, way = detector_of("yolov8", raw), Letterbox.fit(SIDE, SIDE, SIDE, SIDE, "centre")
    for conf, iou in ((1.5, 0.45), (-0.1, 0.45), (0.25, 2.0), (float("nan"), 0.4)):
        with pytest.raises(ValueError, match="must be from 0 to 1"):
            read(raw, detector, way, conf, iou)
    broken = raw.copy()
    broken[0, 4, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        read(broken, detector, way)
    with pytest.raises(ValueError, match="one picture"):
        read(np.zeros((2, 7, 84), np.float32), detector, way)
    with pytest.raises(ValueError, match="no class scores"):
        read(np.zeros((1, 4, 84), np.float32), detector, way)


@pytest.mark.parametrize("layout", ["yolov8", "yolov8-rows", "yolov5", "yolox", "end2end"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_no_number_is_an_error(layout: Layout, value: float) -> None:
    raw = raw_of(layout)
    way = Letterbox.fit(SIDE, SIDE, SIDE, SIDE, "centre")
    rows = raw[0].T if layout == "yolov8" else raw[0]
    found = int(np.argmax(rows[:, 4] if layout == "end2end" else rows[:, 5:].max(axis=1)))
    rows[found, 2] = value
    with pytest.raises(Refuse, match="boxes are not finite"):
        read(raw, detector_of(layout, raw), way)
    rows[found, 2] = 10
    rows[-1, 0] = value  # of a row that is not kept nobody asks
    assert len(read(raw, detector_of(layout, raw), way)) == 3
    raw[:] = np.nan
    with pytest.raises(Refuse, match="scores are not finite"):
        read(raw, detector_of(layout, raw), way)


@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "end2end"])
def test_scores_that_are_none_are_an_error(layout: Layout) -> None:
    raw = raw_of(layout)
    way = Letterbox.fit(SIDE, SIDE, SIDE, SIDE, "centre")
    rows = raw[0].T if layout == "yolov8" else raw[0]
    rows[-1, :4] = (10, 10, 20, 20)
    rows[-1, 4:] = 1.001  # what rounding makes of 1
    assert len(read(raw, detector_of(layout, raw), way)) == 4
    rows[-1, 4:] = 5
    with pytest.raises(Refuse, match=r"a score of (5|25), and scores are from 0 to 1; export it with its sigmoid"):
        read(raw, detector_of(layout, raw), way)


def test_a_wrong_grid_is_an_error() -> None:
    raw = raw_of("yolox")
    with pytest.raises(ValueError, match="is not yolox on 64 x 64"):
        read(raw[:, :-1], detector_of("yolox", raw), Letterbox.fit(64, 64, 64, 64, "corner"))


def test_counts_are_ordered() -> None:
    found: Any = [{"class": name} for name in "bab"]
    assert list(counts(found).items()) == [("b", 2), ("a", 1)]
