"""Nodes: follow objects through a video, count who crosses a line or stands in a zone, and draw it.

Knows the trackers and supervision libraries, which do the work. Takes the flat arrays of `postprocess_video` and runs no
model. The tracker sees the frames in order, so this is one step for the whole video; it takes under a millisecond a frame.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nodes.vision.video import beyond, encode, place_of
from nodes.vision.video_read import Damage, Frame, Picture, frames, probe
from nodes.vision.video_sound import sound_of
from nodes.vision.video_write import VideoWriter
from wfe import Output, Refuse, workflow_node

try:
    import supervision as sv
    import trackers
except ModuleNotFoundError as missing:
    raise Refuse(
        f"tracking needs the package {missing.name}: install the extra 'tracking', or trackers itself"
    ) from missing

TRACKERS = {"bytetrack": "ByteTrackTracker", "sort": "SORTTracker", "ocsort": "OCSORTTracker"}
FARTHEST = 20_000
"""Pixels: no video is larger, and supervision makes a mask of a polygon's whole extent."""
ANCHORS = {"centre": sv.Position.CENTER, "bottom": sv.Position.BOTTOM_CENTER}


@workflow_node
def check_counting(line: list[Any], polygon: list[Any], lost_seconds: float = 1.0) -> None:
    """Raise wfe.Refuse on a setting that a step behind the inference would refuse: before it, not after an hour of it."""
    points(line, 2, "line", exactly=True)
    corners_of(polygon)
    check_lost(lost_seconds)


@workflow_node(outputs={"track_ids": np.ndarray, "tracks": int, "tracks_by_class": dict})
def track_objects(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    class_names: list[Any],
    fps: float = 25.0,
    tracker: Literal["bytetrack", "sort", "ocsort"] = "bytetrack",
    lost_seconds: float = 1.0,
) -> dict[str, Any]:
    """Give each detection the number of the object that it shows: `track_ids`, n int64, -1 where none is sure.

    boxes, scores, classes, counts: as `postprocess_video` returns them. lost_seconds: how long an object may be hidden
    and still be the same. tracks: how many objects there were.
    """
    if tracker not in TRACKERS:
        raise Refuse(f"'tracker' is {tracker!r}; known: {', '.join(TRACKERS)}")
    check_lost(lost_seconds)
    # The library counts its buffer at 30 frames a second and scales it by the rate it is told.
    follow = getattr(trackers, TRACKERS[tracker])(lost_track_buffer=max(1, round(30 * lost_seconds)), frame_rate=fps)
    ids = np.full(len(scores), -1, dtype=np.int64)
    for begin, end in spans(counts):
        found = detections(boxes, scores, classes, begin, end)
        # The library may reorder or leave out detections: each carries its place.
        found.data["place"] = np.arange(begin, end)
        followed = follow.update(found)
        if len(followed) and followed.tracker_id is not None:
            ids[np.asarray(followed.data["place"], dtype=np.int64)] = followed.tracker_id
    kinds: dict[int, int] = {}
    for number, kind in zip(ids.tolist(), np.asarray(classes).tolist(), strict=True):
        if number >= 0:
            kinds.setdefault(number, kind)
    by_class = Counter(name_of(class_names, kind) for kind in kinds.values())
    return {"track_ids": ids, "tracks": len(kinds), "tracks_by_class": dict(by_class.most_common())}


@workflow_node(outputs={"crossed_in": int, "crossed_out": int, "crossings": list})
def count_line_crossings(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    times: np.ndarray,
    track_ids: np.ndarray,
    class_names: list[Any],
    line: list[Any],
    anchor: Literal["centre", "bottom"] = "bottom",
) -> dict[str, Any]:
    """Count tracked objects whose anchor crosses a line [[x1, y1], [x2, y2]] in pixels.

    "in" is from the right to the left of someone who walks from the first point to the second, as supervision counts.
    crossings: [{time, track, class, direction}].
    """
    (x1, y1), (x2, y2) = points(line, 2, "line", exactly=True)
    zone = sv.LineZone(sv.Point(x1, y1), sv.Point(x2, y2), triggering_anchors=[anchor_of(anchor)])
    ids, moments = np.asarray(track_ids, dtype=np.int64), np.repeat(times, counts)
    crossed: dict[int, str] = {}
    for places in turns(ids):
        found = sv.Detections(xyxy=np.asarray(boxes)[places], class_id=np.asarray(classes)[places].astype(np.int64))
        found.tracker_id = ids[places]
        inward, outward = zone.trigger(found)
        crossed |= dict.fromkeys(places[inward].tolist(), "in") | dict.fromkeys(places[outward].tolist(), "out")
    crossings = [
        {
            "time": round(float(moments[place]), 4),
            "track": int(ids[place]),
            "class": name_of(class_names, int(classes[place])),
            "direction": crossed[place],
        }
        for place in sorted(crossed)
    ]
    return {"crossed_in": int(zone.in_count), "crossed_out": int(zone.out_count), "crossings": crossings}


