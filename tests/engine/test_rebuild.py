"""What is rebuilt and what is not, by real runs: edits of code, of inputs, of results, and of nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from space import Space

from wfe.core.outcome import StepState
from wfe.errors import ExitCode

NODES = """
import helper
SCALE = 3
OTHER = 5

@workflow_node()
def load(path: Path):
    return {"text": path.read_text(), "size": path.stat().st_size}

@workflow_node()
def scale(size: int, by: int = 1):
    return {"scaled": size * SCALE * by, "even": size % 2 == 0}

@workflow_node()
def shout(text: str):
    return {"loud": helper.loud(text)}

@workflow_node()
def write(scaled: int, to: Output):
    to.write_text(str(scaled))
"""
ALL = ("load", "scale", "shout", "write")


@pytest.fixture
def chain(space: Space) -> Space:
    """load -> scale -> write, load -> shout; a helper module two imports deep."""
    space.nodes(NODES)
    space.file("helper.py", "import deep\ndef loud(text):\n    return deep.up(text)\ndef unused():\n    return 1\n")
    space.file("deep.py", "MARK = '!'\ndef up(text):\n    return text.upper() + MARK\n")
    space.file("in.txt", "abcd")
    space.workflow(
        [
            {"id": "load", "inputs": {"path": "in.txt"}},
            {"id": "scale", "inputs": {"size": "$load.size", "by": "${by}"}},
            {"id": "shout", "inputs": {"text": "$load.text"}},
            {"id": "write", "inputs": {"scaled": "$scale.scaled", "to": "out/n.txt"}},
        ],
        params={"by": 1},
    )
    space.run()
    space.ran(*ALL)
    return space


def test_a_second_run_does_nothing(chain: Space) -> None:
    chain.run()
    chain.nothing_ran()
    chain.current(*ALL)


def test_cosmetic_edits_rebuild_nothing(chain: Space) -> None:
    text = (chain.root / "nodes/n.py").read_text()
    chain.file(
        "nodes/n.py",
        "# a comment\n\n\n"
        + text.replace("size * SCALE * by", "(size\n        * SCALE   # times\n        * by)").replace('"', "'"),
    )
    chain.edit("deep.py", "MARK = '!'", 'MARK   =   "!"  # loud')
    chain.run()
    chain.nothing_ran()


@pytest.mark.parametrize(
    ("file", "old", "new", "ran"),
    [
        ("nodes/n.py", "SCALE = 3", "SCALE = 4", {"scale", "write"}),
        ("nodes/n.py", "OTHER = 5", "OTHER = 6", set()),
        ("helper.py", "return 1", "return 2", set()),
        ("helper.py", "deep.up(text)", "deep.up(text) * 2", {"shout"}),
        ("deep.py", "MARK = '!'", "MARK = '?'", {"shout"}),
        ("in.txt", "abcd", "efgh", {"load", "shout"}),
        ("in.txt", "abcd", "abcdef", {"load", "scale", "shout", "write"}),
    ],
)
def test_an_edit_rebuilds_what_uses_it(chain: Space, file: str, old: str, new: str, ran: set[str]) -> None:
    chain.edit(file, old, new)
    chain.run()
    chain.ran(*ran)
    chain.current(*(set(ALL) - ran))
    chain.edit(file, new, old)
    chain.run()
    chain.ran()
    chain.run()
    chain.nothing_ran()


def test_early_cutoff(chain: Space) -> None:
    chain.edit("nodes/n.py", '"size": path.stat().st_size', '"size": len(path.read_bytes())')
    chain.run()
    chain.ran("load")
    chain.current("scale", "shout", "write")


def test_early_cutoff_is_per_output(chain: Space) -> None:
    chain.edit("nodes/n.py", '"size": path.stat().st_size', '"size": 10')
    chain.run()
    chain.ran("load", "scale", "write")
    chain.current("shout")


def test_going_back_restores(chain: Space) -> None:
    chain.run(by=2)
    chain.ran("scale", "write")
    assert (chain.root / "out/n.txt").read_text() == "24"
    chain.run(by=1)
    chain.restored("scale", "write")
    assert (chain.root / "out/n.txt").read_text() == "12"
    chain.run(by=1)
    chain.nothing_ran()


@pytest.mark.parametrize("harm", ["deleted", "edited", "same size", "emptied", "a folder"])
def test_a_harmed_target_is_restored(chain: Space, harm: str) -> None:
    target = chain.root / "out/n.txt"
    if harm in ("deleted", "a folder"):
        target.unlink()
    if harm == "a folder":
        target.mkdir()
        chain.run()
        chain.failed("write")  # what is in the folder may be the user's own: it is not deleted
        assert chain.last is not None and chain.last.code is ExitCode.ENVIRONMENT
        return
    if harm != "deleted":
        target.write_text({"edited": "another text", "same size": "99", "emptied": ""}[harm])
    chain.run()
    chain.ran()
    chain.restored("write")
    assert target.read_text() == "12"


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_a_harmed_result_file_is_restored(chain: Space, harm: str) -> None:
    file = chain.result_file("scale")
    before = file.read_bytes()
    if harm == "deleted":
        file.unlink()
    else:
        file.write_bytes(before[:-3])
    chain.run()
    chain.restored("scale")
    chain.current("load", "shout", "write")
    assert file.read_bytes() == before


@pytest.mark.parametrize("harm", ["deleted", "damaged", "same size"])
def test_a_harmed_blob_makes_its_step_run_again(chain: Space, harm: str) -> None:
    (blob,) = chain.blobs()
    blob.chmod(0o644)
    if harm == "deleted":
        blob.unlink()
    else:
        blob.write_bytes(b"1" if harm == "damaged" else b"99")
    chain.run()
    chain.ran("write")
    assert blob.read_bytes() == b"12"
    chain.run()
    chain.nothing_ran()


def test_blob_and_target_deleted(chain: Space) -> None:
    for blob in chain.blobs():
        blob.chmod(0o644)
        blob.unlink()
    shutil.rmtree(chain.root / "out")
    chain.run()
    chain.ran("write")
    assert (chain.root / "out/n.txt").read_text() == "12"


def test_everything_but_the_blobs_deleted(chain: Space) -> None:
    for name in os.listdir(chain.cache):
        if name != "blobs":
            path = chain.cache / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    chain.run()
    chain.ran(*ALL)
    chain.run()
    chain.nothing_ran()


def test_a_touched_file_rebuilds_nothing_and_is_stamped_anew(chain: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfe.store import files

    path = chain.root / "in.txt"
    os.utime(path, ns=(10**18, 10**18))
    _settle(monkeypatch)
    hashed: list[str] = []
    honest = files.file_digest
    monkeypatch.setattr(files, "file_digest", lambda path: (hashed.append(str(path)), honest(path))[1])
    chain.run()
    chain.nothing_ran()
    assert hashed == [str(path)]
    chain.run()
    chain.nothing_ran()
    assert hashed == [str(path)], "a touched file was hashed a second time"


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every stamp taken from now on be old enough to be trusted, without waiting."""
    from wfe.store import stamp

    monkeypatch.setattr(stamp, "_TICK_NS", -(10**18))
    monkeypatch.setattr(stamp, "_COARSE_NS", -(10**18))


