"""Segments: together they are the whole video, each is named by its content, and a longer file keeps the old ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import begins, check, plan_segments
from nodes.vision.video_read import Damage, VideoError, frames
from wfe import Refuse

from .conftest import SHAPES, Make, excerpt, pictures


def parts(path: Path, segments: list[dict]) -> list[list[tuple[float, bytes]]]:
    return [
        [
            (round(frame.time, 4), frame.picture.tobytes())
            for frame in frames(path, **{key: segment[key] for key in ("seek", "start", "stop", "origin")})
        ]
        for segment in segments
    ]


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize(("gop", "length"), [(10, 20), (7, 5), (1000, 12), (1, 8)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_segments_together_are_the_video(make_video: Make, name: str, gop: int, length: int, bframes: int) -> None:
    path = make_video(name, count=53, gop=gop, bframes=bframes)
    segments = plan_segments(path, length)["segments"]
    found = parts(path, segments)
    whole = [(round(frame.time, 4), frame.picture.tobytes()) for frame in frames(path)]
    assert [frame for part in found for frame in part] == whole
    assert len(whole) == 53
    assert [len(part) for part in found] == [segment["frames"] for segment in segments]
    assert len(segments) > 1
    for segment in segments:
        check(path, segment)


def test_open_groups_of_pictures(make_video: Make) -> None:
    """Frames that are shown before a key frame but coded after it belong to the segment before, and are decoded there."""
    path = make_video("open.mp4", count=60, codec="mpeg4", gop=6, bframes=2)
    segments = plan_segments(path, 10)["segments"]
    whole = [(round(frame.time, 4), frame.picture.tobytes()) for frame in frames(path)]
    assert [frame for part in parts(path, segments) for frame in part] == whole


def test_a_longer_file_costs_only_its_new_part(data: Path, tmp_path: Path) -> None:
    source = data / "videos" / "one-by-one-person-detection.mp4"
    short = plan_segments(excerpt(source, tmp_path / "short.mp4", 95), 20)["segments"]
    long = plan_segments(excerpt(source, tmp_path / "long.mp4", 160), 20)["segments"]
    assert long[: len(short) - 1] == short[:-1]
    assert len(long) > len(short)


def test_other_pixels_are_another_segment(make_video: Make) -> None:
    shown = pictures(60)
    first = plan_segments(make_video("one.mp4", frames=shown), 20)["segments"]
    changed = [*shown[:45], 255 - shown[45], *shown[46:]]
    other = plan_segments(make_video("two.mp4", frames=changed), 20)["segments"]
    assert [one == two for one, two in zip(first, other, strict=True)] == [True, True, False]


def test_a_file_that_changes_after_planning_is_noticed(make_video: Make, tmp_path: Path) -> None:
    path = make_video("one.mp4", frames=pictures(40))
    segments = plan_segments(path, 10)["segments"]
    path.write_bytes(make_video("two.mp4", frames=[255 - picture for picture in pictures(40)]).read_bytes())
    with pytest.raises(VideoError, match="not as planned"):
        infer_segment(str(path), segments[1], SHAPES, sessions=1, threads=1)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_duration_that_is_none_is_refused(make_video: Make, seconds: float) -> None:
    with pytest.raises(Refuse, match="'max_duration' is .*; it must be seconds, or 0 for the whole video"):
        plan_segments(make_video(count=2), max_duration=seconds)


def test_max_duration_and_files_without_timestamps(make_video: Make) -> None:
    path = make_video(count=50)
    segments = plan_segments(path, 10, max_duration=1.0)["segments"]
    assert sum(segment["frames"] for segment in segments) == 25
    assert sum(len(part) for part in parts(path, segments)) == 25
    coarse = make_video("a.flv", count=50)  # its clock has 1000 ticks a second
    for seconds, count in ((1e-9, 1), (0.04, 1), (0.0404, 2), (1.1, 28), (1.0804, 28)):
        for source in (path, coarse):
            assert plan_segments(source, 100, max_duration=seconds)["frames"] == count
    raw = plan_segments(make_video("raw.h264", count=30), 10)["segments"]
    assert [(one["start"], one["stop"], one["frames"]) for one in raw] == [(None, None, 30)]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_segments_detect_what_the_whole_video_does(make_video: Make, backend: str) -> None:
    path = make_video(count=40, bframes=2)
    whole = infer_segment(str(path), plan_segments(path, 1000)["segments"][0], SHAPES, backend, sessions=1, threads=1)
    found = [
        infer_segment(str(path), segment, SHAPES, backend, sessions=2, threads=1)
        for segment in plan_segments(path, 10)["segments"]
    ]
    assert len(found) == 4
    for key in ("counts", "classes", "times"):
        assert np.array_equal(np.concatenate([one[key] for one in found]), whole[key])
    assert np.allclose(np.concatenate([one["boxes"] for one in found]), whole["boxes"], atol=0.5)
    assert len(whole["scores"]) > 40 and whole["scores"].min() > 0.05


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_avi_with_frames_out_of_order(make_video: Make, name: str) -> None:
    """AVI counts packets as they are decoded; times must be those of the frames as they are shown, as in MP4."""
    shown = [np.full((64, 64, 3), 4 * index, np.uint8) for index in range(50)]
    path = make_video(name, bframes=3, gop=12, frames=shown)
    whole = list(frames(path))
    assert np.allclose([frame.time for frame in whole], np.arange(50) / 25, atol=1e-3)
    assert np.allclose([frame.picture.mean() for frame in whole], 4 * np.arange(50), atol=12)
    assert all(one.picture.mean() < other.picture.mean() for one, other in zip(whole, whole[1:], strict=False))
    planned = plan_segments(path, 10)
    found = parts(path, planned["segments"])
    assert [frame for part in found for frame in part] == [(round(one.time, 4), one.picture.tobytes()) for one in whole]
    assert planned["frames"] == 50 and not planned["damage"]
    short = plan_segments(path, 10, max_duration=0.4)["segments"]
    assert sum(segment["frames"] for segment in short) == 10
    assert [frame for part in parts(path, short) for frame in part] == found[0][:10]
    for segment in [*planned["segments"], *short]:
        check(path, segment)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_intra_refresh(make_video: Make, name: str) -> None:
    """What is marked as a key frame there is where pictures begin to become whole; decoding must begin further back."""
    path = make_video(name, count=90, gop=20, x264="intra-refresh=1")
    whole = [(round(frame.time, 4), frame.picture.tobytes()) for frame in frames(path)]
    segments = plan_segments(path, 15)["segments"]
    found = parts(path, segments)
    assert len(whole) == 90 and len(segments) > 1
    assert [frame for part in found for frame in part] == whole
    assert [len(part) for part in found] == [segment["frames"] for segment in segments]
    for segment in segments:
        check(path, segment)


@pytest.mark.parametrize("lengths", [True, False])
def test_supplemental_information_ends_with_its_unit(lengths: bool) -> None:
    """What follows it, a picture's bytes in the end, is not read as more of it: here as a point of recovery."""

    told, other, picture = b"\6\5\1x\x80", b"\x67" + 0x67 * b"x" + b"\6\1\1", b"\x65picture"
    marks = [len(unit).to_bytes(4, "big") if lengths else b"\0\0\0\1" for unit in (told, other, picture)]
    packet = b"".join(mark + unit for mark, unit in zip(marks, (told, other, picture), strict=True))
    assert begins(packet, "h264", b"\1gM@\xff" if lengths else b"")


