"""Live pictures: a camera by its index, a network stream by its address, or a file played as if it were a camera.

Knows how each is opened, paced and opened again after a loss. Does not know what is done with the pictures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import av

from nodes.vision.video_read import Damage, Frame, Picture, VideoError, frames, upright
from wfe import log

Kind = Literal["camera", "stream", "file"]
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
TIMEOUT = 5.0
"""Seconds after which a network source that says nothing counts as lost."""


def kind_of(source: str) -> Kind:
    """What a source is: digits are a camera, an address with a scheme is a stream, anything else a file."""
    if source.strip().isdecimal():
        return "camera"
    scheme = source.partition("://")[0] if "://" in source else ""
    return "stream" if scheme and scheme != "file" else "file"


class LiveSource:
    """Iterates over the pictures of a source until `stop` is set, a file ends, or a lost source does not come back.

    A lost camera or stream is opened again up to `reconnects` times in a row, after 0.5, 1, 2 ... at most 30 seconds; a
    picture that arrives starts the count anew. `lost` counts the losses. Times are seconds since the first picture. A
    source that cannot be opened at the start is an error at once: its name is more likely wrong than the network.
    """

    def __init__(self, source: str, stop: threading.Event, reconnects: int = 5, first_wait: float = FIRST_WAIT) -> None:
        self.source, self.kind = source, kind_of(source)
        self.lost = 0
        self.ended = ""
        self._stop, self._reconnects, self._first_wait = stop, reconnects, first_wait

    def __iter__(self) -> Iterator[Frame]:
        if self.kind == "file":
            yield from self._paced(Path(self.source.removeprefix("file://")))
            return
        index, failures, began = 0, 0, 0.0
        while not self._stop.is_set():
            problem = "the stream ended"
            try:
                for picture in self._camera(int(self.source)) if self.kind == "camera" else self._stream():
                    now = time.monotonic()
                    began = began or now
                    failures = 0
                    yield Frame(index, now - began, picture)
                    index += 1
                    if self._stop.is_set():
                        return
            except VideoError as error:
                if index == 0:
                    raise
                problem = str(error)
            if index == 0:
                raise VideoError(f"{self.source}: opened, but not one picture came")
            self.lost += failures == 0
            failures += 1
            if failures > self._reconnects:
                self.ended = f"{problem}; given up after {self._reconnects} attempts"
                log(f"{self.source}: {self.ended}")
                return
            wait = min(LONGEST_WAIT, self._first_wait * 2 ** (failures - 1))
            log(f"{self.source}: {problem}; attempt {failures} of {self._reconnects} in {wait:g} s")
            self._stop.wait(wait)

    def _paced(self, path: Path) -> Iterator[Frame]:
        """A file's frames, each not before its time. One that breaks off ends there, as a person would see it."""
        began = time.monotonic()
        damage = Damage()
        for frame in frames(path, damage=damage):
            self._stop.wait(max(0.0, frame.time - (time.monotonic() - began)))
            if self._stop.is_set():
                return
            yield frame
        self.ended = "the file's end"
        if damage.message:
            self.ended += f" ({damage.message})"
            log(damage.message)

    def _stream(self) -> Iterator[Picture]:
        options = {"fflags": "nobuffer", "flags": "low_delay"}
        if self.source.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over UDP a lost packet smears the picture until the next key frame
        try:
            with av.open(self.source, "r", options=options, timeout=(TIMEOUT, TIMEOUT)) as container:
                if not container.streams.video:
                    raise VideoError(f"{self.source}: has no video stream")
                for packet in container.demux(container.streams.video[0]):
                    try:
                        found = list(packet.decode())
                    except av.error.InvalidDataError:
                        continue  # one joins a stream in the middle: what comes before a key frame cannot be decoded
                    for frame in found:
                        yield upright(frame)
        except (av.error.FFmpegError, OSError) as error:
            text = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.source}: cannot be read as a stream ({text}); is the sender running?") from error

    def _camera(self, index: int) -> Iterator[Picture]:
        import cv2

        camera = cv2.VideoCapture(index)
        try:
            if not camera.isOpened():
                raise VideoError(
                    f"camera {index} cannot be opened; is one connected, free, and may this user use it? "
                    "Give source=FILE or source=URL for another source"
                )
            camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            while not self._stop.is_set():
                done, picture = camera.read()
                if not done:
                    raise VideoError(f"camera {index} gives no more pictures")
                yield cast(Picture, picture)
        finally:
            camera.release()
