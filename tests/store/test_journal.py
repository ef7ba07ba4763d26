"""The journal: what a killed run had done is brought home, however the file was harmed; a live one's is left alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from space import environ

from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.errors import EnvironmentFailure
from wfe.store.claims import Claims
from wfe.store.journal import Folder, Journal
from wfe.store.state import State, pack
from wfe.store.traces import Row, Trace, plain

ROWS = [[("memo", "", "k1", b"one"), ("file", "w", "a", b"two")], [("memo", "s", "n", b"x" * 300)]]
WRITER = """
import sys
from pathlib import Path
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
workspace = Workspace(Project.at(sys.argv[1]))
workspace.gather()
for number in range(5):
    workspace.state.set_all([("file", f"s{number}", number, "w"), ("memo", f"k{number}", number, "")])
workspace.state.set("trace", "theirs", 1)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path / "claims.lock")


@pytest.fixture
def journal(tmp_path: Path, claims: Claims) -> Any:
    found = Journal.mine(tmp_path / "journal", claims)
    assert found is not None
    yield found
    found.close()


def test_what_was_added_is_there_in_order(journal: Journal) -> None:
    for rows in ROWS:
        journal.add(rows)
    assert list(journal.rows()) == [row for rows in ROWS for row in rows]
    journal.clear()
    assert list(journal.rows()) == []
    journal.add(ROWS[0])
    assert list(journal.rows()) == ROWS[0]


def test_cut_at_any_byte_it_has_the_records_before(journal: Journal) -> None:
    journal.add(ROWS[0])
    first = journal.path.stat().st_size
    journal.add(ROWS[1])
    whole = journal.path.read_bytes()
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        assert list(journal.rows()) == (ROWS[0] if length >= first else [])


def test_a_flipped_bit_ends_it(journal: Journal) -> None:
    for rows in ROWS:
        journal.add(rows)
    whole = journal.path.read_bytes()
    every = [row for rows in ROWS for row in rows]
    for place in range(len(whole)):
        for bit in (0, 7):
            harmed = bytearray(whole)
            harmed[place] ^= 1 << bit
            journal.path.write_bytes(harmed)
            found = list(journal.rows())
            assert found == every[: len(found)] and len(found) < len(every)


def test_each_has_its_own(tmp_path: Path, claims: Claims, journal: Journal) -> None:
    other = Journal.mine(tmp_path / "journal", claims)
    assert other is not None and other.path != journal.path
    other.close()
    again = Journal.mine(tmp_path / "journal", claims)
    assert again is not None and again.path == other.path
    again.close()


def written(root: Path) -> subprocess.Popen[str]:
    """A process that has put rows into its journal, and waits."""
    (root / "workflows").mkdir(parents=True)
    found = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        env=environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert found.stdout is not None and found.stdout.readline() == "done\n"
    return found


def test_what_a_killed_process_had_done_is_brought_home(tmp_path: Path) -> None:
    other = written(tmp_path)
    workspace = Workspace(Project.at(tmp_path))
    assert Folder(tmp_path / "cache" / "journal").any_left()
    assert workspace.state.all("file", "w") == {}  # that of a live one is left alone
    other.kill()
    other.communicate()
    workspace.bring_home()
    assert workspace.state.all("file", "w") == {f"s{number}": number for number in range(5)}
    assert not Folder(tmp_path / "cache" / "journal").any_left()
    workspace.close()
    again = Workspace(Project.at(tmp_path))
    assert again.state.get("memo", "k4") == 4
    again.close()


def test_a_new_one_finds_it_too(tmp_path: Path) -> None:
    other = written(tmp_path)
    other.kill()
    other.communicate()
    workspace = Workspace(Project.at(tmp_path))
    assert workspace.state.get("file", "s3", "w") == 3
    workspace.close()


def test_who_ends_in_order_leaves_nothing(tmp_path: Path) -> None:
    other = written(tmp_path)
    other.communicate("\n")
    assert other.returncode == 0  # without having closed it
    workspace = Workspace(Project.at(tmp_path))
    assert len(workspace.state.all("memo")) == 5 and not Folder(tmp_path / "cache" / "journal").any_left()
    workspace.close()


