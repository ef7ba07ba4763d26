"""The executor of untrusted nodes: each call in a worker process of its own, in the sandbox.

Knows how to start the ordinary worker confined and what one call must be able to read. Does not know why a node is
untrusted. One call a process: a call that is not trusted must not wait in memory for the next one's inputs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wfe.agent.sandbox import Limits, Policy, Sandbox, end
from wfe.agent.spec import Permissions
from wfe.agent.staged import Bounds, clear, odd_file, watched
from wfe.agent.wary import Wary
from wfe.engine.child import BOOT, Child
from wfe.engine.executor import Call, Died, Emit, Raised, Reply, Returned
from wfe.engine.hole import Hole
from wfe.engine.tree import MARK, Tree
from wfe.engine.workers import THREAD_VARIABLES, Warm, Workers
from wfe.errors import EnvironmentFailure

Wrap = Callable[[Sequence[str], Sequence[int]], list[str]]


class ConfinedChild(Child):
    """A worker that is started by another command line. `wrap(argv, descriptors)` makes it."""

    def __init__(self, wrap: Wrap, python: str, cwd: str, outputs: Collection[str] = ()) -> None:
        self._wrap = wrap
        super().__init__(python, cwd, {})
        self.channel = Wary(self.channel.reader, self.channel.writer, Path(cwd), outputs)

    def _start(
        self, python: str, cwd: str, environ: Mapping[str, str], folders: Sequence[str], ends: list[int]
    ) -> None:
        mark = uuid.uuid4().hex
        argv = [python, "-I", "-X", "utf8", str(BOOT), *map(str, ends), *folders]
        try:
            self.process = subprocess.Popen(
                self._wrap(argv, ends),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env={MARK: mark},
                pass_fds=ends,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentFailure(f"the sandbox cannot be started: {error}", hint="`wfe doctor`") from error
        self.tree = _Sealed(self.process, mark)


class _Sealed(Tree):
    """A sandbox and what runs in it: after `kill` nothing of it can write any more."""

    def _kill(self) -> None:
        end(self.process)
        super()._kill()


class _Once(Workers):
    """A pool of one confined worker for one call."""

    def __init__(self, wrap: Wrap, cwd: str, outputs: Collection[str], bounds: Bounds) -> None:
        super().__init__(limit=1)
        self._wrap = wrap
        self._folder = cwd
        self._outputs = outputs
        self._bounds = bounds
        self._watches = contextlib.ExitStack()
        self.beyond: list[str] = []

    def _start(self, root: str) -> Warm | None:
        try:
            child = ConfinedChild(self._wrap, self.python, self._folder, self._outputs)
            warm = Warm(child, root)
            self.beyond = self._watches.enter_context(watched(child.pid, Path(self._folder), self._bounds, child.kill))
        except BaseException:
            with self._change:
                self._starting -= 1
            raise
        with self._change:
            self._starting -= 1
            self._busy.add(warm)
            cancelled = self._cancelled
        if cancelled:
            warm.child.kill()
        return warm

    def close(self) -> None:
        """As in Executor."""
        super().close()
        self._watches.close()


class Confined:
    """Calls untrusted node functions. Thread-safe. permissions(call): what a person granted to the call's node."""

    def __init__(
        self,
        project: Path,
        sandbox: Sandbox,
        permissions: Callable[[Call], Permissions],
        limits: Limits | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.project = project
        self.sandbox = sandbox
        self.permissions = permissions
        self.limits = limits or Limits()
        self.bounds = bounds or Bounds()
        self._running: set[_Once] = set()
        self._lock = threading.Lock()
        self._cancelled = False

    def call(self, call: Call, emit: Emit) -> Reply:
        """As in Executor. Raises EnvironmentFailure when the sandbox cannot hold what was granted."""
        granted = self.permissions(call)
        with contextlib.ExitStack() as stack:
            staging = call.staging or stack.enter_context(tempfile.TemporaryDirectory(prefix="wfe-"))
            door = None
            if granted.network:
                if not self.sandbox.holds_hosts:
                    raise EnvironmentFailure(
                        f"step {call.step!r} needs {granted}, which Landlock cannot hold to its hosts",
                        hint="install bubblewrap, or read the code and `wfe approve` the node",
                    )
                from wfe.agent.gateway import gateway

                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wfe-door-")))
                door = stack.enter_context(gateway(granted.network, folder))
            if call.arrays:
                call = _on_disk(call, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wfe-arrays-"))))
            in_memory = not call.staging
            call = replace(call, staging=staging, result="", bequest="")
            policy = self.policy(call, staging, granted, door)

            def wrap(argv: Sequence[str], descriptors: Sequence[int]) -> list[str]:
                return self.sandbox.command(argv, replace(policy, descriptors=tuple(descriptors)))

            outputs = {hole.path for hole in call.holes if hole.codec == "output"}
            once = _Once(wrap, staging, outputs, self.bounds)
            with self._lock:
                if self._cancelled:
                    return Died("cancelled", "the run was cancelled before the call began")
                self._running.add(once)
            reply: Reply | None = None
            try:
                reply = once.call(call, emit)
            finally:
                with self._lock:
                    self._running.discard(once)
                once.close()
                # Only now nobody is left who could put another link in the place of a file that was looked at.
                reply = self._looked_at(reply, Path(staging), once.beyond)
            assert reply is not None
            return _in_memory(reply) if in_memory and isinstance(reply, Returned) else reply

    def _looked_at(self, reply: Reply | None, staging: Path, beyond: Sequence[str]) -> Reply | None:
        """The reply, or what is wrong with what the node left. What is not taken over is not left for the next call."""
        odd = beyond[0] if beyond else odd_file(staging, self.bounds)
        if not odd and isinstance(reply, Returned):
            odd = next((found for hole in reply.holes if hole.codec == "npy" and (found := _bad_array(hole.path))), "")
        if odd or reply is None:
            clear(staging)
        return Raised("output", odd, seconds=reply.seconds) if odd and reply is not None else reply

    def policy(self, call: Call, staging: str, granted: Permissions, door: Path | None) -> Policy:
        """What this call may reach: its own inputs and staging directory, and the sources of nodes."""
        root = Path(call.root)
        # A copy in the catalogue's own words would be narrower still, but a node may import any module under nodes/.
        readable = [root / "nodes", *(Path(hole.path) for hole in call.holes if hole.codec != "output")]
        readable += [self.project / path for path in granted.read]
        threads = {name: os.environ.get(name, "1") for name in THREAD_VARIABLES}
        return Policy(
            writable=(Path(staging),),
            readable=tuple(readable),
            listable=(root,),
            gateway=door,
            limits=self.limits,
            environ={**threads, **call.environ},
        )

    def cancel(self) -> None:
        """As in Executor."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for once in running:
            once.cancel()

    def close(self) -> None:
        """As in Executor: there is nothing warm to end."""
        self.cancel()


def _on_disk(call: Call, folder: Path) -> Call:
    """The call with its arrays as files: shared memory would be a door between the engine and untrusted code."""
    import numpy

    holes = list(call.holes)
    for number, (trail, array) in enumerate(call.arrays.items()):
        path = folder / f"{number}.npy"
        numpy.save(path, array, allow_pickle=False)
        holes.append(Hole(tuple(trail), "npy", str(path)))
    return replace(call, holes=tuple(holes), arrays={})


def _bad_array(path: str) -> str:
    """Why a file is no array that the engine may read the header of and a step may map, "" when it is one."""
    from numpy.lib import format

    try:
        format.open_memmap(path, mode="r")  # no object arrays, no header of megabytes, as long as it says
    except (OSError, ValueError, SyntaxError, OverflowError, TypeError, RecursionError, MemoryError) as error:
        return f"it left the array {Path(path).name!r}, which cannot be read: {error}"
    return ""


def _in_memory(reply: Returned) -> Returned:
    """The reply with its arrays read, for a caller that named no staging directory."""
    import numpy

    arrays = {hole.trail: numpy.load(hole.path, allow_pickle=False) for hole in reply.holes if hole.codec == "npy"}
    for array in arrays.values():
        array.flags.writeable = False
    return reply._replace(holes=tuple(hole for hole in reply.holes if hole.codec != "npy"), arrays=arrays)
