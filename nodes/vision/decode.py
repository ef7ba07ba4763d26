"""Reads a detector's raw output: boxes, scores and classes, then suppression of doubles, then boxes on the picture.

Knows every layout of layout.py. Does not know where the output comes from: any backend's array will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from nodes.vision.layout import STRIDES, Detector
from nodes.vision.letterbox import Letterbox
from wfe import Refuse

Floats = NDArray[np.floating[Any]]


Detection = TypedDict(
    "Detection",
    {
        "bbox": list[float],
        "confidence": float,
        "class": str,
        "class_id": int,
    },  # `class` is no name that a class could define
)
"""One found object: its box [x1, y1, x2, y2] in pixels of the picture, score 0..1, class name and class number."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes n x 4 (x1, y1, x2, y2 in input pixels, float32), scores n (float32) and class ids n (int64)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def take(self, index: Any) -> Candidates:
        """Some of them, by an index array or a mask, in its order."""
        return Candidates(self.boxes[index], self.scores[index], self.classes[index])

    def above(self, conf_threshold: float) -> Candidates:
        """Those with a score above the threshold."""
        return self.take(self.scores > conf_threshold)

    def best(self, most: int) -> Candidates:
        """The `most` best, best first; equal scores keep their order."""
        return self.take(np.argsort(-self.scores, kind="stable")[:most])

    def to_rows(self) -> NDArray[np.float32]:
        """All in one array, n x 6: x1, y1, x2, y2, score, class id. An array: as JSON, a thousand rows take 0.1 s to keep."""
        columns = (self.boxes, self.scores[:, None], self.classes[:, None])
        return np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")

    @classmethod
    def from_rows(cls, rows: NDArray[np.float32]) -> Candidates:
        """The candidates that `to_rows` wrote."""
        return cls(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def candidates(output: Floats, detector: Detector, conf_threshold: float) -> Candidates:
    """All boxes of one picture whose score is above `conf_threshold`, doubles included.

    output: one picture's raw output, without the batch axis or with one of length 1; any float type.
    Raises wfe.Refuse when the output has not the form of the detector's layout, is not finite, or scores are above 1.
    """
    raw = output[0] if output.ndim == 3 and output.shape[0] == 1 else output
    if raw.ndim != 2:
        raise Refuse(f"expected the raw output of one picture, got an array of shape {output.shape}")
    layout = detector.layout
    if layout == "end2end":
        return _end2end(raw, conf_threshold)
    rows = raw.T if layout == "yolov8" else raw  # anchors x features; a view
    head = 4 if layout in ("yolov8", "yolov8-rows") else 5
    if rows.shape[1] <= head:
        raise Refuse(f"an output of shape {output.shape} has no class scores when read as {layout}; set 'layout'")
    scores_of_all = rows[:, head:]
    best = scores_of_all.max(axis=1).astype(np.float32)
    if head == 5:
        best = best * rows[:, 4].astype(np.float32)
    _check_scores(best)
    kept = np.flatnonzero(best > conf_threshold)
    classes = scores_of_all[kept].argmax(axis=1)
    boxes = rows[kept, :4].astype(np.float32)
    if layout == "yolox":
        centres, strides = cells(detector.width, detector.height)
        if len(centres) != len(rows):
            raise Refuse(
                f"an output of {len(rows)} rows is not yolox on {detector.width} x {detector.height} pixels, "
                f"which has {len(centres)} cells; set 'layout' or 'input_size'"
            )
        stride = strides[kept, None]
        boxes = np.concatenate([(boxes[:, :2] + centres[kept]) * stride, np.exp(boxes[:, 2:]) * stride], axis=1)
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return Candidates(_finite(corners), best[kept], classes.astype(np.int64))


def suppress(found: Candidates, iou_threshold: float, most: int = 300) -> Candidates:
    """Drop boxes that overlap a better one of their class by more than `iou_threshold`; best first, at most `most`.

    The work is done by OpenCV's NMSBoxesBatched, which keeps the classes apart.
    """
    import cv2

    if not len(found.scores):
        return found
    sized = found.boxes.copy()
    sized[:, 2:] -= sized[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(
        sized.astype(np.float64).tolist(), found.scores.tolist(), found.classes.tolist(), 0.0, float(iou_threshold)
    )
    index = np.asarray(kept, dtype=np.int64).reshape(-1)
    order = np.lexsort((index, -found.scores[index]))
    return found.take(index[order][:most])


def read(
    output: Floats,
    detector: Detector,
    letterbox: Letterbox,
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    most: int = 300,
) -> list[Detection]:
    """The detections on one picture, best first: `candidates`, `suppress` (but for end2end), boxes on the picture.

    Raises wfe.Refuse on thresholds outside 0..1, on `most` below 1, and as `candidates` does.
    """
    checked(conf_threshold, iou_threshold, most)
    found = kept(candidates(output, detector, conf_threshold), detector, iou_threshold, most)
    return as_json(found, detector, letterbox)


def checked(conf_threshold: float, iou_threshold: float, max_detections: int = 300, floor: float = 0.0) -> None:
    """Raise wfe.Refuse when a threshold is not from 0 to 1, or no detection could be left."""
    thresholds = {"conf_threshold": conf_threshold, "iou_threshold": iou_threshold, "floor": floor}
    for parameter, value in thresholds.items():
        if not 0.0 <= value <= 1.0:
            raise Refuse(f"{parameter!r} is {value}; it must be from 0 to 1")
    if max_detections < 1:  # a negative one would cut off the worst detections instead
        raise Refuse(f"'max_detections' is {max_detections}; it must be 1 or more")


def kept(found: Candidates, detector: Detector, iou_threshold: float, most: int = 300) -> Candidates:
    """The candidates without doubles, best first, at most `most`; an end2end model has dropped its doubles itself."""
    return found.best(most) if detector.layout == "end2end" else suppress(found, iou_threshold, most)


def as_json(found: Candidates, detector: Detector, letterbox: Letterbox) -> list[Detection]:
    """Plain values on the picture: pixels to 1/100, scores to 1/10000; boxes off the picture are dropped."""
    detections: list[Detection] = []
    on_picture = letterbox.to_picture(found.boxes)
    for box, score, class_id in zip(on_picture, found.scores, found.classes, strict=True):
        x1, y1, x2, y2 = (round(float(number), 2) for number in box)
        if x2 <= x1 or y2 <= y1:
            continue
        detections.append(
            {
                "bbox": [x1, y1, x2, y2],
                "confidence": round(float(score), 4),
                "class": detector.name(int(class_id)),
                "class_id": int(class_id),
            }
        )
    return detections


def counts(detections: Sequence[Detection]) -> dict[str, int]:
    """How many detections each class has, the most frequent first, then by name."""
    found: dict[str, int] = {}
    for detection in detections:
        found[detection["class"]] = found.get(detection["class"], 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@lru_cache(maxsize=8)
def cells(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each cell of strides 8, 16, 32 in row order: column and row (n x 2), and stride (n)."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _end2end(raw: Floats, conf_threshold: float) -> Candidates:
    if raw.shape[1] != 6:
        raise Refuse(f"an end2end output has rows of 6 numbers, this one {raw.shape[1]}; set 'layout'")
    scores = raw[:, 4].astype(np.float32)
    _check_scores(scores)
    kept = np.flatnonzero(scores > conf_threshold)
    return Candidates(_finite(raw[kept, :4]), scores[kept], _finite(raw[kept, 5]).astype(np.int64))


def _check_scores(scores: NDArray[np.float32]) -> None:
    """Raise wfe.Refuse unless all are finite, and none is so far above 1 that rounding does not explain it."""
    if not np.isfinite(scores).all():
        raise Refuse("the model's scores are not finite (NaN or infinite); a float16 model may need float32")
    if scores.max(initial=0) > 1.01:
        raise Refuse(
            f"the model gives a score of {scores.max():.4g}, and scores are from 0 to 1; "
            "export it with its sigmoid, or set 'layout' if its output is read the wrong way"
        )


def _finite(values: Floats) -> NDArray[np.float32]:
    """The values as float32. Raises wfe.Refuse when one is not finite."""
    single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise Refuse("the model's boxes are not finite (NaN or infinite); a float16 model may need float32")
    return single
