"""Files and sources as inputs: they count by content, whatever their stamps say, and at the time when a step reads them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from space import Space

from wfe.core.digest import digest
from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.errors import EnvironmentFailure, ExitCode, WorkflowError


def test_a_touched_file_rebuilds_nothing_and_is_stamped_anew(chain: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfe.store import files

    path = chain.root / "in.txt"
    os.utime(path, ns=(10**18, 10**18))
    _settle(monkeypatch)
    hashed: list[str] = []
    honest = files.file_digest
    monkeypatch.setattr(files, "file_digest", lambda path, told=None: (hashed.append(str(path)), honest(path, told))[1])
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


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("data.tar.gz", "data.gz", False),
        ("data.tar.gz", "other.tar.gz", True),
        ("v1.2/data.gz", "v1.3/data.gz", True),
        (".data", ".other", True),
        (".data.gz", ".other.gz", True),
        ("data", "data.", False),
    ],
)
def test_every_suffix_counts(space: Space, old: str, new: str, same: bool) -> None:
    space.nodes("@workflow_node\ndef suffixes(path: Path):\n    return {'found': path.suffixes}\n")
    for name in (old, new):
        space.file(name, "the same")
        space.workflow([{"id": "suffixes", "inputs": {"path": name}}])
        space.run()
    space.current(*(["suffixes"] if same else []))
    assert space.value("suffixes") == {"found": Path(new).suffixes}


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


def test_an_input_that_changes_and_changes_back_is_not_recorded_either(space: Space) -> None:
    """As by `git stash` and `git stash pop` in the middle of a run: the content is that of the key again."""
    space.nodes("""
    @workflow_node()
    def a(path: Path, folder: Path, other: str):
        old = path.read_text()
        path.write_text(other)
        text = path.read_text()
        path.write_text(old)
        (folder / "scratch").write_text("")
        (folder / "scratch").unlink()
        return {"text": text}
    """)
    space.file("in.txt", "old")
    space.file("folder/a.txt", "")
    space.workflow(
        [{"id": "a", "inputs": {"path": "in.txt", "folder": "folder", "other": "${other}"}}], params={"other": ""}
    )
    assert "in.txt changed while it ran" in space.run(other="new").failure("a")


@pytest.mark.parametrize("inline", [True, False])
def test_a_source_that_changed_only_while_it_was_imported_is_not_recorded(space: Space, inline: bool) -> None:
    space.nodes("""
    @workflow_node()
    def a(where: str, other: str):
        old = Path(where).read_text()
        Path(where).write_text(other or old)
        import other
        Path(where).write_text(old)
        return {"x": other.VALUE}

    @workflow_node()
    def b():
        import other
        return {"x": other.VALUE}
    """)
    other = space.file("other.py", "VALUE = 1\n")
    nodes = [
        {"id": "a", "inputs": {"where": str(other), "other": "VALUE = 2\n"}},
        {"id": "b"},
    ]
    space.workflow(nodes)
    ended = space.run(inline=inline)
    assert "its source other.py changed while it ran" in ended.failure("a")
    space.failed("a")
    assert space.value("b") == {"x": 1}  # not from the module that was imported then


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


@pytest.mark.parametrize("declared", ["", "(outputs={'saved': Path})"])
def test_a_written_file_goes_by_its_parameter_whatever_the_function_called_it(space: Space, declared: str) -> None:
    space.nodes(
        f"@workflow_node{declared}\n"
        "def write(text: str, to: Output):\n"
        "    to.write_text(text)\n"
        "    return {'saved': to}\n"
        "@workflow_node\n"
        "def read(path: Path): return {'text': path.read_text()}\n"
    )

    def told(text: str) -> None:
        space.workflow(
            [
                {"id": "by_path", "function": "n.read", "inputs": {"path": "out/a.txt"}},
                {"id": "by_parameter", "function": "n.read", "inputs": {"path": "$write.to"}},
                {"id": "by_output", "function": "n.read", "inputs": {"path": "$write.saved"}},
                {"id": "write", "inputs": {"text": text, "to": "out/a.txt"}},
            ]
        )

    for text in ("one", "two"):
        told(text)
        space.run()
        assert [space.value(one)["text"] for one in ("by_path", "by_parameter", "by_output")] == [text] * 3
    space.run()
    space.nothing_ran()
    assert list(space.value("write")) == ["saved"], "it is returned once"


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


def test_a_directory_and_a_file_are_never_the_same(space: Space) -> None:
    """Not an empty one and an empty one, and not a directory and a file that holds its listing."""
    space.nodes("@workflow_node\ndef look(p: Path): return {'folder': p.is_dir()}\n")
    space.workflow([{"id": "look", "inputs": {"p": "in"}}])
    path = space.root / "in"
    for listing in ("", f"1 a {digest(b'x')}\n"):
        path.mkdir()
        if listing:
            (path / "a").write_text("x")
        assert space.run().values["look"]["folder"] is True
        shutil.rmtree(path)
        path.write_text(listing)
        assert space.run().values["look"]["folder"] is False
        path.unlink()


def test_an_output_that_became_a_directory_is_told(space: Space) -> None:
    space.nodes("@workflow_node\ndef save(to: Output): to.write_text('')\n")
    space.workflow([{"id": "save", "inputs": {"to": "out.txt"}}])
    space.run()
    (space.root / "out.txt").unlink()
    (space.root / "out.txt").mkdir()
    assert "cannot be written" in space.run().failure("save")
    (space.root / "out.txt").rmdir()
    space.run()
    assert (space.root / "out.txt").read_text() == ""


@pytest.mark.parametrize(
    "statement", ["import late", "from nodes import late", "from nodes.late import K", "import late.deep as late"]
)
@pytest.mark.parametrize("where", ["in the function", "in the module"])
def test_a_source_that_comes_while_the_workflow_runs_is_noticed(space: Space, where: str, statement: str) -> None:
    """Else what was made with it stands for what is made without it."""
    tried = f"try:\n    {statement}\n    K = 1\nexcept ImportError:\n    K = None\n"
    body = tried + "return {'k': K}\n" if where == "in the function" else "return {'k': K}\n"
    above = tried if where == "in the module" else ""
    space.nodes(
        f"{above}@workflow_node\ndef use():\n" + "".join(f"    {line}\n" for line in body.splitlines()), "other"
    )
    space.nodes(
        """
        @workflow_node
        def gen(at: str):
            if at:
                Path(at).parent.mkdir(exist_ok=True)
                Path(at).write_text("K = 1")
        """
    )
    path = "nodes/late.py" if "nodes" in statement else "late/deep.py" if "deep" in statement else "late.py"
    space.workflow(
        [
            {"id": "gen", "inputs": {"at": "${at}"}},
            {"id": "use", "function": "other.use", "depends_on": ["gen"]},
        ],
        params={"at": ""},
    )
    found = space.run(at=str(space.root / path), inline=False)
    assert "came while it ran" in found.failure("use")
    space.run(at=str(space.root / path), inline=False)
    assert space.value("use") == {"k": 1}
    shutil.rmtree(space.root / "late") if "deep" in path else (space.root / path).unlink()
    space.run(inline=False)
    assert space.value("use") == {"k": None}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name")
def test_an_output_never_replaces_what_is_no_plain_file(space: Space) -> None:
    """As root, a step whose output was called /dev/null replaced it."""
    space.nodes("@workflow_node\ndef save(to: Output, text: str): to.write_text(text)\n")
    space.workflow([{"id": "save", "inputs": {"to": "out.txt", "text": "${text}"}}], params={"text": "a"})
    pipe = space.root / "out.txt"
    space.run()
    pipe.unlink()
    os.mkfifo(pipe)
    assert "what stands there is no plain file" in space.run().failure("save")  # by a plan that was remembered
    with pytest.raises(WorkflowError, match=r"out\.txt', which is no plain file"):
        space.run(text="b")
    assert pipe.is_fifo()


def test_what_cannot_be_removed_is_told(space: Space) -> None:
    space.nodes("@workflow_node\ndef save(to: Output): to.write_text('')\n")
    space.workflow([{"id": "save", "inputs": {"to": "out.txt"}}])
    space.run()
    (space.root / "out.txt").unlink()
    (space.root / "out.txt").mkdir()
    workspace = Workspace(Project.at(space.root))
    with pytest.raises(EnvironmentFailure, match=r"^out\.txt cannot be removed"):
        workspace.clean("w", "save")
    workspace.close()


def test_an_input_file_that_is_gone_is_told_before_anything_runs(space: Space) -> None:
    """By a plan that was remembered, too."""
    space.nodes("""
    @workflow_node(cache="never")
    def first() -> dict: return {"n": 1}

    @workflow_node()
    def last(n: int, path: Path) -> dict: return {"text": path.read_text()}
    """)
    space.workflow([{"id": "first"}, {"id": "last", "inputs": {"n": "$first.n", "path": "in.txt"}}])
    space.file("in.txt", "a")
    space.run()
    (space.root / "in.txt").unlink()
    with pytest.raises(WorkflowError, match=r"there is no file 'in\.txt'"):
        space.run()
    space.file("in.txt", "a")
    space.run()
    space.current("last")
