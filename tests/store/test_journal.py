"""The journal: what a killed run had done is brought home, however the file was harmed; a live one's is left alone."""

from __future__ import annotations

import subprocess
import sys
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

ROWS = [[("trace", "", "k1", b"one"), ("step", "w", "a", b"two")], [("memo", "s", "n", b"x" * 300)]]
WRITER = """
import sys
from pathlib import Path
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
workspace = Workspace(Project.at(sys.argv[1]))
workspace.gather()
for number in range(5):
    workspace.state.set_all([("step", f"s{number}", number, "w"), ("trace", f"k{number}", number, "")])
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
    assert workspace.state.all("step", "w") == {}  # that of a live one is left alone
    other.kill()
    other.communicate()
    workspace.bring_home()
    assert workspace.state.all("step", "w") == {f"s{number}": number for number in range(5)}
    assert not Folder(tmp_path / "cache" / "journal").any_left()
    workspace.close()
    again = Workspace(Project.at(tmp_path))
    assert again.state.get("trace", "k4") == 4
    again.close()


def test_a_new_one_finds_it_too(tmp_path: Path) -> None:
    other = written(tmp_path)
    other.kill()
    other.communicate()
    workspace = Workspace(Project.at(tmp_path))
    assert workspace.state.get("step", "s3", "w") == 3
    workspace.close()


def test_who_ends_in_order_leaves_nothing(tmp_path: Path) -> None:
    other = written(tmp_path)
    other.communicate("\n")
    assert other.returncode == 0  # without having closed it
    workspace = Workspace(Project.at(tmp_path))
    assert len(workspace.state.all("trace")) == 5 and not Folder(tmp_path / "cache" / "journal").any_left()
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
    ours.then(lambda: done.append(1))
    assert done == [1]  # nothing was waiting
    ours.set("step", "a", 1, "w")
    ours.then(lambda: done.append(2))
    assert ours.get("step", "a", "w") == 1 and other.get("step", "a", "w") is None and done == [1]
    assert ours.has("step", ["a", "b"], "w") == {"a"}
    ours.settle()
    assert other.get("step", "a", "w") == 1 and done == [1, 2]
    assert ours.has("step", ["a", "b"], "w") == {"a"} and ours.names("step", "w") == {"a"}


@pytest.mark.parametrize("look", ["all", "scopes", "remove", "transaction", "names"])
def test_what_needs_the_table_has_it_whole(gathering: tuple[State, State], look: str) -> None:
    ours, other = gathering
    ours.set("step", "a", 1, "w")
    ours.set("step", "a", 2, "w")
    if look == "all":
        assert ours.all("step", "w") == {"a": 2}
    elif look == "scopes":
        assert ours.scopes("step") == ["w"]
    elif look == "names":
        assert ours.names("step", "w") == {"a"}
    elif look == "remove":
        ours.remove("step", "a", "w")
        assert ours.get("step", "a", "w") is None and other.get("step", "a", "w") is None
    else:
        with ours.transaction():
            assert ours.get("step", "a", "w") == 2
            ours.set("step", "a", 3, "w")
        assert other.get("step", "a", "w") == 3
    if look not in ("remove", "transaction"):
        assert other.get("step", "a", "w") == 2


def test_many_rows_are_settled_unasked(gathering: tuple[State, State]) -> None:
    ours, other = gathering
    for number in range(600):
        ours.set("step", str(number), number, "w")
    assert len(other.all("step", "w")) >= 256


def test_a_database_that_takes_nothing_costs_nothing(
    gathering: tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = gathering
    ours.set("step", "a", 1, "w")

    def full(rows: object) -> None:
        raise EnvironmentFailure("the disk is full")

    honest = ours._commit
    monkeypatch.setattr(ours, "_commit", full)
    done: list[int] = []
    ours.then(lambda: done.append(1))
    with pytest.raises(EnvironmentFailure):
        ours.settle()
    assert ours.get("step", "a", "w") == 1 and Folder(tmp_path / "journal").any_left()
    assert done == [1]  # or whoever waits for it would wait for as long as the disk is full
    monkeypatch.setattr(ours, "_commit", honest)
    ours.settle()
    assert not Folder(tmp_path / "journal").any_left()


def test_what_cannot_be_brought_home_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is full: what is there can be looked at, and `wfe collect` can make room."""
    other = written(tmp_path)
    other.kill()
    other.communicate()

    def full(state: State, rows: object) -> None:
        raise EnvironmentFailure("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(State, "_commit", full)
        workspace = Workspace(Project.at(tmp_path))
        assert Folder(tmp_path / "cache" / "journal").any_left()
        workspace.gather()
        with pytest.raises(EnvironmentFailure):  # a run's steps say so
            workspace.state.set("step", "a", 1, "w")
    workspace.gather()  # nobody holds it meanwhile
    assert workspace.state.get("step", "s3", "w") == 3
    workspace.close()


def test_a_journal_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    harmed = tmp_path / "cache" / "journal" / "0"
    harmed.mkdir(parents=True)
    (harmed / "file").touch()
    workspace = Workspace(Project.at(tmp_path))
    workspace.gather()
    workspace.state.set("step", "a", 1, "w")
    assert (harmed.parent / "1").stat().st_size
    workspace.close()


def test_rows_of_unknown_tables_are_left_out(tmp_path: Path, journal: Journal) -> None:
    """A journal of another version, perhaps."""
    state = State(tmp_path / "state.db")
    journal.add([("nonsense", "", "n", b"x"), ("memo", "", "n", pack("", "n", 1))])
    state.bring_home(journal)
    assert state.get("memo", "n") == 1
    state.close()
