"""Node: run a detector over one segment of a video, and keep what it says before any threshold is applied.

Knows frames, models and how to share the cores. Knows no confidence or overlap threshold: a changed one needs the stored
candidates only. Everything with a score above a low floor is kept (default 0.05), doubles included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.backends.protocol import Runner
from nodes.vision.decode import Candidates
from nodes.vision.letterbox import Letterbox
from nodes.vision.stream import Stage, Stream
from nodes.vision.stream_split import Split, candidates, check_share, choose, cores, opencv_alone
from nodes.vision.video_model import Feed, Opened, open_model, version_of
from nodes.vision.video_plan import Segment, check
from nodes.vision.video_read import Damage, Frame, VideoError, frames, probe
from wfe import Refuse, progress, workflow_node

FLOOR = 0.05
"""Lowest score that is kept. Of a crowded street YOLOv8n gives some 60 candidates a frame above it (1.5 kB) and some 300
above 0.01; nobody asks for detections of 5% confidence."""

_CHOSEN: dict[tuple[Any, ...], Split] = {}
"""The split that was found best, of each model, device and number of cores: the next segment in this worker needs no trial."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on one frame: its time in seconds, where it lies in the input, and the candidates."""

    time: float
    letterbox: Letterbox
    found: Candidates


@workflow_node(
    outputs={
        "boxes": np.ndarray,
        "scores": np.ndarray,
        "classes": np.ndarray,
        "counts": np.ndarray,
        "times": np.ndarray,
        "letterbox": dict,
        "detector": dict,
        "frames": int,
        "seconds": float,
        "split": dict,
        "where": str,
        "damage": str,
    }
)
def infer_segment(
    source: str,
    segment: dict[str, Any],
    model_path: Path,
    backend: str = "onnxruntime",
    device: str = "cpu",
    floor: float = FLOOR,
    layout: str = "auto",
    input_size: int | list[int] | None = None,
    class_names: list[str] | None = None,
    sessions: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Candidates of every frame of a segment.

    source: the file, named only: the segment's digest stands for its content, and is checked against the file.
    sessions, threads: inferences at once, and threads of each; 0 finds the best by timing the first frames.

    boxes: n x 4 float32, x1, y1, x2, y2 in input pixels; scores: n float32; classes: n int32; counts: how many of them
    each frame has, int32; times: seconds of each frame since the file's first one, float64. letterbox and detector: how
    to take boxes to the picture. seconds: time it took. split: what was chosen and measured. where: the device that the
    runtime reports. damage: empty, or what of the segment could not be decoded.
    """
    if not 0.0 <= floor < 1.0:
        raise Refuse(f"'floor' is {floor}; it must be from 0 to below 1, above which no score is")
    check_share(sessions=sessions, threads=threads)
    part: Segment = segment  # type: ignore[assignment]
    path = Path(source)
    began = time.perf_counter()
    damage = Damage()
    collected = Collected()
    kind = (layout, input_size, tuple(class_names or ()))
    with_model = Detection(model_path, backend, device, kind, sessions, threads, floor)
    for number, seen in enumerate(with_model.run(planned(path, part, damage)), start=1):
        collected.add(seen.time, seen.letterbox, seen.found)
        if number % 25 == 0:
            progress(number, part["frames"], f"segment {part['index']}")
    assert with_model.split is not None and with_model.opened is not None
    if not collected.times and part["start"] is None:
        raise VideoError(f"{path}: no frame of segment {part['index']} can be decoded; copy or record it again")
    lost = part["frames"] - len(collected.times)
    if lost > 0 and not damage.message:
        damage.message = f"{path}: {lost} of {part['frames']} frames of segment {part['index']} cannot be decoded"
    return {
        **collected.arrays(with_model.opened, path),
        "detector": with_model.opened.detector.to_json(),
        "frames": len(collected.times),
        "seconds": round(time.perf_counter() - began, 4),
        "split": with_model.split,
        "where": with_model.opened.runner.where,
        "damage": damage.message,
    }


def planned(path: Path, part: Segment, damage: Damage) -> Iterator[Frame]:
    """The frames of a segment. Raises VideoError, before the first and after the last one, when the file is not as planned.

    As a part of the reading this is done while inferences run.
    """
    check(path, part)
    yield from frames(
        path, seek=part["seek"], start=part["start"], stop=part["stop"], origin=part["origin"], damage=damage
    )
    check(path, part)


class Detection:
    """Frames in, candidates out, with the cores shared in the best way. `split` and `opened` are set by `run`."""

    def __init__(
        self,
        model_path: Path,
        backend: str,
        device: str,
        kind: tuple[str, int | list[int] | None, tuple[str, ...]],
        sessions: int,
        threads: int,
        floor: float,
        policy: str = "all",
    ) -> None:
        self.model_path, self.backend, self.device = model_path, backend, device
        self.kind, self.sessions, self.threads, self.floor, self.policy = kind, sessions, threads, floor, policy
        self.split: dict[str, Any] | None = None
        self.opened: Opened | None = None

    def open(self, threads: int, streams: int) -> Opened:
        """The model with this share of the cores."""
        layout, input_size, names = self.kind
        return open_model(
            self.model_path,
            self.backend,
            self.device,
            threads,
            streams,
            layout=layout,
            input_size=input_size,
            class_names=names,
        )

    def run(self, decoded: Iterator[Frame]) -> Iterator[Seen]:
        """What is seen on every frame, in order."""
        with opencv_alone():
            yield from self._run(decoded)

    def _run(self, decoded: Iterator[Frame]) -> Iterator[Seen]:
        first = self.splits()
        opened = self.open(first[0].threads, first[0].sessions)
        own = threading.local()

        def see(runner: Runner, frame: Frame, turn: AbstractContextManager[Any]) -> Seen:
            # Each thread fills a tensor of its own: it is warm in the cache then, and no tensor waits in a queue.
            own.feed = getattr(own, "feed", None) or Feed(opened)
            tensor = own.feed(frame.picture)
            with turn:
                outputs = runner.run(tensor, shared=True)
            return Seen(frame.time, opened.letterbox(frame.picture), opened.candidates(outputs, self.floor))

        def try_on(runner: Runner, frame: Frame) -> Seen:
            return see(runner, frame, nullcontext())

        choice = choose(lambda threads, streams: self.open(threads, streams).runner, first, decoded, try_on)
        if choice.tried:
            _CHOSEN[self._key()] = choice.split
        self.split = choice.to_json()
        self.opened = opened = self.open(choice.split.threads, choice.split.sessions)
        yield from choice.results
        choice.results.clear()
        sessions, runner = choice.split.sessions, opened.runner
        # One more thread prepares the next tensor while all inferences run, unless each core has an inference already.
        workers = sessions if self.device == "cpu" and sessions >= cores() else sessions + 1
        turn = threading.Semaphore(sessions)
        yield from Stream(decoded, [Stage("infer", lambda frame, _: see(runner, frame, turn), workers)], depth=2)

    def splits(self) -> list[Split]:
        """The splits to try: what was found best before for this model and device, else all that make sense."""
        if self.device != "cpu":
            # The device's own scheduler shares it; two at once hide the copying of one behind the work of the other.
            return [Split(self.sessions or 2, 0)]
        known = _CHOSEN.get(self._key())
        if known is not None:
            return [known]
        return candidates(cores(), self.sessions, self.threads)

    def _key(self) -> tuple[Any, ...]:
        model = (str(self.model_path.absolute()), *version_of(self.model_path))
        return (*model, self.backend, self.device, cores(), self.sessions, self.threads)


class Collected:
    """Candidates of frames, one after the other, as flat arrays in the end."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._counts: list[int] = []
        self._found: list[Candidates] = []
        self._letterbox: Letterbox | None = None

    def add(self, frame_time: float, letterbox: Letterbox, found: Candidates) -> None:
        """Take one frame's candidates. Raises VideoError when the picture's size has changed within the video."""
        if self._letterbox is not None and letterbox != self._letterbox:
            was, now = self._letterbox, letterbox
            raise VideoError(
                f"the picture's size changes from {was.picture_width} x {was.picture_height} to "
                f"{now.picture_width} x {now.picture_height} after {len(self.times)} frames; split the video there"
            )
        self._letterbox = letterbox
        self.times.append(frame_time)
        self._counts.append(len(found.scores))
        self._found.append(found)

    def arrays(self, opened: Opened, path: Path) -> dict[str, Any]:
        """boxes, scores, classes, counts, times and the letterbox, as `infer_segment` returns them.

        A file cut within a key frame leaves a last segment without a frame; its letterbox is that of the file's pictures.
        """
        letterbox = self._letterbox
        if letterbox is None:
            info = probe(path)
            letterbox = opened.letterbox(np.empty((info.height, info.width, 3), np.uint8))
            nothing = np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)
            self._found.append(Candidates(*nothing))
        return {
            "boxes": np.concatenate([found.boxes for found in self._found]).astype(np.float32),
            "scores": np.concatenate([found.scores for found in self._found]).astype(np.float32),
            "classes": np.concatenate([found.classes for found in self._found]).astype(np.int32),
            "counts": np.array(self._counts, dtype=np.int32),
            "times": np.array(self.times, dtype=np.float64),
            "letterbox": letterbox.to_json(),
        }
