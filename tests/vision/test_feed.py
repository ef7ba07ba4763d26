"""A Feed writes into one tensor again and again; each must be what a fresh one would be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

from nodes.vision.layout import Detector
from nodes.vision.letterbox import Fit, Letterbox
from nodes.vision.preprocess import to_tensor
from nodes.vision.video_model import Feed, Opened


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("fit", "colour", "scale"), [("centre", "rgb", 1.0), ("corner", "bgr", 255.0), ("stretch", "rgb", 1.0)]
)
def test_no_picture_leaves_a_trace_in_the_next(
    fit: Fit, colour: Literal["rgb", "bgr"], scale: float, channels_last: bool, dtype: str
) -> None:
    detector = Detector("yolov8", 64, 96, (), fit, colour, scale, channels_last, dtype, 2, "in", "out")
    runner: Any = SimpleNamespace()
    opened = Opened(runner, detector, 0)
    feed = Feed(opened)
    numbers = np.random.default_rng(0)
    for size in [(50, 100), (50, 100), (100, 50), (96, 64), (50, 100)]:
        picture = numbers.integers(0, 256, (*size, 3), dtype=np.uint8)
        letterbox = Letterbox.fit(size[1], size[0], 64, 96, fit)
        fresh = to_tensor([letterbox.apply(picture)] * 2, detector)
        np.testing.assert_array_equal(feed(picture), fresh)
