"""Node: boxes, scores and classes from a detector's raw output, with doubles suppressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from nodes.vision.decode import counts, read
from nodes.vision.layout import Detector
from nodes.vision.letterbox import Letterbox
from wfe import workflow_node


@workflow_node(outputs={"detections": "list", "counts": "dict"})
def detect(
    raw: np.ndarray,
    detector: dict[str, Any],
    letterbox: dict[str, Any],
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    max_detections: int = 300,
) -> dict[str, Any]:
    """The detections on the picture, best first, and how many there are of each class.

    A detection is {bbox [x1, y1, x2, y2] in pixels, confidence, class, class_id}. A box counts when its score is above
    `conf_threshold`; of two boxes of one class that overlap by more than `iou_threshold` the better one stays.
    """
    detections = read(
        raw, Detector.from_json(detector), Letterbox.from_json(letterbox), conf_threshold, iou_threshold, max_detections
    )
    return {"detections": detections, "counts": counts(detections)}