@workflow_node(outputs={"zone_counts": np.ndarray, "most": int, "mean": float, "objects": int, "dwell": dict})
def count_in_zone(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    times: np.ndarray,
    polygon: list[Any],
    track_ids: np.ndarray | None = None,
    anchor: Literal["centre", "bottom"] = "bottom",
) -> dict[str, Any]:
    """Count detections whose anchor lies in a polygon [[x, y], ...] in pixels, frame by frame: `zone_counts`, int32.

    With track_ids, objects: how many different ones were inside; dwell: seconds inside of each, by its number.
    """
    zone = sv.PolygonZone(polygon=corners_of(polygon), triggering_anchors=[anchor_of(anchor)])
    inside: list[int] = []
    dwell: Counter[int] = Counter()
    steps = (
        np.diff(times, append=times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0.0))
        if len(times)
        else times
    )
    for frame, (begin, end) in enumerate(spans(counts)):
        hit = zone.trigger(detections(boxes, scores, classes, begin, end)) if end > begin else np.zeros(0, bool)
        inside.append(int(hit.sum()))
        if track_ids is not None:
            for number in np.asarray(track_ids[begin:end])[hit].tolist():
                if number >= 0:
                    dwell[number] += float(steps[frame])  # type: ignore[assignment]
    return {
        "zone_counts": np.array(inside, dtype=np.int32),
        "most": max(inside, default=0),
        "mean": round(float(np.mean(inside)), 4) if inside else 0.0,
        "objects": len(dwell),
        "dwell": {str(number): round(seconds, 3) for number, seconds in sorted(dwell.items())},
    }


@workflow_node(outputs={"output_path": Output, "frames_written": int, "render_seconds": float})
def render_tracks(
    source: Path,
    output_path: Output,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    times: np.ndarray,
    track_ids: np.ndarray,
    class_names: list[Any],
    line: list[Any] | None = None,
    polygon: list[Any] | None = None,
    trace_frames: int = 30,
    published_name: str = "",
    begins: float | None = None,
) -> dict[str, Any]:
    """Write the video with boxes, labels "#track class score", the objects' traces, and the line and zone when given.

    times: seconds of each frame that was searched, which is how the frames of the file are matched; it ends with the last.
    begins: of `plan_segments`, for the sound of the source; None for no sound.
    """
    began = time.perf_counter()
    info = probe(source)
    bounds = list(spans(counts))
    first = float(times[0]) if len(times) else 0.0
    box, label = (
        sv.BoxAnnotator(color_lookup=sv.ColorLookup.TRACK),
        sv.LabelAnnotator(color_lookup=sv.ColorLookup.TRACK),
    )
    trace = sv.TraceAnnotator(color_lookup=sv.ColorLookup.TRACK, trace_length=max(1, trace_frames))
    ends = points(line, 2, "line", exactly=True) if line else []
    corners = np.array(points(polygon, 3, "polygon"), dtype=np.int32) if polygon else None

    def draw(frame: Frame) -> tuple[float, Picture] | None:
        import cv2

        moment = frame.time + first
        if beyond(times, moment):
            return None
        place = place_of(times, moment)
        found = tracked(boxes, scores, classes, track_ids, *(bounds[place] if place is not None else (0, 0)))
        picture = trace.annotate(frame.picture, found)
        picture = box.annotate(picture, found)
        rows = zip(found.tracker_id, found.class_id, found.confidence, strict=True)  # type: ignore[arg-type]
        texts = [f"#{number} {name_of(class_names, int(kind))} {score:.2f}" for number, kind, score in rows]
        picture = label.annotate(picture, found, labels=texts)
        if ends:
            (x1, y1), (x2, y2) = ends
            cv2.line(picture, (round(x1), round(y1)), (round(x2), round(y2)), (0, 255, 255), 2, cv2.LINE_AA)
        if corners is not None:
            cv2.polylines(picture, [corners], True, (0, 255, 255), 2, cv2.LINE_AA)
        return moment, picture

    sound = sound_of(source, begins)
    with VideoWriter(
        output_path, info.width, info.height, info.rate, "", published_name, aspect=info.aspect, sound=sound
    ) as writer:
        encode(writer, frames(source, damage=Damage()), draw, len(bounds))
    return {
        "output_path": output_path,
        "frames_written": writer.frames,
        "render_seconds": round(time.perf_counter() - began, 4),
    }


