"""What workers left whose engines were killed: results that were never stored, taken in by whoever opens the cache next.

A call carries all that is needed to know later what its result is worth: the action key with its manifest, and how the files
looked that the key counts by content. Knows traces and stamps. Does not know the run that such a result is of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wfe.core.digest import canonical, digest
from wfe.core.manifest import key_of
from wfe.core.result import Result
from wfe.engine.returned import BadReturn, check
from wfe.store.stamp import holds
from wfe.store.state import State
from wfe.store.traces import Trace, Traces
from wfe.wire import frames
from wfe.wire.will import LEFT, sealed

_PROOF: Final = "proof"  # the scope of the memos

Looks = tuple[tuple[str, int, int, int, int], ...]
"""Of each file the path, mtime, ctime (nanoseconds), size and inode."""


def proof(state: State, function: str, sources: Sequence[tuple[str, int, int, int, int]], absent: Sequence[str]) -> str:
    """What must hold of the code of a function, as a part of a bequest: the digest of what is written down here, once for all of
    its calls, since it may reach hundreds of files. absent: paths at which nothing must be. Raises EnvironmentFailure."""
    text = frames.encode([sources, absent])
    state.set("memo", function, text, _PROOF)
    return digest(text.encode())


def bequest(heir: str, step: tuple[str, str], key: str, manifest: str, files: Looks, proved: str) -> str:
    """What is to be left with the reply to a call, as `Call` has it. heir: the folder as a JSON text. step: its workflow and its
    id. manifest: as canonical JSON. proved: as `proof` gives it."""
    if not manifest.isascii():
        manifest = frames.encode(json.loads(manifest))
    looks = frames.encode(files) if files else "[]"
    return f'{heir}\n{{"step":{frames.encode(step)},"key":"{key}","manifest":{manifest},"files":{looks},"proof":"{proved}"}}'


def take_in(folder: Path, traces: Traces) -> None:
    """Make traces of all that is left in a folder and still means what it meant. Raises OSError, and EnvironmentFailure when
    there is no room; then it stays."""
    files = [folder / one for one in sorted(os.listdir(folder)) if one.endswith(LEFT)]
    if not files:
        return
    # Into the database at once, and not by way of this run's journal: nobody holds their claims, so whoever is about to make
    # one of them must find it.
    before = traces.state.renewed
    with traces.state.transaction():
        for file in files:
            for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
                found = _trace(line, traces)
                if found is not None:
                    traces.take_in(*found)
    if traces.state.renewed == before:
        for file in files:
            file.unlink(missing_ok=True)


def _trace(line: str, traces: Traces) -> tuple[str, Trace, str, str] | None:
    """The key and the trace that a line tells of, with the workflow and the step; None for one that was cut short, that proves
    nothing any more, or that tells of no result."""
    try:
        if sealed(line[8:]) != line:
            return None
        told, body, made = json.loads(line[8:])
        said = json.loads(told)
        reply = frames.content_of(frames.REPLY, body.encode("utf-8", "surrogatepass"))
        (workflow, step), key = said["step"], said["key"]
        manifest = tuple((part, text) for part, text in said["manifest"])
        proved: str = traces.state.get("memo", dict(manifest)["function"], _PROOF)
        sources, absent = json.loads(proved)
        looks = [*said["files"], *sources]
        if (
            key_of(canonical(manifest)) != key
            or digest(proved.encode()) != said["proof"]
            or reply["state"] != "returned"
            or reply["holes"]
            or not all(holds((*known, True), path) for path, *known in looks)
            or any(map(os.path.exists, absent))
        ):
            return None
        outputs: Mapping[str, Any] | None = json.loads(dict(manifest).get("outputs", "null"))
        text = reply.get("tail") or reply.get("text")
        result = Result(json.loads(text) if text else reply["value"])
        check(outputs, result.value, [])
        seconds, made = float(reply["seconds"]), float(made)
        return key, traces.trace_of(result, text or result.text(), "", manifest, seconds, made), workflow, step
    except (ValueError, TypeError, KeyError, AttributeError, BadReturn, frames.FrameError):
        return None
