"""Whether two sets of detections of one picture say the same: matched by class and overlap, compared by score.

Pure arithmetic on detections; knows no model and no backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodes.vision.decode import Detection

IOU = 0.9
SCORE = 0.02
"""The tolerance: boxes that overlap by 0.9 or more, scores at most 0.02 apart. Runtimes sum in different orders and
OpenVINO computes in bfloat16 where the processor can, which moves scores by up to 0.01."""


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2; 0 when neither has an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0


def agreement(
    found: Sequence[Detection], reference: Sequence[Detection], threshold: float, iou: float = IOU, score: float = SCORE
) -> dict[str, Any]:
    """How `found` compares with `reference`.

    {agrees, matched, missing, extra, worst_iou, worst_score_difference, tolerance}. Each reference takes the unused box
    of its class that overlaps it most. A box without a partner counts as missing or extra unless its score is within
    `score` of `threshold`, where either side may rightly leave it out.
    """
    free = list(found)
    ious, differences, missing = [], [], 0
    for wanted in reference:
        mine = [one for one in free if one["class_id"] == wanted["class_id"]]
        best = max(mine, key=lambda one: overlap(one["bbox"], wanted["bbox"]), default=None)
        if best is None or overlap(best["bbox"], wanted["bbox"]) < 0.5:
            missing += wanted["confidence"] > threshold + score
            continue
        free.remove(best)
        ious.append(overlap(best["bbox"], wanted["bbox"]))
        differences.append(abs(best["confidence"] - wanted["confidence"]))
    extra = sum(one["confidence"] > threshold + score for one in free)
    worst_iou, worst_score = min(ious, default=1.0), max(differences, default=0.0)
    return {
        "agrees": not missing and not extra and worst_iou >= iou and worst_score <= score,
        "matched": len(ious),
        "missing": int(missing),
        "extra": int(extra),
        "worst_iou": round(worst_iou, 4),
        "worst_score_difference": round(worst_score, 4),
        "tolerance": {"iou": iou, "score": score},
    }
