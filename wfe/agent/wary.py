"""What a confined worker says, looked at before the engine acts on it.

The code in there can write what it likes to the pipe that the worker replies on. Believed, a forged reply could have the
engine adopt any file of the user as a result, or read a pickle; one of a form that no worker sends could end the engine.
What it leaves as files is looked at in `staged`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from wfe.wire import frames
from wfe.wire.values import DEEPEST

MOST_BYTES = 64 << 20
"""Of one message: arrays travel as files, so that a longer one is no result but a way to fill the engine's memory."""
MOST_TOLD = 16 << 20
"""Bytes of all events of one call: each is recorded, and a record must not fill the disk."""
CODECS = ("npy", "bytes", "file")
"""What a reply's files may be. A pickle would run its code in whichever process reads it next."""


class Wary(frames.Channel):
    """A channel from a confined worker: whatever is not exactly a message that it may send is a FrameError.

    outputs: the paths of the files that the call may declare as written.
    """

    def __init__(self, reader: int, writer: int, staging: Path, outputs: Collection[str]) -> None:
        super().__init__(reader, writer)
        self.staging = staging
        self.outputs = frozenset(outputs)
        self._told = 0

    def take(self) -> tuple[int, Any] | None:
        """As in Channel."""
        if len(self._buffer) > MOST_BYTES:
            raise frames.FrameError(f"a message of more than {MOST_BYTES} bytes from a confined node")
        before = len(self._buffer)
        found = super().take()
        if found is not None:
            kind, content = found
            self._told += before - len(self._buffer) if kind == frames.EVENT else 0
            if self._told > MOST_TOLD:
                raise frames.FrameError(f"more than {MOST_TOLD} bytes of events from a confined node")
            good = kind == frames.READY or (kind == frames.EVENT and _event(content))
            if not good and not (kind == frames.REPLY and self._reply(content)):
                raise frames.FrameError("a message that a confined node may not send")
        return found

    def _reply(self, content: Any) -> bool:
        if (
            not isinstance(content, dict)
            or not _number(content.get("seconds"))
            or "kept" in content
            or "text" in content
        ):
            return False
        state = content.get("state")
        if state == "skipped":
            return isinstance(content.get("message"), str)
        if state == "raised":
            texts = all(isinstance(content.get(key), str) for key in ("kind", "message", "traceback"))
            bases = content.get("bases")
            return texts and isinstance(bases, list) and all(isinstance(one, str) for one in bases)
        holes = content.get("holes")
        if state != "returned" or "value" not in content or not isinstance(holes, list):
            return False
        value = content["value"]
        if not _shallow(value) or not all(self._hole(hole) and _empty(value, hole[0]) for hole in holes):
            return False
        return len({repr(hole[0]) for hole in holes}) == len(holes)

    def _hole(self, hole: Any) -> bool:
        if not (isinstance(hole, list) and len(hole) == 3 and isinstance(hole[0], list) and isinstance(hole[2], str)):
            return False
        plain = all(isinstance(part, str | int) and not isinstance(part, bool) for part in hole[0])
        path = Path(hole[2])
        here = path.is_absolute() and ".." not in path.parts and path.is_relative_to(self.staging)
        return plain and hole[1] in CODECS and here and (hole[1] != "file" or hole[2] in self.outputs)


def _shallow(value: Any) -> bool:
    """Whether a value is nested no deeper than a worker's own encoder lets one be (the engine walks it recursively)."""
    level = [value]
    for _ in range(DEEPEST + 2):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one if isinstance(one, list) else one.values())
            if isinstance(inner, list | dict)
        ]
        if not level:
            return True
    return False


def _empty(value: Any, trail: Sequence[str | int]) -> bool:
    """Whether `trail` leads to a null in the value."""
    for part in trail:
        if isinstance(value, dict):
            there = part in value
        else:
            there = isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
        if not there:
            return False
        value = value[part]
    return value is None


def _event(content: Any) -> bool:
    if not (isinstance(content, list) and len(content) == 2 and isinstance(content[1], dict)):
        return False
    kind, what = content
    if kind == "note":
        return isinstance(what.get("message"), str)
    total, note = what.get("total"), what.get("note", "")
    return (
        kind == "progress" and _number(what.get("done")) and (total is None or _number(total)) and isinstance(note, str)
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
