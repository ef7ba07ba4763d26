"""Files whose timestamps go back, repeat or are missing: every frame keeps its boxes, and times rise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from nodes.vision.tracking import count_in_zone
from nodes.vision.video import postprocess_video, render_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import check, plan_segments
from nodes.vision.video_read import Damage, Frame, Moments, frames
from wfe import Output

from .conftest import SHAPES, Make, pictures
from .test_segments import parts


def shades(first: int, count: int) -> list[np.ndarray]:
    return [np.full((64, 64, 3), 3 * (first + index), np.uint8) for index in range(count)]


def in_segments(path: Path, whole: list[Frame]) -> tuple[list[Any], list[Any]]:
    """The file's segments and what is read of each, which must be what was read of the whole."""
    planned = plan_segments(path, 10)
    assert planned["frames"] == len(whole) and not planned["damage"]
    found = parts(path, planned["segments"])
    assert [frame for part in found for frame in part] == [(round(one.time, 4), one.picture.tobytes()) for one in whole]
    return planned["segments"], found


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("later", [0, 0.013])
def test_recordings_one_behind_the_other(make_video: Make, tmp_path: Path, bframes: int, later: float) -> None:
    """later: seconds by which the second one's timestamps differ, so that none is there twice and only their order tells."""
    halves = [
        make_video(f"{number}.ts", bframes=bframes, frames=shades(first, count), times=times)
        for number, (first, count, times) in enumerate(
            [(0, 30, None), (30, 40, [later + number / 25 for number in range(40)])]
        )
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    whole = list(frames(path))
    assert np.allclose([frame.time for frame in whole], np.arange(70) / 25, atol=2e-3)
    assert np.allclose([frame.picture.mean() for frame in whole], 3 * np.arange(70), atol=14)
    segments, _ = in_segments(path, whole)
    assert len(whole) == 70
    for segment in segments:
        check(path, segment)


def test_boxes_are_drawn_on_the_frames_that_they_are_of(make_video: Make, tmp_path: Path) -> None:
    """The first recording shows nothing, the second one shapes: no box may come onto the first."""
    empty, full = [np.full((240, 320, 3), 90, np.uint8)] * 20, pictures(30)
    path, out = tmp_path / "both.ts", tmp_path / "out.mp4"
    path.write_bytes(make_video("a.ts", frames=empty).read_bytes() + make_video("b.ts", frames=full).read_bytes())
    segments = [
        infer_segment(str(path), one, SHAPES, sessions=1, threads=1) for one in plan_segments(path, 10)["segments"]
    ]
    found = postprocess_video(segments, Output(tmp_path / "found.jsonl"))
    counts = found["counts"]
    assert not counts[:20].any() and counts[20:].all() and len(counts) == 50
    assert np.allclose(found["times"], np.arange(50) / 25, atol=2e-3)
    rows = {key: found[key] for key in ("boxes", "scores", "classes", "counts", "times", "class_names")}
    assert render_video(path, Output(out), **rows, display_fps=False)["frames_written"] == 50
    drawn = list(frames(out))
    assert np.allclose([frame.time for frame in drawn], np.arange(50) / 25, atol=2e-3)
    changed = [
        np.abs(before.picture.astype(int) - after.picture).max()
        for before, after in zip(frames(path), drawn, strict=True)
    ]
    assert max(changed[:20]) < 20 and min(changed[20:]) > 60
    zone = count_in_zone(
        **{key: found[key] for key in ("boxes", "scores", "classes", "counts", "times")},
        polygon=[[0, 0], [320, 0], [320, 240], [0, 240]],
        track_ids=np.zeros(len(found["scores"]), np.int64),
    )
    assert zone["dwell"]["0"] > 0


def test_moments() -> None:
    def all_of(*told: int | None) -> list[int]:
        moments = Moments(40, 7)
        return [moments.next(one) for one in told]

    assert all_of(0, 40, 80) == [0, 40, 80]
    assert all_of(None, None, None, 200, 240) == [7, 47, 87, 200, 240]
    assert all_of(*[None] * 6, 7, 47) == [7 + 40 * number for number in range(8)]
    assert all_of(*[0] * 4) == [0, 40, 80, 120]
    assert all_of(0, 40, 40, 80, 120, 160) == [0, 40, 80, 100, 120, 160], "one that is there twice moves nothing else"
    assert all_of(0, 80, 40, 120) == [0, 80, 100, 120]
    assert all_of(1000, 1040, 1080, 0, 40, 500, 0, 40) == [1000, 1040, 1080, 1120, 1160, 1620, 1660, 1700]


def in_coded_order(source: Path, path: Path) -> Path:
    """The video with each packet said to be shown when it is decoded, as some writers have it."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.size:
                packet.pts = packet.dts
                packet.stream = copy
                made.mux(packet)
    return path


def test_frames_out_of_order_without_times_of_their_own(make_video: Make, tmp_path: Path) -> None:
    source = make_video("given.mp4", bframes=3, gop=12, frames=shades(0, 50))
    path = in_coded_order(source, tmp_path / "a.ts")
    whole = list(frames(path))
    assert np.allclose([frame.time for frame in whole], np.arange(50) / 25, atol=2e-3)
    assert np.allclose([frame.picture.mean() for frame in whole], 3 * np.arange(50), atol=12)
    _, found = in_segments(path, whole)
    assert len(whole) == 50
    short = plan_segments(path, 10, max_duration=0.4)["segments"]
    assert sum(segment["frames"] for segment in short) == 10
    assert [frame for part in parts(path, short) for frame in part] == found[0][:10]


def test_frames_in_order_are_cut_into_segments_although_they_could_be_out_of_it(
    make_video: Make, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    given = make_video("given.mp4", frames=list(noise), x264="bframes=1:b-adapt=2:scenecut=0:keyint=10")
    path = in_coded_order(given, tmp_path / "a.ts")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    assert len(plan_segments(path, 10)["segments"]) == 5


def test_pictures_in_a_row_in_segments(tmp_path: Path) -> None:
    path = tmp_path / "a.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", shade)[1].tobytes() for shade in shades(0, 60)))
    planned = plan_segments(path, 20)
    assert [segment["frames"] for segment in planned["segments"]] == [20, 20, 20] and not planned["damage"]
    whole = [(round(frame.time, 4), frame.picture.tobytes()) for frame in frames(path)]
    assert [frame for part in parts(path, planned["segments"]) for frame in part] == whole and len(whole) == 60
    for segment in planned["segments"]:
        check(path, segment)


def test_the_header_of_ivf_counts_no_frames(make_video: Make) -> None:
    path = make_video("a.ivf", count=50, codec="libvpx")
    assert len(list(frames(path))) == 50
    assert not plan_segments(path)["damage"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    damage = Damage()
    assert 0 < len(list(frames(path, damage=damage))) < 50
