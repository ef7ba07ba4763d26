"""Draws the quickstart's default picture, `shapes.jpg`: a village in the evening, made of the detector's six classes.

Knows this one scene. Needs OpenCV and NumPy only: `python models/draw_picture.py`. The scene is composed by hand and no
part of the training, whose scenes are random.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from models.shapes import CLASSES, Colour, Picture, edge, fill, outline, place

WIDTH, HEIGHT = 960, 640

# class, x, y, radius, angle in degrees, colour (BGR), thickness and colour of the edge (0: none)
THINGS: tuple[tuple[str, float, float, float, float, Colour, int, Colour], ...] = (
    ("circle", 770, 150, 66, 0, (120, 215, 255), 0, (0, 0, 0)),
    ("star", 120, 92, 44, 10, (170, 240, 255), 0, (0, 0, 0)),
    ("star", 330, 62, 30, -14, (190, 245, 255), 0, (0, 0, 0)),
    ("star", 560, 108, 36, 24, (160, 235, 255), 0, (0, 0, 0)),
    ("square", 236, 446, 84, 0, (150, 190, 235), 4, (70, 90, 140)),
    ("triangle", 236, 332, 92, 0, (70, 70, 200), 4, (40, 40, 130)),
    ("square", 520, 470, 70, 0, (215, 200, 160), 4, (120, 100, 60)),
    ("triangle", 520, 376, 78, 0, (170, 100, 60), 4, (110, 60, 30)),
    ("cross", 520, 470, 38, 0, (60, 60, 220), 0, (0, 0, 0)),
    ("triangle", 705, 452, 78, 0, (80, 140, 40), 0, (0, 0, 0)),
    ("triangle", 806, 474, 62, 0, (95, 160, 60), 0, (0, 0, 0)),
    ("heart", 402, 196, 52, -9, (120, 70, 235), 3, (70, 30, 170)),
    ("heart", 462, 248, 38, 12, (190, 130, 250), 3, (130, 70, 200)),
    ("circle", 662, 262, 34, 0, (220, 150, 70), 3, (150, 90, 30)),
    ("cross", 118, 528, 44, 8, (235, 235, 240), 4, (80, 80, 90)),
    ("circle", 372, 568, 40, 0, (60, 150, 245), 4, (30, 90, 170)),
    ("star", 884, 560, 48, -8, (60, 200, 250), 4, (20, 120, 190)),
    ("square", 640, 574, 46, 14, (190, 90, 160), 4, (110, 40, 90)),
)


def draw_picture() -> Picture:
    """The scene: HEIGHT x WIDTH x 3, uint8, BGR."""
    rng = np.random.default_rng(7)
    height = np.linspace(0, 1, HEIGHT)[:, None, None]
    top, middle, low = (np.array([110, 55, 60.0]), np.array([150, 110, 190.0]), np.array([140, 190, 250.0]))
    sky = np.where(
        height < 0.45, top + (middle - top) * height / 0.45, middle + (low - middle) * (height - 0.45) / 0.55
    )
    picture = np.ascontiguousarray(np.broadcast_to(sky, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    x = np.arange(0, WIDTH + 8, 8, dtype=np.float64)
    hills = (
        (395, 38, 0.0075, 0.4, (110, 95, 120)),
        (450, 30, 0.0095, 2.2, (85, 100, 85)),
        (520, 16, 0.008, 4.2, (70, 120, 80)),
    )
    for base, swing, pace, phase, colour in hills:
        y = base + swing * np.sin(pace * x + phase)
        fill(picture, np.concatenate([np.stack([x, y], 1), [(WIDTH + 8, HEIGHT + 8), (0, HEIGHT + 8)]]), colour)
    for string in ((402, 240, 428, 400), (462, 282, 440, 400), (662, 296, 640, 400)):
        cv2.line(picture, string[:2], string[2:], (90, 90, 110), 2, cv2.LINE_AA)
    for name, at_x, at_y, radius, angle, paint, thickness, rim in THINGS:
        points = place(outline(CLASSES.index(name)), at_x, at_y, radius, float(np.radians(angle)))
        fill(picture, points, paint)
        if thickness:
            edge(picture, points, rim, thickness)
    grain = rng.normal(0, 3.0, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the quickstart's default picture.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("shapes.jpg"))
    output = parser.parse_args().output
    _, coded = cv2.imencode(".jpg", draw_picture(), [cv2.IMWRITE_JPEG_QUALITY, 90])
    output.write_bytes(coded.tobytes())
    print(f"wrote {output.name}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
