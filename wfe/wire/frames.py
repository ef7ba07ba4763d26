"""Frames: whole JSON messages over a pair of pipes.

Knows the byte format, and that a pipe hands out bytes in pieces. Does not know what the messages say or who is at the
other end. A frame is a header of 12 bytes in network order (2 bytes magic "wf", 1 byte version, 1 byte kind, 8 bytes
length of the body) and the body: one JSON value in UTF-8, in which NaN, Infinity and -Infinity stand for the floats
that JSON lacks; behind it perhaps a text that need not be read, whose length (characters) is the "tail" of the value, an
object. There is no upper size. The magic makes a stray write into the pipe an error here and not a hang
later.
"""

from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Callable
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from time import monotonic, perf_counter
from typing import Any

from wfe.wire.processors import processors

VERSION = 1
MAGIC = b"wf"
HEADER = struct.Struct("!2sBBQ")

# The kinds of frames. CALL goes to the worker, the others come from it.
READY = 1  # first frame of a worker: {"python", "pid"}
CALL = 2  # one call; exactly one REPLY answers it
REPLY = 3
EVENT = 4  # ["progress" | "note", {...}], any number before the REPLY
KINDS = frozenset({READY, CALL, REPLY, EVENT})

# What a default pipe holds. Not more: os.read allocates as much as it is asked for, and from 128 KiB on that is a
# mapping made, faulted and unmapped at each call (100 us of a round trip of 160).
PIECE = 64 * 1024

# Seconds of a call after which the next one, and its answer, are likely to come soon.
SOON = 0.001
# Seconds for which a pipe is asked again and again before its reader goes to sleep. To be woken takes 30 to 50 us, each
# way: two thirds of a trivial call, whose answer is there sooner than that.
# Not where there is one processor: the other end could not go on meanwhile.
KEEN = 60e-6 if processors() > 1 else 0.0

_give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: None)

_encoder = json.JSONEncoder(check_circular=False, separators=(",", ":"))


def _make_encode() -> Callable[[Any], str]:
    if c_make_encoder is None:
        return _encoder.encode
    # `encode` makes this anew for each message, half the price of a short one.
    pieces = c_make_encoder(None, _encoder.default, encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda value: "".join(pieces(value, 0))


encode = _make_encode()
# Not decode: it looks for blanks around the value, which `pack` never writes, at the price of two regular expressions.
_decode = json.JSONDecoder().raw_decode


class FrameError(Exception):
    """The bytes on the pipe are no frame: the other end is not ours, of another version, or was cut off."""


class Closed(Exception):
    """The other end closed the pipe (or died) between two frames."""


def pack(kind: int, message: Any, more: str = "", tail: str = "") -> bytes:
    """One frame as bytes. `message`: a JSON value; floats may be NaN or infinite. more: further entries of one that is an
    object, and not an empty one, as JSON in ASCII. tail: of such a one, the text in ASCII that is its "tail" at the other end."""
    text = encode(message)
    if more:
        text = f"{text[:-1]},{more}}}"
    if tail:
        text = f'{text[:-1]},"tail":{len(tail)}}}{tail}'
    body = text.encode("ascii")
    return HEADER.pack(MAGIC, VERSION, kind, len(body)) + body


def write_all(descriptor: int, frame: bytes) -> None:
    """Write all of `frame`, however many pieces the pipe takes it in. Raises BrokenPipeError when nobody reads."""
    sent = os.write(descriptor, frame)
    if sent == len(frame):
        return
    rest = memoryview(frame)[sent:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _about(frame: bytes | bytearray) -> tuple[int, int]:
    """Kind and length of the frame that begins so. Raises FrameError."""
    magic, version, kind, length = HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise FrameError(f"not a frame: the stream continues with {bytes(frame[:16])!r}")
    if version != VERSION:
        raise FrameError(f"a frame of version {version}, where version {VERSION} is spoken")
    if kind not in KINDS:
        raise FrameError(f"a frame of unknown kind {kind}")
    return kind, length


def content_of(kind: int, body: bytes | bytearray) -> Any:
    """What the body of a frame says. Raises FrameError."""
    try:
        text = body.decode("utf-8")
        content, end = _decode(text)
        if end != len(text):
            if not isinstance(content, dict) or content.get("tail") != len(text) - end:
                raise ValueError(f"extra data after {end} characters")
            content["tail"] = text[end:]
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame of kind {kind} whose {len(body)} bytes are no JSON: {error}") from error
    return content


def decode(text: str) -> Any:
    """The value of a JSON text that has no blanks around it."""
    return _decode(text)[0]


class Channel:
    """A pair of pipe ends that carries frames both ways.

    `send` may be called from several threads only under a lock of the caller's; `feed`, `take` and `receive` belong to
    one thread.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self._buffer = bytearray()
        self.read_at = 0.0  # when something was read last, monotonic seconds
        self._poll: Any = None

    def look(self, seconds: float = KEEN) -> bool:
        """Stay awake until there is something to read, for at most so long; whether there is."""
        if not hasattr(select, "poll"):  # Windows, where a pipe cannot be asked
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.reader, select.POLLIN)
        if self._poll.poll(0):
            return True
        if seconds <= 0:
            return False
        end = perf_counter() + seconds
        while perf_counter() < end:
            _give_way()  # to the other end, where it was put on the same processor
            if self._poll.poll(0):
                return True
        return False

    def send(self, frame: bytes) -> None:
        """Write one frame, or several. Raises BrokenPipeError when the other end is gone."""
        write_all(self.writer, frame)

    def feed(self) -> bool:
        """Read once from the pipe (blocks when nothing is there). False at its end."""
        return self.put(os.read(self.reader, PIECE))

    def put(self, piece: bytes) -> bool:
        """Take bytes that were read elsewhere. False when there are none: the stream's end."""
        self.read_at = monotonic()
        self._buffer += piece
        return bool(piece)

    def has_frame(self) -> bool:
        """Whether some of a frame was read that nobody took yet."""
        return bool(self._buffer)

    def take(self) -> tuple[int, Any] | None:
        """The next whole frame that was read, as (kind, message), or None. Raises FrameError on garbage."""
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            if buffer and not MAGIC.startswith(bytes(buffer[:2])):
                raise FrameError(f"not a frame: the stream continues with {bytes(buffer[:16])!r}")
            return None
        kind, length = _about(buffer)
        end = HEADER.size + length
        if len(buffer) < end:
            return None
        message = content_of(kind, buffer[HEADER.size : end])
        del buffer[:end]
        return kind, message

    def receive(self) -> tuple[int, Any]:
        """Wait for the next frame. Raises Closed at the end of the stream, FrameError when it ends within a frame.

        The header is read by itself. A process that is killed while it waits here may still take these 12 bytes, and
        never the body: so the sender can see in the pipe that the frame was not received.
        """
        if not self._buffer:
            header = os.read(self.reader, HEADER.size)
            if len(header) == HEADER.size:
                kind, length = _about(header)
                body = os.read(self.reader, min(length, PIECE)) if length else b""
                if len(body) == length:  # nearly always: a small frame is written at once
                    return kind, content_of(kind, body)
                header += body
            self._buffer += header
        while True:
            frame = self.take()
            if frame is not None:
                return frame
            if not self.put(os.read(self.reader, PIECE if self._buffer else HEADER.size)):
                raise self.end()

    def end(self) -> Exception:
        """What the end of the stream means: Closed, or FrameError when a frame was cut off."""
        if self._buffer:
            return FrameError(f"the stream ended within a frame, after {len(self._buffer)} of its bytes")
        return Closed("the other end closed the pipe")