@pytest.fixture
def gathering(tmp_path: Path) -> Any:
    """A state that has a journal, and another one of the same file."""
    ours, other = State(tmp_path / "state.db"), State(tmp_path / "state.db")
    ours.gather(Journal.mine(tmp_path / "journal", Claims(tmp_path / "claims.lock")))
    yield ours, other
    ours.close()
    other.close()


def test_others_see_it_when_it_is_settled(gathering: tuple[State, State]) -> None:
    ours, other = gathering
    done: list[int] = []
    ours.then(done.append, 1)
    assert done == [1]  # nothing was waiting
    ours.set("file", "a", 1, "w")
    ours.then(done.append, 2)
    assert ours.get("file", "a", "w") == 1 and other.get("file", "a", "w") is None and done == [1]
    assert ours.has("file", ["a", "b"], "w") == {"a"}
    ours.settle()
    assert other.get("file", "a", "w") == 1 and done == [1, 2]
    assert ours.has("file", ["a", "b"], "w") == {"a"} and ours.names("file", "w") == {"a"}


@pytest.mark.parametrize("look", ["all", "scopes", "remove", "transaction", "names"])
def test_what_needs_the_table_has_it_whole(gathering: tuple[State, State], look: str) -> None:
    ours, other = gathering
    ours.set("file", "a", 1, "w")
    ours.set("file", "a", 2, "w")
    if look == "all":
        assert ours.all("file", "w") == {"a": 2}
    elif look == "scopes":
        assert ours.scopes("file") == ["w"]
    elif look == "names":
        assert ours.names("file", "w") == {"a"}
    elif look == "remove":
        ours.remove("file", "a", "w")
        assert ours.get("file", "a", "w") is None and other.get("file", "a", "w") is None
    else:
        with ours.transaction():
            assert ours.get("file", "a", "w") == 2
            ours.set("file", "a", 3, "w")
        assert other.get("file", "a", "w") == 3
    if look not in ("remove", "transaction"):
        assert other.get("file", "a", "w") == 2


def test_many_rows_are_settled_unasked(gathering: tuple[State, State]) -> None:
    ours, other = gathering
    for number in range(600):
        ours.set("file", str(number), number, "w")
    assert len(other.all("file", "w")) >= 256