def test_open_groups_of_h264_are_cut_at_their_key_frames(make_video: Make) -> None:
    path = make_video("open.mp4", count=90, gop=15, bframes=2, x264="open-gop=1:intra-refresh=0")
    segments = plan_segments(path, 15)["segments"]
    assert len(segments) >= 5 and all(segment["seek"] == segment["start"] for segment in segments)
    whole = [(round(frame.time, 4), frame.picture.tobytes()) for frame in frames(path)]
    assert [frame for part in parts(path, segments) for frame in part] == whole


@pytest.mark.parametrize("bframes", [0, 2])
def test_a_recording_that_begins_between_two_key_frames(make_video: Make, tmp_path: Path, bframes: int) -> None:
    """What comes before the first key frame shows nothing: it is no segment of its own, which would fail."""
    whole = make_video("whole.ts", count=60, gop=20, bframes=bframes)
    path = tmp_path / "late.ts"
    path.write_bytes(whole.read_bytes()[188 * 100 :])
    planned = plan_segments(path, 4)["segments"]
    found = parts(path, planned)
    assert all(found) and len(found) > 3
    pixels = [frame.picture.tobytes() for frame in frames(path, damage=Damage())]
    assert [picture for part in found for _, picture in part] == pixels
    assert 20 <= len(pixels) < 60
    short = infer_segment(str(path), planned[0], SHAPES, sessions=1, threads=1)
    assert short["frames"] == len(found[0]) and "frames of segment 0 cannot be decoded" in short["damage"]
