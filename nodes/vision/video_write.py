"""Writes videos: H.264 in MP4 where an encoder is there, else the best codec that is, named; timestamps as they came.

Knows encoders. Does not know what is drawn on the frames.

Encoders were measured on 768 x 432 (two cores): x264 ultrafast 2.4 ms a frame, superfast 5.0, veryfast 6.0; OpenCV's and
FFmpeg's MPEG-4 1.7 ms, which no browser plays. Threads of x264 cost processor time that the other stages want: 3.1 ms a
frame with two, 2.2 ms with one. OpenCV 5.0 cannot write H.264 with its Linux wheels, and keeps no
timestamps, so PyAV writes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
from av.video.stream import VideoStream

from nodes.vision.video_read import Picture, VideoError
from nodes.vision.video_sound import Sound

ENCODERS: Mapping[str, tuple[Mapping[str, str], bool]] = {
    # name -> (options, whether browsers play it in MP4)
    "libx264": ({"preset": "ultrafast", "crf": "23"}, True),
    "libopenh264": ({}, True),
    "h264_videotoolbox": ({}, True),
    "h264_mf": ({}, True),
    "libvpx-vp9": ({"deadline": "realtime", "cpu-used": "8", "crf": "33", "b": "0"}, True),
    "mpeg4": ({"qscale": "3"}, False),
}
SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", "": "mp4"}
NOT_IN = {("libvpx-vp9", "mov")}
"""Encoder and container that do not go together: FFmpeg says so with the first frame, as "Invalid argument"."""
LIVE: Mapping[str, str] = {
    "movflags": "+empty_moov+default_base_moof",
    "frag_duration": "1000000",  # microseconds; at each key frame, as is usual, x264 gave one in 250 frames
    "cluster_time_limit": "1000",  # the same for Matroska, in milliseconds
    "flush_packets": "1",
}
"""Options by which a file that is being written can be read up to a second ago. A container passes over what is not its own."""
TICK = Fraction(1, 60_000)
"""Unit of the timestamps that are written: frame times of 24, 25, 30, 29.97 and 60 a second are whole numbers of it.
MPEG-4 takes no unit finer than 1/65535 s."""
A_THREAD = 1280 * 720
"""Pixels of a frame for which one thread of x264 is enough (6 ms); a larger one gets more threads."""


def container_of(suffix: str, what: str) -> str:
    """The container of a file with this suffix. Raises VideoError, which names the file as `what`, when there is none."""
    if suffix.lower() not in SUFFIXES:
        raise VideoError(f"{what}: cannot write {suffix.lower()}; use .mp4, .mov or .mkv")
    return SUFFIXES[suffix.lower()]


def encoder(wanted: str = "", suffix: str = ".mp4") -> str:
    """The encoder to use: the one asked for, or the first of `ENCODERS` that this build of FFmpeg has.

    Raises VideoError when it is not here, or a file with this suffix of `SUFFIXES` cannot hold what it makes.
    """
    here = [name for name in ENCODERS if name in av.codecs_available]
    fit = [name for name in here if (name, SUFFIXES[suffix]) not in NOT_IN]
    if wanted:
        if wanted not in here:
            raise VideoError(f"no encoder {wanted!r} here; there are {', '.join(here)}")
        if wanted not in fit:
            raise VideoError(
                f"encoder {wanted!r} does not go into {suffix}; use {', '.join(fit)}, or another suffix: .mp4 or .mkv"
            )
        return wanted
    if fit:
        return fit[0]
    raise VideoError("this build of FFmpeg has no video encoder that is known; install PyAV's own wheel: av")


class VideoWriter:
    """A video file being written: frames with their times, in order. Use it as a context.

    The file is complete when the context is left without an error. width, height: pixels; an odd one loses its last
    row or column, since the codecs store colours for pairs. rate: frames a second, for the header alone. aspect: a
    pixel's width by its height.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: Fraction | float,
        codec: str = "",
        name: str = "",
        live: bool = False,
        aspect: Fraction = Fraction(1),
        sound: Sound | None = None,
    ) -> None:
        """Open `path`; `name` is the file's public name, whose suffix decides the container (MP4 without one).

        sound: what is heard with the pictures, where the container can hold it; it is closed with the file.
        live: write in parts of a second, so that the file can be played up to there when the process is killed. Raises
        OSError then when the file cannot be made.
        """
        suffix = Path(name or path.name).suffix.lower()
        container = container_of(suffix, name or path.name)
        self.codec = encoder(codec, suffix)
        self.plays_in_browser = ENCODERS[self.codec][1] and container == "mp4"
        self.frames = 0
        self._last = -1
        self._own = threading.local()
        options = dict(LIVE) if live else {"movflags": "+faststart"} if container in ("mp4", "mov") else {}
        self._container = av.open(str(path), "w", format=container, options=options)
        near = Fraction(rate).limit_denominator(1001) or Fraction(25)
        made = self._container.add_stream(self.codec, rate=near, options=dict(ENCODERS[self.codec][0]))
        self._stream = cast(VideoStream, made)
        self._width, self._height = width - width % 2, height - height % 2
        if self._width < 2 or self._height < 2:
            raise VideoError(f"{name or path.name}: pictures of {width} x {height} pixels are too small for a video")
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = "yuv420p"
        if self.codec == "libx264":
            self._stream.codec_context.thread_count = 1 + width * height // A_THREAD
        self._stream.time_base = TICK
        self._stream.codec_context.time_base = TICK
        self._stream.codec_context.sample_aspect_ratio = aspect
        self._step = max(1, round(1 / (near * TICK)))
        self._source = sound
        self.sound = sound.codec if sound is not None and sound.join(self._container) else ""
        if live:  # now, not when the encoder gives its first packet: a file that cannot be made is told at the start
            self._container.start_encoding()

    def frame(self, picture: Picture) -> av.VideoFrame:
        """A BGR picture (height x width x 3, uint8) as the encoder takes it. Any thread may call it, beside `add`."""
        import cv2

        # OpenCV makes the planes in a third of the time of FFmpeg's scaler (1.2 ms a frame of 768 x 432 less).
        known = getattr(self._own, "planes", None)
        planes = cast(Picture, cv2.cvtColor(picture[: self._height, : self._width], cv2.COLOR_BGR2YUV_I420, known))
        self._own.planes = planes  # the frame gets a copy
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")

    def add(self, frame: av.VideoFrame, time: float) -> None:
        """Encode a frame that is shown at `time` seconds; not before the one before it."""
        # Two frames at one moment would be refused by the container.
        self._last = max(self._last + 1, round(Fraction(time) / TICK))
        frame.pts = self._last
        frame.time_base = TICK
        frame.duration = self._step
        self._container.mux(self._stream.encode(frame))
        self.frames += 1
        if self.sound:
            self._hear(float(self._last * TICK))

    def end_sound(self) -> None:
        """End the sound with the last picture that was added, whatever more of it the source has."""
        if self._source is not None:
            self._hear(float((self._last + self._step) * TICK))
            self._source.close()

    def _hear(self, moment: float) -> None:
        """Write the sound up to `moment` seconds."""
        assert self._source is not None
        for packet in self._source.before(moment):
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what the encoder still holds, and the index. Idempotent."""
        if self._container is None:
            return
        container, self._container = self._container, None  # type: ignore[assignment]
        try:
            if self.frames:
                container.mux(self._stream.encode(None))
                if self._source is not None:
                    container.mux(self._source.before(float("inf")))
        finally:
            container.close()
            if self._source is not None:
                self._source.close()