def test_a_database_that_takes_nothing_costs_nothing(
    gathering: tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = gathering
    ours.set("file", "a", 1, "w")

    def full(rows: object) -> None:
        raise EnvironmentFailure("the disk is full")

    honest = ours._commit
    monkeypatch.setattr(ours, "_commit", full)
    done: list[int] = []
    ours.then(done.append, 1)
    with pytest.raises(EnvironmentFailure):
        ours.settle()
    assert ours.get("file", "a", "w") == 1 and Folder(tmp_path / "journal").any_left()
    assert done == [1]  # or whoever waits for it would wait for as long as the disk is full
    monkeypatch.setattr(ours, "_commit", honest)
    ours.settle()
    assert not Folder(tmp_path / "journal").any_left()


def test_what_cannot_be_brought_home_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is full: what is there can be looked at, and `wfe collect` can make room."""
    other = written(tmp_path)
    other.kill()
    other.communicate()

    def full(*arguments: object) -> None:
        raise EnvironmentFailure("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(State, "_commit", full)
        patch.setattr(State, "transaction", full)
        workspace = Workspace(Project.at(tmp_path))
        assert Folder(tmp_path / "cache" / "journal").any_left()
        workspace.gather()
        with pytest.raises(EnvironmentFailure):  # a run's steps say so
            workspace.state.set("file", "a", 1, "w")
    workspace.gather()  # nobody holds it meanwhile
    assert workspace.state.get("file", "s3", "w") == 3
    workspace.close()


def test_a_journal_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    harmed = tmp_path / "cache" / "journal" / "0"
    harmed.mkdir(parents=True)
    (harmed / "file").touch()
    workspace = Workspace(Project.at(tmp_path))
    workspace.gather()
    workspace.state.set("file", "a", 1, "w")
    assert (harmed.parent / "1").stat().st_size
    workspace.close()


def test_rows_of_unknown_tables_are_left_out(tmp_path: Path, journal: Journal) -> None:
    """A journal of another version, perhaps."""
    state = State(tmp_path / "state.db")
    journal.add([("nonsense", "", "n", b"x"), ("memo", "", "n", pack("", "n", 1))])
    state.bring_home(journal)
    assert state.get("memo", "n") == 1
    state.close()


def test_what_is_brought_home_replaces_nothing_newer(tmp_path: Path) -> None:
    """A live run has recorded the same step since, from other parameters, or has made the key anew."""

    def row(key: str, mark: str, at: float) -> Any:
        return plain(Row("static", key, mark, (), (), 0.1, at))

    def trace(mark: str, made: float) -> Any:
        return plain(Trace({}, (), "", mark, (), 0.1, made))

    workspace = Workspace(Project.at(tmp_path))
    state, claims = workspace.state, workspace.claims
    assert claims is not None
    state.set("step", "newer", row("k1", "m1", 20.0), "w")
    state.set("step", "older", row("k1", "m1", 5.0), "w")
    state.set("trace", "k1", trace("m1", 20.0))
    state.set("trace", "k2", trace("m2", 20.0))
    left = Journal.mine(tmp_path / "cache" / "journal", claims)
    assert left is not None
    dead = {
        ("step", "w", "newer"): row("k3", "m3", 10.0),
        ("step", "w", "older"): row("k3", "m3", 10.0),
        ("step", "w", "only"): row("k2", "dead", 10.0),  # of a result that is not the key's any more
        ("trace", "", "k2"): trace("dead", 10.0),
        ("trace", "", "k3"): trace("m3", 10.0),
    }
    left.add([(*address, pack(*address[1:], content)) for address, content in dead.items()])
    left.close()
    workspace.bring_home()
    assert {name: found[1] for name, found in state.all("step", "w").items()} == {"newer": "k1", "older": "k3"}
    assert {name: found[3] for name, found in state.all("trace").items()} == {"k1": "m1", "k2": "m2", "k3": "m3"}
    workspace.close()


def test_what_is_just_being_brought_home_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a step is made again whose result another one has in hand."""
    workspace = Workspace(Project.at(tmp_path))
    claims = workspace.claims
    assert claims is not None
    left = Journal.mine(tmp_path / "cache" / "journal", claims)
    assert left is not None
    left.add([("trace", "", "k", pack("", "k", plain(Trace({}, (), "", "m", (), 0.1, 1.0))))])
    left.close()
    begun, go = threading.Event(), threading.Event()
    slowly = State.bring_home

    def held(*arguments: Any) -> None:
        begun.set()
        go.wait()
        slowly(*arguments)

    monkeypatch.setattr(State, "bring_home", held)
    one = threading.Thread(target=workspace.bring_home)
    one.start()
    begun.wait()
    found: list[set[str]] = []
    other = threading.Thread(target=lambda: found.append(workspace.made(["k"])))
    other.start()
    go.set()
    for thread in (one, other):
        thread.join()
    assert found == [{"k"}]
    workspace.close()


@pytest.mark.parametrize("end", ["lives", "killed", "over"])
def test_who_was_alone_asks_again_when_another_came(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(Project.at(tmp_path))
    with workspace.state.transaction():
        for number in range(250):
            workspace.state.set("trace", f"old{number}", number)
    workspace.gather()
    workspace.traces.remember(10_000)
    with monkeypatch.context() as patch:
        patch.setattr(State, "has", lambda *_: pytest.fail("nobody else is there"))
        assert workspace.made(["old1", "theirs"]) == {"old1"}

    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin is not None and writer.stdout is not None and writer.stdout.readline() == b"done\n"
    if end == "lives":
        assert workspace.made(["old1", "theirs"]) == {"old1"}  # it is in their journal, and the claim is theirs
        late = Workspace(Project.at(tmp_path))
        late.gather()
        late.traces.remember(10_000)
        assert late.made(["theirs"]) == set()
    elif end == "killed":
        writer.kill()
    writer.stdin.close()
    writer.wait()
    if end == "lives":
        assert late.made(["theirs"]) == {"theirs"}
        late.close()
    assert workspace.made(["old1", "theirs", "none"]) == {"old1", "theirs"}
    workspace.close()
