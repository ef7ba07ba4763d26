"""Which steps must run confined: those whose code holds a generated file that nobody has approved.

Cheap for a project without generated nodes: nothing but this file is loaded then. The engine asks before it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wfe.agent import FIRST
from wfe.errors import EnvironmentFailure

if TYPE_CHECKING:
    from wfe.agent.confined import Confined
    from wfe.agent.spec import Permissions
    from wfe.core.step import Step
    from wfe.engine.executor import Call, Executor


class Guard:
    """Says for a step which executor must serve it; None: the ordinary one. unsafe: never confine. say: hears of it.

    Thread-safe. Raises EnvironmentFailure for an untrusted node where there is no sandbox.
    """

    def __init__(
        self, project: Path, *, unsafe: bool = False, say: Callable[[str], object] = lambda text: None
    ) -> None:
        self.project = project
        self.unsafe = unsafe
        self.say = say
        self._confined: Confined | None = None
        self._cancelled = False
        self._told: set[str] = set()
        self._files: dict[str, tuple[str, ...]] = {}
        self._known: set[tuple[str, str]] = set()  # (function, code) of what a person wrote: looked at once a run

    def __call__(self, step: Step) -> Executor | None:
        if self.unsafe or (step.function, step.code) in self._known:
            return None
        files = untrusted(self.project, step.module_files)
        if not files:
            self._known.add((step.function, step.code))
            return None
        if step.prefix:
            raise EnvironmentFailure(
                f"step {step.id!r} is generated, not approved, and asks for an environment of its own",
                hint=f"read {files[0]} and `wfe approve {Path(files[0]).stem}`",
            )
        self._files[step.id] = files
        if step.function not in self._told:
            self._told.add(step.function)
            name = step.function.rpartition(".")[2]
            self.say(
                f"{step.id}: {files[0]} is generated and not approved; it runs in a sandbox (`wfe approve {name}`)"
            )
        if self._confined is None:
            from wfe.agent.confined import Confined
            from wfe.agent.sandbox import choose

            self._confined = Confined(self.project, choose(), self.permissions)
            if self._cancelled:
                self._confined.cancel()
        return self._confined

    def permissions(self, call: Call) -> Permissions:
        """What the node of a call asks for, where a person granted it."""
        from wfe.agent import approval
        from wfe.agent.author import permissions_of
        from wfe.agent.spec import Permissions

        network: list[str] = []
        read: list[str] = []
        for file in self._files.get(call.step, ()):
            if approval.permitted(self.project, self.project / file):
                asked = permissions_of((self.project / file).read_text(encoding="utf-8"))
                network += asked.network
                read += asked.read
        return Permissions(tuple(network), tuple(read))

    def cancel(self) -> None:
        self._cancelled = True
        if self._confined is not None:
            self._confined.cancel()

    def close(self) -> None:
        if self._confined is not None:
            self._confined.close()


def untrusted(project: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Those of `files` (relative to the project) that wfe generated and nobody has approved as they are."""
    found = []
    for file in files:
        path = project / file
        try:
            with path.open("rb") as stream:
                start = stream.read(len(FIRST))
        except FileNotFoundError:
            continue
        if start == FIRST.encode():
            from wfe.agent import approval

            if not approval.trusted(project, path):
                found.append(file)
    return tuple(found)
