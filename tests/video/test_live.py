"""Live sources: streams on loopback, loss and return, a file as a camera, and a camera that is not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from nodes.vision.live import realtime_detection
from nodes.vision.live_record import Recorder
from nodes.vision.live_source import LiveSource, kind_of
from nodes.vision.live_window import Nothing
from nodes.vision.video_read import Picture, VideoError, frames
from wfe import Refuse

from .conftest import SHAPES, Broadcast, Make
from .rtsp import Rtsp

FFMPEG = shutil.which("ffmpeg")


def live(source: object, **more: object) -> LiveSource:
    return LiveSource(str(source), threading.Event(), **{"first_wait": 0.001, **more})  # type: ignore[arg-type]


def test_what_a_source_is() -> None:
    kinds = {"0": "camera", "12": "camera", "rtsp://h/x": "stream", "udp://127.0.0.1:1": "stream", "a.mp4": "file"}
    assert {source: kind_of(source) for source in kinds} == kinds
    assert kind_of("file:///a.mp4") == "file"


@pytest.mark.timeout(60)
def test_a_lost_stream_is_opened_again(broadcast: Callable[..., Broadcast]) -> None:
    sender = broadcast(8, 8, None)
    source = live(sender.address)
    seen = list(islice(source, 40))
    assert [frame.index for frame in seen] == list(range(40))
    assert all(one.time <= other.time for one, other in zip(seen, seen[1:], strict=False))
    assert source.lost == 2 and sender.connections == 3


@pytest.mark.timeout(60)
def test_a_stream_that_stays_away_is_given_up(broadcast: Callable[..., Broadcast]) -> None:
    sender = broadcast(8)
    source = live(sender.address, reconnects=2)
    assert 0 < len(list(source)) <= 8
    assert "given up after 2 attempts" in source.ended and source.lost == 1
    assert sender.connections == 3


def test_what_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="is the sender running"):
        next(iter(live("http://127.0.0.1:9/none")))
    with pytest.raises(VideoError, match="camera 77 cannot be opened"):
        next(iter(live("77")))
    with pytest.raises(Refuse, match="none.mp4"):
        next(iter(live(tmp_path / "none.mp4")))


def test_a_file_as_a_camera_loses_no_frame_to_the_source(make_video: Make) -> None:
    path = make_video(count=5)
    source = live(path)
    assert len(list(source)) == 5 and source.ended == "the file's end"


def test_a_cut_file_as_a_camera_ends_with_what_was_seen(make_video: Make, tmp_path: Path) -> None:
    whole = make_video(count=20, options={"movflags": "+faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 7 // 10])
    source = live(cut)
    assert 0 < len(list(source)) < 20
    assert source.ended.startswith("the file's end (") and "promises 20 frames" in source.ended


@pytest.mark.timeout(60)
def test_rtsp(make_video: Make) -> None:
    server = Rtsp(make_video("a.ts", count=200))
    try:
        seen = list(islice(live(server.address, reconnects=0), 20))
    finally:
        server.close()
    assert len(seen) == 20 and seen[0].picture.shape == (240, 320, 3)


@pytest.mark.timeout(60)
@pytest.mark.skipif(FFMPEG is None, reason="needs ffmpeg")
@pytest.mark.parametrize("scheme", ["udp", "http"])
def test_a_stream_that_ffmpeg_sends(make_video: Make, scheme: str) -> None:
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"{scheme}://127.0.0.1:{probe.getsockname()[1]}"
    listen = ["-listen", "1"] if scheme == "http" else []
    command = [str(FFMPEG), "-nostdin", "-loglevel", "info", "-re", "-stream_loop", "-1", "-i", str(make_video(gop=5))]
    sender = subprocess.Popen(
        [*command, "-c", "copy", "-f", "mpegts", *listen, address], stderr=subprocess.PIPE, text=True
    )
    try:
        assert sender.stderr is not None
        if scheme == "http":
            wait_for_listener(int(address.rpartition(":")[2]))
        seen = list(islice(live(address), 10))
    finally:
        sender.kill()
        sender.communicate()
    assert [frame.index for frame in seen] == list(range(10))
    assert seen[0].picture.shape == (240, 320, 3)


def wait_for_listener(port: int) -> None:
    """Return when something listens on the port, without connecting (the sender serves one connection alone)."""
    wanted = f"0100007F:{port:04X}"
    while True:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == wanted and fields[3] == "0A":
                return


@pytest.mark.timeout(120)
def test_the_node_counts_drops_records_and_ends(
    broadcast: Callable[..., Broadcast], tmp_path: Path, make_video: Make
) -> None:
    sender = broadcast(None)
    found = realtime_detection(
        SHAPES,
        sender.address,
        max_duration=1.5,
        save_video=True,
        output_path=str(tmp_path / "rec.mp4"),
        display="none",
        threads=1,
    )
    assert found["frames_processed"] > 0 and found["frames_dropped"] > 0, "the sender is faster than any detector"
    assert found["ended"] == "max_duration of 1.5 s"
    assert found["total_detections"] == sum(len(one["detections"]) for one in found["detections"]) > 0
    assert found["recordings"] == [found["output_path"]] == [str(tmp_path / "rec.mp4")]
    assert len(list(frames(tmp_path / "rec.mp4"))) == found["frames_processed"]
    file = realtime_detection(SHAPES, str(make_video(count=10)), display="none", threads=1)
    assert file["ended"] == "the file's end"
    assert file["frames_processed"] + file["frames_dropped"] == 10


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("conf_threshold", 7.0),
        ("iou_threshold", -3.0),
        ("max_detections", 0),
        ("page_port", 70_000),
        ("reconnects", -1),
        ("threads", 9999),
        ("max_duration", -1),
    ],
)
def test_a_setting_out_of_range_is_told_before_a_picture_is_taken(setting: str, value: float) -> None:
    with pytest.raises(Refuse, match=f"'{setting}' is {value}"):
        realtime_detection(SHAPES, "77", display="none", **{setting: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "'output_path' is empty"), ("file/rec.mp4", "cannot be written"), ("x" * 300 + ".mp4", "cannot be written")],
)
def test_a_recording_that_cannot_be_made_is_told_before_a_picture_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(VideoError, match=said):
        realtime_detection(SHAPES, "77", output_path=path, display="none", threads=1)


def test_a_recording_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "deep" / "rec.mp4")
    recorder.toggle()
    (tmp_path / "deep").rmdir()
    with pytest.raises(VideoError, match=r"output_path .*rec\.mp4: cannot be written \(No such file"):
        recorder.write(np.zeros((64, 64, 3), np.uint8), 0, 25)


def test_pictures_of_another_size_are_recorded_whole_in_a_file_of_their_own(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec.mp4")
    recorder.toggle()
    sizes = [(64, 96)] * 3 + [(128, 192)] * 4 + [(64, 96)] * 2
    for number, size in enumerate(sizes):
        recorder.write(np.full((*size, 3), 10 * number, np.uint8), number / 25, 25)
    recorder.close()
    assert recorder.files == [str(tmp_path / name) for name in ("rec.mp4", "rec-2.mp4", "rec-3.mp4")]
    found = [list(frames(Path(name))) for name in recorder.files]
    assert [(len(part), part[0].picture.shape[:2], part[0].time) for part in found] == [
        (3, (64, 96), 0.0),
        (4, (128, 192), 0.0),
        (2, (64, 96), 0.0),
    ]
    assert np.allclose([frame.picture.mean() for part in found for frame in part], 10 * np.arange(9), atol=4)


def test_a_recording_replaces_nothing(make_video: Make, tmp_path: Path) -> None:
    source, taken = make_video(count=5), tmp_path / "rec.mp4"
    before = source.read_bytes()
    for output, said in ((source, "is the source itself"), (tmp_path / "rec.avi", "cannot write .avi")):
        with pytest.raises(VideoError, match=said):
            realtime_detection(SHAPES, str(source), output_path=str(output), display="none", threads=1)
    taken.write_bytes(b"an earlier recording")
    found = realtime_detection(SHAPES, str(source), output_path=str(taken), save_video=True, display="none", threads=1)
    assert found["recordings"] == [str(tmp_path / "rec-2.mp4")]
    assert taken.read_bytes() == b"an earlier recording" and source.read_bytes() == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["key", "time"])
def test_a_source_that_says_nothing_can_be_left(
    broadcast: Callable[..., Broadcast], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It comes back only after waits of 15 s in all, so that without keys and time in between it would be given up."""

    class Impatient(Nothing):
        waits = 0

        def show(self, picture: Picture, recording: bool) -> None:
            self.waits = 0

        def pressed(self) -> list[str]:
            self.waits += 1
            return ["q"] if way == "key" and self.waits > 2 else []

    monkeypatch.setattr("nodes.vision.live.open_display", lambda *_: (Impatient(), ""))
    limit = 1.0 if way == "time" else 0
    found = realtime_detection(SHAPES, broadcast(3).address, max_duration=limit, reconnects=5, threads=1)
    assert found["ended"] == ("Q was pressed" if way == "key" else "max_duration of 1 s")
    assert 0 <= found["frames_processed"] <= 3
