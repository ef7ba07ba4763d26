"""Fits a picture into a model's input and takes boxes back to the picture.

Knows the geometry and the pixel work of the resize. Does not know models, layouts or files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wfe import Refuse

Fit = Literal["centre", "corner", "stretch"]
"""How a picture is fitted: scaled as a whole with padding on both sides ("centre", YOLOv5 to YOLO11), with padding at
the right and the bottom ("corner", YOLOX), or stretched to the input's size without padding ("stretch")."""

PADDING = 114  # the grey that YOLOv5 to YOLO11 and YOLOX were all trained with


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in a model's input. All numbers are pixels.

    picture_*: the picture's size; input_*: the model's input; inner_*: the scaled picture in it, whose upper left
    corner is at (left, top).
    """

    picture_width: int
    picture_height: int
    input_width: int
    input_height: int
    inner_width: int
    inner_height: int
    left: int
    top: int

    @classmethod
    def fit(cls, picture_width: int, picture_height: int, input_width: int, input_height: int, fit: Fit) -> Letterbox:
        """Fit a picture of this size. Raises wfe.Refuse when a size is not positive, ValueError when `fit` is unknown."""
        sizes = (picture_width, picture_height, input_width, input_height)
        if min(sizes) < 1:
            raise Refuse(
                f"cannot fit a picture of {picture_width} x {picture_height} pixels into {input_width} x {input_height}"
            )
        if fit == "stretch":
            return cls(*sizes, input_width, input_height, 0, 0)
        if fit not in ("centre", "corner"):
            raise ValueError(f"unknown fit {fit!r}; known: centre, corner, stretch")
        scale = min(input_width / picture_width, input_height / picture_height)
        # YOLOX cuts off the fraction and Ultralytics rounds; half a pixel of padding changes no detection, and the way
        # back uses the size that was really taken
        inner_width = min(input_width, max(1, round(picture_width * scale)))
        inner_height = min(input_height, max(1, round(picture_height * scale)))
        if fit == "corner":
            return cls(*sizes, inner_width, inner_height, 0, 0)
        left, top = (input_width - inner_width) // 2, (input_height - inner_height) // 2
        return cls(*sizes, inner_width, inner_height, left, top)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Letterbox:
        """The letterbox that `to_json` wrote."""
        return cls(**{key: int(number) for key, number in value.items()})

    def to_json(self) -> dict[str, int]:
        """Plain numbers by name."""
        return asdict(self)

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (height x width x 3, uint8) in a grey input of input_height x input_width x 3, uint8.

        Raises wfe.Refuse when the letterbox is for pictures of another size.
        """
        whole = np.full((self.input_height, self.input_width, 3), PADDING, dtype=np.uint8)
        whole[self.inner] = self.scale(picture)
        return whole

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the input where the scaled picture lies."""
        return slice(self.top, self.top + self.inner_height), slice(self.left, self.left + self.inner_width)

    def scale(self, picture: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The picture (height x width x 3, uint8) in its size within the input, without padding; maybe the picture itself.

        out: an array of that size to work in, for a loop that wants no new memory. Raises wfe.Refuse when the
        letterbox is for pictures of another size.
        """
        import cv2

        if picture.shape[:2] != (self.picture_height, self.picture_width):
            raise Refuse(
                f"the letterbox is for {self.picture_width} x {self.picture_height} pixels, "
                f"the picture has {picture.shape[1]} x {picture.shape[0]}"
            )
        size = (self.inner_width, self.inner_height)
        if size == (self.picture_width, self.picture_height):
            return picture
        return np.asarray(cv2.resize(picture, size, out, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def to_picture(self, boxes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Boxes n x 4 (x1, y1, x2, y2 in input pixels) in pixels of the picture, clipped to it; float64."""
        scaled = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        x_scale, y_scale = self.picture_width / self.inner_width, self.picture_height / self.inner_height
        moved = (scaled - (self.left, self.top) * 2) * (x_scale, y_scale, x_scale, y_scale)
        limit = (self.picture_width, self.picture_height) * 2
        return np.asarray(np.clip(moved, 0.0, limit), dtype=np.float64)

    def to_input(self, boxes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Boxes n x 4 (x1, y1, x2, y2 in pixels of the picture) in input pixels; the inverse of `to_picture`."""
        scaled = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        x_scale, y_scale = self.inner_width / self.picture_width, self.inner_height / self.picture_height
        return np.asarray(scaled * (x_scale, y_scale, x_scale, y_scale) + (self.left, self.top) * 2, dtype=np.float64)
