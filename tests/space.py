"""A project in a temporary folder that is run for real: what the tests of the engine stand on.

`space.run()` goes through the door and doit's runner in this process and calls nodes in it too (60 ms a run at most);
`space.doit(...)` is the command line in a process of its own, workers included. Both take the same project and the same
cache, so a test may mix them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wfe.core.outcome import Event, Outcome, StepState
from wfe.core.result import Result
from wfe.door import enter
from wfe.engine.project import Project
from wfe.engine.run import Run
from wfe.errors import ExitCode
from wfe.schedule.runner import execute

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = "from pathlib import Path\nfrom typing import Any\nfrom wfe import Output, Skip, workflow_node\n"
DODO = "from wfe.dodo import open_project\nDOIT_CONFIG, task_workflow = open_project(__file__)\n"


def environ(**more: str) -> dict[str, str]:
    """The variables for a child: the repository on its path, nothing of wfe's own from whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WFE_", "PYTHONPATH"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **more}


@dataclass
class Ended:
    """A run in this process that is over."""

    outcomes: Mapping[str, Outcome]
    code: ExitCode
    values: Mapping[str, Any]
    artifacts: Mapping[str, tuple[Any, ...]]
    events: Sequence[Event] = field(default_factory=list)

    def of(self, state: StepState) -> set[str]:
        return {name for name, outcome in self.outcomes.items() if outcome.state is state}

    def failure(self, step: str) -> str:
        """The message of a step's failure."""
        found = self.outcomes[step].failure
        assert found is not None, f"{step} did not fail: {self.outcomes[step]}"
        return found.message

    def why(self, step: str) -> str:
        """The reasons for what became of a step, as shown."""
        return "; ".join(map(str, self.outcomes[step].reasons))


class Listen:
    """A listener that keeps every event."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def hear(self, event: Event) -> None:
        self.heard.append(event)

    def rest(self) -> None:
        """As one of wfe's own: nothing need be written before it hears of a step."""


