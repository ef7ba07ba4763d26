"""What workers leave whose engine was killed: taken in where it still means what it meant, and never else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from space import environ

from wfe.core.digest import canonical
from wfe.core.manifest import key_of
from wfe.engine.left import bequest, proof, take_in
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.store.stamp import stamp
from wfe.store.state import State
from wfe.store.traces import Trace
from wfe.wire import frames
from wfe.wire.will import LARGEST, LEFT, Will

MANIFEST = (("function", "nodes.n.f"), ("outputs", '{"n":"int"}'), ("input 'a'", '"\u00e4"'))
KEY = key_of(canonical(MANIFEST))


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    found = Workspace(Project.at(tmp_path))
    (tmp_path / "cache" / "journal").mkdir()
    for name in ("source.py", "input.txt"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(1, 1))
    yield found
    found.close()


def look(path: Path) -> tuple[str, int, int, int, int]:
    mtime, ctime, size, inode, _ = stamp(str(path))
    return str(path), mtime, ctime, size, inode


def left(workspace: Workspace, key: str = KEY, tail: bool = True, **reply: Any) -> Path:
    """A file with one reply, as a worker writes it. Returns its path."""
    root = workspace.project.root
    proved = proof(workspace.state, "nodes.n.f", [look(root / "source.py")], [str(root / "module.py")])
    text = bequest(workspace.heir, ("w", "s"), key, canonical(MANIFEST), (look(root / "input.txt"),), proved)
    assert text.isascii()
    message: dict[str, Any] = {"state": "returned", "value": None, "holes": [], "seconds": 0.25}
    value = reply.pop("value", {"n": 3})
    message |= reply if tail else {"value": value, **reply}
    will = Will()
    will.keep(text, frames.pack(frames.REPLY, message, tail=canonical(value) if tail else ""))
    will.execute()
    will.execute()  # once is enough
    (found,) = (root / "cache" / "journal").glob(f"*{LEFT}")
    return found


@pytest.mark.parametrize("tail", [True, False])
def test_it_is_a_result_like_any_other(workspace: Workspace, tail: bool) -> None:
    began = time.time()
    file = left(workspace, tail=tail)
    workspace.bring_home()
    found = workspace.traces.find(KEY)
    assert found is not None and not file.exists()
    assert (found.value, found.artifacts, found.big, found.manifest, found.seconds) == (
        {"n": 3},
        (),
        "",
        MANIFEST,
        0.25,
    )
    assert began <= found.made <= time.time()
    assert found.mark == workspace.traces.result(found).mark


def changed(path: Path) -> None:
    path.write_text(path.read_text())  # to the same content: it may have been another one meanwhile
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: changed(root / "source.py"),
        lambda root: changed(root / "input.txt"),
        lambda root: (root / "input.txt").unlink(),
        lambda root: (root / "module.py").write_text(""),
    ],
    ids=["source", "input", "no input", "a module came"],
)
def test_what_has_changed_since_proves_nothing(workspace: Workspace, spoil: Any) -> None:
    file = left(workspace)
    spoil(workspace.project.root)
    workspace.bring_home()
    assert workspace.traces.find(KEY) is None and not file.exists()


@pytest.mark.parametrize(
    "reply",
    [
        {"value": {"n": "a text"}},
        {"value": {"m": 1}},
        {"value": [1]},
        {"state": "raised"},
        {"holes": [[["n"], "npy", "x"]]},
        {"seconds": None},
        {"key": "0" * 32},
    ],
    ids=str,
)
def test_what_the_engine_would_have_refused_is_refused(workspace: Workspace, reply: dict[str, Any]) -> None:
    file = left(workspace, **reply)
    workspace.bring_home()
    assert workspace.traces.find(KEY) is None and not file.exists()


def test_what_is_proved_of_other_sources_proves_nothing(workspace: Workspace) -> None:
    file = left(workspace)
    proof(workspace.state, "nodes.n.f", [], [])  # of a run that began meanwhile
    workspace.bring_home()
    assert workspace.traces.find(KEY) is None and not file.exists()


def test_a_call_is_no_longer_where_its_function_reaches_many_files(workspace: Workspace) -> None:
    """Only few would go into the pipe behind a running one."""
    sources = [look(workspace.project.root / "source.py")] * 300
    proved = proof(workspace.state, "nodes.n.f", sources, [])
    assert len(bequest(workspace.heir, ("w", "s"), KEY, canonical(MANIFEST), (), proved)) < 1000


def test_a_result_that_is_there_stays(workspace: Workspace) -> None:
    there = Trace({"n": 4}, (), "", "mark", MANIFEST, 0.1, 1.0)
    workspace.traces.take_in(KEY, there, "w", "s")
    left(workspace)
    workspace.bring_home()
    assert workspace.traces.find(KEY) == there


def test_who_asks_the_database_finds_it_at_once(workspace: Workspace) -> None:
    """And not when the run that took it in has brought home its own journal: nobody holds the claim of its key."""
    workspace.gather()
    left(workspace)
    workspace.bring_home()
    other = State(workspace.state.path)
    assert other.has("trace", [KEY]) == {KEY}
    other.close()


def test_it_is_forgotten_with_its_step_though_that_has_no_row(workspace: Workspace) -> None:
    left(workspace)
    workspace.bring_home()
    assert workspace.traces.left("w") == {"s"}
    workspace.forget("w", "t")
    assert workspace.traces.find(KEY) is not None
    workspace.forget("w", "s")
    assert workspace.traces.find(KEY) is None and workspace.traces.left("w") == set()


def test_cut_or_changed_anywhere_it_is_nothing(workspace: Workspace) -> None:
    file = left(workspace)
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]):
            file.write_bytes(data)
            take_in(file.parent, workspace.traces)
            assert not file.exists()
            assert not workspace.state.all("trace")
    file.write_bytes(whole)
    take_in(file.parent, workspace.traces)
    assert workspace.traces.find(KEY) is not None


def test_a_will_has_the_last_ones_and_no_large_one(tmp_path: Path) -> None:
    will = Will()
    heir = json.dumps(str(tmp_path))
    for number in range(40):
        will.keep(f"{heir}\n{number}", frames.pack(frames.REPLY, number))
    will.keep(f"{heir}\nlarge", frames.pack(frames.REPLY, "x" * LARGEST))
    will.execute()
    (file,) = tmp_path.iterdir()
    lines = [json.loads(line[8:]) for line in file.read_text().split("\n")]
    assert [line[:2] for line in lines] == [[str(number), str(number)] for number in range(24, 40)]


def test_a_reply_that_comes_while_the_process_ends_is_not_left(tmp_path: Path) -> None:
    """It is killed by then, perhaps in the middle of writing."""
    will = Will()
    will.execute()
    will.keep(f"{json.dumps(str(tmp_path))}\n", frames.pack(frames.REPLY, 1))
    will.execute()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="limits")
def test_a_will_that_cannot_be_written_whole_is_not_there_at_all(tmp_path: Path) -> None:
    """Nor is there, at any moment, a half of one, which whoever looks just then would take in and remove."""
    text = (
        "import resource, sys\n"
        "from wfe.wire import frames\n"
        "from wfe.wire.will import Will\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "will = Will()\n"
        "will.keep(sys.argv[1], frames.pack(frames.REPLY, 'x' * 200))\n"
        "will.execute()\n"
    )
    subprocess.run([sys.executable, "-c", text, f"{json.dumps(str(tmp_path))}\n"], env=environ(), check=True)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_it_is_lost_in_silence(tmp_path: Path) -> None:
    will = Will()
    will.keep(f"{json.dumps(str(tmp_path / 'none'))}\n", frames.pack(frames.REPLY, 1))
    will.execute()
    assert not list(tmp_path.iterdir())
