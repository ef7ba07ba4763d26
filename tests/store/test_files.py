"""Stamps and digests of input files: what proves that a file is unchanged, and what does not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import wfe.store.files as files_module
from wfe.core.digest import digest
from wfe.core.result import Artifact, Result
from wfe.store.blobs import Blobs
from wfe.store.files import Files
from wfe.store.hashing import file_digest
from wfe.store.stamp import Stamp, holds, put_in_place, stamp
from wfe.store.state import State
from wfe.store.traces import File, Row, Traces, plain

SECOND = 1_000_000_000


@pytest.fixture
def state(tmp_path: Path) -> Any:
    found = State(tmp_path / "state.db")
    yield found
    found.close()


def at(monkeypatch: pytest.MonkeyPatch, path: Path, later: int) -> Stamp:
    """The stamp of a file taken `later` nanoseconds after its last change."""
    found = path.stat()
    monkeypatch.setattr(time, "time_ns", lambda: max(found.st_mtime_ns, found.st_ctime_ns) + later)
    return stamp(str(path))


@pytest.mark.parametrize(
    ("later", "settled"), [(0, False), (10_000_000, False), (20_000_000, False), (20_000_001, True)]
)
def test_a_stamp_is_settled_when_the_clock_has_ticked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int, settled: bool
) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    taken = at(monkeypatch, path, later)
    assert taken.settled is settled
    assert holds(taken.plain(), str(path)) is settled


def test_a_clock_that_went_back_settles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    assert not at(monkeypatch, path, -5 * SECOND).settled


def test_whole_seconds_are_a_coarse_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    honest = os.stat

    class Coarse:
        def __init__(self, found: os.stat_result) -> None:
            self.st_mtime_ns = self.st_ctime_ns = found.st_mtime_ns // SECOND * SECOND
            self.st_size, self.st_ino = found.st_size, found.st_ino

    base = path.stat().st_mtime_ns // SECOND * SECOND
    monkeypatch.setattr("wfe.store.stamp.os.stat", lambda where: Coarse(honest(where)))
    for later, settled in ((SECOND, False), (2 * SECOND, False), (3 * SECOND, True)):
        monkeypatch.setattr(time, "time_ns", lambda later=later: base + later)
        assert stamp(str(path)).settled is settled


def test_what_a_stamp_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"

    def fresh() -> tuple[int, int, int, int, bool]:
        path.write_text("abc")
        return at(monkeypatch, path, SECOND).plain()

    assert holds(fresh(), str(path))
    known = fresh()
    path.write_text("abcd")
    assert not holds(known, str(path))
    known = fresh()
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert not holds(known, str(path))
    known = fresh()
    other = tmp_path / "b"
    other.write_text("xyz")
    os.utime(other, ns=(0, known[0]))
    other.replace(path)  # another inode, the same size and time
    assert not holds(known, str(path))
    known = fresh()
    path.unlink()
    assert not holds(known, str(path))


def test_put_in_place(tmp_path: Path) -> None:
    part, target = tmp_path / "part", tmp_path / "target"
    part.write_text("new")
    target.write_text("old")
    taken = put_in_place(str(part), str(target))
    assert target.read_text() == "new" and not part.exists() and taken.inode == target.stat().st_ino


# --- digests


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, by name."""
    read: list[str] = []

    def counting(path: str, told: os.stat_result) -> str:
        read.append(os.path.basename(path))
        return file_digest(path, told)

    monkeypatch.setattr(files_module, "file_digest", counting)
    return read


def settle(path: Path) -> None:
    """Make a file look long unchanged."""
    os.utime(path, ns=(0, 10**18 + 1))


def later(monkeypatch: pytest.MonkeyPatch, seconds: int = 60) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + seconds * SECOND)


