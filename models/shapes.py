"""Draws scenes of shapes, with the box and the class of each: what the quickstart detector is trained and measured on.

Knows how to draw with OpenCV from a NumPy generator, so a seed decides a scene. Does not know networks, files or nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = ("circle", "square", "triangle", "star", "heart", "cross")
SMALLEST, LARGEST = 0.045, 0.25  # radius of a shape's circumscribed circle by the picture's longer side
MOST_HIDDEN = 0.3  # the part of a shape's box that later shapes' boxes may cover
_SUBPIXEL = 4  # fixed-point bits that cv2.fillPoly takes: corners at 1/16 pixel, so small shapes have exact boxes

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Colour = tuple[float, float, float]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels


@dataclass(frozen=True, slots=True)
class Shape:
    """One drawn shape: its class, and the tight box of its whole outline, hidden parts included."""

    class_id: int
    box: Box


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture (height x width x 3, uint8, BGR) and what is on it."""

    picture: Picture
    shapes: tuple[Shape, ...]


def outline(class_id: int) -> Points:
    """The outline of a class at the origin with a circumscribed radius of about 1: n x 2, y pointing down."""
    name = CLASSES[class_id]
    if name == "circle":
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if name in ("square", "triangle"):
        corners = 4 if name == "square" else 3
        angles = np.arange(corners) * 2 * np.pi / corners + (np.pi / 4 if corners == 4 else -np.pi / 2)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if name == "star":
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
        return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    if name == "heart":  # https://mathworld.wolfram.com/HeartCurve.html, the sixth, scaled and centred
        t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x / 17, -(y + 2.5) / 17], axis=1)
    arm = 0.33
    return np.array(
        [
            (-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
            (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm),
        ],
        dtype=np.float64,
    )  # fmt: skip


def place(points: Points, x: float, y: float, radius: float, angle: float, stretch: float = 1.0) -> Points:
    """`points` stretched along x, turned by `angle` (radians), scaled to `radius` pixels and moved to (x, y)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = (points * np.array([stretch, 1 / stretch])) @ np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray(turned * radius + np.array([x, y]))


def fill(picture: Picture, points: Points, colour: Colour) -> None:
    """Fill a polygon, antialiased, in place."""
    fixed = np.round((points - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, _SUBPIXEL)


def edge(picture: Picture, points: Points, colour: Colour, thickness: int) -> None:
    """Draw a polygon's edge, antialiased, in place."""
    fixed = np.round((points - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.polylines(picture, [fixed], True, colour, thickness, cv2.LINE_AA, _SUBPIXEL)


def box_of(points: Points, grow: float = 0.0) -> Box:
    """The tight box of a polygon, larger by `grow` pixels on each side (half the thickness of its edge)."""
    (x1, y1), (x2, y2) = points.min(axis=0) - grow, points.max(axis=0) + grow
    return float(x1), float(y1), float(x2), float(y2)


def hidden_part(box: Box, later: Sequence[Box]) -> float:
    """The part of `box` that lies in the boxes drawn after it, each counted whole: 0 to 1 and more."""
    hidden = 0.0
    for by in later:
        wide = min(box[2], by[2]) - max(box[0], by[0])
        high = min(box[3], by[3]) - max(box[1], by[1])
        hidden += max(wide, 0.0) * max(high, 0.0)
    return hidden / ((box[2] - box[0]) * (box[3] - box[1]))


def draw_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """A random scene: background, clutter, 2 to 10 shapes that may overlap, then blur, noise, light and compression."""
    picture = _background(rng, width, height)
    for _ in range(int(rng.integers(0, 9))):
        _clutter(rng, picture)
    unit = float(max(width, height))
    shapes: list[Shape] = []
    wanted = int(rng.integers(2, 11))
    for _ in range(wanted * 4):
        if len(shapes) == wanted:
            break
        radius = unit * float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
        shape = _draw_shape(rng, picture, radius, shapes)
        if shape is not None:
            shapes.append(shape)
    return Scene(_camera(rng, picture), tuple(shapes))


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """A random colour; half of them saturated, as people draw shapes."""
    if rng.random() < 0.5:
        hsv = np.array([[[rng.integers(0, 180), rng.integers(120, 256), rng.integers(120, 256)]]], dtype=np.uint8)
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0], dtype=np.float64)
    return rng.integers(0, 256, 3).astype(np.float64)


def _tuple(colour: NDArray[np.float64]) -> Colour:
    return float(colour[0]), float(colour[1]), float(colour[2])


def _background(rng: np.random.Generator, width: int, height: int) -> Picture:
    kind = rng.random()
    if kind < 0.3:
        picture = np.broadcast_to(_colour(rng), (height, width, 3)).copy()
    elif kind < 0.7:
        corners = np.stack([_colour(rng) for _ in range(4)]).reshape(2, 2, 3).astype(np.float32)
        picture = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    else:
        cells = int(rng.integers(3, 24))
        coarse = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float64)
        flat = _colour(rng)
        picture = flat + (picture - flat) * rng.uniform(0.1, 0.4)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _clutter(rng: np.random.Generator, picture: Picture) -> None:
    """Something that is none of the classes: a line, a thin bar or ellipse, an arc, text, a patch of noise."""
    height, width = picture.shape[:2]
    unit = max(width, height)
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    colour = _tuple(_colour(rng))
    thickness = int(rng.integers(1, max(2, unit // 70) + 1))
    kind = int(rng.integers(0, 6))
    centre = (int(x), int(y))
    if kind == 0:
        end = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        cv2.line(picture, centre, end, colour, thickness, cv2.LINE_AA)
    elif kind == 1:
        bar = np.array([(-1, -0.2), (1, -0.2), (1, 0.2), (-1, 0.2)]) * np.array([1, rng.uniform(0.5, 1.5)])
        fill(picture, place(bar, x, y, unit * rng.uniform(0.05, 0.25), rng.uniform(0, np.pi)), colour)
    elif kind == 2:
        fill(picture, place(outline(0), x, y, unit * rng.uniform(0.03, 0.1), rng.uniform(0, np.pi), 1.8), colour)
    elif kind == 3:
        start = float(rng.uniform(0, 360))
        axes = (int(unit * rng.uniform(0.04, 0.2)), int(unit * rng.uniform(0.04, 0.2)))
        cv2.ellipse(picture, centre, axes, 0, start, start + rng.uniform(40, 200), colour, thickness, cv2.LINE_AA)
    elif kind == 4:
        text = "".join(chr(int(code)) for code in rng.integers(65, 91, 3))
        cv2.putText(picture, text, centre, cv2.FONT_HERSHEY_SIMPLEX, unit / 400 + 0.3, colour, thickness, cv2.LINE_AA)
    else:
        size = max(4, int(unit * rng.uniform(0.05, 0.2)))
        patch = picture[int(y) : int(y) + size, int(x) : int(x) + size]
        noise = rng.normal(0, rng.uniform(10, 50), patch.shape)
        patch[...] = np.clip(patch + noise, 0, 255).astype(np.uint8)


def _draw_shape(rng: np.random.Generator, picture: Picture, radius: float, others: list[Shape]) -> Shape | None:
    """Draw one shape where none gets hidden by more than MOST_HIDDEN; None when this try found no such place."""
    height, width = picture.shape[:2]
    class_id = int(rng.integers(0, len(CLASSES)))
    upright = CLASSES[class_id] == "heart"
    angle = rng.uniform(-0.5, 0.5) if upright or rng.random() < 0.4 else rng.uniform(0, 2 * np.pi)
    points = place(
        outline(class_id),
        rng.uniform(radius * 0.9, max(radius, width - radius * 0.9)),
        rng.uniform(radius * 0.9, max(radius, height - radius * 0.9)),
        radius,
        angle,
        rng.uniform(0.92, 1.09),
    )
    thickness = int(rng.integers(1, max(1, int(radius / 9)) + 1)) if rng.random() < 0.35 else 0
    box = box_of(points, thickness / 2)
    if box[0] < -0.1 * radius or box[1] < -0.1 * radius:
        return None
    if box[2] > width + 0.1 * radius or box[3] > height + 0.1 * radius:
        return None
    boxes = [other.box for other in others] + [box]
    if any(hidden_part(one, boxes[index + 1 :]) > MOST_HIDDEN for index, one in enumerate(boxes)):
        return None
    # all work is done on the part of the picture that the shape and its shadow reach
    left, top = max(0, int(box[0] - 2)), max(0, int(box[1] - 2))
    part = picture[top : int(box[3] + 0.1 * radius + 3), left : int(box[2] + 0.1 * radius + 3)]
    inner = points - np.array([left, top])
    mask = np.zeros(part.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [np.round((inner - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)], 255, cv2.LINE_8, _SUBPIXEL)
    colour = _contrasting(rng, np.array(cv2.mean(part, mask)[:3]))
    layer = part.copy()
    if rng.random() < 0.2:
        fill(layer, inner + radius * 0.1, (0, 0, 0))
        layer = np.asarray(cv2.addWeighted(layer, 0.35, part, 0.65, 0), dtype=np.uint8)
    below = layer.copy()
    fill(layer, inner, _tuple(colour))
    if rng.random() < 0.3:
        shade = np.linspace(rng.uniform(-40, 0), rng.uniform(0, 40), len(layer))[:, None, None]
        lit = np.clip(layer + shade, 0, 255)
        layer = np.where(mask[..., None] > 0, lit, layer).astype(np.uint8)
    opacity = rng.uniform(0.88, 1.0)
    part[...] = cv2.addWeighted(layer, opacity, below, 1 - opacity, 0)
    if thickness:
        edge(picture, points, _tuple(_colour(rng)), thickness)
    clipped = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
    return Shape(class_id, clipped)


def _contrasting(rng: np.random.Generator, around: NDArray[np.float64]) -> NDArray[np.float64]:
    """A random colour that a person tells from the mean colour that it will cover."""
    for _ in range(8):
        colour = _colour(rng)
        if np.abs(colour - around).sum() > 150:
            return colour
    return np.array([250.0, 250.0, 250.0]) if around.mean() < 128 else np.array([20.0, 20.0, 20.0])


def _camera(rng: np.random.Generator, picture: Picture) -> Picture:
    """What a camera adds: blur, light, noise, JPEG."""
    unit = max(picture.shape)
    if rng.random() < 0.35:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 0.7) * unit / 256), dtype=np.uint8)
    values = picture.astype(np.float32)
    if rng.random() < 0.5:
        values = (values - 128) * rng.uniform(0.7, 1.2) + 128 + rng.uniform(-25, 25)
    if rng.random() < 0.6:
        values += rng.standard_normal(values.shape, dtype=np.float32) * rng.uniform(1, 8)
    picture = np.clip(values, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return picture