def spans(counts: Any) -> Iterator[tuple[int, int]]:
    """Begin and end of each frame's detections in the flat arrays."""
    begin = 0
    for count in np.asarray(counts).tolist():
        yield begin, begin + count
        begin += count


def turns(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Places in the flat arrays: of the first detection of every track, of the second of every track, and so on.

    Shown frame by frame, supervision's line forgets a track that is away for two frames, and who crosses behind a tree
    would not be counted. Tracks do not concern each other, so their turns need not be of one moment.
    """
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] >= 0]
    _, first, many = np.unique(ids[order], return_index=True, return_counts=True)
    for number in range(max(many, default=0)):
        yield order[first[many > number] + number]


def detections(boxes: Any, scores: Any, classes: Any, begin: int, end: int) -> sv.Detections:
    """One frame's detections as supervision has them; an empty one keeps its arrays."""
    return sv.Detections(
        xyxy=np.asarray(boxes[begin:end], dtype=np.float32).reshape(-1, 4),
        confidence=np.asarray(scores[begin:end], dtype=np.float32),
        class_id=np.asarray(classes[begin:end], dtype=np.int64),
    )


def tracked(boxes: Any, scores: Any, classes: Any, track_ids: Any, begin: int, end: int) -> sv.Detections:
    """One frame's detections that belong to a track, with its number."""
    found = detections(boxes, scores, classes, begin, end)
    found.tracker_id = np.asarray(track_ids[begin:end], dtype=np.int64)
    return found[found.tracker_id >= 0]  # type: ignore[return-value]


def points(value: Any, least: int, name: str, exactly: bool = False) -> list[tuple[float, float]]:
    """`value` as points in pixels, `least` of them different. Raises wfe.Refuse that names the parameter."""
    try:
        found = [(float(x), float(y)) for x, y in value]
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) < least or (exactly and len(found) != least):
        raise Refuse(f"{name!r} is {value!r}; it must be {'' if exactly else 'at least '}{least} points [[x, y], ...]")
    if not all(-FARTHEST <= number <= FARTHEST for point in found for number in point):
        raise Refuse(f"{name!r} is {value!r}; it must lie within {FARTHEST} pixels of the picture's corner")
    if len(set(found)) < least:
        raise Refuse(f"{name!r} is {value!r}; {least} of its points must be different ones")
    return found


def corners_of(polygon: Any) -> np.ndarray:
    """A zone's corners in pixels, n x 2 int64. Raises wfe.Refuse as `points` does, and when no picture reaches into it."""
    corners = np.array(points(polygon, 3, "polygon"), dtype=np.int64)
    if corners.max(axis=0).min() < 0:
        raise Refuse(f"'polygon' is {polygon!r}, which lies outside of every picture; the upper left corner is [0, 0]")
    return corners


def check_lost(lost_seconds: float) -> None:
    """Raise wfe.Refuse on what is no time that an object may be hidden."""
    if not 0 <= lost_seconds < float("inf"):
        raise Refuse(f"'lost_seconds' is {lost_seconds}; it must be 0 or more")


def anchor_of(name: str) -> sv.Position:
    """The point of a box that counts. Raises wfe.Refuse."""
    if name not in ANCHORS:
        raise Refuse(f"'anchor' is {name!r}; known: {', '.join(ANCHORS)}")
    return ANCHORS[name]


def name_of(names: list[str], kind: int) -> str:
    """The name of a class."""
    return str(names[kind]) if 0 <= kind < len(names) else f"class {kind}"
