"""Which executor serves which step: the main environment's workers, an isolated environment's, or this process.

Makes an isolated environment when the first step needs it. Does not know results.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from wfe.core.step import Step
from wfe.engine.executor import Call, Executor
from wfe.engine.project import Project
from wfe.engine.workers import Workers
from wfe.errors import EnvironmentFailure

if TYPE_CHECKING:
    from wfe.engine.inline import Inline
    from wfe.env.prefix import Progress


class Ends(Protocol):
    """Something that holds running calls."""

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class Guard(Ends, Protocol):
    """Says which executor must serve a step that the ordinary ones must not; None for all others."""

    def __call__(self, step: Step) -> Executor | None: ...


class Executors:
    """The executors of one run. Thread-safe.

    jobs: how many steps may run at once, hence workers of each environment. inline: call in this process instead, for a
    debugger; `debug` gets the exception before it is reported. say: hears of an environment that is being made, and of
    a timeout that is not kept.
    stopping: ends an installation that is going on.
    guard: says for a step that other executor which must serve it (untrusted code), None for the ordinary one.
    """

    def __init__(
        self,
        project: Project,
        jobs: int = 1,
        *,
        inline: bool = False,
        debug: Callable[[BaseException], object] | None = None,
        say: Callable[[str], object] = lambda message: None,
        guard: Guard | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._stopping = stopping
        self._guard = guard
        self.project = project
        self.jobs = jobs
        self.say = say
        self._inline: Inline | None = None
        self._told = False  # that no timeout is kept
        if inline:
            from wfe.engine.inline import Inline

            self._inline = Inline(debug)
        self._executors: dict[str, Executor] = {}
        self._serving: dict[tuple[str, str], Workers] = {}  # (function, prefix) -> who serves it, and nobody else must
        self._suspected: set[str] = set()  # the prefixes whose files were looked at
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._stack = contextlib.ExitStack()
        self._cancelled = False

    def of(self, step: Step) -> Executor:
        """The executor for a step. Raises EnvironmentFailure when its environment cannot be made."""
        found = self._workers(step)
        if found is not None:
            return found
        other = self._other(step)
        if other is not None:
            if other is self._inline and step.options.timeout is not None and not self._told:
                self._told = True
                self.say("no timeout is kept inline: what runs in this process cannot be ended")
            return other
        with self._lock:
            making = self._making.setdefault(step.prefix, threading.Lock())
        with making:
            there = self._executors.get(step.prefix)
            if there is None:
                there = self._make(step)
                with self._lock:
                    self._executors[step.prefix] = there
                    if self._cancelled:
                        there.cancel()
            return there

    def warm(self, steps: Sequence[Step]) -> None:
        """Start a worker for each of these steps that will run in the main environment. Raises EnvironmentFailure."""
        here = [one for one in steps if not one.prefix and self._other(one) is None]
        if here and isinstance(found := self.of(here[0]), Workers):
            found.warm(str(self.project.root), len(here))

    def begin(self, step: Step, call: Call) -> None:
        """Send a call already, if a worker that may serve it is idle; `call` of its executor then waits for the reply."""
        found = self._workers(step)
        if found is not None:
            found.begin(call)

    def begin_behind(self, running: tuple[Step, Call], calls: Sequence[tuple[Step, Call]]) -> None:
        """Send calls behind one that runs, to its worker, as many of them, from the first on, as it takes. By the thread that
        asked for the running one, which has heard that it was sent."""
        found = self._workers(running[0])
        same = [call for _, call in itertools.takewhile(lambda one: self._workers(one[0]) is found, calls)]
        if found is not None and same:
            found.begin_behind(running[1], same)

    def _workers(self, step: Step) -> Workers | None:
        known = self._serving.get((step.function, step.prefix))
        if known is not None:
            return known
        if self._other(step) is not None:
            return None
        found = self._executors.get(step.prefix)
        if not isinstance(found, Workers):
            return None
        self._serving[step.function, step.prefix] = found
        return found

    def _other(self, step: Step) -> Executor | None:
        """What serves a step instead of warm workers: a confined process, or this one."""
        confined = None if self._guard is None else self._guard(step)
        return self._inline if confined is None and not step.prefix else confined

    def _make(self, step: Step) -> Executor:
        if not step.prefix:
            return Workers(limit=self.jobs)
        from wfe.engine.isolated import LOCK_FILE, environments_of
        from wfe.env.lock import this_platform

        environments = environments_of(self.project, self._tell, self._stopping)
        lock = next((one for one in environments.file.read().locks if one.digest == step.prefix), None)
        if lock is None or lock.platform != this_platform():
            raise EnvironmentFailure(
                f"step {step.id!r}: {LOCK_FILE} has no lock {step.prefix[:8]} for this platform", "run `wfe env lock`"
            )
        prefix = self._stack.enter_context(environments.using(lock))
        return Workers(prefix.python, limit=self.jobs, environ=prefix.environ(os.environ))

    def _tell(self, progress: Progress) -> None:
        if not progress.detail:
            self.say(progress.message)

    def suspect(self, step: Step) -> str:
        """What is wrong with the files of the isolated environment in which a step has just failed, to be looked at once; ""
        for nothing. The next run makes a damaged one anew: other steps may be running in it now."""
        with self._lock:
            if not step.prefix or step.prefix in self._suspected:
                return ""
            self._suspected.add(step.prefix)
        from wfe.engine.isolated import environments_of

        return environments_of(self.project).suspect(step.prefix)

    def hold(self) -> None:
        """Let no worker go on by itself with what was sent behind a running call. Callable from any thread."""
        for one in self._all():
            if isinstance(one, Workers):
                one.hold()

    def interrupted(self) -> bool:
        """As in Inline."""
        return self._inline is not None and self._inline.interrupted()

    def cancel(self) -> None:
        """Kill what runs. Callable from any thread, and from a signal handler's."""
        self._cancelled = True
        for one in self._all():
            one.cancel()

    def close(self) -> None:
        self._cancelled = True  # a thread may still ask for an executor, where the run ended with an error of wfe's own
        for one in self._all():
            one.close()
        self._executors.clear()
        self._serving.clear()
        self._stack.close()

    def _all(self) -> list[Ends]:
        return [*self._executors.values(), *(one for one in (self._inline, self._guard) if one is not None)]
