"""Traces (action key -> result) and the rows of the workspace (step -> what stands there), as the state database keeps them.

Knows how both are written down and when a trace can be used. Does not decide what to do with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from wfe.core.digest import canonical, digest
from wfe.core.manifest import Manifest
from wfe.core.result import Artifact, Result
from wfe.store.blobs import Blobs
from wfe.store.stamp import holds, stamp
from wfe.store.state import State

_MANY: Final = 200
_PER_STEP: Final = 25  # keys that are read in the time in which one is asked for
_INLINE: Final = 256 * 1024  # characters of JSON; a longer value is a blob of its own


class Trace(NamedTuple):
    """What a step gave for an action key. `big`: digest of the blob with the JSON of a long value ("" inline)."""

    value: Any
    artifacts: tuple[Artifact, ...]
    big: str
    mark: str
    manifest: Manifest
    seconds: float
    made: float

    def blobs(self) -> list[str]:
        """The digests of all blobs that the result needs."""
        return [*(one.digest for one in self.artifacts), *([self.big] if self.big else [])]


class File(NamedTuple):
    """A file that a step's row vouches for. role: "in" (input), "out" (a target), "blob"."""

    path: str
    role: str
    stamp: tuple[int, int, int, int, bool]
    digest: str


class Row(NamedTuple):
    """What stands in the workspace for a step: made from which static part, key and upstream marks, in which files; recorded
    when (`at`)."""

    static: str
    key: str
    mark: str
    ups: tuple[str, ...]
    files: tuple[File, ...]
    seconds: float
    at: float


