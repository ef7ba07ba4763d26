"""Frame by frame, the real models on the real videos find what a loop finds that was written for this test alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from nodes.vision.backends.agreement import agreement
from nodes.vision.video import postprocess_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import plan_segments
from wfe import Output

from .conftest import excerpt

CONFIDENCE, IOU = 0.25, 0.45


def yolov8(session: onnxruntime.InferenceSession, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (x1, y1, x2, y2 in pixels of the picture) and class scores: centred letterbox, RGB, 0..1."""
    height, width = picture.shape[:2]
    scale = min(640 / width, 640 / height)
    inner = cv2.resize(picture, (round(width * scale), round(height * scale)))
    left, top = (640 - inner.shape[1]) // 2, (640 - inner.shape[0]) // 2
    square = np.full((640, 640, 3), 114, np.uint8)
    square[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    tensor = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
    out = session.run(None, {session.get_inputs()[0].name: tensor})[0][0].T
    centre, size = (out[:, :2] - (left, top)) / scale, out[:, 2:4] / scale
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1), out[:, 4:]


def yolox(session: onnxruntime.InferenceSession, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for YOLOX-nano: padding at the right and bottom, BGR, 0..255, boxes relative to a grid."""
    height, width = picture.shape[:2]
    scale = min(416 / width, 416 / height)
    inner = cv2.resize(picture, (round(width * scale), round(height * scale)))
    square = np.full((416, 416, 3), 114, np.uint8)
    square[: inner.shape[0], : inner.shape[1]] = inner
    tensor = square.transpose(2, 0, 1)[None].astype(np.float32)
    out = session.run(None, {session.get_inputs()[0].name: tensor})[0][0]
    row = 0
    for stride in (8, 16, 32):
        for y in range(416 // stride):
            for x in range(416 // stride):
                out[row, :2] = (out[row, :2] + (x, y)) * stride
                out[row, 2:4] = np.exp(out[row, 2:4]) * stride
                row += 1
    centre, size = out[:, :2] / scale, out[:, 2:4] / scale
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1), out[:, 5:] * out[:, 4:5]


def reference(model: Path, video: Path) -> Iterator[list[dict]]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    camera = cv2.VideoCapture(str(video))
    while (read := camera.read())[0]:
        height, width = read[1].shape[:2]
        boxes, scores = (yolox if "yolox" in model.name else yolov8)(session, read[1])
        found = []
        for kind in range(scores.shape[1]):
            mine = np.flatnonzero(scores[:, kind] > CONFIDENCE)
            mine = mine[scores[mine].argmax(axis=1) == kind]
            if len(mine):
                sized = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes[mine].tolist()]
                for kept in cv2.dnn.NMSBoxes(sized, scores[mine, kind].tolist(), CONFIDENCE, IOU):
                    clipped = np.clip(boxes[mine[kept]], 0, (width, height) * 2).tolist()
                    found.append({"bbox": clipped, "confidence": float(scores[mine[kept], kind]), "class_id": kind})
        yield found


@pytest.mark.parametrize(
    ("model", "video", "first"),
    [("yolov8n.onnx", "car-detection.mp4", 60), ("yolox_nano.onnx", "one-by-one-person-detection.mp4", 100)],
)
def test_every_frame_agrees(data: Path, tmp_path: Path, model: str, video: str, first: int) -> None:
    path = excerpt(data / "videos" / video, tmp_path / video, 6, first)
    expected = list(reference(data / "models" / model, path))
    (segment,) = plan_segments(path)["segments"]
    for backend in ("onnxruntime", "openvino"):
        inferred = [infer_segment(str(path), segment, data / "models" / model, backend, sessions=2, threads=1)]
        found = postprocess_video(inferred, Output(tmp_path / "found.jsonl"), CONFIDENCE, IOU)["detections"]
        assert len(found) == len(expected) >= 5
        for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
            same = agreement(mine, theirs, CONFIDENCE)
            assert same["agrees"], (backend, number, same, mine, theirs)
        assert sum(map(len, found)) >= len(found)
