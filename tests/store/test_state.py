"""The state database: what damage, other processes and nested commits do to its rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space import environ

import wfe.store.state as state_module
from wfe.store.blobs import Blobs
from wfe.store.state import TABLES, State, pack, unpack
from wfe.store.traces import Traces

VALUE = ("text", 1, 0.5, None, True, [1, {"k": b"bytes"}], ("nested", ()))


@pytest.fixture
def state(tmp_path: Path) -> Any:
    found = State(tmp_path / "cache" / "state.db")
    yield found
    found.close()


def body(state: State, table: str, name: str, scope: str = "") -> bytes:
    with sqlite3.connect(state.path) as db:
        [(found,)] = db.execute(f"SELECT body FROM {table} WHERE scope=? AND name=?", (scope, name)).fetchall()
    assert isinstance(found, bytes)
    return found


def overwrite(state: State, table: str, name: str, data: Any, scope: str = "") -> None:
    with sqlite3.connect(state.path) as db:
        db.execute(f"UPDATE {table} SET body=? WHERE scope=? AND name=?", (data, scope, name))


@pytest.mark.parametrize("table", TABLES)
def test_a_row_comes_back_as_it_was(state: State, table: str) -> None:
    state.set(table, "n", VALUE, "s")
    assert state.get(table, "n", "s") == VALUE
    assert state.get(table, "n") is None and state.get(table, "m", "s") is None
    assert state.all(table, "s") == {"n": VALUE}
    state.set(table, "n", 2, "s")
    assert state.get(table, "n", "s") == 2


def test_every_flipped_bit_of_a_row_makes_it_absent() -> None:
    sound = pack("s", "n", VALUE)
    assert unpack("s", "n", sound) == VALUE
    for position in range(len(sound)):
        for bit in range(8):
            harmed = bytearray(sound)
            harmed[position] ^= 1 << bit
            assert unpack("s", "n", bytes(harmed)) is None, (position, bit)


def test_every_truncation_of_a_row_makes_it_absent() -> None:
    sound = pack("s", "n", VALUE)
    assert all(unpack("s", "n", sound[:length]) is None for length in range(len(sound)))


def test_a_row_in_another_place_is_absent() -> None:
    sound = pack("s", "n", VALUE)
    assert unpack("s", "m", sound) is None and unpack("t", "n", sound) is None and unpack("sn", "", sound) is None


@pytest.mark.parametrize("data", ["text", None, 5, b"", b"12345678"])
def test_what_is_no_row_is_absent(state: State, data: Any) -> None:
    assert unpack("", "n", data) is None


def test_a_harmed_row_in_the_file_is_absent_and_the_others_stay(state: State) -> None:
    for name in ("a", "b"):
        state.set("trace", name, name)
    found = body(state, "trace", "a")
    overwrite(state, "trace", "a", found[:-1] + bytes([found[-1] ^ 1]))
    assert state.get("trace", "a") is None
    assert state.all("trace") == {"b": "b"}
    state.set("trace", "a", "again")
    assert state.get("trace", "a") == "again"


def test_rows_of_another_format_are_absent(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state.set("trace", "a", 1)
    monkeypatch.setattr(state_module, "FORMAT", 2)
    assert state.get("trace", "a") is None
    state.set("trace", "a", 2)
    assert state.get("trace", "a") == 2


def test_removing(state: State) -> None:
    state.set_all([("memo", "a", 1, "s"), ("memo", "b", 2, "s")])
    state.set("memo", "a", 3, "t")
    state.remove("memo", "a", "s")
    assert state.all("memo", "s") == {"b": 2}
    state.remove("memo", scope="s")
    assert state.scopes("memo") == ["t"]
    state.compact()
    assert state.get("memo", "a", "t") == 3


def test_a_transaction_is_all_or_nothing(state: State) -> None:
    with pytest.raises(KeyError), state.transaction():
        state.set("step", "a", 1)
        raise KeyError
    assert state.get("step", "a") is None
    with state.transaction():
        state.set("step", "a", 1)
    assert State(state.path).get("step", "a") == 1


def test_an_inner_transaction_ends_with_the_outer_one(state: State) -> None:
    other = State(state.path)
    with state.transaction():
        with state.transaction():
            state.set("step", "a", 1)
        assert other.get("step", "a") is None
        state.set_all([("step", "b", 2, "")])
        assert other.get("step", "b") is None
    assert (other.get("step", "a"), other.get("step", "b")) == (1, 2)
    with pytest.raises(KeyError), state.transaction():
        with state.transaction():
            state.set("step", "a", 3)
        raise KeyError
    assert other.get("step", "a") == 1
    other.close()


WRITER = """
import sys
import threading
from pathlib import Path
from wfe.store.state import State
state = State(Path(sys.argv[1]))
for number in range(100):
    with state.transaction():
        state.set("step", f"{sys.argv[2]}{number}", number)
        state.set("trace", "both", (state.get("trace", "both") or 0) + 1)
"""


def test_two_processes_write_at_once(state: State) -> None:
    state.set("trace", "both", 0)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(state.path), name], env=environ()) for name in ("a", "b")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert state.get("trace", "both") == 200
    assert len(state.all("step")) == 200


@pytest.mark.parametrize("data", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(data)
    state = State(path)
    assert "state.db.damaged" in state.note and not state.read_only
    state.set("step", "a", 1)
    state.close()
    assert (tmp_path / "state.db.damaged").read_bytes() == data
    again = State(path)
    assert again.get("step", "a") == 1 and not again.note
    again.close()


def test_damage_met_in_the_middle_begins_a_new_one(state: State) -> None:
    state.set("step", "a", 1)
    with sqlite3.connect(state.path) as db:
        db.execute("DROP TABLE step")
    assert state.get("step", "a") is None
    assert "damaged" in state.note
    state.set("step", "a", 2)
    assert state.get("step", "a") == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(st.text(), st.text(), JSON)
def test_pack_and_unpack(scope: str, name: str, value: Any) -> None:
    assert unpack(scope, name, pack(scope, name, value)) == value


def test_many_that_begin_a_cache_at_once_all_keep_what_they_write(tmp_path: Path) -> None:
    """SQLite refuses one of two that turn the same new database to WAL, at once: it was taken for a read-only cache."""
    for turn in range(20):
        path = tmp_path / str(turn) / "state.db"
        together = threading.Barrier(4)

        def begin(number: int, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            state = State(path)
            state.set("trace", str(number), number)
            state.close()

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = State(path)
        assert [state.get("trace", str(number)) for number in range(4)] == [0, 1, 2, 3]
        state.close()


def test_which_keys_were_made_is_known_of_others_too(state: State, tmp_path: Path) -> None:
    traces = Traces(state, Blobs(tmp_path / "blobs"))
    for number in range(200):
        state.set("trace", f"old{number}", number)
    traces.remember(1000)
    assert traces.made(["old1", "new"]) == {"old1"} and traces.known("new") is None
    other = State(state.path)
    other.set("trace", "new", 1)
    other.close()
    assert traces.made(["old1", "new", "none"], alone=True) == {"old1"}
    assert traces.made(["old1", "new", "none"]) == {"old1", "new"}
