"""`wfe watch`: run again whenever a file changes that the workflow reads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wfe.cli import here
from wfe.errors import ExitCode, WfeError

if TYPE_CHECKING:
    from wfe.door import Door
    from wfe.engine.project import Project


def watch(
    workflow: here.WorkflowName,
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP", help="Only these and what they need.", autocompletion=here.step_names, show_default=False
        ),
    ] = None,
    sets: here.Sets = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-n", min=0, metavar="N", help="Steps at once.", show_default=False)
    ] = 0,
    debounce: Annotated[
        int, typer.Option("--debounce", min=0, metavar="MS", help="How long files must be still before a run.")
    ] = 200,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the steps print, too.")] = False,
) -> None:
    """Run a workflow, and again whenever a file changes that it reads: its document, its nodes, its input files. A run
    that a change makes stale is ended first. Ctrl-C ends it all: what runs gets five seconds, at the second none. A step or a
    parameter that the workflow does not have ends it at once.

    \b
    wfe watch detect
    wfe watch detect draw -n 4
    """
    import watchfiles

    from wfe.door import heeding

    where, given = here.project(), here.settings(sets or ())
    where.find(workflow)
    loop = Loop(where, workflow, {"given": given, "steps": tuple(steps or ()), "jobs": jobs, "verbose": verbose})
    with heeding(loop.stopping, loop.stop, loop.finish):
        loop.begin()
        try:
            # Directories are watched, not files: an editor that saves by renaming would take a watched file away.
            for changes in watchfiles.watch(
                *loop.folders(), watch_filter=None, debounce=debounce, step=50, stop_event=loop.stopping
            ):
                touched = sorted({Path(path) for _, path in changes})
                if any(loop.concerns(path) for path in touched):
                    loop.stop()
                    loop.wait()
                    if loop.stopping.is_set():
                        break
                    typer.echo(f"\n{_named(where, [path for path in touched if loop.concerns(path)])} changed")
                    loop.begin()
        except BaseException:
            loop.stop()
            raise
        finally:
            loop.wait()
    raise typer.Exit(loop.code)


def _named(where: Project, paths: list[Path]) -> str:
    names = [where.shown(path) for path in paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Loop:
    """One run after the other, each in a thread of its own. stopping: set when there is to be no other. code: with which the
    whole ends.

    Knows which files the last run read. A run that could not begin (the document is wrong) read them all, as far as is
    known: any change under workflows/ and nodes/ begins the next.
    """

    def __init__(self, where: Project, workflow: str, options: dict[str, Any]) -> None:
        self.where = where
        self.workflow = workflow
        self.options = options
        self.document = where.find(workflow).resolve()
        self.stopping = threading.Event()
        self.code: int = ExitCode.INTERRUPTED  # only a person ends it, or a slip of his
        self._begun = False  # whether any run could begin
        self._door: Door | None = None
        self._stale = False  # whether the run that goes on is to end
        self._thread = threading.Thread()
        self._read: set[Path] | None = None
        self._written: set[Path] = set()
        self._lock = threading.Lock()

    def folders(self) -> list[Path]:
        """The directories to watch."""
        return [self.where.root]

    def concerns(self, path: Path) -> bool:
        """Whether a change of the file may change what the workflow gives."""
        path = path.resolve()
        if path.is_relative_to(self.where.cache) or "__pycache__" in path.parts or path.name.startswith("."):
            return False
        if path == self.document:
            return True
        with self._lock:
            read, written = self._read, self._written
        if path in written:
            return False
        if read is None:
            return path.is_relative_to(self.where.workflows) or path.is_relative_to(self.where.root / "nodes")
        return path in read or any(path.is_relative_to(one) for one in read if one.is_dir())

    def begin(self) -> None:
        """Start a run."""
        self._stale = False
        self._thread = threading.Thread(target=self._run, name="wfe-watch", daemon=True)
        self._thread.start()

    def finish(self) -> bool:
        """Let the run that goes on begin no further step. Whether there is one. Callable from any thread."""
        with self._lock:
            self._stale = True
            door = self._door
        if door is not None:
            door.run.stopping.set()
        return door is not None

    def stop(self) -> None:
        """End the run that goes on, now. Callable from any thread."""
        with self._lock:
            self._stale = True
            door = self._door
        if door is not None:
            door.run.stop()

    def wait(self) -> None:
        """Wait for the end of the run that goes on."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # a signal that another thread got does not wake this one

    def _run(self) -> None:
        from wfe.cli.ending import guarded
        from wfe.cli.run import perform

        options = dict(self.options)
        given = options.pop("given")
        with self._lock:
            self._read = None
        begun = time.monotonic()

        def go() -> int:
            return perform(
                self.where, self.workflow, given, opened=self._opened, keep_going=True, mode="plain", **options
            )

        code = guarded(go)
        with self._lock:
            self._door = None
        if self.stopping.is_set():
            return
        if code == ExitCode.WORKFLOW:
            if not self._begun and self._slipped(given, options["steps"]):
                self.code = code
                self.stopping.set()
                return
            typer.echo(f"not run; waiting for a change ({time.strftime('%H:%M:%S')})")
        else:
            typer.echo(f"waiting for a change ({time.strftime('%H:%M:%S')}, {time.monotonic() - begun:.1f} s)")

    def _slipped(self, given: Mapping[str, str], steps: Sequence[str]) -> bool:
        """Whether a parameter or a step that was typed is wrong: to wait for a change would be to wait for ever. Asked until a
        run could begin; after that it is the document that was changed, and may be changed back."""
        from wfe.core.params import taken

        with here.planned(self.where, self.workflow, given) as run:
            if run is not None:
                return any(name.partition("[")[0] not in run.steps for name in steps)
        try:
            _, problems = taken(here.parsed(self.where, self.workflow), given)
        except (WfeError, OSError):
            return False  # nobody can say yet
        return bool(problems)

    def _opened(self, door: Door) -> None:
        self._begun = True
        run = door.run
        read: set[Path] = {self.document}
        written: set[Path] = set()
        for name in run.index.ids:
            step = run.steps[name]
            read.update(self._paths(step.files()))
            written.update(self._paths(step.targets().values()))
        read.update(self._paths(path for path, *_ in run.index.sources))
        with self._lock:
            self._read = read - written
            self._written = written
            self._door = door
            if self._stale or self.stopping.is_set():
                run.stopping.set()

    def _paths(self, names: Iterable[str]) -> set[Path]:
        return {(self.where.root / name).resolve() for name in names if isinstance(name, str | os.PathLike)}
