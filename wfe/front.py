"""Open a run, perform what is not current, close it: what `wfe run`, `wfe watch` and `wfe.run` share.

Knows the door and the scheduler. Prints nothing and does not exit. doit is imported only when a step has to be
performed: a run with nothing to do costs the look at every step and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wfe.core.outcome import Listener
from wfe.door import Door, enter, signals
from wfe.engine.forced import check_forced
from wfe.engine.interrupt import settle
from wfe.engine.project import Project


def perform(
    project: Project,
    workflow: str,
    params: Mapping[str, Any],
    *,
    steps: Sequence[str] = (),
    listeners: Callable[[Project], Sequence[Listener]] = lambda project: (),
    jobs: int = 0,
    forced: frozenset[str] = frozenset(),
    force_all: bool = False,
    keep_going: bool = False,
    inline: bool = False,
    debug: Callable[[BaseException], object] | None = None,
    opened: Callable[[Door], object] = lambda door: None,
    **more: Any,
) -> Door:
    """Run `steps` of a workflow and all that they need (the whole workflow when none are named); the closed door.

    forced: ids of steps to run whatever is stored. force_all: run all of the chosen. keep_going: after a failure go on
    with what does not depend on it. more: what else `enter` takes. opened: hears of the door before anything
    runs. An interrupt (Ctrl-C) ends the run in order: the door's code is then INTERRUPTED. Raises WfeError when the run
    cannot begin.
    """
    door = enter(
        project, workflow, params, listeners=listeners, jobs=jobs, forced=forced, inline=inline, debug=debug, **more
    )
    run = door.run
    try:
        if steps:
            run.choose(steps)
        check_forced(run)
        run.check(force_all)
    except BaseException:
        run.listeners.clear()  # the run did not begin, so it does not end either
        door.close()
        raise
    try:
        opened(door)
        with signals(run):  # from now on an interrupt may come while a lock is held
            run.start()
            if force_all or any(name not in run.marks for name in run.wanted):
                run.sit()  # workers start while doit is imported
                from wfe.schedule.runner import execute

                execute(
                    run,
                    keep_going=keep_going,
                    force=force_all,
                    done=lambda interrupted: _ended(door, interrupted),
                )
        door.close()
    except KeyboardInterrupt:
        settle()
        door.close(True)
    except BaseException:
        door.close(True)
        raise
    return door


def _ended(door: Door, interrupted: bool) -> None:
    door.close(interrupted)
