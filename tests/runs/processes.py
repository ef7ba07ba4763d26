"""Runs in processes of their own, watched from outside: who is alive, what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from space import Space, environ

from wfe.wire.home import PREFIX, memory

FRONTS = {
    "doit": ["-m", "doit", "run", "workflow=w"],
    "wfe": ["-m", "wfe", "run", "w", "--plain"],
}
COMMANDS = {**FRONTS, "watch": ["-m", "wfe", "watch", "w"]}

WAITS = """
import os
@workflow_node(outputs={"n": int})
def quick(n: int = 0):
    return {"n": n}

@workflow_node(outputs={"n": int})
def waits(door: str, n: int = 0):
    # Opening a FIFO blocks until the other side is opened too: the test knows that the step runs, and nobody sleeps.
    with open(door, "w") as out:
        out.write("in")
    with open(door + ".go") as go:
        go.read()
    return {"n": n}

@workflow_node(outputs={"n": int})
def late(n: int):
    return {"n": n}
"""


_COUNT = """
import os
def count(name):
    number = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, f"{name}\\n".encode())
    os.close(number)
"""


def counting(space: Space, nodes: str) -> None:
    """Write nodes that may call `count(name)`, which adds a line to the file `log` of the project."""
    space.nodes(_COUNT.replace("LOG", repr(str(space.root / "log"))) + nodes)


def called(space: Space) -> list[str]:
    """The steps whose functions were called since this was asked last, in this order."""
    found = so_far(space)
    (space.root / "log").unlink(missing_ok=True)
    return found


def so_far(space: Space) -> list[str]:
    log = space.root / "log"
    return log.read_text().split() if log.exists() else []


class Running:
    """A started run. `mark` is in the environment of all its processes."""

    def __init__(self, space: Space, front: str, *arguments: str) -> None:
        self.space = space
        self.mark = f"RUNS_TEST_MARK={uuid.uuid4().hex}"
        self.said = ""
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, *COMMANDS[front], *arguments],
            cwd=space.root,
            env=environ(**{name: value}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, start: str) -> None:
        """Read what it says up to a line that begins so."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            self.said += line
            if line.startswith(start):
                return
        raise AssertionError(f"it never said {start!r}: {self.said}")

    def end(self) -> tuple[int, str]:
        """Wait for it: (exit code, all that it said)."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait(120), self.said

    def alive(self) -> list[int]:
        """The processes of the run that are alive now (Linux)."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    variables = (folder / "environ").read_bytes()
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if self.mark.encode() in variables.split(b"\0") and state != "Z":
                    found.append(int(folder.name))
        return found

    def gone(self) -> None:
        """Wait until no process of the run is alive; a child that is being killed needs a moment."""
        from time import monotonic

        end = monotonic() + 60
        while self.alive():
            assert monotonic() < end, f"left behind: {self.alive()}"


def memory_of(number: int) -> list[str]:
    """The folders of shared memory that the process left."""
    return [one.name for one in Path(memory()).glob(f"{PREFIX}*") if f"{number}" in one.name]


@contextmanager
def door(space: Space, name: str = "door") -> Iterator[Path]:
    """Two FIFOs for the node `waits`."""
    path = space.root / name
    os.mkfifo(path)
    os.mkfifo(f"{path}.go")
    yield path


def entered(path: Path) -> None:
    """Wait until the step stands at the door."""
    assert path.read_text() == "in"


def go(path: Path) -> None:
    """Let it go on."""
    Path(f"{path}.go").write_text("go")


def staging(space: Space) -> list[str]:
    folder = space.cache / "staging"
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
