"""Draws detections on a picture: the node `draw` and the functions under it.

Knows colours and labels. supervision's annotators are not used here, as importing supervision takes seconds, longer
than a whole detection; the video nodes, which need its tracking, import it anyway.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.vision.decode import Detection
from wfe import Output, Refuse, workflow_node


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A bright BGR colour for a class; neighbours in number are far apart in hue (steps of the golden ratio)."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + class_id * 0.61803398875) % 1.0, 0.85, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)


def annotate(picture: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """A copy of a BGR picture with each detection's box, class and score drawn on it, labels over boxes."""
    return draw_on(np.array(picture, dtype=np.uint8), detections)


def draw_on(drawn: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """The same on the picture itself, which is returned."""
    import cv2

    height, width = drawn.shape[:2]
    unit = max(width, height) / 640
    thick, font = max(1, round(2 * unit)), max(0.35, 0.42 * unit)
    stroke = max(1, round(font * 1.6))
    for detection in reversed(detections):
        x1, y1, x2, y2 = (round(value) for value in detection["bbox"])
        cv2.rectangle(drawn, (x1, y1), (x2, y2), class_colour(detection["class_id"]), thick, cv2.LINE_AA)
    for detection in reversed(detections):
        colour = class_colour(detection["class_id"])
        x1, y1 = (round(value) for value in detection["bbox"][:2])
        label = f"{detection['class']} {detection['confidence']:.2f}"
        (text_width, text_height), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, font, stroke)
        high = text_height + below + 2
        left = min(max(0, x1 - thick // 2), max(0, width - text_width - 4))
        top = y1 - high if y1 >= high else y1
        cv2.rectangle(drawn, (left, top), (left + text_width + 4, top + high), colour, -1)
        light = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 140
        ink = (0, 0, 0) if light else (255, 255, 255)
        spot = (left + 2, top + text_height + 2)
        cv2.putText(drawn, label, spot, cv2.FONT_HERSHEY_SIMPLEX, font, ink, stroke, cv2.LINE_AA)
    return drawn


def write_picture(picture: NDArray[np.uint8], path: Output) -> None:
    """Write a BGR picture in the format of the path's suffix. Raises wfe.Refuse on another suffix."""
    import cv2

    try:
        done, coded = cv2.imencode(path.suffix or ".none", picture)
    except cv2.error as error:
        raise Refuse(
            f"{path.name}: pictures cannot be written as {path.suffix or 'a file without suffix'}; use .jpg or .png"
        ) from error
    if not done:
        raise Refuse(f"{path.name}: the picture could not be encoded as {path.suffix}; use .jpg or .png")
    path.write_bytes(coded.tobytes())


@workflow_node(outputs={"output_path": "Output"})
def draw(image: np.ndarray, detections: list[Any], output_path: Output) -> dict[str, Any]:
    """Write the picture with its detections drawn on it."""
    write_picture(annotate(image, detections), output_path)
    return {"output_path": output_path}
