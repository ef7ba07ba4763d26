"""The sound of a video: it stays with the pictures, in time, and ends with them when they are cut."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from nodes.vision.video import postprocess_video, render_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import plan_segments
from wfe import Output

from .conftest import SHAPES, pictures

RATE = 48_000


def with_sound(path: Path, codec: str = "flac", late: float = 0.0, seconds: float = 2.0, begins: int = 0) -> Path:
    """25 frames a second, from `begins` seconds on, and a noise as long, which begins `late` seconds after them."""
    noise = np.random.default_rng(0).integers(-9000, 9000, (2, round(seconds * RATE)), dtype=np.int16)
    with av.open(str(path), "w") as made:
        shown = made.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "10"})
        heard = made.add_stream(codec, rate=RATE, layout="stereo")
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        size = heard.codec_context.frame_size or 960
        for index, picture in enumerate(pictures(round(25 * seconds), 64, 48)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = 25 * begins + index, Fraction(1, 25)
            made.mux(shown.encode(frame))
        form = heard.codec_context.format.name
        convert = av.AudioResampler(form, "stereo", RATE, size)
        given = av.AudioFrame.from_ndarray(noise.T.reshape(1, -1), format="s16", layout="stereo")
        given.sample_rate, given.pts = RATE, round((begins + late) * RATE)
        for part in convert.resample(given):
            made.mux(heard.encode(part))
        made.mux(shown.encode(None))
        made.mux(heard.encode(None))
    return path


def packets(path: Path, begins: float = 0.0) -> list[tuple[float, bytes]]:
    """Seconds, and content, of every packet of sound that begins with the pictures or later."""
    with av.open(str(path)) as made:
        found = [one for one in made.demux(audio=0) if one.size and not one.is_discard]
        times = [float(one.pts * one.time_base) - begins for one in found]
        return [(round(time, 3), bytes(one)) for time, one in zip(times, found, strict=True) if time >= 0]


def rendered(source: Path, path: Path, seconds: float = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan and the rendering of a video with what was detected on it."""
    plan = plan_segments(source, 1000, max_duration=seconds)
    segments = [infer_segment(str(source), one, SHAPES, sessions=1, threads=1) for one in plan["segments"]]
    found = postprocess_video(segments, Output(path.with_suffix(".jsonl")))
    given = {name: found[name] for name in ("boxes", "scores", "classes", "counts", "times", "class_names")}
    return plan, render_video(source, Output(path), **given, begins=plan["begins"])


@pytest.mark.parametrize(
    ("given", "codec", "to"), [("a.mkv", "flac", "b.mp4"), ("a.mp4", "aac", "b.mkv"), ("a.mov", "pcm_s16le", "b.mov")]
)
@pytest.mark.parametrize("late", [0.0, 0.5])
def test_the_sound_is_copied_in_time(tmp_path: Path, given: str, codec: str, to: str, late: float) -> None:
    source = with_sound(tmp_path / given, codec, late)
    plan, made = rendered(source, tmp_path / to)
    assert made["sound"] == codec and made["frames_written"] == 50
    expected, found = packets(source, plan["begins"]), packets(tmp_path / to)
    assert [content for _, content in found] == [content for _, content in expected]
    assert np.allclose([time for time, _ in found], [time for time, _ in expected], atol=0.002)
    assert found[0][0] == pytest.approx(late, abs=0.025) and len(found) > 20


def test_the_clock_of_a_broadcast_begins_anywhere(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "a.ts", "aac", begins=100)
    plan, made = rendered(source, tmp_path / "b.mp4")
    assert plan["begins"] >= 100 and made["sound"] == "aac"
    expected, found = packets(source, plan["begins"]), packets(tmp_path / "b.mp4")
    assert np.allclose([time for time, _ in found], [time for time, _ in expected], atol=0.002)


def test_the_sound_ends_with_the_pictures_that_are_asked_for(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "a.mkv")
    _, made = rendered(source, tmp_path / "b.mp4", 1.0)
    assert made["frames_written"] == 25
    assert packets(tmp_path / "b.mp4") == [one for one in packets(source) if one[0] < 1.0]


def test_what_the_container_cannot_hold_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, made = rendered(with_sound(tmp_path / "a.mkv", "flac"), tmp_path / "b.mov")
    assert (made["sound"], made["frames_written"]) == ("", 50)
    assert "the sound (flac) is left out: mov does not hold it" in capsys.readouterr().out


def test_what_no_browser_plays_is_told_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, made = rendered(with_sound(tmp_path / "a.mkv"), tmp_path / "b.mkv")
    assert not made["plays_in_browser"]
    assert f"b.mkv: browsers do not play {made['codec']} in a file of this kind" in capsys.readouterr().out


def test_the_sound_of_recordings_one_behind_the_other_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = with_sound(tmp_path / "a.ts", "aac", seconds=1.0).read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(one * 2)
    _, made = rendered(twice, tmp_path / "b.mp4")
    assert (made["sound"], made["frames_written"]) == ("", 50)
    assert "the sound (aac) is left out: no clock tells" in capsys.readouterr().out
