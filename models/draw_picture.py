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
    ("circle", 802, 128, 76, 0, (120, 215, 255), 0, (0, 0, 0)),
    ("star", 108, 104, 62, 10, (150, 240, 255), 0, (0, 0, 0)),
    ("star", 304, 84, 50, -14, (180, 245, 255), 0, (0, 0, 0)),
    ("star", 604, 92, 54, 24, (140, 235, 255), 0, (0, 0, 0)),
    ("square", 214, 452, 92, 0, (150, 200, 245), 4, (70, 90, 140)),
    ("triangle", 214, 334, 100, 0, (70, 70, 200), 4, (40, 40, 130)),
    ("square", 520, 470, 80, 0, (225, 215, 180), 4, (120, 100, 60)),
    ("triangle", 520, 368, 88, 0, (170, 100, 60), 4, (110, 60, 30)),
    ("triangle", 704, 450, 88, 0, (70, 150, 30), 0, (0, 0, 0)),
    ("triangle", 366, 436, 72, 0, (90, 190, 70), 0, (0, 0, 0)),
    ("heart", 392, 206, 66, -9, (110, 60, 235), 4, (60, 30, 160)),
    ("heart", 652, 262, 54, 12, (195, 140, 250), 4, (120, 70, 200)),
    ("circle", 466, 260, 50, 0, (225, 150, 60), 4, (140, 80, 30)),
    ("cross", 884, 300, 56, 24, (70, 70, 225), 4, (40, 30, 130)),
    ("cross", 82, 540, 58, 8, (240, 240, 245), 4, (80, 80, 90)),
    ("circle", 352, 556, 54, 0, (60, 150, 245), 4, (30, 90, 170)),
    ("square", 650, 566, 60, 14, (200, 90, 160), 4, (110, 40, 90)),
    ("star", 866, 566, 62, -8, (60, 200, 250), 4, (20, 120, 190)),
)
STRINGS = ((404, 268, 424, 352), (462, 312, 436, 352), (642, 312, 626, 408), (862, 350, 846, 420))  # x1, y1, x2, y2


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
    for string in STRINGS:
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
