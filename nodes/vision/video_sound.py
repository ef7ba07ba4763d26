"""The sound of a video file, copied as it is into one that is made of its pictures.

Knows packets and their times. Decodes nothing: what the new container cannot hold is left out, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from nodes.vision.video_read import open_video
from wfe import log

_ANYWHERE = frozenset(("aac", "mp3", "ac3", "eac3", "alac"))
CARRIED: Mapping[str, frozenset[str]] = {
    # FFmpeg's name of a container -> its names of codecs. MOV says only with the first packet that it does not take one.
    "mp4": _ANYWHERE | {"opus", "flac"},
    "mov": _ANYWHERE | {"pcm_s16le", "pcm_s16be", "pcm_s24le"},
    "matroska": _ANYWHERE | {"opus", "flac", "vorbis", "mp2", "pcm_s16le", "pcm_s24le"},
}


class Sound:
    """The first sound of a file, from the moment of its first frame on. For one thread."""

    def __init__(self, container: InputContainer, stream: AudioStream, begins: float) -> None:
        """`container` is closed by `close`. begins: seconds on its clock at which the new video begins."""
        self.codec = stream.codec_context.codec.canonical_name
        self._container, self._stream, self._begins = container, stream, begins
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None

    def join(self, made: OutputContainer) -> bool:
        """Become a stream of the new file; False when its container cannot hold this sound."""
        if self.codec not in CARRIED[made.format.name]:
            log(f"the sound ({self.codec}) is left out: {made.format.name} does not hold it")
            return False
        self._packets = self._moved(made.add_stream_from_template(self._stream))
        self._next = next(self._packets, None)
        return True

    def before(self, moment: float) -> Iterator[Any]:
        """The packets not yet taken that begin before `moment` seconds of the new video, to be muxed."""
        while self._next is not None and self._next.pts * self._next.time_base < moment:
            yield self._next
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._packets, self._next = iter(()), None
        self._container.close()

    def _moved(self, stream: AudioStream) -> Iterator[Any]:
        """The packets on the clock of the new video, whose stream is `stream`; none from before its beginning."""
        base = self._stream.time_base
        assert base is not None
        offset, last = round(self._begins / base), -1
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is None or packet.dts is None or packet.is_discard or packet.pts < offset:
                    continue
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                if packet.dts <= last:
                    log(f"the sound ends at {float(last * base):.1f} s: from there on the times of its packets go back")
                    return
                last, packet.stream = packet.dts, stream
                yield packet
        except av.error.FFmpegError:
            return  # a damaged file, which the reader of its frames tells of


def sound_of(source: Path, begins: float | None) -> Sound | None:
    """The sound of a video file whose first frame stands at `begins` seconds of its clock.

    None when it has none that is known, or `begins` is None, for a file without a clock. Raises VideoError as `open_video` does.
    """
    container, _ = open_video(source)
    stream = next(iter(container.streams.audio), None)
    # FFmpeg names codecs that it cannot decode, such as AC-4, and PyAV then has nothing to tell of them.
    if stream is not None and stream.codec_context is not None:
        if begins is not None:
            return Sound(container, stream, begins)
        log(f"the sound ({stream.codec_context.name}) is left out: no clock tells which pictures it belongs to")
    container.close()
    return None
