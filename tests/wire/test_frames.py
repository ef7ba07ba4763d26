"""Frames: whole, cut, and garbage."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.wire import frames

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def pipe() -> Iterator[tuple[frames.Channel, int]]:
    """A channel, and the end to write raw bytes to it with."""
    reader, writer = os.pipe()
    channel = frames.Channel(reader, writer)
    yield channel, writer
    os.close(reader)
    with contextlib.suppress(OSError):  # the test closed it
        os.close(writer)


@settings(max_examples=40)
@given(st.lists(json_values, min_size=1, max_size=3), st.integers(1, 40))
def test_any_cutting_gives_the_same_messages(values: list[object], step: int) -> None:
    channel = frames.Channel(-1, -1)
    stream = b"".join(frames.pack(frames.CALL, value) for value in values)
    found = []
    for start in range(0, len(stream), step):
        channel.put(stream[start : start + step])
        while (frame := channel.take()) is not None:
            found.append(frame[1])
    assert found == values
    assert isinstance(channel.end(), frames.Closed)


@given(st.binary(min_size=1, max_size=60))
def test_garbage_is_an_error_or_not_enough(garbage: bytes) -> None:
    channel = frames.Channel(-1, -1)
    channel.put(garbage)
    try:
        frame = channel.take()
    except frames.FrameError as error:
        assert str(error)
    else:
        assert frame is None
        assert isinstance(channel.end(), frames.FrameError)


@given(st.data())
@settings(max_examples=200)
def test_a_flipped_header_is_an_error_or_not_enough(data: st.DataObject) -> None:
    frame = bytearray(frames.pack(frames.REPLY, {"a": [1, 2, 3]}))
    frame[data.draw(st.integers(0, 3))] ^= 1 << data.draw(st.integers(0, 7))
    channel = frames.Channel(-1, -1)
    channel.put(bytes(frame))
    try:
        found = channel.take()
    except frames.FrameError:
        return
    assert found is not None and found[0] in frames.KINDS - {frames.REPLY}  # only the kind can become another kind


def test_a_stream_that_ends_within_a_frame(pipe: tuple[frames.Channel, int]) -> None:
    channel, writer = pipe
    frame = frames.pack(frames.REPLY, {"x": "y" * 100})
    os.write(writer, frame[:50])
    os.close(writer)
    with pytest.raises(frames.FrameError, match="within a frame, after 50"):
        channel.receive()


def test_a_stream_that_ends_between_frames(pipe: tuple[frames.Channel, int]) -> None:
    channel, writer = pipe
    channel.send(frames.pack(frames.EVENT, [1]))
    os.close(writer)
    assert channel.receive() == (frames.EVENT, [1])
    with pytest.raises(frames.Closed):
        channel.receive()


def test_a_body_that_is_no_json() -> None:
    channel = frames.Channel(-1, -1)
    channel.put(frames.HEADER.pack(frames.MAGIC, frames.VERSION, frames.CALL, 3) + b"{]x")
    with pytest.raises(frames.FrameError, match="no JSON"):
        channel.take()


def test_another_version_says_so() -> None:
    channel = frames.Channel(-1, -1)
    channel.put(frames.HEADER.pack(frames.MAGIC, 9, frames.CALL, 0))
    with pytest.raises(frames.FrameError, match="version 9"):
        channel.take()


def test_more_than_a_pipe_holds(pipe: tuple[frames.Channel, int]) -> None:
    channel, _ = pipe
    message = {"text": "x" * 5_000_000}
    thread = threading.Thread(target=channel.send, args=(frames.pack(frames.CALL, message),))
    thread.start()
    assert channel.receive() == (frames.CALL, message)
    thread.join()


def test_a_look_ends_with_bytes_and_without() -> None:
    reader, writer = os.pipe()
    try:
        channel = frames.Channel(reader, -1)
        channel.look()  # nothing comes: it gives up
        os.write(writer, frames.pack(frames.EVENT, ["note", {}]))
        channel.look(1e9)  # what is there is seen at once
        assert channel.receive() == (frames.EVENT, ["note", {}])
    finally:
        os.close(writer)
        os.close(reader)
