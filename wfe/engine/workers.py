"""The executor of worker processes: a pool of warm workers of one interpreter.

Knows which worker may serve which call, and when one is started, replaced and retired. Does not know keys, stores or
the scheduler. Each calling thread takes a worker for itself, blocks on that worker's pipe, and gives it back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self

from wfe.engine.child import Child, Gone
from wfe.engine.executor import Call, Died, Emit, Outdated, Raised, Reply, Returned, Skipped
from wfe.engine.hole import Hole
from wfe.engine.printed import LOG_LIMIT
from wfe.errors import EnvironmentFailure
from wfe.wire.frames import decode
from wfe.wire.processors import processors
from wfe.wire.shm import Pool, reap

# Read by the libraries' thread pools when they are loaded. OpenCV reads OPENCV_FOR_THREADS_NUM.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
# Seconds for which a worker that has a processor for itself looks for the next call: the engine takes most of a
# millisecond between two calls. To wake a worker takes it 40 us and the worker 50, and on a virtual machine up to 3 ms
# where the processor was given away meanwhile: a third of the engine's time for a step of 20 ms.
AWAKE = 2e-3
# A look at a worker's memory costs 60 us, half a call: only after calls that were long enough to have used much.
LOOK_AT_MEMORY = 0.005


@dataclass(slots=True, eq=False)
class Warm:
    """A worker and what it may be used for: calls of `root`; `known` functions need no look at the sources."""

    child: Child
    root: str
    known: set[tuple[str, str, str]] = field(default_factory=set)
    since: float = 0.0  # when it became idle, monotonic seconds
    serves: Call | None = None  # what it was asked for last
    begun: deque[Call] = field(default_factory=deque)  # calls that were sent and nobody has asked for yet, in order
    cancelled: bool = False


class Workers:
    """Calls node functions in worker processes of the interpreter `python` (its path; default: this one).

    limit: how many workers at once (default: the CPUs of this process); further calls wait.
    threads: size of the native thread pools (OpenMP, BLAS, OpenCV ...) of each worker; default: CPUs / limit, at least
    1. A variable that the user set himself is left alone.
    path: folders that lead the workers' import path, after a call's root. environ: variables on top of this process's.
    idle: seconds after which an idle worker is ended. memory: bytes of resident memory above which one is replaced.

    A worker that imported sources which have changed since is replaced before the next call that it has not served yet
    under the same digest. A call with a digest that it has served runs the code of that digest, which is what is asked
    for.
    """

    def __init__(
        self,
        python: str | Path = "",
        *,
        limit: int = 0,
        threads: int = 0,
        path: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        idle: float = 300.0,
        memory: int | None = None,
        log_limit: int = LOG_LIMIT,
        threaded: bool = os.name == "nt",
    ) -> None:
        reap()  # what an engine that was killed left in the memory file system
        self.python = str(python) or sys.executable
        self.limit = limit or processors()
        self.threads = threads or max(1, processors() // self.limit)
        self._path = tuple(path)
        self._environ = dict(environ or {})
        self._idle_seconds = idle
        self._memory = memory
        self._log_limit = log_limit
        self._threaded = threaded
        self._lock = threading.RLock()
        self._change = threading.Condition(self._lock)
        self._idle: list[Warm] = []  # least recently used first
        self._busy: set[Warm] = set()
        self._begun: dict[int, tuple[Warm, dict[str, Any]]] = {}  # who has a call that was sent, and its message, by id
        self._starting = 0
        self._cancelled = False
        self._closed = False
        self._timer: threading.Timer | None = None
        self._blocks: Pool | None = None

    # -- the protocol

    def call(self, call: Call, emit: Emit) -> Reply:
        """As in Executor. Raises EnvironmentFailure when a worker cannot be started."""
        begun = None
        if call.sent:
            with self._lock:
                call.sent = False
                begun = self._begun.pop(id(call), None)
        warm, message = begun or (None, request(call))
        if warm is not None:
            warm.begun.popleft()  # they are asked for in the order in which they were sent
        lent: list[Any] = []
        try:
            if call.arrays or not call.staging:
                self._lend(call, message, lent)
            while True:
                warm = warm or self._take(call)
                if warm is None:
                    return Died("cancelled", "the run was cancelled before the call began")
                reply = self._ask(warm, call, message, emit)
                if reply is not None:
                    return self._reply(reply, lent)
                warm = None
                # Another worker reads the same message; what stands in the blocks has not been touched.
        finally:
            if lent and self._blocks is not None:
                self._blocks.give_back(lent)

    def warm(self, root: str, count: int) -> None:
        """Start workers for calls of `root` until there are `count` in all. Raises EnvironmentFailure."""
        while True:
            with self._lock:
                there = len(self._idle) + len(self._busy) + self._starting
                if self._cancelled or there >= min(count, self.limit):
                    return
                self._starting += 1
            started = self._start(root)
            if started is not None:
                self._give(started, True)

    def begin(self, call: Call) -> bool:
        """Send a call already, if a worker is idle: then `call` of this very object waits for its reply. Never waits."""
        if self._threaded or call.arrays or not call.staging:
            return False
        with self._lock:
            last = self._idle[-1] if self._idle and not self._cancelled else None
            if last is None or last.root != call.root:
                return False
            self._busy.add(self._idle.pop())
        self._send(last, [(call, request(call))])
        return True

    def begin_behind(self, running: Call, calls: Sequence[Call]) -> int:
        """Send calls to the worker that is busy with `running`, which this very thread has asked for; how many, from the first
        on. It goes on with them by itself, as long as all before returned and printed nothing. They must be asked for in this
        order, each after the reply to the one before."""
        root = running.root
        if self._threaded or any(call.arrays or not call.staging or call.root != root for call in calls):
            return 0
        with self._lock:
            warm = next((one for one in self._busy if one.serves is running), None)
            if warm is None or self._cancelled or not warm.child.tells_printed:
                return 0
        return self._send(warm, [(call, request(call, True)) for call in calls])

    def _send(self, warm: Warm, calls: Sequence[tuple[Call, dict[str, Any]]]) -> int:
        with self._lock:
            for call, message in calls:
                warm.begun.append(call)
                self._begun[id(call)] = (warm, message)
                call.sent = True
        sent = warm.child.begin([message for _, message in calls])
        if sent < len(calls):
            with self._lock:
                for call, _ in calls[sent:]:
                    warm.begun.pop()
                    del self._begun[id(call)]
                    call.sent = False
        return sent

    def hold(self) -> None:
        """Let no worker go on with what was sent behind its running call."""
        with self._lock:
            for warm in self._busy:
                warm.child.hold()

    def cancel(self) -> None:
        """As in Executor. Calls that come later are answered with Died("cancelled") too."""
        with self._lock:
            self._cancelled = True
            busy = list(self._busy)
            for warm in busy:
                warm.cancelled = True
            self._change.notify_all()
        for warm in busy:
            warm.child.kill()

    def close(self) -> None:
        """As in Executor; calls in flight are cancelled."""
        self._closed = True
        self.cancel()
        with self._lock:
            for warm in {id(warm): warm for warm, _ in self._begun.values()}.values():  # nobody came for the replies
                self._busy.discard(warm)
                self._idle.append(warm)
            for call in [one for warm in self._idle for one in warm.begun]:
                call.sent = False
            self._begun.clear()
            while self._busy or self._starting:
                self._change.wait()
            idle, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        _end(idle)
        if self._blocks is not None:
            self._blocks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one call

    def _ask(self, warm: Warm, call: Call, message: dict[str, Any], emit: Emit) -> dict[str, Any] | Died | None:
        """The worker's reply, or None: it may not serve this call, another must. Gives the worker back or ends it."""
        keep = False
        warm.serves = call
        try:
            reply = warm.child.ask(message, emit, call.log, call.timeout, call.lasts)
            if reply["state"] == "unbegun":
                keep = True
                return Died("cancelled", "the run was to begin nothing any more")
            keep = reply["state"] != "stale" and not reply.get("children") and not reply.get("worn")
            if keep:
                warm.known.add((call.module, call.function, call.code))
                keep = bool(warm.begun) or not self._too_big(warm, reply["seconds"])
                if warm.begun and reply["broken"]:
                    keep = warm.child.skip(len(self._take_back(warm)))
            return None if reply["state"] == "stale" else reply
        except Gone as gone:
            if self._blocks is not None:
                self._blocks.bury(warm.child.pid)
            if warm.cancelled:
                return Died("cancelled", "the run was cancelled; the call was ended", gone.died.seconds)
            if not gone.started and warm.child.calls > 1:
                return None  # it had died while it was idle and read nothing of this call
            return gone.died
        except EnvironmentFailure:
            if warm.cancelled:
                return Died("cancelled", "the run was cancelled; the call was ended")
            raise
        finally:
            self._give(warm, keep)

    def _take_back(self, warm: Warm) -> list[Call]:
        """The calls that the worker was sent and did not begin: when they are asked for, they are sent anew."""
        with self._lock:
            calls = list(warm.begun)
            warm.begun.clear()
            for call in calls:
                del self._begun[id(call)]
                call.sent = False
        return calls

    def _reply(self, reply: dict[str, Any] | Died, lent: list[Any]) -> Reply:
        if isinstance(reply, Died):
            return reply
        if reply.get("kept"):
            assert self._blocks is not None
            kept = [block for block in lent if str(block.path) in reply["kept"]]
            self._blocks.forget(kept)
            lent[:] = [block for block in lent if block not in kept]
        seconds = reply["seconds"]
        state = reply["state"]
        if state == "outdated":
            return Outdated()
        if state == "skipped":
            return Skipped(reply["message"], seconds)
        if state == "raised":
            return Raised(reply["kind"], reply["message"], reply["traceback"], seconds, tuple(reply["bases"]))
        text, still = reply.get("tail") or reply.get("text"), reply.get("still") is True
        if text is not None:
            mtime, ctime, size, inode = reply["stat"]
            return Returned(
                decode(text), (), seconds, text=text, stat=(mtime, ctime, size, inode), at=reply["at"], still=still
            )
        holes = []
        arrays = {}
        for trail, codec, path in reply["holes"]:
            if codec == "shm":
                assert self._blocks is not None
                arrays[tuple(trail)] = self._blocks.collect(path, lent)
            else:
                holes.append(Hole(tuple(trail), codec, path))
        return Returned(reply["value"], tuple(holes), seconds, arrays, at=reply["at"], still=still)

    def _lend(self, call: Call, message: dict[str, Any], lent: list[Any]) -> None:
        """Copy the call's arrays into blocks, and offer blocks for the arrays of its result."""
        with self._lock:
            if self._blocks is None:
                self._blocks = Pool()
        for trail, array in call.arrays.items():
            block = self._blocks.fill(array)
            lent.append(block)
            message["holes"].append([list(trail), "shm", block.ticket()])
        if not call.staging:
            offered = self._blocks.offer()
            lent.extend(offered)
            message["blocks"] = {
                "folders": [str(folder) for folder in self._blocks.folders],
                "blanks": [str(block.path) for block in offered],
            }

    # -- the pool

    def _take(self, call: Call) -> Warm | None:
        """A worker for this call, taken out of the pool; starts one if it must; None when cancelled."""
        aside: list[Warm] = []
        with self._lock:
            while True:
                if self._cancelled:
                    return None
                warm = self._choose(call, aside)
                if warm is not None:
                    self._busy.add(warm)
                    break
                if len(self._busy) + self._starting < self.limit:
                    self._starting += 1
                    while self._idle and len(self._idle) + len(self._busy) + self._starting > self.limit:
                        aside.append(self._idle.pop(0))
                    break
                self._change.wait()
        _end(aside)
        return warm if warm is not None else self._start(call.root)

    def _choose(self, call: Call, aside: list[Warm]) -> Warm | None:
        """The idle worker that served this function last, else the one used last; dead ones go to `aside`."""
        recent = monotonic() - 0.1  # one that died just now is noticed when it is written to
        wanted = (call.module, call.function, call.code)
        last = self._idle[-1] if self._idle else None
        if last is not None and last.since >= recent and last.root == call.root and wanted in last.known:
            return self._idle.pop()
        for warm in [warm for warm in self._idle if warm.since < recent and not warm.child.alive()]:
            self._idle.remove(warm)
            aside.append(warm)
        fit = [warm for warm in self._idle if warm.root == call.root]
        best = next((warm for warm in reversed(fit) if wanted in warm.known), fit[-1] if fit else None)
        if best is not None:
            self._idle.remove(best)
        return best

    def _start(self, root: str) -> Warm | None:
        warm = None
        try:
            warm = Warm(Child(self.python, root, self._variables(), self._path, self._log_limit, self._threaded), root)
            if self.limit < processors():
                warm.child.keen = AWAKE
        finally:
            with self._lock:
                self._starting -= 1
                if warm is not None and not self._cancelled:
                    self._busy.add(warm)
                self._change.notify_all()
        if warm is not None and self._cancelled and warm not in self._busy:
            warm.child.kill()
            warm.child.close()
            return None
        return warm

    def _variables(self) -> dict[str, str]:
        variables = {name: str(self.threads) for name in THREAD_VARIABLES}
        variables.update(os.environ)
        variables.update(self._environ)
        return variables

    def _give(self, warm: Warm, keep: bool) -> None:
        if keep and warm.begun and not self._cancelled:
            return  # it is busy with the next one
        with self._lock:
            keep = keep and not self._cancelled
            if keep:
                self._busy.discard(warm)
                warm.since = monotonic()
                self._idle.append(warm)
                self._arm()
                self._change.notify()
        if not keep:
            self._take_back(warm)
            warm.child.kill()
            warm.child.close()
            with self._lock:
                self._busy.discard(warm)
                self._change.notify_all()

    def _too_big(self, warm: Warm, seconds: float) -> bool:
        if self._memory is None or seconds < LOOK_AT_MEMORY:
            return False
        import psutil

        try:
            return bool(psutil.Process(warm.child.pid).memory_info().rss > self._memory)
        except psutil.Error:
            return True

    def _arm(self) -> None:
        """Have `_retire` called when the longest idle worker's time is over. One timer for all: a call pays nothing."""
        if self._timer is None:
            rest = self._idle[0].since + self._idle_seconds - monotonic()
            self._timer = threading.Timer(max(rest, 0.01), self._retire)
            self._timer.daemon = True
            self._timer.start()

    def _retire(self) -> None:
        with self._lock:
            self._timer = None
            limit = monotonic() - self._idle_seconds
            old = [warm for warm in self._idle if warm.since <= limit]
            self._idle = [warm for warm in self._idle if warm.since > limit]
            if self._idle and not self._closed:
                self._arm()
        _end(old)


def _end(workers: Sequence[Warm]) -> None:
    for warm in workers:
        warm.child.dismiss()  # all at once: the end of an interpreter takes some 20 ms
    for warm in workers:
        warm.child.close()


def request(call: Call, behind: bool = False) -> dict[str, Any]:
    """The message of a call, as the worker reads it. behind: it is sent while another one runs."""
    return {
        "module": call.module,
        "function": call.function,
        "root": call.root,
        "inputs": call.inputs,
        "said": call.said,
        "holes": [[list(hole.trail), hole.codec, hole.path] for hole in call.holes],
        "staging": call.staging,
        "result": call.result,
        "code": call.code,
        "seed": call.seed,
        "slots": call.slots,
        "environ": call.environ,
        "blocks": None,
        "behind": behind,
        "files": call.files,
        "tail": call.bequest,
    }
