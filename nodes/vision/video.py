"""Nodes: from the candidates of a video's segments to its detections, the annotated video, and the summary.

Knows thresholds and drawing. Runs no model: a changed threshold costs these steps alone.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.decode import Candidates, Detection, as_json, checked, suppress
from nodes.vision.drawing import draw_on
from nodes.vision.layout import Detector
from nodes.vision.letterbox import Letterbox
from nodes.vision.stream import Stage, Stream
from nodes.vision.stream_split import opencv_alone
from nodes.vision.video_infer import FLOOR
from nodes.vision.video_read import Damage, Frame, Picture, VideoError, frames, probe
from nodes.vision.video_sound import sound_of
from nodes.vision.video_write import VideoWriter, container_of
from nodes.vision.video_write import encoder as encoder_of
from wfe import Output, Refuse, Skip, log, progress, workflow_node

INLINE = 10_000
"""Up to so many detections stand in the result as a list; all of them stand in the file. 10,000 take 5 MB in memory."""

NEAR = 1e-4
"""Two times that differ by less, in seconds, are those of one frame."""


@workflow_node
def check_settings(
    conf_threshold: float,
    iou_threshold: float,
    max_detections: int,
    floor: float,
    save_video: bool,
    output_path: str,
    encoder: str = "",
) -> None:
    """Raise wfe.Refuse on a setting that a step behind the inference would refuse: before it, not after an hour of it."""
    check_thresholds(conf_threshold, iou_threshold, max_detections, floor)
    if save_video:
        suffix = Path(output_path).suffix.lower()
        container_of(suffix, output_path)
        encoder_of(encoder, suffix)


def check_thresholds(conf_threshold: float, iou_threshold: float, max_detections: int, floor: float) -> None:
    """Raise wfe.Refuse as `checked` does, and on a `conf_threshold` under the `floor` above which candidates are kept."""
    checked(conf_threshold, iou_threshold, max_detections, floor)
    if conf_threshold < floor:
        raise Refuse(f"'conf_threshold' {conf_threshold} is under 'floor' {floor}; set floor={conf_threshold} too")


@workflow_node(
    outputs={
        "detections_path": Output,
        "detections": list,
        "boxes": np.ndarray,
        "scores": np.ndarray,
        "classes": np.ndarray,
        "counts": np.ndarray,
        "times": np.ndarray,
        "class_names": list,
        "frames_processed": int,
        "total_detections": int,
        "by_class": dict,
    }
)
def postprocess_video(
    segments: list[Any],
    detections_path: Output,
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    max_detections: int = 300,
    floor: float = FLOOR,
) -> dict[str, Any]:
    """Detections of every frame from the candidates of all segments (`infer_segment`), in their order.

    detections_path: JSON lines, one a frame: {frame, time, detections: [{bbox, confidence, class, class_id}]}.
    detections: the lists of all frames, or none of them above 10,000 detections. boxes: n x 4 float32 in pixels of the
    picture; scores: n float32; classes: n int32; counts: of each frame, int32; times: seconds of each frame, float64.
    Raises wfe.Refuse when `conf_threshold` lies under the `floor` above which candidates were kept, and Skip when
    inference was skipped on a segment, which is None then: a part of a video's detections would look like all of them.
    """
    skipped = sum(segment is None for segment in segments)
    if skipped:
        raise Skip(f"inference was skipped on {skipped} of {len(segments)} segments; the infer steps say why")
    check_thresholds(conf_threshold, iou_threshold, max_detections, floor)
    kept = Kept()
    total: Counter[str] = Counter()
    inline: list[list[Detection]] = []
    with detections_path.open("w", encoding="utf-8", newline="\n") as file:
        for index, (moment, found) in enumerate(detected(segments, conf_threshold, iou_threshold, max_detections)):
            line = {"frame": index, "time": round(moment, 6), "detections": found}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            kept.add(moment, found)
            total.update(one["class"] for one in found)
            if total.total() <= INLINE:
                inline.append(found)
            else:
                inline.clear()
    return {
        "detections_path": detections_path,
        "detections": inline,
        **kept.arrays(),
        "class_names": list(Detector.from_json(segments[0]["detector"]).names),
        "frames_processed": len(kept.times),
        "total_detections": total.total(),
        "by_class": dict(total.most_common()),
    }


@workflow_node(
    outputs={
        "output_path": Output,
        "frames_written": int,
        "codec": str,
        "plays_in_browser": bool,
        "sound": str,
        "render_seconds": float,
    }
)
def render_video(
    source: Path,
    output_path: Output,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    times: np.ndarray,
    class_names: list[Any],
    display_fps: bool = True,
    encoder: str = "",
    published_name: str = "",
    begins: float | None = None,
) -> dict[str, Any]:
    """Write the video with its detections drawn on it, each frame at the time that it had, and the sound of the source.

    display_fps: write the frame's time and the video's frame rate in the corner. begins: of `plan_segments`; None for no
    sound. sound: the codec of what is heard, empty when nothing is. Raises VideoError when the video has
    another number of frames than detections were made for.
    """
    began = time.perf_counter()
    info = probe(source)
    ends = np.cumsum(counts)
    names = [str(name) for name in class_names]
    decoded = frames(source, damage=Damage())
    first = float(times[0]) if len(times) else 0.0
    matched: list[int] = []

    def draw(frame: Frame) -> tuple[float, Picture] | None:
        moment = frame.time + first
        if beyond(times, moment):
            return None
        found: list[Detection] = []
        place = place_of(times, moment)
        if place is not None:
            matched.append(place)
            begin, end = int(ends[place] - counts[place]), int(ends[place])
            found = [
                detection(box, score, kind, names) for box, score, kind in _rows(boxes, scores, classes, begin, end)
            ]
        text = f"{moment:.2f} s  {float(info.rate):.3g} fps" if display_fps else ""
        return moment, overlay(draw_on(frame.picture, found), text)

    sound = sound_of(source, begins)
    with VideoWriter(
        output_path, info.width, info.height, info.rate, encoder, published_name, aspect=info.aspect, sound=sound
    ) as writer:
        encode(writer, decoded, draw, len(ends))
    if len(matched) != len(ends):
        raise VideoError(
            f"{source}: only {len(matched)} of the {len(ends)} frames that were searched are in it; run again"
        )
    if not writer.plays_in_browser:
        log(f"{output_path.name}: browsers do not play {writer.codec} in a file of this kind; they play H.264 in .mp4")
    return {
        "output_path": output_path,
        "frames_written": writer.frames,
        "codec": writer.codec,
        "plays_in_browser": writer.plays_in_browser,
        "sound": writer.sound,
        "render_seconds": round(time.perf_counter() - began, 4),
    }


@workflow_node(
    outputs={
        "frames_processed": int,
        "total_detections": int,
        "duration": float,
        "avg_fps": float,
        "output_path": str,
        "detections": list,
        "detections_path": str,
        "by_class": dict,
        "split": dict,
        "where": str,
        "damage": str,
    }
)
def realtime_detection(
    segments: list[dict[str, Any]],
    detections: list[Any],
    detections_path: str,
    frames_processed: int,
    total_detections: int,
    by_class: dict[str, Any],
    damage: str = "",
    output_path: str | None = None,
    render_seconds: float | None = None,
) -> dict[str, Any]:
    """Sum up a video: duration is the seconds that its inference and drawing took when they ran, avg_fps frames by them.

    output_path: the annotated video, empty when none was asked for. damage: what of the file could not be read.
    """
    duration = sum(float(segment["seconds"]) for segment in segments) + (render_seconds or 0.0)
    problems = [text for text in (damage, *(str(segment["damage"]) for segment in segments)) if text]
    split = next((segment["split"] for segment in segments if segment["split"]["tried"]), segments[0]["split"])
    average = frames_processed / duration if duration else 0.0
    log(f"Frames processed: {frames_processed}")
    log(
        f"Total detections: {total_detections:,} ({', '.join(f'{n} {name}' for name, n in by_class.items()) or 'none'})"
    )
    log(f"Duration: {duration:.2f}s")
    log(
        f"Average FPS: {average:.1f} on {segments[0]['where']}, {split['sessions']} at once x {split['threads']} threads"
    )
    for problem in problems:
        log(f"Damaged: {problem}")
    return {
        "frames_processed": frames_processed,
        "total_detections": total_detections,
        "duration": round(duration, 4),
        "avg_fps": round(average, 2),
        "output_path": str(output_path or ""),
        "detections": detections,
        "detections_path": str(detections_path),
        "by_class": by_class,
        "split": split,
        "where": segments[0]["where"],
        "damage": "; ".join(problems),
    }


def detected(
    segments: list[dict[str, Any]], conf_threshold: float, iou_threshold: float, most: int
) -> Iterator[tuple[float, list[Detection]]]:
    """Time and detections of every frame of the segments."""
    for segment in segments:
        detector, letterbox = Detector.from_json(segment["detector"]), Letterbox.from_json(segment["letterbox"])
        ends = np.cumsum(segment["counts"])
        boxes, scores, classes = segment["boxes"], segment["scores"], segment["classes"]
        for frame_time, count, end in zip(segment["times"], segment["counts"], ends, strict=True):
            part = slice(int(end) - int(count), int(end))
            mine = Candidates(
                np.asarray(boxes[part]), np.asarray(scores[part]), np.asarray(classes[part], dtype=np.int64)
            )
            mine = mine.take(mine.scores > conf_threshold)
            if detector.layout == "end2end":
                mine = mine.take(np.argsort(-mine.scores, kind="stable")[:most])
            else:
                mine = suppress(mine, iou_threshold, most)
            yield float(frame_time), as_json(mine, detector, letterbox)


def encode(
    writer: VideoWriter, decoded: Iterator[Frame], draw: Callable[[Frame], tuple[float, Picture] | None], total: int
) -> None:
    """Decode, draw and encode, each in a thread of its own, up to the first frame for which `draw` returns None.

    draw: the time at which a frame is shown, in seconds, and its picture. total: how many frames are expected.
    """

    def work(frame: Frame, worker: int) -> tuple[float, Any] | None:
        drawn = draw(frame)
        return drawn and (drawn[0], writer.frame(drawn[1]))

    with opencv_alone():
        for item in Stream(decoded, [Stage("draw", work)], depth=4):
            if item is None:
                writer.end_sound()
                break
            moment, frame = item
            writer.add(frame, moment)
            if writer.frames % 50 == 0:
                progress(writer.frames, total, "draw and encode")


def place_of(times: Any, moment: float) -> int | None:
    """Which of the frames at `times` (seconds, rising) is shown at `moment`; None when there is none so near."""
    place = int(np.searchsorted(times, moment - NEAR))
    return place if place < len(times) and times[place] <= moment + NEAR else None


def beyond(times: Any, moment: float) -> bool:
    """Whether `moment` lies after the last of `times`."""
    return not len(times) or moment > float(times[-1]) + NEAR


def detection(box: Any, score: Any, kind: Any, names: list[str]) -> Detection:
    """One detection from its numbers."""
    class_id = int(kind)
    name = names[class_id] if 0 <= class_id < len(names) else f"class {class_id}"
    return {"bbox": [float(edge) for edge in box], "confidence": float(score), "class": name, "class_id": class_id}


def overlay(picture: Any, text: str) -> Any:
    """Write a line in the upper left corner of a BGR picture, in place; light on dark, so that it can be read anywhere."""
    if text:
        import cv2

        size = max(0.4, picture.shape[1] / 1280)
        spot = (8, round(8 + 24 * size))
        cv2.putText(picture, text, spot, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, text, spot, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _rows(boxes: Any, scores: Any, classes: Any, begin: int, end: int) -> Iterator[tuple[Any, Any, Any]]:
    return zip(boxes[begin:end], scores[begin:end], classes[begin:end], strict=True)


class Kept:
    """Detections of frames as flat arrays."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._counts: list[int] = []
        self._rows: list[np.ndarray[Any, Any]] = []

    def add(self, moment: float, found: list[Detection]) -> None:
        """Take one frame's detections."""
        self.times.append(moment)
        self._counts.append(len(found))
        if found:
            rows = [[*one["bbox"], one["confidence"], one["class_id"]] for one in found]
            self._rows.append(np.array(rows, dtype=np.float32))

    def arrays(self) -> Mapping[str, Any]:
        """boxes, scores, classes, counts and times, as `postprocess_video` returns them."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 6), np.float32)
        return {
            "boxes": np.ascontiguousarray(rows[:, :4]),
            "scores": rows[:, 4].copy(),
            "classes": rows[:, 5].astype(np.int32),
            "counts": np.array(self._counts, dtype=np.int32),
            "times": np.array(self.times, dtype=np.float64),
        }
