"""Node: cut a video file into segments that can be processed, and cached, one by one.

Knows packets, without decoding them. A segment is named by the content of its own packets, so a file that has grown
costs only its new part, and one whose middle was replaced only that.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, TypedDict

import av

from nodes.vision.video_read import (
    VideoError,
    VideoInfo,
    described,
    in_coded_order,
    missing,
    open_video,
    packets_from,
    probe,
)
from wfe import Refuse, log, workflow_node


class Segment(TypedDict):
    """A part of a video: the frames whose timestamps lie in [start, stop) of the stream's time base.

    start, stop: None for the beginning and the end. seek: timestamp of the key frame at which decoding begins, None for
    the beginning. origin: timestamp of the file's first frame, None where only reading tells it. frames: packets in it,
    as a rule its frames. digest: of the packets from `seek` to `stop` and of what the decoder must know beside them.
    """

    index: int
    seek: int | None
    start: int | None
    stop: int | None
    origin: int | None
    frames: int
    digest: str


@workflow_node(
    outputs={
        "segments": list,
        "width": int,
        "height": int,
        "fps": float,
        "frames": int,
        "source_codec": str,
        "video_duration": float,
        "begins": "float | None",
        "damage": str,
    }
)
def plan_segments(source: Path, segment_frames: int = 240, max_duration: float = 0) -> dict[str, Any]:
    """Cut a video file into segments of about `segment_frames` frames, at key frames where they come often enough.

    max_duration: seconds of video to process, 0 for all. begins: seconds on the file's clock at which its first frame is
    shown, None when that cannot be told. `damage` says what is wrong with a file that was cut short;
    what is there is planned all the same. Raises VideoError.
    """
    if segment_frames < 1:
        raise Refuse(f"'segment_frames' is {segment_frames}; it must be 1 or more")
    if not 0 <= max_duration < float("inf"):
        raise Refuse(f"'max_duration' is {max_duration}; it must be seconds, or 0 for the whole video")
    info, packets = read_packets(source)
    end = None
    if max_duration > 0 and packets.origin is not None:
        # The number as it is written: 0.1 in binary is a little more, and would take in the frame that begins there.
        end = packets.origin + ceil(Fraction(str(max_duration)) / info.time_base)
    elif max_duration > 0:
        log(f"{source}: has no usable timestamps, so max_duration cannot be kept and the whole video is processed")
    segments = cut(packets, seed_of(info), segment_frames, end)
    if packets.damage:
        log(f"{source}: {packets.damage}; what is there is processed")
    frames = sum(segment["frames"] for segment in segments)
    return {
        "segments": segments,
        "width": info.width,
        "height": info.height,
        "fps": float(info.rate),
        "frames": frames,
        "source_codec": info.codec,
        "video_duration": float(frames / info.rate),
        "begins": None if packets.origin is None else float(packets.origin * info.time_base),
        "damage": packets.damage,
    }


class Packets:
    """What is known of every packet of a stream, in the order of decoding: 17 bytes a packet, whatever its size.

    ordered: whether every packet has a timestamp of its own, and none goes back behind those decoded before it, without
    which a part of the file cannot be found again.
    counted: the n-th timestamp is that of the n-th frame shown, which is not the n-th packet's; the file is no more
    `ordered` then, but its frames have times.
    """

    def __init__(self) -> None:
        self.pts = array("q")
        self.keys = bytearray()  # 1: from here on every frame can be decoded
        self.hidden = bytearray()  # 1: decoded but not shown, since the container's edit list leaves it out
        self.digests = array("Q")
        self.extradata = b""
        self.codec = ""
        self.damage = ""
        self.ordered = True
        self.counted = False

    @property
    def origin(self) -> int | None:
        """Timestamp of the first frame that is shown; None when timestamps do not tell which one that is."""
        if not (self.ordered or self.counted):
            return None
        return min((pts for pts, out in zip(self.pts, self.hidden, strict=True) if not out), default=0)

    def add(self, packet: Any) -> None:
        """Take note of one packet."""
        pts = packet.dts if self.counted else packet.pts
        if pts is None:
            self.ordered = self.counted = False
        self.pts.append(pts if pts is not None else -1)
        self.keys.append(packet.is_keyframe and begins(packet, self.codec, self.extradata))
        self.hidden.append(packet.is_discard)
        self.digests.append(int.from_bytes(hashlib.blake2b(bytes(packet), digest_size=8).digest(), "little"))


def begins(packet: Any, codec: str, extradata: bytes) -> bool:
    """Whether a packet that its container calls a key frame is one from which every later frame can be decoded.

    H.264 with intra refresh has none but its first: pictures become whole bit by bit, and what is marked is where that
    starts. A decoder that begins there holds back all frames up to the end of the refresh.
    """
    if codec != "h264":
        return True
    for unit in units(bytes(packet), extradata):
        kind = unit[0] & 31
        if kind == 5:
            return True
        if kind == 6 and (frames := recovery(unit[1:])) is not None:
            return frames == 0
        if kind == 1:
            break
    return False


def units(data: bytes, extradata: bytes) -> Iterator[bytes]:
    """The NAL units of an H.264 packet, none empty: behind their lengths (MP4; its extradata says so), or start codes."""
    if extradata[:1] != b"\1" or len(extradata) < 5:
        yield from filter(None, data.split(b"\0\0\1")[1:])
        return
    place = 0
    size = (extradata[4] & 3) + 1
    while place + size < len(data):
        begin = place + size
        place = begin + int.from_bytes(data[place:begin], "big")
        if begin < place:
            yield data[begin:place]


def recovery(data: bytes) -> int | None:
    """0 when this supplemental information says that pictures are whole from here on, 1 when later, None when nothing.

    It is a list of a kind and a size, each in bytes of 255 and a last one, and the content.
    """
    place = 0
    while place + 2 < len(data):
        numbers = []
        for _ in range(2):
            number = 0
            while place < len(data) and data[place] == 255:
                number, place = number + 255, place + 1
            if place == len(data):
                return None
            numbers.append(number + data[place])
            place += 1
        if numbers[0] == 6 and place < len(data):
            return 0 if data[place] & 0x80 else 1  # the first bit is set when the count of frames to wait is 0
        place += numbers[1]
    return None


def read_packets(path: Path, seek: int | None = None, stop: int | None = None) -> tuple[VideoInfo, Packets]:
    """Read the packets of the first video stream: all, or those from the key frame at `seek` to `stop`. One frame is decoded.

    Raises VideoError.
    """
    found = Packets()
    info = decoded = None
    container, stream = open_video(path)
    with container:
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1  # more would first want as many packets
        found.codec = stream.codec_context.name
        found.counted = seek is None and in_coded_order(path, stream)
        found.extradata = bytes(stream.codec_context.extradata or b"")
        try:
            for packet in packets_from(container, stream, seek):
                if info is None:
                    info = described(stream, packet)
                if not packet.size:
                    continue
                # A frame is never shown before it is decoded, so nothing before `stop` follows.
                if stop is not None and not found.counted and packet.dts is not None and packet.dts >= stop:
                    break
                found.add(packet)
                if seek is None and packet.dts is not None:  # after a seek, FFmpeg guesses the first of them
                    if decoded is not None and packet.dts < decoded:
                        found.ordered = found.counted = False
                    decoded = packet.dts
        except av.error.FFmpegError as error:
            found.damage = f"reading breaks off after {len(found.pts)} packets: {error.strerror}"
        base = stream.time_base or Fraction(1, 1000)
        if found.pts and not found.damage and seek is None and stop is None:
            origin = found.origin
            last = float("inf") if origin is None else float((max(found.pts) - origin) * base)
            found.damage = missing(stream, len(found.pts), last)
    if not found.pts:
        raise VideoError(f"{path}: its video stream holds no packet; copy or record it again")
    found.ordered = found.ordered and not found.counted and len(set(found.pts)) == len(found.pts)
    return info or probe(path), found


def cut(packets: Packets, seed: bytes, length: int, end: int | None = None) -> list[Segment]:
    """Segments of `length` frames or more, that begin with a key frame, or after 2 * `length` with any frame.

    The cuts depend on what lies before them alone, so they stay when a file grows. end: timestamp to stop at.
    Without timestamps, or when those of packets are not those of frames, the whole file is one segment.
    """
    origin = packets.origin
    if not packets.ordered:
        digest, frames = content(packets, seed, None, None)
        if end is not None:
            frames = sum(1 for pts in packets.pts if pts < end)
        return [Segment(index=0, seek=None, start=None, stop=end, origin=origin, frames=frames, digest=digest)]
    shown = sorted(range(len(packets.pts)), key=packets.pts.__getitem__)
    # A recording may begin between two key frames: what comes before the first cannot be decoded.
    whole = next((position for position, packet in enumerate(shown) if packets.keys[packet]), len(shown))
    starts = [0]
    key = since = 0  # the packet at which decoding of the present segment begins, and its place among those shown
    seeks: list[int | None] = [None]
    for position, packet in enumerate(shown):
        if packets.keys[packet]:
            key, since = packet, position
        count = position - max(starts[-1], whole)
        # Far behind a key frame, segments grow with the distance, since each decodes all of it again.
        most = max(2 * length, (position - since) // 4)
        if (count >= length and packets.keys[packet]) or count >= most:
            starts.append(position)
            seeks.append(packets.pts[key])
    segments = []
    for index, (begin, seek) in enumerate(zip(starts, seeks, strict=True)):
        start = packets.pts[shown[begin]] if index else None
        stop = packets.pts[shown[starts[index + 1]]] if index + 1 < len(starts) else None
        if end is not None:
            if start is not None and start >= end:
                break
            stop = end if stop is None or stop > end else stop
        digest, frames = content(packets, seed, seek, stop, start)
        segments.append(
            Segment(index=index, seek=seek, start=start, stop=stop, origin=origin, frames=frames, digest=digest)
        )
    return segments


def content(
    packets: Packets, seed: bytes, seek: int | None, stop: int | None, start: int | None = None
) -> tuple[str, int]:
    """The digest of what the frames from `seek` to `stop` are made of, and how many lie from `start` on."""
    first = packets.pts.index(seek) if seek is not None else 0
    low = seek if seek is not None else min(packets.pts)
    inside = [
        packet
        for packet in range(first, len(packets.pts))
        if not packets.ordered or (low <= packets.pts[packet] and (stop is None or packets.pts[packet] < stop))
    ]
    # In an open group of pictures the last frames of a segment refer to the key frame that follows it.
    known = set(inside)
    after = [packet for packet in range(first, max(inside, default=first)) if packet not in known]
    digest = hashlib.blake2b(seed + packets.extradata, digest_size=16)
    for packet in [*inside, *after]:
        digest.update(packets.pts[packet].to_bytes(8, "little", signed=True))
        digest.update(packets.digests[packet].to_bytes(8, "little"))
    frames = sum(
        1 for packet in inside if not packets.hidden[packet] and (start is None or packets.pts[packet] >= start)
    )
    return digest.hexdigest(), frames


def check(path: Path, segment: Segment) -> None:
    """Raise VideoError unless the file still holds the segment as it was planned; reads the segment's packets alone."""
    info, packets = read_packets(path, segment["seek"], segment["stop"])
    try:
        digest, _ = content(packets, seed_of(info), segment["seek"], segment["stop"])
    except ValueError:
        digest = ""
    if digest != segment["digest"]:
        raise VideoError(
            f"{path}: segment {segment['index']} is not as planned; the file was changed meanwhile, run again"
        )


def seed_of(info: VideoInfo) -> bytes:
    """What else decides how packets become pictures: kind of codec, size, rotation mark, and the unit of timestamps."""
    return f"{info.codec} {info.width}x{info.height} {info.rotation} {info.time_base}\n".encode()
