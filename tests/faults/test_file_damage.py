"""Blobs, published files and memos that are cut off, changed or gone: noticed, and restored or made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import wfe
from faults.conftest import Damaged
from wfe.engine.prepare import _plan as plan_anew
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.store.state import pack


def cut(path: Path) -> None:
    os.chmod(path, 0o644)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.chmod(path, 0o644)
    os.truncate(path, 0)


def flip(path: Path) -> None:
    os.chmod(path, 0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_keeping_time(path: Path) -> None:
    """As a failing disk or a program that restores times would: only ctime tells."""
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def longer(path: Path) -> None:
    os.chmod(path, 0o644)
    with path.open("ab") as file:
        file.write(b"more")


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM = [cut, empty, flip, flip_keeping_time, longer, gone]


@pytest.mark.parametrize("harm", HARM)
def test_blobs(damaged: Damaged, harm: Callable[[Path], None]) -> None:
    blobs = damaged.space.blobs()
    assert len(blobs) == 3  # the array, the written file, the long value
    for blob in blobs:
        damaged.attempt(f"{harm.__name__}: one blob", lambda blob=blob: harm(blob))
    damaged.attempt(f"{harm.__name__}: all blobs", lambda: [harm(blob) for blob in damaged.space.blobs()])


@pytest.mark.parametrize("harm", HARM)
def test_blobs_with_the_state_gone(damaged: Damaged, harm: Callable[[Path], None]) -> None:
    """Then nothing but the name of a blob tells what its content must be."""

    def both() -> None:
        for blob in damaged.space.blobs():
            harm(blob)
        for file in damaged.space.cache.glob("state.db*"):
            file.unlink()

    assert damaged.attempt(harm.__name__, both) == set(damaged.want)


@pytest.mark.parametrize("harm", [*HARM, a_folder])
def test_published_files(damaged: Damaged, harm: Callable[[Path], None]) -> None:
    space = damaged.space
    results = [space.result_file(step) for step in damaged.want]
    if harm is a_folder:
        # Never removed: what a user put there is the user's. Told, with the place.
        a_folder(space.root / "out/a.txt")
        ended = space.run()
        space.failed("write")
        assert "out/a.txt" in ended.failure("write")
        (space.root / "out/a.txt").rmdir()
        damaged.attempt("the folder removed", lambda: None)
        return
    for path in [space.root / "out/a.txt", *results]:
        before = path.read_bytes()
        assert damaged.attempt(f"{harm.__name__}: {path.name}", lambda path=path: harm(path)) == set()
        assert path.read_bytes() == before
    assert damaged.attempt(f"{harm.__name__}: all", lambda: [harm(path) for path in results]) == set()


def test_folders_of_the_cache_gone(damaged: Damaged) -> None:
    cache = damaged.space.cache
    for name in ("steps", "blobs", "logs", "staging", "runs"):
        damaged.attempt(f"{name} gone", lambda name=name: shutil.rmtree(cache / name, ignore_errors=True))
    damaged.attempt("claims.lock gone", (cache / "claims.lock").unlink)
    assert damaged.attempt("all gone", lambda: shutil.rmtree(cache)) == set(damaged.want)


def test_a_plan_of_something_else(damaged: Damaged) -> None:
    """A plan's memo that is cut off, or has the right checksum and is no plan of this version, is made anew."""
    scope = "plan:w"
    workspace = Workspace(Project.at(damaged.space.root))
    key, memo = next(iter(workspace.state.all("memo", scope).items()))
    workspace.close()

    def put(body: bytes) -> None:
        workspace = Workspace(Project.at(damaged.space.root))
        workspace.state._execute("UPDATE memo SET body=? WHERE scope=? AND name=?", (body, scope, key))
        workspace.close()

    whole = pack(scope, key, memo)
    for at in (0, 7, 8, 9, 20, len(whole) // 2, len(whole) - 1):
        assert damaged.attempt(f"memo cut at {at}", lambda at=at: put(whole[:at])) == set()
        flipped = bytearray(whole)
        flipped[at] ^= 4
        assert damaged.attempt(f"memo flipped at {at}", lambda flipped=flipped: put(bytes(flipped))) == set()
    assert damaged.attempt("the body of another row", lambda: put(pack(scope, "another", memo))) == set()


def test_a_plan_of_other_sources_of_ours(damaged: Damaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout that is pulled the version stays, and what the planner remembers may have another form."""
    shutil.copytree(Path(wfe.__file__).parent, tmp_path / "wfe", ignore=shutil.ignore_patterns("*.pyc", "starter"))
    monkeypatch.setattr(wfe, "__file__", str(tmp_path / "wfe" / "__init__.py"))
    planned = []
    monkeypatch.setattr("wfe.engine.prepare._plan", lambda *given: planned.append(given) or plan_anew(*given))
    space = damaged.space
    source = tmp_path / "wfe" / "core" / "fan.py"
    for text, times in ((source.read_bytes(), 0), (b"# pulled\n", 1), (b"# pulled\n", 1)):
        if source.read_bytes() != text:
            source.write_bytes(text)
        space.run()
        assert len(planned) == times
        space.nothing_ran()


@pytest.mark.parametrize("folder", ["with spaces and 'quotes'", "ünïcödé 日本 %41", "hash # question ? & semi ;"])
def test_odd_paths(damaged: Damaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """The project and the cache may lie anywhere."""
    if os.name == "nt" and "?" in folder:
        pytest.skip("a name that Windows refuses")
    space = damaged.space
    moved = tmp_path / folder / "project"
    shutil.copytree(space.root, moved)
    space.root = moved
    damaged.attempt("moved", lambda: None)
    monkeypatch.setenv("WFE_CACHE", str(tmp_path / folder / "a cache"))
    assert damaged.attempt("a new cache", lambda: None) == set(damaged.want)
    monkeypatch.delenv("WFE_CACHE")
    listed = space.doit("run", "workflow=w", "-n", "2", WFE_CACHE=str(tmp_path / folder / "a cache"))
    assert "6 current" in listed.stdout, listed.stdout
    cold = space.doit("run", "workflow=w", "-n", "2", WFE_CACHE=str(tmp_path / folder / "another cache"))
    assert "6 ran" in cold.stdout, cold.stdout
