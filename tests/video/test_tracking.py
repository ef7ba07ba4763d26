"""Tracks, line crossings and zones on boxes whose paths are known."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from nodes.vision.tracking import count_in_zone, count_line_crossings, render_tracks, track_objects
from nodes.vision.video_read import frames
from wfe import Output, Refuse

from .conftest import Make

NAMES = ["car", "person"]


def two_walkers(count: int = 40) -> dict[str, np.ndarray]:
    """A person (class 1) who walks right at the top, a car (class 0) that drives left at the bottom, in 320 x 240."""
    boxes, classes = [], []
    for frame in range(count):
        right, left = 5 + 6 * frame, 260 - 6 * frame
        boxes += [[right, 20, right + 40, 80], [left, 150, left + 50, 200]]
        classes += [1, 0]
    return {
        "boxes": np.array(boxes, np.float32),
        "scores": np.full(2 * count, 0.9, np.float32),
        "classes": np.array(classes, np.int32),
        "counts": np.full(count, 2, np.int32),
    }


@pytest.mark.parametrize("package", ["supervision", "trackers"])
def test_a_missing_package_is_named_with_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "nodes.vision.tracking")
    with pytest.raises(Refuse, match=f"tracking needs the package {package}: install the extra 'tracking'"):
        importlib.import_module("nodes.vision.tracking")


@pytest.mark.parametrize("tracker", ["bytetrack", "sort", "ocsort"])
def test_each_keeps_its_number(tracker: str) -> None:
    walk = two_walkers()
    found = track_objects(**walk, class_names=NAMES, fps=25.0, tracker=tracker)
    ids = found["track_ids"].reshape(-1, 2)
    for column in (0, 1):
        sure = set(ids[:, column].tolist()) - {-1}
        assert len(sure) == 1
    assert set(ids[:, 0]) - {-1} != set(ids[:, 1]) - {-1}
    assert found["tracks"] == 2 and found["tracks_by_class"] == {"person": 1, "car": 1}


def test_empty_frames_and_no_frames() -> None:
    none = {
        "boxes": np.zeros((0, 4), np.float32),
        "scores": np.zeros(0, np.float32),
        "classes": np.zeros(0, np.int32),
        "counts": np.zeros(5, np.int32),
    }
    assert track_objects(**none, class_names=NAMES)["tracks"] == 0
    zone = count_in_zone(**none, times=np.arange(5) / 25, polygon=[[0, 0], [10, 0], [10, 10]])
    assert zone["zone_counts"].tolist() == [0] * 5


def test_a_line_is_crossed_once_by_each() -> None:
    walk = two_walkers()
    times = np.arange(40) / 25
    ids = np.tile([7, 8], 40)
    found = count_line_crossings(**walk, times=times, track_ids=ids, class_names=NAMES, line=[[160, 0], [160, 240]])
    assert found["crossed_in"] + found["crossed_out"] == 2
    assert found["crossed_in"] == found["crossed_out"] == 1
    assert {(one["track"], one["class"]) for one in found["crossings"]} == {(7, "person"), (8, "car")}
    person = next(one for one in found["crossings"] if one["track"] == 7)
    # the middle of the lower edge, 25 + 6 f, passes 160 between frames 22 and 23
    assert 22 / 25 <= person["time"] <= 25 / 25


def test_a_line_is_crossed_by_who_is_hidden_meanwhile() -> None:
    """By a walker who is behind a tree for ten frames, while another stands by; and back again, in sight."""
    seen = [frame for frame in range(80) if not 15 <= frame < 25]
    walker = {frame: 5 + 6 * frame if frame < 45 else 5 + 6 * (90 - frame) for frame in seen}
    counts = [1 + (frame in walker) for frame in range(80)]
    rows: list[tuple[list[int], int]] = []
    for frame in range(80):
        rows.append(([300, 100, 310, 120], 9))
        if frame in walker:
            rows.append(([walker[frame], 20, walker[frame] + 40, 80], 4))
    boxes, ids = np.array([box for box, _ in rows], np.float32), np.array([number for _, number in rows])
    scores, classes = np.full(len(rows), 0.9, np.float32), np.ones(len(rows), np.int32)
    found = count_line_crossings(
        boxes, scores, classes, np.array(counts), np.arange(80) / 10, ids, NAMES, [[140, 0], [140, 240]]
    )
    there, back = {"time": 2.5, "track": 4, "class": "person"}, {"time": 7.1, "track": 4, "class": "person"}
    assert (found["crossed_in"], found["crossed_out"]) == (1, 1)
    assert [{name: one[name] for name in there} for one in found["crossings"]] == [there, back]


def test_a_zone_counts_who_stands_in_it() -> None:
    walk = two_walkers()
    ids = np.tile([7, 8], 40)
    zone = count_in_zone(
        **walk, times=np.arange(40) / 25, track_ids=ids, polygon=[[0, 60], [100, 60], [100, 120], [0, 120]]
    )
    # only the person's lower edge (y = 80) passes there, while 25 + 6 f <= 100
    expected = [1 if 25 + 6 * frame <= 100 else 0 for frame in range(40)]
    assert zone["zone_counts"].tolist() == expected
    assert zone["most"] == 1 and zone["objects"] == 1
    assert zone["dwell"]["7"] == pytest.approx(sum(expected) / 25, abs=0.05)


def test_wrong_lines_and_zones_are_named() -> None:
    walk = two_walkers(2)
    common = {"times": np.arange(2) / 25, "track_ids": np.zeros(4, np.int64)}
    with pytest.raises(ValueError, match="'line' .* must be 2 points"):
        count_line_crossings(**walk, **common, class_names=NAMES, line=[[1, 2]])
    with pytest.raises(ValueError, match="'polygon' .* at least 3 points"):
        count_in_zone(**walk, **common, polygon=[1, 2])
    for line, said in (
        ([[5, 5], [5, 5]], "2 of its points must be different"),
        ([[0, 0], [float("nan"), 5]], "must lie within 20000 pixels"),
        ([[0, 0], [1e30, 5]], "must lie within"),
        ([[0, 0], [10**400, 5]], "must be 2 points"),
    ):
        with pytest.raises(Refuse, match=f"'line' is .*{said}"):
            count_line_crossings(**walk, **common, class_names=NAMES, line=line)
    for polygon, said in (
        ([[0, 0], [5, 5], [0, 0]], "3 of its points must be different"),
        ([[0, 0], [1e12, 0], [5, 5]], "must lie within"),
        ([[0, 0], [0, -30_000], [5, 5]], "must lie within"),
        ([[-9, -9], [-2, -9], [-2, 50]], "lies outside of every picture"),
    ):
        with pytest.raises(Refuse, match=f"'polygon' is .*{said}"):
            count_in_zone(**walk, **common, polygon=polygon)
    for seconds in (-1.0, float("inf"), float("nan")):
        with pytest.raises(Refuse, match="'lost_seconds' is .* must be 0 or more"):
            track_objects(**walk, class_names=NAMES, lost_seconds=seconds)
    with pytest.raises(ValueError, match="known: bytetrack"):
        track_objects(**walk, class_names=NAMES, tracker="mine")  # type: ignore[arg-type]


def test_tracks_are_drawn_on_every_frame(make_video: Make, tmp_path: Path) -> None:
    source = make_video(count=40)
    walk = two_walkers()
    out = Output(tmp_path / "tracks.mp4")
    zone = [[0, 60], [100, 60], [100, 120]]
    drawn = render_tracks(
        source,
        out,
        **walk,
        times=np.arange(40) / 25,
        track_ids=np.tile([7, 8], 40),
        class_names=NAMES,
        line=[[160, 0], [160, 240]],
        polygon=zone,
    )
    assert drawn["frames_written"] == 40
    changed = [
        np.abs(before.picture.astype(int) - after.picture).max()
        for before, after in zip(frames(source), frames(out), strict=True)
    ]
    assert min(changed) > 100
