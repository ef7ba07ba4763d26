"""Reads video files with PyAV: frames with their own timestamps, upright, exactly as many as there are.

Knows containers, packets and frames. Does not know segments' content keys (video_plan.py), models or cameras.

PyAV rather than OpenCV: it decodes to BGR as fast with one thread of conversion (0.95 ms a frame of 768 x 432; OpenCV
1.2 ms; the same pixels), and OpenCV can neither seek exactly, nor tell timestamps of a variable frame rate, nor encode
H.264, nor tell a broken file from its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from wfe import Refuse

Picture = NDArray[np.uint8]
TS_PACKETS = (188, 192, 204)
"""Lengths of a packet of MPEG-TS: plain, with a time code before it (Blu-ray), with a checksum behind it. A file that is
cut between two packets cannot be told from a whole one, as a stream has no end."""

LOOK = 64
"""Packets within which a stream whose frames are shown in another order than they are decoded in shows that it is one."""

TEXTS = ("tty", "subviewer", "srt", "webvtt")
"""FFmpeg's names of formats that show text as pictures."""
LISTS = ("hls", "dash", "concat", "imf", "sdp", "avisynth", "vapoursynth")
"""FFmpeg's names of formats whose pictures lie in other files."""


class VideoError(Refuse):
    """A video cannot be read or written. The message names the file, the fact and what to do."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of itself: size in pixels as shown (rotation applied), frames per second, codec.

    rate is the average; the frames' own timestamps rule. frames is the container's claim, 0 when it makes none.
    aspect: a pixel's width by its height, as shown.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    codec: str
    frames: int = 0
    rotation: int = 0
    aspect: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: index from 0 within what was read, time in seconds from the first frame of the file, BGR picture."""

    index: int
    time: float
    picture: Picture


@dataclass(slots=True)
class Damage:
    """What was found wrong while reading: empty `message` when nothing was. `kept`: frames delivered before it."""

    message: str = ""
    kept: int = 0


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """The open container and its first video stream that is no cover picture. Raises VideoError; the caller closes it."""
    if not path.is_file():
        raise VideoError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes); a copy or download may have failed")
    try:
        container = av.open(str(path), "r")
    except (av.error.FFmpegError, ValueError) as error:
        hint = "the end of an MP4 holds its index: a file cut short cannot be read at all; copy it again"
        text = getattr(error, "strerror", None) or str(error).splitlines()[0]
        if path.suffix.lower() not in (".mp4", ".mov", ".m4v"):
            hint = "is it a video?"
        raise VideoError(f"{path}: cannot be read as a video ({text}); {hint}") from error
    stream = next((one for one in container.streams.video if not one.disposition & Disposition.attached_pic), None)
    problem = _refused(container, stream, path.name)
    if stream is None or problem:
        container.close()
        raise VideoError(f"{path}: {problem}")
    return container, stream


def _refused(container: InputContainer, stream: VideoStream | None, file: str) -> str:
    """Why what FFmpeg can open is no video of the file itself, as a phrase; empty when it is one."""
    if stream is None:
        kinds = {"cover picture" if one.type == "video" else one.type for one in container.streams}
        return f"has no video stream, only {', '.join(sorted(kinds)) or 'nothing'}"
    name = container.format.name
    if stream.codec_context is None or not stream.codec_context.width:
        # A text file opens as FFmpeg's "tty" with a codec; a stream without a size has nothing to show.
        return "its video stream has no picture size; the file is damaged or no video"
    if name in TEXTS:
        return f"is a text file (FFmpeg reads it as {name!r}), not a video"
    if name in LISTS or (name == "image2" and "%" in file):
        return (
            f"only names other files (FFmpeg reads it as {name!r}), whose changes nobody would see; "
            f"make one file of it: ffmpeg -i {file} -c copy video.mp4"
        )
    return ""


def probe(path: Path) -> VideoInfo:
    """Read the header and the first frame. Raises VideoError."""
    container, stream = open_video(path)
    with container:
        for frame in _decode(container.demux(stream), []):
            return info_of(stream, frame)
    raise VideoError(f"{path}: not one frame of its video stream can be decoded; the file is damaged")


