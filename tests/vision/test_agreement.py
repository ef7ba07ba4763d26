"""Detections on real pictures agree with a detector written here on onnxruntime, with nothing of ours in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from nodes.vision.detect import detect
from nodes.vision.folder import detect_pictures, find_candidates
from nodes.vision.inference import infer
from nodes.vision.model import inspect_model
from nodes.vision.picture import load_picture
from nodes.vision.preprocess import preprocess
from wfe import Output

CONF, IOU = 0.25, 0.45
MODELS = ("yolov8n", "yolov8n_int8", "yolox_nano")
PICTURES = ("soccer", "bus")
Found = list[tuple[int, float, list[float]]]  # class, score, box


def pixels(picture: Path) -> Any:
    image = cv2.imread(str(picture))
    assert image is not None
    return image


def overlap(a: Any, b: Any) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def greedy(rows: Found) -> Found:
    """Plain suppression: best first, drop what overlaps a kept one of its class."""
    kept: Found = []
    for row in sorted(rows, key=lambda row: -row[1]):
        if all(row[0] != other[0] or overlap(row[2], other[2]) <= IOU for other in kept):
            kept.append(row)
    return kept


def reference_yolov8(model: Path, picture: Path) -> Found:
    """As in Ultralytics' documentation: scaled by the smaller ratio, grey at both sides, RGB in 0..1."""
    image = pixels(picture)
    height, width = image.shape[:2]
    ratio = 640 / max(height, width)
    small = cv2.resize(image, (round(width * ratio), round(height * ratio)))
    left, top = (640 - small.shape[1]) / 2, (640 - small.shape[0]) / 2
    box = (round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1))
    padded = cv2.copyMakeBorder(small, *box, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    blob = cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True)
    (raw,) = onnxruntime.InferenceSession(str(model)).run(None, {"images": blob})
    rows: Found = []
    for column in raw[0].T:
        class_id = int(column[4:].argmax())
        if column[4 + class_id] > CONF:
            x, y, w, h = column[:4]
            corners = [x - w / 2 - box[2], y - h / 2 - box[0], x + w / 2 - box[2], y + h / 2 - box[0]]
            rows.append((class_id, float(column[4 + class_id]), [float(value / ratio) for value in corners]))
    return greedy(rows)


def reference_yolox(model: Path, picture: Path) -> Found:
    """As in YOLOX's demo: the picture in the upper left corner, BGR in 0..255, boxes decoded cell by cell."""
    image = pixels(picture)
    ratio = min(416 / image.shape[0], 416 / image.shape[1])
    small = cv2.resize(image, (int(image.shape[1] * ratio), int(image.shape[0] * ratio)))
    padded = np.full((416, 416, 3), 114, dtype=np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small
    blob = padded.transpose(2, 0, 1)[None].astype(np.float32)
    (raw,) = onnxruntime.InferenceSession(str(model)).run(None, {"images": blob})
    rows: Found = []
    anchor = 0
    for stride in (8, 16, 32):
        for row in range(416 // stride):
            for column in range(416 // stride):
                values = raw[0, anchor]
                anchor += 1
                class_id = int(values[5:].argmax())
                score = float(values[4] * values[5 + class_id])
                if score > CONF:
                    x, y = (values[0] + column) * stride, (values[1] + row) * stride
                    w, h = np.exp(values[2]) * stride, np.exp(values[3]) * stride
                    corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                    rows.append((class_id, score, [float(value / ratio) for value in corners]))
    return greedy(rows)


@cache
def reference(model: Path, picture: Path) -> Found:
    return reference_yolox(model, picture) if model.stem.startswith("yolox") else reference_yolov8(model, picture)


@cache
def found_on(model: Path, picture: Path) -> dict[str, Any]:
    image = load_picture(picture)["image"]
    detector = inspect_model(model)["detector"]
    ready = preprocess(image, detector)
    raw = infer(model, ready["tensor"], detector)["raw"]
    return detect(raw, detector, ready["letterbox"], CONF, IOU)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("picture", PICTURES)
def test_detections_agree(real: Path, model: str, picture: str) -> None:
    paths = real / "models" / f"{model}.onnx", real / "images" / f"{picture}.jpg"
    image = pixels(paths[1])
    limit = [image.shape[1], image.shape[0]] * 2
    left = [(kind, score, np.clip(box, 0, limit)) for kind, score, box in reference(*paths)]
    detections = found_on(*paths)["detections"]
    assert len(left) > 3
    for detection in detections:
        same = [row for row in left if row[0] == detection["class_id"]]
        best = max(same, key=lambda row: overlap(row[2], detection["bbox"]), default=None)
        if best is None or overlap(best[2], detection["bbox"]) < 0.9:
            # half a pixel of padding may lift a score over the threshold, but no more than that
            assert detection["confidence"] < CONF + 0.02, detection
            continue
        assert abs(best[1] - detection["confidence"]) <= 0.02
        left = [row for row in left if row is not best]
    assert all(score < CONF + 0.02 for _, score, _ in left), left


@pytest.mark.parametrize("model", ["yolov8n", "yolov8n_int8"])
def test_counts_of_the_known_pictures(real: Path, model: str) -> None:
    path = real / "models" / f"{model}.onnx"
    assert found_on(path, real / "images" / "soccer.jpg")["counts"] == {"person": 11, "car": 2, "sports ball": 1}
    assert found_on(path, real / "images" / "bus.jpg")["counts"] == {"person": 4, "bus": 1}


def test_a_folder_finds_the_same_as_single_pictures(real: Path, tmp_path: Path) -> None:
    model = real / "models" / "yolox_nano.onnx"
    detector = inspect_model(model)["detector"]
    pictures = [real / "images" / f"{name}.jpg" for name in PICTURES]
    each = [find_candidates(picture, model, detector) for picture in pictures]
    result = detect_pictures(
        [str(picture) for picture in pictures],
        [one["found"] for one in each],
        [one["letterbox"] for one in each],
        detector,
        Output(tmp_path / "found.json"),
        CONF,
        IOU,
    )
    for entry, picture in zip(result["detections"], pictures, strict=True):
        assert entry["detections"] == found_on(model, picture)["detections"]
