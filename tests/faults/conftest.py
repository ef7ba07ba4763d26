"""A small project that has run, whose state can be damaged and must then do no worse than run again."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from space import Space

from wfe.core.outcome import Note, StepState
from wfe.errors import ExitCode
from wfe.wire.home import memory

NODES = """
@workflow_node()
def load(path: Path):
    return {"text": path.read_text()}

@workflow_node()
def shout(text: str, mark: str = "!"):
    return {"loud": text.upper() + mark}

@workflow_node()
def ramp(text: str):
    import numpy
    return {"array": numpy.arange(len(text) * 10.0)}

@workflow_node()
def write(loud: str, to: Output):
    to.write_text(loud)

@workflow_node()
def long(text: str):
    return {"lines": [text * 10] * 9_000}

@workflow_node()
def last(array: Any, lines: list, text: str = "nothing"):
    return {"sum": float(array.sum()), "lines": len(lines), "text": text}
"""
STEPS = ("load", "shout", "ramp", "write", "long", "last")


class Damaged:
    """A finished project: `attempt` damages its cache, runs, and asserts that all is as it was."""

    def __init__(self, space: Space) -> None:
        self.space = space
        space.nodes(NODES)
        space.file("in.txt", "abc")
        space.workflow(
            [
                {"id": "load", "inputs": {"path": "in.txt"}},
                {"id": "shout", "inputs": {"text": "$load.text"}},
                {"id": "ramp", "inputs": {"text": "$load.text"}},
                {"id": "write", "inputs": {"loud": "$shout.loud", "to": "out/a.txt"}},
                {"id": "long", "inputs": {"text": "$load.text"}},
                # `text` is injected: an output that seems to be missing would be left out, and the default taken.
                {"id": "last", "depends_on": ["load", "long", "ramp"]},
            ]
        )
        space.run()
        space.ran(*STEPS)
        space.run()
        assert space.last is not None
        self.want = dict(space.last.values)
        assert self.want["last"] == {"sum": 435.0, "lines": 9_000, "text": "abc"}
        self.keep = space.root.with_name("kept")
        shutil.copytree(space.root, self.keep, copy_function=shutil.copy2)

    @property
    def db(self) -> Path:
        return self.space.cache / "state.db"

    def fresh_state(self) -> None:
        """Put the database back as it was; the rest of the cache stays."""
        self.put_state((self.keep / "cache/state.db").read_bytes())

    def put_state(self, content: bytes) -> None:
        for file in self.space.cache.glob("state.db*"):
            file.unlink()
        self.db.write_bytes(content)

    def tighten(self) -> None:
        """Make the database small: pages of 512 bytes instead of 8192, most of which were empty."""
        db = sqlite3.connect(self.db)
        db.executescript("PRAGMA journal_mode=DELETE; PRAGMA page_size=512; VACUUM;")
        db.close()
        shutil.copy2(self.db, self.keep / "cache/state.db")

    def attempt(self, what: Any, damage: Callable[[], object]) -> set[str]:
        """Damage something, run: everything has its right value. Returns the steps that ran. A later run finds all
        current: the damage was mended."""
        damage()
        space = self.space
        try:
            ended = space.run()
        except BaseException as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        assert ended.code is ExitCode.OK, f"{what}: {ended}"
        assert ended.values == self.want, f"{what}"
        assert (space.root / "out/a.txt").read_text() == "ABC!", what
        notes = [event.message for event in ended.events if isinstance(event, Note)]
        if ended.of(StepState.CURRENT) != set(STEPS) or notes:
            # Damage that is met in the middle of a commit loses that commit: then the run after it does the step again.
            again = [space.run() for _ in range(2)]
            assert again[1].of(StepState.CURRENT) == set(STEPS), f"{what}: {again[1].outcomes} {notes}"
            assert all(one.values == self.want and one.code is ExitCode.OK for one in again), f"{what}: {again}"
        return ended.of(StepState.RAN)


@pytest.fixture
def damaged(space: Space) -> Damaged:
    return Damaged(space)


@pytest.fixture
def tight() -> Iterator[Damaged]:
    """One that is cheap to damage tens of thousands of times: of few bytes, and in memory."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        found = Damaged(Space(Path(folder) / "project"))
        found.tighten()
        yield found
