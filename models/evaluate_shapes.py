"""Measures a shapes detector on scenes that no training saw: `uv run python models/evaluate_shapes.py`.

Knows the scenes and the measures. Runs the model through the product's own code (onnxruntime, letterbox, suppression),
so the figures are those of the quickstart, not of PyTorch. mAP is computed by supervision, as COCO defines it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.shapes import CLASSES, Scene, draw_scene  # noqa: E402
from nodes.vision.decode import Detection, read  # noqa: E402
from nodes.vision.letterbox import Letterbox  # noqa: E402
from nodes.vision.preprocess import to_tensor  # noqa: E402
from nodes.vision.session import describe_session, open_session, run_session  # noqa: E402

EVALUATION_SEED = 2_000_000  # training draws from the first number 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What was measured: mean average precision at IoU 0.5 and over 0.5..0.95, and at one threshold the part of the
    detections that are right (precision) and of the shapes that are found (recall); by class: mAP 0.5..0.95."""

    map50: float
    map50_95: float
    precision: float
    recall: float
    by_class: dict[str, float]


def held_out(count: int) -> Iterator[Scene]:
    """Scenes of 320 to 800 pixels, wide, square and tall, the same for each call."""
    for index in range(count):
        rng = np.random.default_rng([EVALUATION_SEED, index])
        long = int(rng.integers(320, 801))
        short = int(long * rng.uniform(0.5, 1.0))
        width, height = (long, short) if rng.random() < 0.6 else (short, long)
        yield draw_scene(rng, width, height)


def detect_all(model_path: Path, scenes: Sequence[Scene], conf_threshold: float) -> list[list[Detection]]:
    """The model's detections on each scene."""
    session = open_session(model_path)
    detector = describe_session(session, model=model_path.name)
    found = []
    for scene in scenes:
        height, width = scene.picture.shape[:2]
        letterbox = Letterbox.fit(width, height, detector.width, detector.height, detector.fit)
        raw = run_session(session, detector, to_tensor([letterbox.apply(scene.picture)], detector))
        found.append(read(raw, detector, letterbox, conf_threshold, 0.45))
    return found


def measure(model_path: Path, scenes: Sequence[Scene], conf_threshold: float = 0.25) -> Accuracy:
    """Accuracy on the scenes. mAP counts every box above a score of 0.001, as usual."""
    import supervision as sv
    from supervision.metrics import MeanAveragePrecision

    found = detect_all(model_path, scenes, 0.001)
    truths, predictions = [], []
    right = shown = there = 0
    for scene, detections in zip(scenes, found, strict=True):
        truth = np.array([shape.box for shape in scene.shapes], dtype=np.float64).reshape(-1, 4)
        labels = np.array([shape.class_id for shape in scene.shapes], dtype=int)
        boxes = np.array([detection["bbox"] for detection in detections], dtype=np.float64).reshape(-1, 4)
        scores = np.array([detection["confidence"] for detection in detections])
        classes = np.array([detection["class_id"] for detection in detections], dtype=int)
        truths.append(sv.Detections(xyxy=truth, class_id=labels))
        predictions.append(sv.Detections(xyxy=boxes, class_id=classes, confidence=scores))
        kept = scores > conf_threshold
        shown, there = shown + int(kept.sum()), there + len(truth)
        right += matched(boxes[kept], classes[kept], truth, labels)
    result = MeanAveragePrecision().update(predictions, truths).compute()
    by_class = result.ap_per_class.mean(axis=1)
    names = [CLASSES[int(index)] for index in result.matched_classes]
    return Accuracy(
        map50=float(result.map50),
        map50_95=float(result.map50_95),
        precision=right / max(shown, 1),
        recall=right / max(there, 1),
        by_class={name: float(value) for name, value in zip(names, by_class, strict=True)},
    )


def matched(
    boxes: NDArray[np.float64], classes: NDArray[np.int_], truth: NDArray[np.float64], labels: NDArray[np.int_]
) -> int:
    """How many boxes, best first, take a true box of their class, each at most once, with an IoU of at least 0.5."""
    free = set(range(len(truth)))
    count = 0
    for box, class_id in zip(boxes, classes, strict=True):
        best, value = -1, 0.5
        for index in free:
            overlap = iou(box, truth[index])
            if labels[index] == class_id and overlap >= value:
                best, value = index, overlap
        if best >= 0:
            free.remove(best)
            count += 1
    return count


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Overlap of two boxes x1, y1, x2, y2: shared area over joint area."""
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a shapes detector on scenes that no training saw.")
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("shapes.onnx"))
    parser.add_argument("--pictures", type=int, default=1000)
    chosen = parser.parse_args()
    scenes = list(held_out(chosen.pictures))
    start = time.perf_counter()
    accuracy = measure(chosen.model, scenes)
    seconds = time.perf_counter() - start
    print(f"{chosen.pictures} pictures, {sum(len(scene.shapes) for scene in scenes)} shapes, {seconds:.0f} s")
    print(f"mAP50      {accuracy.map50:.4f}")
    print(f"mAP50-95   {accuracy.map50_95:.4f}")
    print(f"precision  {accuracy.precision:.4f}  (score over 0.25, IoU at least 0.5)")
    print(f"recall     {accuracy.recall:.4f}")
    print("mAP50-95 by class: " + ", ".join(f"{name} {value:.4f}" for name, value in accuracy.by_class.items()))


if __name__ == "__main__":
    main()
