"""Every blob read and compared with its name; damaged ones are dropped, so that the next run makes them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wfe.store.blobs import Blobs
from wfe.store.collect import on_disk
from wfe.store.state import State
from wfe.store.traces import Traces


@dataclass(frozen=True, slots=True)
class Checked:
    """One blob: its digest, bytes, whether it is sound, and of a damaged one the (workflow, step)s that it belongs to."""

    digest: str
    size: int
    sound: bool
    steps: tuple[tuple[str, str], ...] = ()


def verify(state: State, blobs: Blobs, *, drop: bool = True) -> Iterator[Checked]:
    """Check every blob in turn. drop: delete a damaged one."""
    users: dict[str, list[tuple[str, str]]] | None = None
    for digest, size, _ in on_disk(blobs):
        if blobs.intact(digest) or not blobs.has(digest):
            yield Checked(digest, size, True)
            continue
        if users is None:
            users = _users(state, blobs)
        if drop:
            blobs.drop(digest)
            state.remove("file", digest, "blob")
        yield Checked(digest, size, False, tuple(users.get(digest, ())))


def missing(state: State, blobs: Blobs) -> dict[str, list[tuple[str, str]]]:
    """Blobs that results in the workspace name and that are not there: digest -> (workflow, step)s."""
    return {digest: steps for digest, steps in _users(state, blobs).items() if not blobs.has(digest)}


def _users(state: State, blobs: Blobs) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    traces = Traces(state, blobs)
    for workflow in state.scopes("step"):
        for step, row in state.all("step", workflow).items():
            trace = traces.find(Traces.row(row).key)
            for digest in trace.blobs() if trace is not None else ():
                found.setdefault(digest, []).append((workflow, step))
    return found