class Traces:
    """Reads and writes both tables."""

    def __init__(self, state: State, blobs: Blobs) -> None:
        self.state = state
        self.blobs = blobs
        self._keys: set[str] | None = None

    def remember(self, steps: int) -> None:
        """Before many steps are decided about: read which keys there are, if that costs less than to ask for each of them."""
        if steps >= _MANY and self.state.rows("trace") <= steps * _PER_STEP:
            self._keys = self.state.names("trace")

    def known(self, key: str) -> Trace | None:
        """As `find`, but what another run has made since `remember` may be missed: who is going to make it looks again."""
        return None if self._keys is not None and key not in self._keys else self.find(key)

    def made(self, keys: Sequence[str], alone: bool = False) -> set[str]:
        """Those of the keys that have a trace, sound or not, by now. alone: nobody else can have made one since `remember`."""
        if alone and self._keys is not None:
            return self._keys.intersection(keys)
        return self.state.has("trace", keys)

    def find(self, key: str) -> Trace | None:
        """The trace of an action key. Its blobs may be gone: see `whole`."""
        found = self.state.get("trace", key)
        if found is None:
            return None
        value, artifacts, big, mark, manifest, seconds, made = found
        return Trace(value, tuple(Artifact(*one) for one in artifacts), big, mark, manifest, seconds, made)

    def whole(self, trace: Trace) -> bool:
        """Whether every blob of the trace is there with the right content. A damaged one is dropped."""
        for one in trace.blobs():
            if not self.blobs.has(one):
                return False
            if not self.sound(one):
                self.blobs.drop(one)
                return False
        return True

    def sound(self, blob: str) -> bool:
        """Whether a blob's content is what its name says; read only when its stamp is not the recorded one."""
        path = self.blobs.path(blob)
        known = self.state.get("file", blob, "blob")
        if known is not None and holds(known, path):
            return True
        try:
            taken = stamp(path)
        except OSError:
            return False
        if not self.blobs.intact(blob):
            return False
        self.state.set("file", blob, taken.plain(), "blob")
        return True

    def result(self, trace: Trace) -> Result:
        """The result of a whole trace."""
        if not trace.big:
            return Result(trace.value, trace.artifacts)
        with open(self.blobs.path(trace.big), encoding="utf-8", errors="surrogatepass") as file:
            return Result(json.load(file), trace.artifacts)

    def trace_of(
        self, result: Result, text: str, staging: str, manifest: Manifest, seconds: float, made: float
    ) -> Trace:
        """The trace of a result whose canonical text is `text`; a long value is put into a blob by way of `staging`."""
        data = text.encode("utf-8", "surrogatepass")
        mark, big, value = digest(data), "", result.value
        if len(text) > _INLINE:
            content = canonical(result.value).encode("utf-8", "surrogatepass")
            big, value = digest(content), None
            part = os.path.join(staging, "value.json")
            os.makedirs(staging, exist_ok=True)  # somebody may have removed the cache meanwhile
            with open(part, "wb") as file:
                file.write(content)
            self.blobs.adopt(part, big)
        return Trace(value, result.artifacts, big, mark, manifest, seconds, made)

    def save(self, workflow: str, step: str, row: Row, trace: Trace | None) -> None:
        """Record a step that is done, in one commit: its row, and its trace where it was made now."""
        records: list[tuple[str, str, Any, str]] = []
        if trace is not None:
            if self._keys is not None:
                self._keys.add(row.key)
            records.append(("trace", row.key, plain(trace), ""))
        records.append(("step", step, plain(row), workflow))
        self.state.set_all(records)

    def take_in(self, key: str, trace: Trace, workflow: str, step: str) -> None:
        """Record what a run had made for a step that was killed, unless there is a result for the key. The step gets no row, for
        nothing stands in the workspace; whoever forgets it must know the key all the same."""
        if self.find(key) is None:
            self.state.set_all([("trace", key, plain(trace), ""), ("memo", step, key, f"left:{workflow}")])
            if self._keys is not None:
                self._keys.add(key)

    def left(self, workflow: str) -> set[str]:
        """The steps of a workflow for which a result was taken in."""
        return self.state.names("memo", f"left:{workflow}")

    def forget(self, workflow: str, step: str) -> None:
        """Let there be no row of a step, and no trace of its key, nor of one that was taken in for it."""
        found = self.state.get("step", step, workflow)
        keys = [self.state.get("memo", step, f"left:{workflow}"), None if found is None else self.row(found).key]
        with self.state.transaction():
            for key in filter(None, keys):
                self.outdate(key)
                self.state.remove("trace", key)
            self.state.remove("memo", step, f"left:{workflow}")
            self.state.remove("step", step, workflow)

    def rows(self, workflow: str) -> dict[str, Any]:
        """step -> row as a plain tuple, for every step of a workflow that was ever done (fast path; see `row`)."""
        return self.state.all("step", workflow)

    def fits(self, table: str, left: tuple[str, str, Any]) -> bool:
        """Whether a row that a killed run left may be written now: others may have made or recorded the same since."""
        scope, name, content = left
        there = self.state.get(table, name, scope)
        if table == "trace":
            return there is None or there[_MARK] == content[_MARK] or there[_MADE] < content[_MADE]
        if table == "step":
            row = self.row(content)
            trace = self.state.get("trace", row.key)
            return (there is None or self.row(there).at <= row.at) and (trace is None or trace[_MARK] == row.mark)
        return True

    def disown(self, workflow: str, step: str, key: str) -> None:
        """Take away a step's row whose trace turned out damaged, so that the next run makes the step again: the look at
        every step reads rows alone."""
        with self.state.transaction():
            found = self.state.get("step", step, workflow)
            if found is not None and self.row(found).key == key:
                self.state.remove("step", step, workflow)

    def outdate(self, key: str, mark: str = "") -> None:
        """The key gets another result, with this mark if it is known: take away the rows of all steps, of any workflow, that
        tell of the one before. They and what was made from them would go on as current, while what is read of them is new."""
        before = self.find(key)
        if before is None or before.mark == mark:
            return
        with self.state.transaction():
            for workflow in self.state.scopes("step"):
                for step, found in self.rows(workflow).items():
                    if found[1] == key:
                        self.state.remove("step", step, workflow)

    @staticmethod
    def row(found: Any) -> Row:
        static, key, mark, ups, files, seconds, at = found
        return Row(static, key, mark, tuple(ups), tuple(File(*one) for one in files), seconds, at)


def plain(record: Trace | Row) -> tuple[Any, ...]:
    """A record with plain tuples inside: marshal takes no others."""
    found = tuple(record)
    place = _NESTED[type(record)]
    if not found[place]:
        return found
    return (*found[:place], tuple(map(tuple, found[place])), *found[place + 1 :])


_MARK: Final = Trace._fields.index("mark")
_MADE: Final = Trace._fields.index("made")
_NESTED: Final = {Trace: Trace._fields.index("artifacts"), Row: Row._fields.index("files")}
