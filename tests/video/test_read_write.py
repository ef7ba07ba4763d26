"""Reading and writing videos: every frame, its own time, and plain words about files that are broken."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from nodes.vision.video import render_video
from nodes.vision.video_plan import plan_segments
from nodes.vision.video_read import Damage, VideoError, frames, probe
from nodes.vision.video_write import ENCODERS, VideoWriter, encoder
from wfe import Output, Refuse

from .conftest import Make, pictures


def test_all_frames_with_their_times(make_video: Make) -> None:
    path = make_video(count=31, bframes=2)
    found = list(frames(path))
    assert [frame.index for frame in found] == list(range(31))
    assert np.allclose([frame.time for frame in found], np.arange(31) / 25, atol=1e-3)
    info = probe(path)
    assert (info.width, info.height, info.codec) == (320, 240, "h264")


def test_pixels_are_those_of_opencv(make_video: Make) -> None:
    path = make_video(count=12)
    camera = cv2.VideoCapture(str(path))
    for frame in frames(path):
        assert np.array_equal(frame.picture, camera.read()[1])
    assert not camera.read()[0]


def test_variable_frame_rate_is_kept(make_video: Make, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 2.0, 2.04, 7.25]
    source = make_video(count=len(times), times=times)
    assert np.allclose([frame.time for frame in frames(source)], times, atol=1e-3)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, 320, 240, 25) as writer:
        for frame in frames(source):
            writer.add(writer.frame(frame.picture), frame.time)
    assert np.allclose([frame.time for frame in frames(out)], times, atol=1e-3)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    wide, out = tmp_path / "wide.mp4", tmp_path / "out.mp4"
    with VideoWriter(wide, 64, 48, 25, aspect=Fraction(4, 3)) as writer:
        for number in range(3):
            writer.add(writer.frame(np.zeros((48, 64, 3), np.uint8)), number / 25)
    assert probe(wide).aspect == Fraction(4, 3)
    nothing = np.zeros(0, np.float32)
    times = np.array([frame.time for frame in frames(wide)])
    rows = nothing.reshape(0, 4), nothing, nothing, np.zeros(3, np.int32)
    render_video(wide, Output(out), *rows, times, [])
    assert probe(out).aspect == Fraction(4, 3)


def test_rotation_mark_of_a_phone(tmp_path: Path) -> None:
    upright, turned = tmp_path / "upright.mp4", tmp_path / "turned.mp4"
    with VideoWriter(upright, 320, 240, 25, aspect=Fraction(4, 3)) as writer:
        for number, picture in enumerate(pictures(3)):
            writer.add(writer.frame(picture), number / 25)
    with av.open(str(upright)) as given, av.open(str(turned), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.size]
        for packet in packets:
            packet.stream = copy
            made.mux(packet)
    # PyAV writes no display matrix; the nine numbers of the track header are set to a quarter turn by hand
    raw = bytearray(turned.read_bytes())
    header = raw.index(b"tkhd") + 4 + 40
    matrix = np.array([0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000], dtype=">i4").tobytes()
    raw[header : header + 36] = matrix
    turned.write_bytes(bytes(raw))
    info = probe(turned)
    assert (info.width, info.height, info.aspect) == (240, 320, Fraction(3, 4))
    camera = cv2.VideoCapture(str(turned))
    assert np.array_equal(next(frames(turned)).picture, camera.read()[1])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_written_file_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 321, 241, 30) as writer:
        for index, picture in enumerate(pictures(10, 321, 241)):
            writer.add(writer.frame(picture), index / 30)
    found = list(frames(path))
    assert len(found) == 10 and found[0].picture.shape == (240, 320, 3)
    assert writer.plays_in_browser == (suffix == ".mp4" and ENCODERS[writer.codec][1])


def test_named_fallback_encoder(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 320, 240, 25, "mpeg4") as writer:
        for index, picture in enumerate(pictures(5)):
            writer.add(writer.frame(picture), index / 25)
    assert probe(tmp_path / "out.mp4").codec == "mpeg4"
    assert not writer.plays_in_browser
    with pytest.raises(VideoError, match="there are .*mpeg4"):
        encoder("h265")


def test_an_encoder_that_the_container_cannot_hold_is_refused_before_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"libvpx-vp9", "mpeg4"})
    path = tmp_path / "out.mov"
    with pytest.raises(VideoError, match=r"'libvpx-vp9' does not go into \.mov; use mpeg4, or another suffix: \.mp4"):
        VideoWriter(path, 320, 240, 25, "libvpx-vp9")
    assert not path.exists()
    assert encoder() == encoder("libvpx-vp9", ".mkv") == "libvpx-vp9"
    assert encoder("", ".mov") == "mpeg4"  # nor is it chosen when none is asked for


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_live_recording_can_be_read_while_it_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rec{suffix}"
    writer = VideoWriter(path, 320, 240, 25, live=True)
    for index, picture in enumerate(pictures(110)):
        writer.add(writer.frame(picture), index / 25)
        if index >= 60:
            assert len(list(frames(path, damage=Damage(), bgr=False))) >= index - 30
    writer.close()
    found = list(frames(path))
    assert len(found) == 110 and found[-1].time == pytest.approx(109 / 25, abs=0.001)


def test_cut_file_keeps_its_frames_and_says_so(make_video: Make, tmp_path: Path) -> None:
    whole = make_video(count=60, options={"movflags": "+faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    damage = Damage()
    count = sum(1 for _ in frames(cut, damage=damage))
    assert 10 < count < 60
    assert damage.kept == count and "promises 60 frames" in damage.message
    with pytest.raises(VideoError, match="damaged or cut"):
        list(frames(cut))


def test_frames_that_an_edit_list_hides_are_not_missing(make_video: Make, tmp_path: Path) -> None:
    whole, edited = make_video(count=60, gop=60), tmp_path / "edited.mp4"
    with av.open(str(whole)) as given, av.open(str(edited), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.size:
                packet.pts -= 17 * packet.duration  # what lies before 0 is written with an edit list
                packet.dts -= 17 * packet.duration
                packet.stream = copy
                made.mux(packet)
    assert len(list(frames(edited))) == 43
    planned = plan_segments(edited)
    assert planned["frames"] == 43 and not planned["damage"]


def test_cut_matroska_is_noticed(make_video: Make, tmp_path: Path) -> None:
    whole = make_video("whole.mkv", count=200).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    damage = Damage()
    assert 0 < sum(1 for _ in frames(cut, damage=damage)) < 200
    assert "promises 8.0 s" in damage.message


def bad(folder: Path, make_video: Make, kind: str) -> Path:
    path = folder / "bad.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 50)
    elif kind == "text by name":
        path = folder / "bad.txt"
        path.write_text("this is no video\n" * 50)
    elif kind == "no index":
        path.write_bytes(make_video(count=30).read_bytes()[:2000])
    elif kind == "play list":
        path = folder / "bad.m3u8"
        make_video("part.ts", count=30)
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
        path.write_text(head + "#EXTINF:1.2,\npart.ts\n#EXT-X-ENDLIST\n")
    elif kind == "pattern":
        for number in range(3):
            cv2.imwrite(str(folder / f"p{number}.png"), np.zeros((64, 64, 3), np.uint8))
        path = folder / "p%d.png"
        path.write_bytes((folder / "p0.png").read_bytes())
    elif kind == "sound":
        path = folder / "bad.wav"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
            sound.rate = 8000
            container.mux(stream.encode(sound))
    elif kind == "cover":
        with av.open(str(path), "w") as container:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")
            container.mux(cover.encode(frame.reformat(format="yuvj420p")))
            container.mux(cover.encode(None))
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "is empty"),
        ("text", "cannot be read as a video"),
        ("text by name", "text file"),
        ("no index", "cannot be read as a video"),
        ("sound", "has no video stream, only audio"),
        ("cover", "has no video stream, only cover picture"),
        ("play list", "only names other files .*'hls'"),
        ("pattern", "only names other files .*'image2'"),
    ],
)
def test_bad_files_are_named_plainly(tmp_path: Path, make_video: Make, kind: str, said: str) -> None:
    path = bad(tmp_path, make_video, kind)
    with pytest.raises(VideoError, match=said) as caught:
        list(frames(path))
    assert str(path) in str(caught.value)
    with pytest.raises(Refuse, match="no such video"):
        probe(tmp_path / "none.mp4")


def test_a_cut_transport_stream_is_noticed(make_video: Make, tmp_path: Path) -> None:
    whole = make_video("whole.ts", count=100).read_bytes()
    assert len(list(frames(tmp_path / "whole.ts"))) == 100
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[: 188 * (len(whole) // 376) + 100])
    damage = Damage()
    kept = sum(1 for _ in frames(cut, damage=damage))
    assert 0 < kept < 100
    assert "end within a packet of MPEG-TS" in damage.message
