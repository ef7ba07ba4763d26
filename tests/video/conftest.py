"""Videos that the tests make themselves, an endless loopback stream, and the real ones where WFE_TEST_DATA names them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "models" / "shapes.onnx"
Make = Callable[..., Path]


def pictures(count: int, width: int = 320, height: int = 240) -> list[np.ndarray]:
    """The project's picture of shapes, moved a little further in each."""
    base = cv2.resize(cv2.imread(str(ROOT / "models" / "shapes.jpg")), (width, height), interpolation=cv2.INTER_AREA)
    return [np.roll(base, 3 * index, axis=1) for index in range(count)]


@pytest.fixture
def make_video(tmp_path: Path) -> Make:
    def make(
        name: str = "made.mp4",
        count: int = 30,
        times: Sequence[float] | None = None,
        gop: int = 10,
        bframes: int = 0,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        frames: Sequence[np.ndarray] | None = None,
        x264: str = "",
    ) -> Path:
        path = tmp_path / name
        shown = list(frames) if frames is not None else pictures(count)
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = shown[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            stream.codec_context.gop_size = gop
            stream.codec_context.max_b_frames = bframes
            if codec == "libx264":
                stream.options = {"preset": "ultrafast", "bf": str(bframes), "g": str(gop), "sc_threshold": "0"}
                if x264:
                    stream.options = {**stream.options, "x264-params": x264}
            for index, picture in enumerate(shown):
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                frame.pts = round(1000 * (times[index] if times else index / 25))
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("WFE_TEST_DATA")
    if not folder or not Path(folder, "videos").is_dir():
        pytest.skip("WFE_TEST_DATA does not name the folder of real models and videos")
    return Path(folder)


def excerpt(source: Path, path: Path, count: int, first: int = 0) -> Path:
    """`count` packets of a video from the key frame at packet `first` on, copied without encoding anew."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            if number == first + count:
                break
            if number < first:
                continue
            assert number > first or packet.is_keyframe
            packet.stream = copy
            made.mux(packet)
    return path


class Broadcast:
    """An MJPEG stream on loopback. Each connection gets `limits`' next number of pictures, then is closed; None: no end."""

    def __init__(self, limits: Sequence[int | None]) -> None:
        self.connections = 0
        coded = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures(20)]
        broadcast, left, gate = self, list(limits), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with gate:
                    broadcast.connections += 1
                    limit = left.pop(0) if left else 0
                if limit == 0:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    number = 0
                    while limit is None or number < limit:
                        body = coded[number % len(coded)]
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
                        self.wfile.write(head.encode() + body + b"\r\n")
                        number += 1
                except OSError:
                    pass

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/video"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def broadcast() -> Iterator[Callable[..., Broadcast]]:
    made: list[Broadcast] = []

    def start(*limits: int | None) -> Broadcast:
        made.append(Broadcast(limits))
        return made[-1]

    yield start
    for one in made:
        one.close()
