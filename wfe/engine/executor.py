"""The protocol of an Executor: something that calls node functions somewhere and tells how it went.

Knows the form of a call and of its reply. Does not know keys, caches, workflows or the scheduler: `engine/action.py` puts
files in place before a call and publishes what it left after.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from wfe.core.outcome import NOTHING
from wfe.engine.hole import Hole, Trail


@dataclass(slots=True)  # frozen would take 4 us more for each
class Call:
    """One call of a node function. Not to be changed, but for what its executor says of it.

    module, function: `nodes.vision.detect`, `detect`; `root` (a directory with `nodes/` in it) leads the import path.
    inputs: a JSON tree, a dict of parameter name to value; `holes` says what stands at its nulls.
    staging: an existing empty directory in which the callee leaves arrays, on the store's file system.
    log: file that gets what the step prints. code: digest of the sources that the function reaches; a worker that has
    already imported other code under this module's name must not be used for it. timeout: seconds from the call's start,
    imports included. lasts: how many seconds it is likely to take, 0 when that is not known. arrays: NumPy arrays from
    memory that stand at nulls of `inputs` (the function gets read-only ones).
    result: file into which the callee may write the result already, if it is plain JSON (`Returned.stat`); "" for none.
    said: `inputs` as JSON in ASCII, where that was written already.
    files: what must still hold when the call begins, else it is not begun (`Outdated`): of each file the path, mtime, ctime
    (nanoseconds), size and inode. A callee that cannot look may leave it.
    bequest: what the callee leaves with its reply when the engine is gone before it has asked for that, in ASCII: the folder
    where that is to be written as a JSON text, a newline, any text; "" for nothing. A callee that ends with the engine need
    not.
    sent: whether an executor has sent it already, and nobody has asked for the reply.
    Without a `staging` ("") nothing is written to files: the arrays of the result come back in `Returned.arrays`.
    What is printed is added to `log`; where nothing is, it is not made.
    """

    step: str
    module: str
    function: str
    root: str
    inputs: Mapping[str, Any]
    holes: tuple[Hole, ...] = ()
    staging: str = ""
    log: str = ""
    result: str = ""
    code: str = ""
    seed: int | None = None
    timeout: float | None = None
    lasts: float = 0.0
    said: str = ""
    files: tuple[tuple[str, int, int, int, int], ...] = ()
    slots: Mapping[str, list[int]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[Trail, Any] = field(default_factory=dict)
    bequest: str = ""
    sent: bool = False


class Returned(NamedTuple):
    """The function returned: its value as a JSON tree, with holes whose files lie in `staging`. `seconds`: in the call.

    arrays: of a call without staging, read-only NumPy arrays by their place in the tree, which holds null there.
    text: the value as `core.digest.canonical` writes it, where it stands in the call's `result` file, with a newline;
    stat: mtime, ctime (nanoseconds), size, inode of that file. at: when it had returned at the latest, monotonic seconds. still:
    whether the call's `files` were as it says when the function had returned; False where nobody looked.
    """

    value: Any
    holes: tuple[Hole, ...] = ()
    seconds: float = 0.0
    arrays: Mapping[Trail, Any] = NOTHING
    text: str = ""
    stat: tuple[int, int, int, int] | None = None
    at: float = math.inf
    still: bool = False

    def whole(self) -> Any:
        """The value with its in-memory arrays in place."""
        value = self.value
        for trail, array in self.arrays.items():
            if not trail:
                return array
            parent = value
            for part in trail[:-1]:
                parent = parent[part]
            parent[trail[-1]] = array
        return value


class Skipped(NamedTuple):
    """The function raised wfe.Skip."""

    reason: str
    seconds: float = 0.0


class Raised(NamedTuple):
    """The call failed, and the callee could still say how.

    kind: the exception's type name, or "output" when a returned value is of no known codec (`message` names which key),
    "environment" when the disk was full, or "refused" when the function raised wfe.Refuse (then there is no traceback).
    traceback: formatted, without frames of ours. bases: names of the exception's classes, for `retries` by name.
    """

    kind: str
    message: str
    traceback: str = ""
    seconds: float = 0.0
    bases: tuple[str, ...] = ()


class Died(NamedTuple):
    """The callee is gone: `kind` is "died" (killed by a signal, exited), "timeout" or "cancelled"."""

    kind: str
    message: str
    seconds: float = 0.0


class Outdated(NamedTuple):
    """The call was not begun: one of its `files` is not what it was."""

    seconds: float = 0.0


Reply = Returned | Skipped | Raised | Died | Outdated
Emit = Callable[[str, dict[str, Any]], None]
"""Receives what a running call says: ("progress", {done, total, note}), ("note", {message}), ("line", {stream, line}); and
("sent", {}) when there is some time for other work, since the call is on its way to another process; ("waits", {}) when
there is nothing to hear of it yet, and the calling thread is about to sleep."""


class Executor(Protocol):
    """Calls node functions. Thread-safe: each thread that calls blocks until its own reply is there."""

    def call(self, call: Call, emit: Emit) -> Reply: ...

    def cancel(self) -> None:
        """Kill what runs, tree and all; calls in flight return Died("cancelled"). Idempotent, callable from any thread."""
        ...

    def close(self) -> None:
        """End every worker and free what they held. Idempotent."""
        ...