def test_an_unchanged_file_is_read_once(
    state: State, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    later(monkeypatch)
    files = Files(state, tmp_path)
    assert files.digest("a")[1] == digest(b"x") == files.digest("a")[1]
    assert Files(state, tmp_path).digest("a")[1] == digest(b"x")
    assert counted == ["a"]
    (tmp_path / "a").write_text("yz")
    assert files.digest("a")[1] == digest(b"yz")
    assert counted == ["a", "a"]


def test_a_file_that_was_just_written_is_read_again(state: State, tmp_path: Path, counted: list[str]) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    taken, content = Files(state, tmp_path).digest("a")
    if not taken.settled:
        Files(state, tmp_path).digest("a")
        assert counted == ["a", "a"]
    assert content == digest(b"x")


def test_the_same_content_under_a_new_time(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    later(monkeypatch)
    files = Files(state, tmp_path)
    taken, content = files.digest("a")
    assert files.same("a", taken, content) == taken
    settle(tmp_path / "a")
    renewed = files.same("a", taken, content)
    assert renewed is not None and renewed != taken and holds(renewed.plain(), str(tmp_path / "a"))
    (tmp_path / "a").write_text("other")
    assert files.same("a", renewed, content) is None
    (tmp_path / "a").unlink()
    assert files.same("a", renewed, content) is None


def test_a_folder_is_its_names_and_contents(state: State, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "deep" / "b").write_text("2")
    files = Files(state, tmp_path)
    taken, first = files.digest("in")
    assert not taken.settled and first == file_digest(folder)
    seen = {first}
    for change in (
        lambda: (folder / "deep" / "b").write_text("3"),
        lambda: (folder / "c").write_text("1"),
        lambda: (folder / "c").rename(folder / "d"),
        lambda: (folder / "d").rename(folder / "deep" / "d"),
        lambda: (folder / "a").unlink(),
    ):
        change()
        now = files.digest("in")[1]
        assert now not in seen and now == file_digest(folder)
        seen.add(now)


def test_missing(state: State, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Files(state, tmp_path).digest("nothing")


# --- traces


@pytest.fixture
def traces(state: State, tmp_path: Path) -> Traces:
    return Traces(state, Blobs(tmp_path / "blobs"))


def made(traces: Traces, tmp_path: Path, value: Any, artifacts: tuple[Artifact, ...] = ()) -> Any:
    result = Result(value, artifacts)
    staging = tmp_path / "staging"
    staging.mkdir(exist_ok=True)
    return traces.trace_of(result, result.text(), str(staging), (("code", "x"),), 0.5, 100.0)


def test_a_trace_comes_back_with_its_result(traces: Traces, tmp_path: Path) -> None:
    trace = made(traces, tmp_path, {"a": [1, None, "é\ud800"]})
    row = Row("static", "key", trace.mark, ("up",), (File("p", "in", (1, 2, 3, 4, True), "d"),), 0.5, 100.0)
    traces.save("w", "s", row, trace)
    assert traces.find("key") == trace and traces.result(trace).value == {"a": [1, None, "é\ud800"]}
    assert traces.rows("w") == {"s": plain(row)} and traces.row(plain(row)) == row
    assert traces.whole(trace) and not trace.big
    assert traces.find("other") is None


def test_a_long_value_goes_by_a_blob(traces: Traces, tmp_path: Path) -> None:
    value = {"text": "é" * 300_000, "half": "\ud800"}
    trace = made(traces, tmp_path, value)
    assert trace.big and trace.value is None and trace.blobs() == [trace.big]
    assert trace.mark == Result(value).mark
    assert traces.whole(trace) and traces.result(trace).value == value
    blob = Path(traces.blobs.path(trace.big))
    blob.chmod(0o644)
    blob.write_bytes(b"{}")
    assert not traces.whole(trace)
    assert not blob.exists()  # a damaged one is dropped


def test_a_trace_without_its_artifact_is_not_whole(traces: Traces, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(b"x")
    name = digest(b"x")
    trace = made(traces, tmp_path, {"a": None}, (Artifact(("a",), "npy", name, "note"),))
    assert not traces.whole(trace)
    traces.blobs.adopt(str(source), name)
    assert traces.whole(trace)
    traces.blobs.drop(name)
    assert not traces.whole(trace)


@pytest.mark.skipif(os.name == "nt", reason="links and names as POSIX has them")
def test_all_that_a_directory_lists_counts(tmp_path: Path) -> None:
    """A node that goes through it sees names, be they of empty directories, of links to nothing, or of the same directory."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").write_text("1")
    seen = [file_digest(folder)]
    for change in (
        lambda: (folder / "again").symlink_to("sub"),
        lambda: (folder / "nothing").symlink_to("nowhere"),
        lambda: (folder / "empty").mkdir(),
        lambda: (folder / "sub" / "loop").symlink_to(".."),
        lambda: (folder / "empty").rename(folder / "void"),
    ):
        change()
        seen.append(file_digest(folder))
    assert len(set(seen)) == len(seen) and file_digest(folder) == seen[-1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a name that is not UTF-8")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xff.txt")
    (tmp_path / name).write_text("1")
    os.utime(tmp_path / name, ns=(1, 1))
    state = State(tmp_path / "cache" / "state.db")
    for _ in range(2):
        files = Files(state, tmp_path)
        assert files.digest(name)[1] == file_digest(tmp_path / name)
        assert files.digest(".")[1].startswith("directory-")
    state.close()
