"""What comes out of a confined worker, looked at before the engine acts on it.

The code in there can write what it likes to the pipe that the worker replies on, and leave what it likes in its staging
directory. Believed, a forged reply could have the engine adopt any file of the user as a result, or read a pickle; a link in
an output's place would do the same.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

from wfe.wire import frames

MOST_BYTES = 64 << 20
"""Of one message: arrays travel as files, so that a longer one is no result but a way to fill the engine's memory."""
CODECS = ("npy", "bytes", "file")
"""What a reply's files may be. A pickle would run its code in whichever process reads it next."""


class Wary(frames.Channel):
    """A channel from a confined worker: whatever is not exactly a message that it may send is a FrameError."""

    def __init__(self, reader: int, writer: int, staging: Path) -> None:
        super().__init__(reader, writer)
        self.staging = staging

    def take(self) -> tuple[int, Any] | None:
        """As in Channel."""
        if len(self._buffer) > MOST_BYTES:
            raise frames.FrameError(f"a message of more than {MOST_BYTES} bytes from a confined node")
        found = super().take()
        if found is not None:
            kind, content = found
            good = kind == frames.READY or (kind == frames.EVENT and _event(content))
            if not good and not (kind == frames.REPLY and self._reply(content)):
                raise frames.FrameError("a message that a confined node may not send")
        return found

    def _reply(self, content: Any) -> bool:
        if not isinstance(content, dict) or not _number(content.get("seconds")) or content.get("kept"):
            return False
        state = content.get("state")
        if state == "skipped":
            return isinstance(content.get("message"), str)
        if state == "raised":
            texts = all(isinstance(content.get(key), str) for key in ("kind", "message", "traceback"))
            bases = content.get("bases")
            return texts and isinstance(bases, list) and all(isinstance(one, str) for one in bases)
        holes = content.get("holes")
        return state == "returned" and "value" in content and isinstance(holes, list) and all(map(self._hole, holes))

    def _hole(self, hole: Any) -> bool:
        if not (isinstance(hole, list) and len(hole) == 3 and isinstance(hole[0], list) and isinstance(hole[2], str)):
            return False
        plain = all(isinstance(part, str | int) and not isinstance(part, bool) for part in hole[0])
        path = Path(hole[2])
        here = path.is_absolute() and ".." not in path.parts and path.is_relative_to(self.staging)
        return plain and hole[1] in CODECS and here


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


def odd_file(staging: Path) -> str:
    """What in a staging directory is neither a plain file nor a directory, as an error's text; empty when all is plain.

    Nobody may be writing there any more.
    """
    todo = [staging]
    while todo:
        folder = todo.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    todo.append(Path(entry.path))
                elif not stat.S_ISREG(mode):
                    name = Path(entry.path).relative_to(staging)
                    return (
                        f"it left {str(name)!r}, which is no plain file; a node that is not approved leaves only those"
                    )
    return ""
