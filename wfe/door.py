"""Begin a run and end it, the same for every door: `doit run`, `wfe run` and `wfe.run` in Python.

Joins project, workspace, executors and listeners. Does not schedule and does not exit.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wfe.core.outcome import Listener
from wfe.core.plan import Plan
from wfe.engine.prepare import prepare
from wfe.engine.project import Project
from wfe.engine.run import Run
from wfe.engine.workspace import Workspace
from wfe.errors import ExitCode, WfeError, nearest

if TYPE_CHECKING:
    from wfe.engine.executors import Executors

GRACE: Final = 5.0  # seconds that running steps get after the first Ctrl-C
# Steps at once. Each has a thread that waits for it, all of which begin with the run: 5,000 took five seconds, and 100,000 are
# refused by the system after a minute.
MOST: Final = 500


@dataclass
class Door:
    """An open run: `close` ends it, whatever happened, and says the exit code."""

    run: Run
    workspace: Workspace
    listeners: Sequence[Listener]
    closed: bool = False
    code: ExitCode = ExitCode.OK
    counts: Mapping[str, int] | None = None

    def close(self, interrupted: bool = False) -> ExitCode:
        """End the run: its workers, its listeners, its state. Idempotent."""
        if self.closed:
            return self.code
        self.closed = True
        interrupted = interrupted or self.run.stopping.is_set()
        if interrupted:
            self.code = ExitCode.INTERRUPTED  # also if what follows does not come to its end
            self.run.stop()
        try:
            self.run.close()
            self.counts = self.run.finish(interrupted)
            for listener in self.listeners:
                with contextlib.suppress(BrokenPipeError):
                    getattr(listener, "close", lambda: None)()
            self.code = self._code(interrupted)
        finally:  # whatever a listener raises, the next run of this process wants the database
            try:
                self.workspace.close()
            except WfeError as error:
                sys.stderr.write(f"{error}\n")
                self.code = self.code or error.code
        for bug in self.run.bugs:
            sys.stderr.write(f"{bug}\nBUG: this is an error in wfe itself; please report it\n")
        return self.code

    def _code(self, interrupted: bool) -> ExitCode:
        if interrupted:
            return ExitCode.INTERRUPTED
        if self.run.bugs:
            return ExitCode.BUG
        failures = [outcome.failure.kind for outcome in self.run.outcomes.values() if outcome.failure is not None]
        if any(kind != "environment" for kind in failures):
            return ExitCode.FAILED
        if failures:
            return ExitCode.ENVIRONMENT
        assert self.counts is not None
        return ExitCode.FAILED if self.counts["blocked"] or self.counts["cancelled"] else ExitCode.OK


def enter(
    project: Project,
    workflow: str,
    params: Mapping[str, Any],
    *,
    listeners: Callable[[Project], Sequence[Listener]] = lambda project: (),
    jobs: int = 0,
    forced: frozenset[str] = frozenset(),
    inline: bool = False,
    debug: Callable[[BaseException], object] | None = None,
    unsafe: bool = False,
    pools: Mapping[str, float | str] | None = None,
) -> Door:
    """Open a run and look at every step; nothing is executed yet.

    jobs: how many steps at once; 0 takes the document's `max_parallel_nodes`, or 1; never more than MOST. unsafe (or
    WFE_UNSAFE in the environment): generated nodes that nobody approved run with the user's own rights. pools: their sizes,
    over the document's. Raises WfeError.
    """
    workspace = Workspace(project)
    try:
        index = prepare(project, workspace.state, workflow, params)
        if pools:
            _known(pools, index.plan)
        most = index.plan.max_parallel
        if not isinstance(jobs, int) or jobs < 0:
            raise WfeError(f"{jobs!r} steps at once are not possible", "say a number from 1 on", ExitCode.USAGE)
        count = 1 if inline else min(jobs or most or 1, most or MOST, MOST)
        heard = listeners(project)

        def executors() -> Executors:
            from wfe.agent.guard import Guard
            from wfe.engine.executors import Executors

            workspace.reap()
            guard = Guard(project.root, unsafe=unsafe or bool(os.environ.get("WFE_UNSAFE")), say=run.note)
            return Executors(
                project, count, inline=inline, debug=debug, say=run.note, guard=guard, stopping=run.stopping
            )

        run = Run(workspace, index, executors, heard, jobs=count, forced=forced, pools=pools)
        run.open()
    except BaseException:
        workspace.close()
        raise
    return Door(run, workspace, heard)


def _known(pools: Mapping[str, object], plan: Plan) -> None:
    """Raises WfeError for a pool that nothing takes from: a size that is given for nothing is a slip."""
    known = {*plan.pools, *(pool for step in plan.steps.values() for pool, _ in step.options.resources)}
    for name in pools:
        if name not in known:
            hint = nearest(name, sorted(known)) if known else "a step takes from one by its `resources`"
            raise WfeError(f"no step takes from a pool {name!r}", hint, ExitCode.USAGE)


def signals(run: Run) -> contextlib.AbstractContextManager[None]:
    """While open, the first Ctrl-C or SIGTERM lets no further step begin and gives those that run GRACE seconds; the
    second kills them at once. What is done is kept either way. In the main thread only: elsewhere no handler can be set.
    """
    return heeding(run.stopping, run.stop, run.hold, run.interrupted)


@contextlib.contextmanager
def heeding(
    stopping: threading.Event,
    stop: Callable[[], object],
    passed_on: Callable[[], bool] = lambda: True,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """As `signals`, for more than one run: the first sets `stopping`, the second calls `stop`, and so do GRACE seconds.

    passed_on: called after the first, from a thread of its own; whether there is something that may finish. interrupted: whether
    a signal is not the user's but `stop`'s, to end what the main thread is doing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler runs between two instructions of the main thread, which may hold any lock just then: also that of the
    # event, of the starting of threads, or of a listener. To put something on this queue is all that is safe there.
    asked: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def heed() -> None:
        timer = threading.Timer(GRACE, stop)
        timer.daemon = True
        while asked.get():
            if stopping.is_set():
                stop()
                continue
            stopping.set()
            if passed_on():
                timer.start()
                _say(f"\nstopping: what runs has {GRACE:g} s to finish (Ctrl-C again ends it now)\n")
        timer.cancel()

    watcher = threading.Thread(target=heed, name="wfe-signals", daemon=True)
    watcher.start()

    def handle(*_: object) -> None:
        if interrupted():
            raise KeyboardInterrupt
        asked.put(True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(False)
        if not sys.is_finalizing():  # then no other thread runs any more: `doit` has no earlier moment for this
            watcher.join()


def _say(text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # nobody is there to read it
            sys.stderr.write(text)
            sys.stderr.flush()


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """While open, SIGTERM raises KeyboardInterrupt as Ctrl-C does: for what goes on before a run has begun."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