def test_an_edit_with_equal_time_and_size_is_noticed(chain: Space) -> None:
    path = chain.root / "in.txt"
    times = path.stat()
    path.write_text("wxyz")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    chain.run()
    chain.ran("load", "shout")
    assert chain.value("load")["text"] == "wxyz"


def test_an_edit_within_the_tick_of_the_clock_is_noticed(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the change time is of no help (some file systems, Windows), an unsettled stamp is what saves."""
    from wfe.store import stamp

    space.nodes("@workflow_node()\ndef a(path: Path):\n    return {'text': path.read_text()}\n")
    space.workflow([{"id": "a", "inputs": {"path": "in.txt"}}])
    path = space.file("in.txt", "abcd")
    frozen = path.stat()

    class Still:
        """A stat whose times and inode stand still, as a coarse clock would leave them."""

        def __init__(self, found: os.stat_result) -> None:
            self.st_size, self.st_mode = found.st_size, found.st_mode
            self.st_mtime_ns, self.st_ctime_ns, self.st_ino = frozen.st_mtime_ns, frozen.st_ctime_ns, frozen.st_ino

    honest = os.stat

    def stat(name: object, **rest: object) -> object:
        found = honest(name, **rest)  # type: ignore[call-overload]
        return Still(found) if str(name).endswith("in.txt") else found

    class Clock:
        """The clock as it stands a millisecond after the file was written."""

        time_ns = staticmethod(lambda: max(frozen.st_mtime_ns, frozen.st_ctime_ns) + 1_000_000)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(stamp, "time", Clock)
    space.run()
    space.ran("a")
    path.write_text("wxyz")
    space.run()
    space.ran("a")
    space.run()
    space.nothing_ran()


@pytest.mark.parametrize("way", ["replace", "copy2"])
def test_a_file_replaced_by_another_of_equal_size_and_time(chain: Space, way: str) -> None:
    path, other = chain.root / "in.txt", chain.root / "other.txt"
    other.write_text("wxyz")
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path) if way == "replace" else shutil.copy2(other, path)
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    chain.run()
    chain.ran("load", "shout")


def test_an_input_renamed_with_the_same_content(chain: Space) -> None:
    (chain.root / "in.txt").rename(chain.root / "renamed.txt")
    chain.edit("workflows/w.json", "in.txt", "renamed.txt")
    chain.run()
    chain.nothing_ran()


def test_another_suffix_is_another_input(chain: Space) -> None:
    (chain.root / "in.txt").rename(chain.root / "in.md")
    chain.edit("workflows/w.json", "in.txt", "in.md")
    chain.run()
    chain.ran("load")  # a reader may go by the suffix
    chain.current("scale", "shout", "write")


def test_renaming_a_step_rebuilds_nothing(chain: Space) -> None:
    text = (chain.root / "workflows/w.json").read_text()
    chain.file(
        "workflows/w.json",
        text.replace('"id": "load"', '"id": "first"').replace("$load.", "$first."),
    )
    chain.run()
    chain.ran()
    chain.restored("first")
    chain.current("scale", "shout", "write")


def test_two_workflows_share_results(chain: Space) -> None:
    shutil.copy(chain.root / "workflows/w.json", chain.root / "workflows/v.json")
    chain.edit("workflows/v.json", "out/n.txt", "out2/n.txt")
    chain.run("v")
    chain.ran()
    chain.restored(*ALL)
    assert (chain.root / "out2/n.txt").read_text() == "12"


def test_a_moved_project(chain: Space) -> None:
    moved = chain.root.with_name("elsewhere")
    chain.root.rename(moved)
    again = Space(moved)
    again.run()
    again.nothing_ran()
    shutil.copytree(moved, chain.root)
    copied = Space(chain.root)
    copied.run()
    copied.nothing_ran()


def test_never_cached_runs_each_time_and_cuts_off(space: Space) -> None:
    space.nodes("""
    @workflow_node(cache="never")
    def clock(path: str):
        from pathlib import Path
        return {"time": Path(path).read_text()}
    @workflow_node()
    def show(time: str):
        return {"shown": time}
    """)
    told = space.file("clock.txt", "noon")
    space.workflow([{"id": "clock", "inputs": {"path": str(told)}}, {"id": "show", "depends_on": ["clock"]}])
    space.run()
    space.ran("clock", "show")
    space.run()
    space.ran("clock")
    space.current("show")
    told.write_text("midnight")
    space.run()
    space.ran("clock", "show")


def test_the_document_may_say_never(space: Space) -> None:
    space.nodes("@workflow_node()\ndef a():\n    return {}\n")
    space.workflow([{"id": "a", "cache": "never"}])
    for _ in range(2):
        space.run()
        space.ran("a")


def test_seed_is_part_of_the_key_and_makes_equal(space: Space) -> None:
    space.nodes("""
    import random
    @workflow_node(seed=1)
    def a():
        return {"x": random.random()}
    """)
    space.workflow([{"id": "a"}, {"id": "b", "function": "n.a", "seed": 2}])
    space.run()
    space.ran("a", "b")
    first = space.value("a"), space.value("b")
    assert first[0] != first[1]
    shutil.rmtree(space.cache)
    space.run()
    assert (space.value("a"), space.value("b")) == first
    space.edit("nodes/n.py", "seed=1", "seed=2")
    space.run()
    space.restored("a")
    assert space.value("a") == first[1]


def test_ttl(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfe.engine import action, decide, run

    space.nodes("@workflow_node(ttl=60)\ndef a():\n    return {'x': 1}\n@workflow_node()\ndef b(x):\n    return {}\n")
    space.workflow([{"id": "a"}, {"id": "b", "depends_on": ["a"]}])
    now = [1_000_000.0]

    class Clock:
        """The time module of the engine, at a moment that the test chooses."""

        time = staticmethod(lambda: now[0])
        perf_counter = staticmethod(lambda: 0.0)
        time_ns = staticmethod(lambda: int(now[0] * 1e9))
        strftime, localtime = staticmethod(__import__("time").strftime), staticmethod(__import__("time").localtime)

    monkeypatch.setattr(run, "time", Clock)
    monkeypatch.setattr(action, "time", Clock)
    monkeypatch.setattr(decide, "time", Clock)
    space.run()
    space.ran("a", "b")
    now[0] += 59
    space.run()
    space.nothing_ran()
    now[0] += 2
    space.run()
    space.ran("a")
    space.current("b")
    now[0] += 59
    space.run()
    space.nothing_ran()


def test_an_input_that_changes_while_its_step_runs_is_not_recorded(space: Space) -> None:
    space.nodes("""
    @workflow_node()
    def a(path: Path, put: str):
        text = path.read_text()
        if put:
            path.write_text(put)
        return {"text": text}
    """)
    space.file("in.txt", "old")
    space.workflow([{"id": "a", "inputs": {"path": "in.txt", "put": "${put}"}}], params={"put": ""})
    ended = space.run(put="new")
    space.failed("a")
    assert "in.txt changed while it ran" in ended.failure("a")
    assert ended.code is ExitCode.FAILED
    space.file("in.txt", "old")
    space.run(put="new")
    space.failed("a")  # nothing was kept under the old content
    space.run()
    space.ran("a")
    assert space.value("a") == {"text": "new"}


def test_a_source_that_changes_while_its_step_runs_is_not_recorded(space: Space) -> None:
    space.nodes("""
    import other
    @workflow_node()
    def a(where: str):
        Path(where).write_text("VALUE = 2\\n")
        return {"x": other.VALUE}
    """)
    other = space.file("other.py", "VALUE = 1\n")
    space.workflow([{"id": "a", "inputs": {"where": str(other)}}])
    ended = space.run()
    space.failed("a")
    assert "other.py changed while it ran" in ended.failure("a")
    space.run()
    space.ran("a")
    assert space.value("a") == {"x": 2}


def test_a_source_that_changes_between_plan_and_call_is_not_recorded(space: Space) -> None:
    space.nodes("X = 1\n@workflow_node()\ndef a():\n    return {'x': X}\n")
    space.workflow([{"id": "a"}])
    space.run(change=lambda run: space.edit("nodes/n.py", "X = 1", "X = 2"))
    space.failed("a")
    space.edit("nodes/n.py", "X = 2", "X = 1")
    space.run()
    space.ran("a")
    assert space.value("a") == {"x": 1}


def test_upgrading_a_package_rebuilds_its_users_alone(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    site = space.root.parent / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(version: str) -> None:
        for old in site.glob("*.dist-info"):
            shutil.rmtree(old)
        info = site / f"fakepkg-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fakepkg\nVersion: {version}\n")
        (info / "top_level.txt").write_text("fakepkg\n")
        (info / "RECORD").write_text("fakepkg.py,,\n")
        (site / "fakepkg.py").write_text("def value():\n    return 1\n")

    install("1.0")
    space.nodes("import fakepkg\n@workflow_node()\ndef a():\n    return {'x': fakepkg.value()}\n", "with_it")
    space.nodes("@workflow_node()\ndef b():\n    return {'x': 1}\n", "without_it")
    space.workflow([{"id": "a", "function": "with_it.a"}, {"id": "b", "function": "without_it.b"}])
    space.run()
    space.ran("a", "b")
    install("2.0")
    ended = space.run()
    space.ran("a")
    space.current("b")
    assert "fakepkg==1.0" in ended.why("a") and "fakepkg==2.0" in ended.why("a")
    install("1.0")
    space.run()
    space.restored("a")


def test_arrays_and_long_values_go_by_content(space: Space) -> None:
    space.nodes("""
    import numpy as np
    @workflow_node()
    def make(n: int):
        return {"image": np.arange(n, dtype="uint8"), "text": "x" * 300_000}
    @workflow_node()
    def use(image, text: str):
        return {"sum": int(image.sum()), "length": len(text), "kind": str(image.dtype)}
    """)
    space.workflow([{"id": "make", "inputs": {"n": 5}}, {"id": "use", "depends_on": ["make"]}])
    space.run()
    assert space.value("use") == {"sum": 10, "length": 300_000, "kind": "uint8"}
    space.run()
    space.nothing_ran()
    space.edit("nodes/n.py", "np.arange(n,", "np.arange(0, n,")
    space.run()
    space.ran("make")
    space.current("use")
    for blob in space.blobs():
        blob.chmod(0o644)
        blob.write_bytes(b"damaged")
    space.run()
    space.ran("make")
    space.current("use")
    assert space.value("use")["sum"] == 10


def test_outputs_of_a_step_that_was_skipped_or_failed_are_kept_apart(space: Space) -> None:
    space.nodes("""
    @workflow_node()
    def a(x: int):
        if x == 2:
            raise Skip("not two")
        if x == 3:
            raise ValueError("three")
        return {"y": x}
    @workflow_node()
    def b(y: int | None = None):
        return {"z": y}
    """)
    space.workflow([{"id": "a", "inputs": {"x": "${x}"}}, {"id": "b", "inputs": {"y": "$a.y"}}], params={"x": 1})
    space.run()
    space.ran("a", "b")
    ended = space.run(x=2)
    space.skipped("a")
    space.ran("b")
    assert ended.code is ExitCode.OK and space.value("b") == {"z": None}
    ended = space.run(x=3)
    space.failed("a")
    space.blocked("b")
    assert ended.code is ExitCode.FAILED
    space.run()
    space.ran()
    assert space.value("b") == {"z": 1}
    assert ended.outcomes["a"].state is StepState.FAILED


def test_the_name_of_a_written_file_counts_for_who_is_told_it(space: Space) -> None:
    space.nodes("""
    @workflow_node()
    def write(to: Output):
        to.write_text("same")
    @workflow_node()
    def name(file: str):
        return {"name": Path(file).name}
    """)
    space.workflow(
        [
            {"id": "write", "inputs": {"to": "${to}"}},
            {"id": "name", "inputs": {"file": "$write.to"}},
        ],
        params={"to": "out/a.txt"},
    )
    space.run()
    assert space.value("name") == {"name": "a.txt"}
    space.run(to="out/b.txt")
    assert space.value("name") == {"name": "b.txt"}


@pytest.mark.parametrize("hint", ["list[Path]", "list[Path] | None", "dict[str, Path]", "tuple[Path, Path]"])
def test_every_path_in_an_input_counts_by_content(space: Space, hint: str) -> None:
    space.nodes(f"""
    @workflow_node()
    def read(paths: {hint}):
        return {{"text": [Path(one).read_text() for one in (paths.values() if isinstance(paths, dict) else paths)]}}
    """)
    one, two = str(space.file("1.txt", "one")), str(space.file("2.txt", "two"))
    given = {"a": one, "b": two} if hint.startswith("dict") else [one, two]
    space.workflow([{"id": "read", "inputs": {"paths": given}}])
    space.run()
    assert space.value("read") == {"text": ["one", "two"]}
    space.file("2.txt", "drei")
    space.run()
    space.ran("read")
    assert space.value("read") == {"text": ["one", "drei"]}


def test_a_list_of_files_that_another_step_writes_makes_an_edge(space: Space) -> None:
    space.nodes("""
    @workflow_node()
    def write(to: Output, text: str):
        to.write_text(text)
    @workflow_node()
    def read(paths: list[Path]):
        return {"text": [one.read_text() for one in paths]}
    """)
    space.workflow(
        [
            {"id": "read", "inputs": {"paths": ["out/1.txt", "in.txt"]}},
            {"id": "write", "inputs": {"to": "out/1.txt", "text": "${text}"}},
        ],
        params={"text": "one"},
    )
    space.file("in.txt", "in")
    space.run()
    assert space.value("read") == {"text": ["one", "in"]}
    space.run(text="two")
    assert space.value("read") == {"text": ["two", "in"]}


def test_a_folder_counts_by_what_is_in_it(space: Space) -> None:
    space.nodes("""
    @workflow_node()
    def names(folder: Path):
        return {"names": sorted(one.name for one in folder.rglob("*"))}
    """)
    space.file("in/a.txt", "a")
    space.file("in/deep/b.txt", "b")
    space.workflow([{"id": "names", "inputs": {"folder": "in"}}])
    space.run()
    space.run()
    space.nothing_ran()
    space.file("in/deep/c.txt", "c")
    space.run()
    space.ran("names")
    (space.root / "in/deep/c.txt").rename(space.root / "in/deep/d.txt")
    space.run()
    space.ran("names")
    assert space.value("names") == {"names": ["a.txt", "b.txt", "d.txt", "deep"]}
    (space.root / "in/deep/d.txt").rename(space.root / "in/deep/c.txt")
    space.run()
    space.restored("names")


def test_a_step_that_writes_its_own_input_is_refused(space: Space) -> None:
    from wfe.errors import WorkflowError

    space.nodes("@workflow_node()\ndef a(path: Path, to: Output):\n    to.write_text(path.read_text() + '.')\n")
    space.file("x.txt", "x")
    space.workflow([{"id": "a", "inputs": {"path": "x.txt", "to": "./x.txt"}}])
    with pytest.raises(WorkflowError, match="writes 'x.txt', which it also reads"):
        space.run()


def test_a_file_in_place_of_a_folder_and_back(space: Space) -> None:
    space.nodes("@workflow_node()\ndef a(path: Path):\n    return {'folder': path.is_dir()}\n")
    where = space.file("in", "text")
    space.workflow([{"id": "a", "inputs": {"path": "in"}}])
    space.run()
    assert space.value("a") == {"folder": False}
    where.unlink()
    Path(where).mkdir()
    space.run()
    assert space.value("a") == {"folder": True}