class Space:
    """A project under `root`, its last run, and assertions about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.last: Ended | None = None
        for folder in ("nodes", "workflows"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "dodo.py").write_text(DODO)

    # --- writing

    def file(self, path: str, content: str | bytes = "") -> Path:
        """Write a file of the project; its folder is made."""
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content if isinstance(content, bytes) else content.encode())
        return where

    def nodes(self, text: str, name: str = "n", header: str = HEADER) -> Path:
        """Write nodes/NAME.py; `text` is dedented and has wfe's names imported above it."""
        return self.file(f"nodes/{name}.py", header + textwrap.dedent(text))

    def workflow(self, nodes: Iterable[Mapping[str, Any]], name: str = "w", **head: Any) -> Path:
        """Write workflows/NAME.json; a node without `function` runs `n.ID`."""
        entries = [
            dict(node) if "function" in node or "include" in node else {"function": f"n.{node['id']}", **node}
            for node in nodes
        ]
        return self.file(f"workflows/{name}.json", json.dumps({"workflow": head, "nodes": entries}, indent=2))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text in a file; it must be there."""
        where = self.root / path
        text = where.read_text()
        assert old in text, f"{path} has no {old!r}"
        where.write_text(text.replace(old, new))

    # --- running

    def run(
        self,
        name: str = "w",
        *chosen: str,
        jobs: int = 0,
        keep_going: bool = True,
        force: bool = False,
        forced: Iterable[str] = (),
        inline: bool = True,
        change: Callable[[Run], object] | None = None,
        **params: Any,
    ) -> Ended:
        """Run a workflow in this process. `change(run)` is called when every step was looked at, before the first runs."""
        listen = Listen()
        door = enter(
            Project.at(self.root),
            name,
            params,
            listeners=lambda project: [listen],
            jobs=jobs,
            forced=frozenset(forced),
            inline=inline,
        )
        values: dict[str, Any] = {}
        artifacts: dict[str, tuple[Any, ...]] = {}
        code = ExitCode.OK
        try:
            if change is not None:
                change(door.run)
            door.run.start()

            def done(interrupted: bool) -> None:
                nonlocal code
                known = [one for name in door.run.index.ids for one in door.run.members.get(name, [name])]
                for step in known:
                    if step in door.run.marks and door.run.step(step).fan is None:
                        result = door.run.result(step)
                        values[step] = None if result is None else whole(door.run, result)
                        artifacts[step] = () if result is None else result.artifacts
                code = door.close(interrupted)

            if chosen:
                door.run.choose(chosen)
            execute(door.run, keep_going=keep_going, force=force, done=done)
        finally:
            door.close()
        self.last = Ended(dict(door.run.outcomes), code, values, artifacts, listen.heard)
        return self.last

    def doit(
        self, *arguments: str, code: int | None = 0, input: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`doit ARGUMENTS` in the project, in a process of its own. `code`: the exit code that is expected."""
        return self._command("doit", arguments, code, input, variables)

    def wfe(self, *arguments: str, code: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """The same of `wfe ARGUMENTS`."""
        return self._command("wfe", arguments, code, None, variables)

    def _command(
        self, name: str, arguments: tuple[str, ...], code: int | None, input: str | None, variables: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            [sys.executable, "-m", name, *arguments],
            cwd=self.root,
            env=environ(**variables),
            capture_output=True,
            text=True,
            input=input,
            timeout=120,
        )
        assert code is None or found.returncode == code, (
            f"{name} {' '.join(arguments)}: exit code {found.returncode}, not {code}\n{found.stdout}\n{found.stderr}"
        )
        assert "Traceback (most recent call last)" not in found.stderr or code not in (0, 2, 3), found.stderr
        return found

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """The same, not waited for; in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "doit", *arguments],
            cwd=self.root,
            env=environ(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    # --- asserting

    def _are(self, state: StepState, names: Iterable[str]) -> None:
        assert self.last is not None, "nothing was run yet"
        found = self.last.of(state)
        assert found == set(names), "\n".join(
            [
                f"{state.value}: {sorted(found)}, not {sorted(names)}",
                *(
                    f"  {name}: {one.state.value} {'; '.join(map(str, one.reasons))} "
                    f"{one.failure.message if one.failure else one.skip}"
                    for name, one in self.last.outcomes.items()
                ),
            ]
        )

    def ran(self, *names: str) -> None:
        """Exactly these steps ran in the last run."""
        self._are(StepState.RAN, names)

    def restored(self, *names: str) -> None:
        self._are(StepState.RESTORED, names)

    def current(self, *names: str) -> None:
        self._are(StepState.CURRENT, names)

    def failed(self, *names: str) -> None:
        self._are(StepState.FAILED, names)

    def blocked(self, *names: str) -> None:
        self._are(StepState.BLOCKED, names)

    def skipped(self, *names: str) -> None:
        self._are(StepState.SKIPPED, names)

    def nothing_ran(self) -> None:
        """No function was called, nothing had to be restored, nothing failed."""
        assert self.last is not None
        for state in (StepState.RAN, StepState.RESTORED, StepState.FAILED, StepState.BLOCKED, StepState.CANCELLED):
            self._are(state, ())
        assert self.last.code is ExitCode.OK

    def value(self, step: str) -> Any:
        """What a step gave in the last run, arrays and files in their places."""
        assert self.last is not None
        return self.last.values[step]

    # --- the cache

    @property
    def cache(self) -> Path:
        return Path(os.environ.get("WFE_CACHE") or self.root / "cache")

    def blobs(self) -> list[Path]:
        return sorted(path for path in (self.cache / "blobs").rglob("*") if path.is_file())

    def result_file(self, step: str, workflow: str = "w") -> Path:
        return self.cache / "steps" / workflow / f"{step}.json"


def whole(run: Run, result: Result) -> Any:
    """A result with what JSON cannot hold put in its places: an array as lists, a file as its bytes' text."""
    value = result.value
    for one in result.artifacts:
        content: Any
        path = run.workspace.blobs.path(one.digest)
        if one.codec == "npy":
            import numpy as np

            array = np.load(path)
            content = ["array", str(array.dtype), array.tolist()]
        else:
            content = [one.codec, Path(path).read_bytes().decode("latin1")]
        value = _put(value, one.trail, content)
    return value


def _put(value: Any, trail: tuple[Any, ...], content: Any) -> Any:
    if not trail:
        return content
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[trail[0]] = _put(copy[trail[0]], trail[1:], content)
    return copy