def info_of(stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    """The video's description; the first frame tells the rotation that a phone has noted."""
    rotation = frame.rotation % 360
    width, height, aspect = frame.width, frame.height, Fraction(stream.sample_aspect_ratio or 1)
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    base = stream.time_base or Fraction(1, 1000)
    codec = stream.codec_context.name
    return VideoInfo(width, height, Fraction(rate), Fraction(base), codec, stream.frames, rotation, aspect)


def described(stream: VideoStream, packet: Packet[VideoStream]) -> VideoInfo | None:
    """The video's description as soon as a packet completes a frame; None until then."""
    for frame in _decode(iter((packet,)), []):
        return info_of(stream, frame)
    return None


def frames(
    path: Path,
    *,
    seek: int | None = None,
    start: int | None = None,
    stop: int | None = None,
    origin: int | None = None,
    threads: int = 1,
    damage: Damage | None = None,
    bgr: bool = True,
) -> Iterator[Frame]:
    """Decode the frames whose timestamp lies in [start, stop), in the stream's time base; all of them by default.

    seek: timestamp of a key frame to begin decoding at. origin: timestamp of time 0, that of the first frame by default.
    Times rise: where timestamps go back, as in recordings put one behind the other, the later ones are moved (`Moments`).
    A file that breaks off delivers what is whole; then `damage`, when given, says so, and without it VideoError is
    raised after the last good frame. bgr=False leaves `picture` empty, to count frames cheaply.
    """
    container, stream = open_video(path)
    with container:
        stream.thread_type = "FRAME" if threads > 1 else "SLICE"
        stream.codec_context.thread_count = threads
        index = 0
        base = stream.time_base or Fraction(1, 1000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        moments = Moments(max(1, round(1 / (rate * base))), origin or 0)
        lost: list[str] = []
        slots: deque[int] = deque()
        hidden: list[int | None] = []
        counted = seek is None and in_coded_order(path, stream)
        for frame in _decode(_noted(packets_from(container, stream, seek), slots, hidden, lost), lost):
            # Decoders deliver frames in the order in which they are shown, so the n-th one has the n-th moment.
            pts = moments.next((slots.popleft() if slots else None) if counted else frame.pts)
            origin = pts if origin is None else origin
            if start is not None and pts < start:
                continue
            if stop is not None and pts >= stop:
                return
            picture = upright(frame) if bgr else np.empty((0, 0, 3), np.uint8)
            yield Frame(index, float((pts - origin) * base), picture)
            index += 1
        whole = seek is None and start is None and stop is None
        problem = (
            missing(stream, index + len(hidden), float(((moments.last or 0) - (origin or 0)) * base)) if whole else ""
        )
        if lost:
            problem = f"{len(lost)} packets cannot be decoded, the first: {lost[0]}" + (
                f"; {problem}" if problem else ""
            )
        if whole and index == 0:
            raise VideoError(f"{path}: not one frame of its video stream can be decoded; copy or record it again")
        if problem:
            text = f"{path}: damaged or cut: {problem}; {index} frames can be read"
            if damage is None:
                raise VideoError(f"{text}; copy or record it again")
            damage.message, damage.kept = f"{text} and are kept", index


class Moments:
    """Makes timestamps rise, one frame after the other. step: the usual distance of two; first: where to begin without one.

    Nobody knows how long it was between two recordings that were put one behind the other, or the second run of a
    recorder: the second follows a step after the first then.
    """

    def __init__(self, step: int, first: int) -> None:
        self.last: int | None = None
        self._step, self._first = step, first
        self._shift = 0
        self._told: int | None = None

    def next(self, told: int | None) -> int:
        """The moment of a frame whose timestamp is `told`; None where the file, such as a raw stream, has none."""
        if self.last is None:
            moment = self._first if told is None else told
        elif told is None or told == self._told:
            moment = self.last + self._step
        else:
            moment = told + self._shift
            if moment < self.last - 2 * self._step:
                moment = self.last + self._step
                self._shift = moment - told
            elif moment <= self.last:
                # Neighbours that are swapped, or too near, move nothing: what follows has its own moments again.
                moment = self.last + (self._step + 1) // 2
        self.last, self._told = moment, told
        return moment


def in_coded_order(path: Path, stream: VideoStream) -> bool:
    """Whether timestamps of packets follow the order of decoding, although frames are shown in another one.

    AVI stores no timestamps: FFmpeg counts its packets, and for these codecs cannot tell when a frame is shown, while it
    can for MPEG-4 part 2 and older ones. Elsewhere (MXF, streams that were written without care) each packet is said to be
    shown when it is decoded, and the frames come out with moments that go back: that is seen in the file opened anew.
    """
    codec = stream.codec_context
    if not codec.has_b_frames:
        return False
    if stream.container.format.name == "avi":
        return codec.name in ("h264", "hevc", "vvc")
    container, again = open_video(path)
    with container:
        shown = decoded = None
        for packet in islice(container.demux(again), LOOK):
            if packet.size and packet.pts is None:
                return False
            if packet.size and packet.dts is not None:
                if packet.pts != packet.dts or (decoded is not None and packet.dts <= decoded):
                    return False
                decoded = packet.dts
            for frame in _decode(iter((packet,)), []):
                if shown is not None and frame.pts is not None and frame.pts < shown:
                    return True
                shown = frame.pts
    return False


def _noted(
    packets: Iterator[Packet[VideoStream]], slots: deque[int], hidden: list[int | None], lost: list[str]
) -> Iterator[Packet[VideoStream]]:
    """The same packets, with the decoding time of each put into `slots`, and taken out when it cannot be decoded.

    hidden: gets the timestamps of those that are decoded but not shown.
    """
    for packet in packets:
        before = len(lost)
        if packet.is_discard:
            hidden.append(packet.pts)
        if packet.size and packet.dts is not None:
            slots.append(packet.dts)
        yield packet
        if len(lost) > before and slots:
            slots.pop()


def upright(frame: VideoFrame) -> Picture:
    """The frame as a BGR picture (height x width x 3, uint8), turned as its rotation mark says."""
    # Left to itself, the scaler takes all cores for this half millisecond and waits for them: 1.6 ms a frame, not 0.95.
    picture = cast(Picture, frame.to_ndarray(format="bgr24", threads=1))
    turns = (frame.rotation % 360) // 90
    # FFmpeg's mark counts degrees against the clock, as NumPy's rot90 does.
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def missing(stream: VideoStream, count: int, last: float) -> str:
    """What the container promises and does not hold, as a phrase; empty when all is there.

    count: frames that were found, with those that an edit list hides; last: time of the last one in seconds. A file cut
    short may keep its index at the front (MP4 made for the web, Matroska), and FFmpeg then reports a plain end.
    """
    base = stream.time_base or Fraction(1, 1000)
    # IVF has a duration there, in units of its own.
    claimed = 0 if stream.container.format.name == "ivf" else stream.frames
    if stream.container.format.name == "avi" and last < float("inf"):
        # Its header counts the empty chunks too by which a frame is shown for longer.
        claimed = int(claimed * count / max(count, round(last / base) + 1))
    if 0 < count < claimed:
        return f"its header promises {stream.frames} frames"
    size = int(getattr(stream.container, "size", 0))
    if stream.container.format.name == "mpegts" and all(size % length for length in TS_PACKETS):
        return f"its {size} bytes end within a packet of MPEG-TS"
    promised = float(stream.duration * base) if stream.duration else _seconds(stream.metadata.get("DURATION", ""))
    # A last frame may be shown for long, so the gap must be plain: over a second, and over 2% of the whole.
    if promised - last > max(1.0, 0.02 * promised):
        return f"its header promises {promised:.1f} s, it ends at {last:.1f} s"
    return ""


def packets_from(container: InputContainer, stream: VideoStream, seek: int | None) -> Iterator[Packet[VideoStream]]:
    """All packets, or those from the key frame on whose timestamp is `seek`; none when there is no such key frame.

    MPEG-TS finds places by decoding time and overshoots when frames are reordered; then an earlier place is tried, and
    in the end the file is read from its beginning, as one must be that FFmpeg cannot seek in (pictures in a row).
    """
    if seek is None:
        yield from container.demux(stream)
        return
    second = round(1 / (stream.time_base or Fraction(1, 1000)))
    for target in (seek, seek - 2 * second):
        try:
            container.seek(target, stream=stream, backward=True, any_frame=False)
        except av.error.FFmpegError:
            break
        found = False
        for packet in _from_key_frame(container.demux(stream), seek):
            found = True
            yield packet
        if found:
            return
    again, same = open_video(Path(container.name))
    with again:
        same.thread_type, same.codec_context.thread_count = stream.thread_type, stream.codec_context.thread_count
        yield from _from_key_frame(again.demux(same), seek)


def _from_key_frame(packets: Iterator[Packet[VideoStream]], seek: int) -> Iterator[Packet[VideoStream]]:
    """The packets from the key frame at `seek` on; none when it does not come before a later one."""
    found = False
    for packet in packets:
        if not found:
            if packet.dts is not None and packet.dts > seek:
                return
            found = bool(packet.is_keyframe) and packet.pts == seek
        if found:
            yield packet


def _decode(packets: Iterator[Packet[VideoStream]], lost: list[str]) -> Iterator[VideoFrame]:
    """Frames of all packets. A packet that cannot be decoded is noted in `lost`, and the next one is tried."""
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            lost.append(error.strerror or type(error).__name__)
            return
        try:
            found: list[Any] = list(packet.decode())
        except av.error.InvalidDataError as error:
            lost.append(error.strerror or type(error).__name__)
            continue
        yield from found


def _seconds(text: str) -> float:
    """Matroska's "00:00:30.160000000" in seconds; 0 when it is something else."""
    parts = text.split(":")
    try:
        return sum(float(part) * 60**power for power, part in enumerate(reversed(parts))) if len(parts) == 3 else 0.0
    except ValueError:
        return 0.0
