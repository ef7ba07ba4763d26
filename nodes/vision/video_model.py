"""A detector opened on a backend, ready for frames: picture -> tensor -> raw output -> candidates.

Joins backends, layouts and letterbox; keeps models open in a warm worker, since opening one takes 0.1 to 0.5 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.backends.opening import open_runner
from nodes.vision.backends.protocol import Runner, Tensor
from nodes.vision.decode import Candidates, candidates
from nodes.vision.layout import Detector, Shape, describe
from nodes.vision.letterbox import PADDING, Letterbox
from nodes.vision.preprocess import to_tensor
from nodes.vision.video_read import Picture
from wfe import Refuse, Skip

HINT = "choose a device that is here: `wfe run parallel_yolov8 detect_devices` lists them, and every machine has device=cpu"
_KEPT: dict[tuple[Any, ...], Runner] = {}


@dataclass(frozen=True, slots=True)
class Opened:
    """A runner and what is known of its model. `index`: which of the model's outputs holds the boxes."""

    runner: Runner
    detector: Detector
    index: int

    def prepare(self, picture: Picture) -> Tensor:
        """The input tensor (a batch of one, repeated where the model has a fixed larger batch) of a BGR picture."""
        return Feed(self)(picture)

    def letterbox(self, picture: Picture) -> Letterbox:
        """Where a picture of this size lies in the input."""
        height, width = picture.shape[:2]
        return Letterbox.fit(width, height, self.detector.width, self.detector.height, self.detector.fit)

    def candidates(self, outputs: list[Tensor], floor: float) -> Candidates:
        """Boxes in input pixels above the score `floor`, doubles included."""
        return candidates(outputs[self.index][:1], self.detector, floor)


class Feed:
    """Makes input tensors in memory of its own: each lasts until the next. For one thread.

    The padding is written once for all pictures of a size: on a wide video it is half of the tensor. What is in between
    has memory of its own too, since the system clears what is new: 1 ms a picture.
    """

    def __init__(self, opened: Opened) -> None:
        detector = opened.detector
        self._opened = opened
        self._padded_for: Letterbox | None = None
        axes = (detector.height, detector.width, 3) if detector.channels_last else (3, detector.height, detector.width)
        self._tensor = np.empty((max(1, detector.batch), *axes), dtype=detector.dtype)
        self._scaled: Picture = np.empty((0, 0, 3), np.uint8)
        self._planes: list[Picture] = []

    def __call__(self, picture: Picture) -> Tensor:
        """The tensor of a BGR picture, as `Opened.prepare` makes it."""
        detector, first = self._opened.detector, self._tensor[:1]
        letterbox = self._opened.letterbox(picture)
        if letterbox != self._padded_for:
            grey = np.full((detector.height, detector.width, 3), PADDING, dtype=np.uint8)
            to_tensor([grey], detector, first)
            self._padded_for = letterbox
            size = letterbox.inner_height, letterbox.inner_width
            self._scaled, self._planes = np.empty((*size, 3), np.uint8), [np.empty(size, np.uint8) for _ in range(3)]
        rows, columns = letterbox.inner
        inner = first[:, rows, columns] if detector.channels_last else first[:, :, rows, columns]
        to_tensor([letterbox.scale(picture, self._scaled)], detector, inner, self._planes)
        self._tensor[1:] = first
        return self._tensor


def open_model(
    model_path: Path,
    backend: str = "onnxruntime",
    device: str = "cpu",
    threads: int = 0,
    streams: int = 1,
    *,
    layout: str = "auto",
    input_size: int | Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Opened:
    """Open a model once for each content of its file and each way to run it.

    Raises wfe.Refuse and BackendError as `open_runner` and `layout.describe` do, and Refuse for a missing device too: here
    it is the one that the user chose, and nothing else in the workflow detects. To skip would end well without a result.
    """
    try:
        runner = _open(model_path, version_of(model_path), backend, device, threads, streams)
    except Skip as missing:
        raise Refuse(f"{missing}; {HINT}") from None
    outputs = [(port.name, list(port.shape)) for port in runner.outputs]

    def run_zeros(shape: tuple[int, ...]) -> Sequence[Shape]:
        return [list(value.shape) for value in runner.run(np.zeros(shape, dtype=runner.inputs[0].dtype))]

    detector = describe(
        [(port.name, list(port.shape), port.dtype) for port in runner.inputs],
        outputs,
        runner.metadata,
        model=str(model_path),
        layout=layout,
        input_size=input_size,
        class_names=class_names,
        probe=run_zeros,
    )
    return Opened(runner, detector, [name for name, _ in outputs].index(detector.output))


def version_of(model_path: Path) -> tuple[int, int]:
    """What tells one content of a model file from another: its time and size, zeros when it is missing."""
    found = model_path.stat() if model_path.is_file() else None
    return (found.st_mtime_ns, found.st_size) if found else (0, 0)


def _open(model_path: Path, version: tuple[int, int], backend: str, device: str, threads: int, streams: int) -> Runner:
    key = (str(model_path.absolute()), version, backend, device, threads, streams)
    kept = _KEPT.get(key)
    if kept is None or kept.closed:
        for other in [other for other, runner in _KEPT.items() if runner.closed or other[0] != key[0]]:
            _KEPT.pop(other).close()  # one model at a time: each holds its weights and its working memory
        kept = _KEPT[key] = open_runner(model_path, backend, device, threads, streams=streams)
    return kept
