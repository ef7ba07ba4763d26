"""Letterbox: the way into the model's input and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.vision.letterbox import PADDING, Fit, Letterbox

sides = st.integers(1, 3000)
inputs = st.integers(32, 1024)
fits = st.sampled_from(["centre", "corner", "stretch"])


@given(sides, sides, inputs, inputs, fits, st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=6))
def test_boxes_come_back(
    width: int, height: int, input_width: int, input_height: int, fit: Fit, parts: list[tuple[float, ...]]
) -> None:
    letterbox = Letterbox.fit(width, height, input_width, input_height, fit)
    boxes = np.array(parts, dtype=np.float64).reshape(-1, 4) * (width, height, width, height)
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    inside = letterbox.to_input(boxes)
    assert (inside >= -1e-6).all()
    assert (inside <= np.array((input_width, input_height) * 2) + 1e-6).all()
    np.testing.assert_allclose(letterbox.to_picture(inside), boxes, atol=1e-6 * max(width, height))


@given(sides, sides, inputs, inputs, fits)
def test_inner_picture_fits_and_touches(width: int, height: int, input_width: int, input_height: int, fit: Fit) -> None:
    letterbox = Letterbox.fit(width, height, input_width, input_height, fit)
    assert letterbox.left >= 0
    assert letterbox.left + letterbox.inner_width <= input_width
    assert letterbox.top >= 0
    assert letterbox.top + letterbox.inner_height <= input_height
    assert letterbox.inner_width == input_width or letterbox.inner_height == input_height
    if fit == "corner":
        assert (letterbox.left, letterbox.top) == (0, 0)
    if fit == "centre":
        assert abs(2 * letterbox.left + letterbox.inner_width - input_width) <= 1
        assert abs(2 * letterbox.top + letterbox.inner_height - input_height) <= 1


@pytest.mark.parametrize(
    ("fit", "grey", "seen"),
    [("centre", [(2, 30), (61, 30)], (32, 32)), ("corner", [(40, 30), (61, 30)], (5, 5)), ("stretch", [], (2, 30))],
)
def test_padding_is_where_it_belongs(fit: Fit, grey: list[tuple[int, int]], seen: tuple[int, int]) -> None:
    picture = np.full((50, 100, 3), (10, 20, 30), dtype=np.uint8)  # twice as wide as high: 64 x 32 in 64 x 64
    fitted = Letterbox.fit(100, 50, 64, 64, fit).apply(picture)
    assert fitted.shape == (64, 64, 3)
    for row, column in grey:
        assert (fitted[row, column] == PADDING).all()
    assert fitted[seen].tolist() == [10, 20, 30]


def test_a_point_is_found_where_the_pixels_are() -> None:
    picture = np.zeros((120, 300, 3), dtype=np.uint8)
    picture[40:70, 100:180] = 255
    letterbox = Letterbox.fit(300, 120, 128, 128, "centre")
    bright = letterbox.apply(picture)[..., 0] > 127
    bright[: letterbox.top] = bright[letterbox.top + letterbox.inner_height :] = False
    rows, columns = np.where(bright)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=float)
    np.testing.assert_allclose(letterbox.to_picture(box), [[100, 40, 180, 70]], atol=300 / 128)


def test_boxes_are_clipped_to_the_picture() -> None:
    letterbox = Letterbox.fit(100, 50, 64, 64, "centre")
    assert letterbox.to_picture(np.array([[-9.0, -9.0, 99.0, 99.0]])).tolist() == [[0, 0, 100, 50]]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 x 5"):
        Letterbox.fit(0, 5, 64, 64, "centre")
    with pytest.raises(ValueError, match="the picture has 5 x 4"):
        Letterbox.fit(4, 5, 64, 64, "centre").apply(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="unknown fit 'center'"):
        Letterbox.fit(4, 5, 64, 64, "center")  # type: ignore[arg-type]


def test_json_round_trip() -> None:
    letterbox = Letterbox.fit(1024, 577, 640, 640, "corner")
    assert Letterbox.from_json(letterbox.to_json()) == letterbox
