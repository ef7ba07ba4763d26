"""What the store holds that nothing needs, and its removal.

Roots are the rows of the workflows that exist: the results that stand in the workspace. A trace that no root names serves
only a return to earlier inputs; it goes when it is old, or when the store must shrink, the oldest first. A blob goes when
no remaining trace names it. Knows rows, traces and blobs; does not know documents (it is told which workflows exist) and
asks nobody.

Safe beside a run: what was made in the last hour stays, and so does every blob file that young, since a run puts a blob
in place before it records the trace. Should a run come upon a blob that was just deleted, it makes the step again: what
is read is checked against its digest, so removal can cost time and never a wrong answer.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from wfe.store.blobs import Blobs
from wfe.store.state import State
from wfe.store.traces import Traces

YOUNG: Final = 3600.0
"""Seconds for which a trace or a blob is left alone whatever is asked."""


@dataclass(slots=True)
class Spare:
    """What can go: traces by key, blobs by digest with their bytes, rows of workflows that do not exist any more.

    size: bytes of all blobs now. kept: bytes of the blobs that stay.
    """

    traces: list[str] = field(default_factory=list)
    blobs: dict[str, int] = field(default_factory=dict)
    scopes: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def bytes(self) -> int:
        """How much would be freed."""
        return sum(self.blobs.values())

    @property
    def kept(self) -> int:
        """How much stays."""
        return self.size - self.bytes


def on_disk(blobs: Blobs) -> Iterator[tuple[str, int, float]]:
    """(digest, bytes, time it was put there) of every blob."""
    try:
        folders = sorted(os.scandir(blobs.root), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for folder in folders:
        if len(folder.name) != 2 or not folder.is_dir():
            continue
        for entry in os.scandir(folder.path):
            try:
                found = entry.stat()
            except FileNotFoundError:
                continue
            # A file that was moved in keeps the time of its writing; its inode's time is that of the move.
            yield folder.name + entry.name, found.st_size, max(found.st_mtime, found.st_ctime)


def spare(
    state: State,
    blobs: Blobs,
    workflows: Collection[str],
    now: float,
    *,
    older_than: float,
    to_size: int | None = None,
    young: float = YOUNG,
) -> Spare:
    """What can go. workflows: those that exist. older_than: seconds after which a trace that no root names is old.
    to_size: bytes that the blobs may take; younger traces go too, the oldest first, until they fit."""
    found = Spare()
    roots: set[str] = set()
    for workflow in state.scopes("step"):
        rows = [Traces.row(row) for row in state.all("step", workflow).values()]
        if workflow in workflows or any(now - row.at < young for row in rows):
            roots.update(row.key for row in rows)
        else:
            found.scopes.append(workflow)
    traces = Traces(state, blobs)
    named: dict[str, list[str]] = {}
    made: dict[str, float] = {}
    for key in state.all("trace"):
        trace = traces.find(key)
        if trace is not None:
            named[key] = trace.blobs()
            made[key] = trace.made
    users: dict[str, int] = {}
    for digests in named.values():
        for digest in digests:
            users[digest] = users.get(digest, 0) + 1
    disk = {}
    for digest, size, time in on_disk(blobs):
        found.size += size
        disk[digest] = size
        if digest not in users and now - time >= young:
            found.blobs[digest] = size  # of no trace at all: left by a step that was killed
        elif now - time < young:
            users[digest] = users.get(digest, 0) + 1
    free = sorted((key for key in named if key not in roots and now - made[key] >= young), key=made.__getitem__)
    for key in free:
        small = to_size is None or found.kept <= to_size
        if now - made[key] < older_than and small:
            break
        found.traces.append(key)
        for digest in named[key]:
            users[digest] -= 1
            if users[digest] == 0 and digest in disk:
                found.blobs[digest] = disk[digest]
    return found


def remove(state: State, blobs: Blobs, what: Spare) -> int:
    """Delete it; the bytes freed. Traces go first: a blob without a trace is litter, a trace without its blob a promise
    that is found broken. A trace that a row has named meanwhile stays."""
    with state.transaction():
        for scope in what.scopes:
            state.remove("step", scope=scope)
            state.remove("memo", scope=f"plan:{scope}")
        roots = {Traces.row(row).key for scope in state.scopes("step") for row in state.all("step", scope).values()}
        held: set[str] = set()
        traces = Traces(state, blobs)
        for key in roots:
            trace = traces.find(key)
            held.update(trace.blobs() if trace is not None else ())
        for key in what.traces:
            if key not in roots:
                state.remove("trace", key)
        gone = {digest: size for digest, size in what.blobs.items() if digest not in held}
        for digest in gone:
            blobs.drop(digest)
            state.remove("file", digest, "blob")
    state.compact()
    return sum(gone.values())
