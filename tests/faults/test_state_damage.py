"""The state database cut off and with flipped bits: at worst a rebuild, never a wrong value and never an exception."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
from space import Space

from faults.conftest import STEPS, Damaged
from wfe.core.outcome import Note
from wfe.engine.project import Project
from wfe.engine.results import Results
from wfe.engine.workspace import Workspace
from wfe.store.state import TABLES, State

PAGE = 8192


def spread(length: int, count: int) -> list[int]:
    """Positions over a file: its ends, the header, the borders of pages, and some between, always the same."""
    borders = {edge + off for edge in range(0, length + 1, PAGE) for off in (-1, 0, 1)}
    between = random.Random(1).sample(range(length), max(0, count - len(borders)))
    return sorted(at for at in {0, 1, 16, 18, 99, 100, *borders, *between} if 0 <= at < length)


def flipped(whole: bytes, at: int) -> bytes:
    """One bit of a byte changed; which, depends on the byte, so that steps of any width come by all eight."""
    bit = (at ^ at >> 3) % 8
    return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]


def truncate(damaged: Damaged, positions: Iterable[int]) -> None:
    whole = damaged.db.read_bytes()
    for at in positions:
        damaged.attempt(f"state.db cut at {at}", lambda at=at: damaged.put_state(whole[:at]))


def flip(damaged: Damaged, positions: Iterable[int]) -> None:
    whole = damaged.db.read_bytes()
    for at in positions:
        damaged.attempt(f"state.db flipped at {at}", lambda at=at: damaged.put_state(flipped(whole, at)))


def rows_of(state: State) -> dict[tuple[str, str, str], object]:
    """All that a state database tells."""
    return {
        (table, scope, name): content
        for table in TABLES
        for scope in state.scopes(table)
        for name, content in state.all(table, scope).items()
    }


def tells_nothing_wrong(damaged: Damaged, content: bytes, sound: dict[tuple[str, str, str], object]) -> None:
    """A database with this content has rows that it had, or none; and what is written to it can be read."""
    damaged.put_state(content)
    state = State(damaged.db)
    try:
        found = rows_of(state)
        assert found.items() <= sound.items()
        assert all(state.get(table, name, scope) in (None, sound[table, scope, name]) for table, scope, name in sound)
        state.set("memo", "new", 1)
        if state.get("memo", "new") is None:  # the damage was met just now: that write is lost, the next one is not
            state.set("memo", "new", 1)
            assert state.get("memo", "new") == 1
    finally:
        state.close()


def test_truncated(damaged: Damaged) -> None:
    truncate(damaged, spread(damaged.db.stat().st_size, 45))


def test_bits_of_the_header_flipped(damaged: Damaged) -> None:
    # Those that SQLite reads: magic, page size, versions, counters, freelist, schema format, encoding, validity.
    flip(damaged, [0, 15, *range(16, 24), 27, 31, 35, 39, *range(43, 64, 2), 67, 71, 95, 99])


def test_bits_flipped(damaged: Damaged) -> None:
    flip(damaged, random.Random(2).sample(range(100, damaged.db.stat().st_size), 60))


PARTS = 8  # of the work on every byte, so that it can be shared out


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_every_byte(tight: Damaged, how: str, part: int) -> None:
    whole = tight.db.read_bytes()
    state = State(tight.db)
    sound = rows_of(state)
    state.close()
    assert len(sound) > 20
    for at in range(part, len(whole), PARTS):
        try:
            tells_nothing_wrong(tight, whole[:at] if how == "cut" else flipped(whole, at), sound)
        except Exception as error:
            raise AssertionError(f"state.db {how} at {at}") from error


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_run_at_every_few_bytes(tight: Damaged, how: str, part: int) -> None:
    step = 16 if how == "cut" else 4  # after a cut nearly all is made again, which takes longer
    positions = range(part * step, tight.db.stat().st_size, PARTS * step)
    (truncate if how == "cut" else flip)(tight, positions)


def test_overwritten_with_something_else(damaged: Damaged) -> None:
    for content in (b"not a database at all\n" * 500, bytes(40_000), b"SQLite format 3\0" + bytes(40_000)):
        damaged.fresh_state()
        assert damaged.attempt(content[:20], lambda content=content: damaged.db.write_bytes(content)) == set(STEPS)
        assert (damaged.space.cache / "state.db.damaged").is_file()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE trace",
        "DROP TABLE step",
        "DELETE FROM trace",
        "DELETE FROM step",
        "DELETE FROM memo",
        "DELETE FROM file",
        "ALTER TABLE step RENAME COLUMN body TO boby",
        "DROP TABLE step; CREATE TABLE step(scope TEXT, name TEXT, body BLOB)",
        "UPDATE trace SET body = zeroblob(40)",
        "UPDATE trace SET body = substr(body, 1, 20)",
        "UPDATE trace SET body = 'text'",
        "UPDATE trace SET body = (SELECT body FROM trace LIMIT 1)",
        "UPDATE step SET body = (SELECT body FROM step LIMIT 1)",
        "UPDATE memo SET body = (SELECT body FROM memo LIMIT 1)",
        "UPDATE step SET name = CAST(x'ff80' AS TEXT) WHERE name = 'load'",
        "UPDATE trace SET name = CAST(x'ff80' AS TEXT) WHERE rowid = 1",
        # SQLite tells of it in words that cannot be decoded.
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET name = CAST(x'c1' AS TEXT), sql = 'none' WHERE name = 'step'",
    ],
)
def test_rows_that_say_something_else(damaged: Damaged, statement: str) -> None:
    def damage() -> None:
        db = sqlite3.connect(damaged.db)
        db.executescript(statement)
        db.close()

    damaged.attempt(statement, damage)


def test_an_index_that_knows_one_row_by_two_names(damaged: Damaged) -> None:
    """One bit can do that. What is written by the one name is damage by the other, and would be in each run again."""
    data = bytearray(damaged.db.read_bytes())
    leaves = [
        page for page in range(0, len(data), PAGE) if data[page] == 10
    ]  # of indexes: scope, name, number of the row
    found = [
        data.find(b"w" + name, page, page + PAGE) + len(name) + 1 for page in leaves for name in (b"shout", b"ramp")
    ]
    one, two = [at for at in found if at > PAGE]
    data[one] = data[two]
    damaged.attempt("two entries for one row", lambda: damaged.put_state(bytes(data)))


def test_a_lost_result_is_made_again_when_somebody_needs_it(damaged: Damaged) -> None:
    """The look at every step reads no traces. An injected input whose trace is lost must not be left out."""
    space = damaged.space
    db = sqlite3.connect(damaged.db)
    db.execute("DELETE FROM trace")
    db.commit()
    db.close()
    space.edit("nodes/n.py", '"lines": len(lines)', '"lines": 0 + len(lines)')
    ended = space.run()
    assert ended.values == damaged.want
    space.ran(*STEPS)  # three because `last` needs them, the others since this test reads all values at the end
    assert "its stored result was damaged; it is made again" in [
        event.message for event in ended.events if isinstance(event, Note)
    ]
    space.run()
    space.nothing_ran()


def test_reading_a_lost_result_makes_the_next_run_make_it(damaged: Damaged) -> None:
    from wfe.core.result import Missing

    db = sqlite3.connect(damaged.db)
    db.execute("DELETE FROM trace")
    db.commit()
    db.close()
    workspace = Workspace(Project.at(damaged.space.root))
    with pytest.raises(Missing, match="is not in the store any more"):
        Results(workspace, "w").find("load")
    workspace.close()
    assert "load" not in _rows(damaged.db)
    damaged.attempt("load disowned", lambda: None)


def _rows(db: Path) -> list[str]:
    state = State(db)
    try:
        return list(state.all("step", "w"))
    finally:
        state.close()


# --- the write-ahead log: what a killed run leaves beside the database


def unfinished(damaged: Damaged) -> dict[str, bytes]:
    """state.db, -wal and -shm as a killed run leaves them, whose last commits stand in the log alone."""
    damaged.fresh_state()
    state = State(damaged.db)  # open, so that nothing is moved into the database yet
    rows = state.all("step", "w")
    traces = state.all("trace")
    for table, found, scope in (("step", rows, "w"), ("trace", traces, "")):
        state.remove(table, scope=scope)
        state.set_all((table, name, value, scope) for name, value in found.items())
    files = {file.name: file.read_bytes() for file in damaged.space.cache.glob("state.db*")}
    state.close()
    assert len(files["state.db-wal"]) > 3 * PAGE
    return files


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-shm", "state.db"])
def test_the_log_damaged(damaged: Damaged, name: str) -> None:
    files = unfinished(damaged)
    length = len(files[name])

    def put(content: bytes) -> None:
        for file in damaged.space.cache.glob("state.db*"):
            file.unlink()
        for one, data in files.items():
            (damaged.space.cache / one).write_bytes(content if one == name else data)

    assert damaged.attempt("whole", lambda: put(files[name])) == set()
    for at in [0, 1, 31, 32, 33, *random.Random(3).sample(range(length), 6)]:
        damaged.attempt(f"{name} cut at {at}", lambda at=at: put(files[name][:at]))
        damaged.attempt(f"{name} flipped at {at}", lambda at=at: put(flipped(files[name], at)))


def test_the_log_of_another_database(damaged: Damaged) -> None:
    files = unfinished(damaged)
    shutil.rmtree(damaged.space.cache)
    damaged.space.cache.mkdir()
    (damaged.space.cache / "state.db-wal").write_bytes(files["state.db-wal"])
    damaged.attempt("a log without its database", lambda: None)


def test_a_result_found_lost_while_another_step_runs_is_made_again_at_its_turn(space: Space) -> None:
    """The next step is decided about while a worker computes. To make the lost result then would need the place that the
    running step has: the run stood still for ever."""
    space.nodes(
        """
        @workflow_node()
        def load() -> dict: return {"n": 1}
        @workflow_node()
        def apart(x: int = 1) -> dict: return {"n": x}
        @workflow_node()
        def last(n: int, x: int = 1) -> dict: return {"n": n + x}
        """
    )
    nodes: list[dict[str, object]] = [
        {"id": "load"},
        {"id": "apart", "inputs": {"x": "${x}"}},
        {"id": "last", "inputs": {"n": "$load.n", "x": "${x}"}},
    ]
    space.workflow(nodes, params={"x": 1})
    space.doit("run", "workflow=w")
    db = sqlite3.connect(space.cache / "state.db")
    db.execute("DELETE FROM trace")
    db.commit()
    db.close()
    done = space.doit("run", "workflow=w", "x=2")
    assert "made again" in done.stdout + done.stderr
    assert json.loads(space.result_file("last").read_text()) == {"n": 3}
