"""Files that a step writes or reads, when their place or the way they are named changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from space import Space

from wfe.errors import WorkflowError

WRITER = """
@workflow_node(outputs={"path": Output})
def write(text: str, path: Output):
    Path(path).write_text(text)
    return {"path": path}

@workflow_node(outputs={"text": str})
def read(path: Path):
    return {"text": Path(path).read_text()}
"""


def writes(space: Space, path: str, text: str = "hi") -> None:
    space.workflow([{"id": "write", "inputs": {"text": text, "path": path}}])


def test_an_output_that_moved_is_written_there(space: Space) -> None:
    space.nodes(WRITER)
    writes(space, "one/a.txt")
    space.run()
    writes(space, "two/a.txt")
    space.run()
    space.restored("write")
    assert (space.root / "two/a.txt").read_text() == "hi"
    space.run()
    space.nothing_ran()


def test_a_file_of_somebody_else_at_the_new_place_is_no_result(space: Space) -> None:
    space.nodes(WRITER)
    writes(space, "one/a.txt")
    space.run()
    space.file("two/a.txt", "of somebody else")
    writes(space, "two/a.txt")
    space.run()
    assert (space.root / "two/a.txt").read_text() == "hi"


def test_a_reader_follows_an_output_to_and_fro(space: Space) -> None:
    space.nodes(WRITER)

    def run(path: str, text: str) -> object:
        space.workflow(
            [
                {"id": "write", "inputs": {"text": text, "path": path}},
                {"id": "read", "inputs": {"path": "$write.path"}},
            ]
        )
        return space.run().values["read"]["text"]

    assert run("o1/q.txt", "1") == "1"
    assert run("o2/q.txt", "2") == "2"
    assert run("o1/q.txt", "2") == "2"


def test_a_reader_follows_an_output_that_moved_in_a_run_without_it(space: Space) -> None:
    space.nodes(
        """
        @workflow_node
        def write(path: Output):
            path.write_text("same")
        @workflow_node
        def read(p: Path):
            return {"t": p.suffix}
        @workflow_node
        def told(p: Any):
            return {"t": p}
        """
    )
    for suffix in ("txt", "csv", "txt"):
        space.workflow(
            [
                {"id": "write", "inputs": {"path": f"out.{suffix}"}},
                {"id": "each", "function": "n.write", "foreach": [{"id": suffix}], "inputs": {"path": "${key}.x"}},
                {"id": "read", "inputs": {"p": "$write.path"}},
                {"id": "told", "inputs": {"p": ["$write.path"]}},
                {"id": "all", "function": "n.told", "inputs": {"p": "$each.path"}},
            ]
        )
        space.run("w", "write", "each")
        values = space.run().values
        assert values["read"]["t"] == f".{suffix}"
        assert values["told"]["t"] == [f"out.{suffix}"]
        assert values["all"]["t"] == [f"{suffix}.x"]


def test_a_fan_follows_the_names_of_the_files_that_it_goes_through(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"files": list})
        def write(a: Output):
            a.write_text("same")
            return {"files": [a]}
        @workflow_node
        def read(key: str, p: Path):
            return {"t": key}
        """
    )
    for name in ("a", "a", "b", "b", "a", "a"):
        space.workflow(
            [
                {"id": "write", "inputs": {"a": f"{name}.txt"}},
                {"id": "read", "foreach": "$write.files", "inputs": {"key": "${key}", "p": "$item"}},
            ]
        )
        assert space.run().values[f"read[{name}.txt]"]["t"] == f"{name}.txt"


def test_two_outputs_that_were_exchanged(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"a": Output, "b": Output})
        def both(a: Output, b: Output):
            Path(a).write_text("A")
            Path(b).write_text("B")
            return {"a": a, "b": b}
        """
    )
    for one, two in (("s1/q", "s2/q"), ("s2/q", "s1/q")):
        space.workflow([{"id": "both", "inputs": {"a": one, "b": two}}])
        space.run()
        assert (space.root / one).read_text() == "A" and (space.root / two).read_text() == "B"


@pytest.mark.parametrize(
    ("header", "annotation"),
    [
        ("from pathlib import Path as Q", "Q"),
        ("import os", "os.PathLike"),
        ("from typing import NewType\nPicture = NewType('Picture', Path)", "Picture"),
        ("from typing import TypeAlias\nPicture: TypeAlias = Path", "Picture"),
        ("from pathlib import PosixPath", "PosixPath"),
        ("from typing import TypeVar\nPicture = TypeVar('Picture', Path, str)", "Picture"),
        ("", "Path or None"),
        ("import os", "Path if os.name else str"),
        ("", "(Path, str)"),
    ],
)
def test_a_path_by_another_name_is_a_file_whose_content_counts(space: Space, header: str, annotation: str) -> None:
    space.nodes(f'\n{header}\n@workflow_node\ndef read(p: {annotation}):\n    return {{"t": open(p).read()}}\n')
    space.workflow([{"id": "read", "inputs": {"p": "d.txt"}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == text


@pytest.mark.parametrize(
    ("kinds", "header", "annotation"),
    [
        ("Picture = Path\nPictures = list[Picture] | Picture", "from nodes.kinds import Pictures", "Pictures"),
        ("Picture = Path | None", "from nodes.kinds import Picture\nMine = Picture", "Mine"),
        ("Picture = Path", "from nodes import kinds as k", "k.Picture"),
        ("Picture = Path", "import nodes.kinds", "nodes.kinds.Picture"),
        ("Picture = Path", "from nodes.kinds import *", "Picture"),
        ("Picture = Path", "from nodes.kinds import Picture", "'Picture | None'"),
        ("Picture = 'Path'", "from nodes.kinds import Picture", "Picture"),
        ("class Picture(Path): pass", "from nodes.kinds import Picture", "Picture"),
        ("try:\n    import no_such\nexcept ImportError:\n    Picture = Path", "from nodes.kinds import *", "Picture"),
        ("", "if True:\n    Picture = Path\nelse:\n    Picture = str", "Picture"),
        ("", "from typing import Final as F", "F[Path]"),
    ],
)
def test_a_path_by_a_name_that_stands_for_it_elsewhere_counts(
    space: Space, kinds: str, header: str, annotation: str
) -> None:
    space.file("nodes/kinds.py", f"from pathlib import Path\n{kinds}\n")
    space.nodes(f'\n{header}\n@workflow_node\ndef read(p: {annotation}):\n    return {{"t": open(p).read()}}\n')
    space.workflow([{"id": "read", "inputs": {"p": "d.txt"}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == text


def test_names_that_stand_for_each_other_stand_for_nothing(space: Space) -> None:
    space.file("nodes/kinds.py", "from nodes.more import Two\nOne = list[Two]\n")
    space.file("nodes/more.py", "from nodes.kinds import One\nTwo = list[One]\nTree = dict[str, 'Tree']\n")
    space.nodes(
        "\nfrom nodes.kinds import One\nfrom nodes.more import Tree\n@workflow_node\ndef f(a: One, b: Tree): pass\n"
    )
    space.workflow([{"id": "f", "inputs": {"a": [[1]], "b": {"x": {}}}}])
    assert "circular import" in space.run().failure("f")


@pytest.mark.parametrize("other", ["io.IOBase", "np.ndarray", "dict"])
def test_a_path_or_something_else_counts_where_it_is_a_path(space: Space, other: str) -> None:
    space.nodes(
        f"""
        import io
        import numpy as np
        @workflow_node(outputs={{"none": list, "table": dict, "array": np.ndarray}})
        def make():
            return {{"none": ["x"], "table": {{"a": "x"}}, "array": np.arange(3)}}
        @workflow_node
        def write(path: Output):
            path.write_text("written")
        @workflow_node
        def read(p: Path | {other}):
            return {{"t": p.read_text() if isinstance(p, Path) else repr(p)}}
        """
    )
    given = {"io.IOBase": ["$make.none", ["x"]], "np.ndarray": ["$make.array"], "dict": ["$make.table", {"a": "x"}]}[
        other
    ]
    inputs = ["d.txt", "$write.path", *given]
    space.workflow(
        [
            {"id": "make"},
            {"id": "write", "inputs": {"path": "out.txt"}},
            *({"id": f"r{index}", "function": "n.read", "inputs": {"p": p}} for index, p in enumerate(inputs)),
        ]
    )
    for text in ("1", "2"):
        space.file("d.txt", text)
        values = space.run().values
        assert values["r0"]["t"] == text
        assert values["r1"]["t"] == "written"
        assert all(values[f"r{index}"]["t"] for index in range(2, len(inputs)))


@pytest.mark.parametrize("default", ["Config()", "{'a': 'x'}", "3", "None"])
def test_a_path_or_something_else_may_have_another_default(space: Space, default: str) -> None:
    space.nodes(
        f"""
        class Config(dict): pass
        @workflow_node
        def read(p: Path | Config | dict | int | None = {default}):
            return {{"t": repr(p)}}
        """
    )
    space.workflow([{"id": "read"}])
    assert space.run().values["read"]["t"] == repr(eval(default, {"Config": dict}))


@pytest.mark.parametrize("module", ["passed", "more"])
def test_a_path_by_a_name_of_another_module_counts(space: Space, module: str) -> None:
    space.file(
        "nodes/kinds.py", "from pathlib import Path as P\nfrom nodes import n\nPicture = P\nPictures = list[P]\n"
    )
    space.file("nodes/passed.py", "from nodes.kinds import Picture as Image\n")
    space.file("nodes/more.py", "from nodes.kinds import Picture\nImage = Picture\n")
    space.nodes(
        f"""
        from nodes.{module} import Image
        @workflow_node
        def read(p: Image | None):
            return {{"t": open(p).read()}}
        """
    )
    space.workflow([{"id": "read", "inputs": {"p": "d.txt"}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == text


def test_paths_of_a_collection_count(space: Space) -> None:
    space.nodes(
        """
        from collections.abc import Collection
        @workflow_node
        def read(ps: Collection[Path]):
            return {"t": [p.read_text() for p in ps]}
        """
    )
    space.workflow([{"id": "read", "inputs": {"ps": ["d.txt"]}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == [text]


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("Path", 'Path("d.txt")'),
        ("Path", '"d.txt"'),
        ("Path", "FILE"),
        ("Path", 'FOLDER / "d.txt"'),
        ("Path", 'Path(".", "d.txt")'),
        ("Path", 'P("e.txt").with_stem("d")'),
        ("Path", 'Path(__file__).resolve().parent.parent / "d.txt"'),
        ("list[Path]", '[Path("d.txt")]'),
        ("tuple[Path, ...]", "(FILE,)"),
        ("dict[str, Path]", '{"a": FILE}'),
    ],
)
def test_the_file_that_a_default_names_counts(space: Space, kind: str, default: str) -> None:
    many = {"list": "p[0]", "tupl": "p[0]", "dict": 'p["a"]'}.get(kind[:4], "p")
    space.nodes(
        'from pathlib import Path as P\nFILE = Path("d.txt")\nFOLDER: Path = Path(".")\n'
        f'@workflow_node\ndef read(p: {kind} = {default}):\n    return {{"t": Path({many}).read_text()}}\n'
    )
    space.workflow([{"id": "read"}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == text


@pytest.mark.parametrize("default", ["Path(os.environ['HOME'])", "Path(f'{1}.txt')", "Path.cwd() / 'd.txt'", "made()"])
def test_a_file_of_a_default_that_only_a_run_could_tell_is_refused(space: Space, default: str) -> None:
    space.nodes(
        f"import os\ndef made(): return Path('d.txt')\n"
        f"@workflow_node\ndef read(p: Path = {default}): return {{'t': str(p)}}\n"
    )
    space.workflow([{"id": "read"}])
    with pytest.raises(WorkflowError, match="the default of input 'p' names a file that only a run.*as a text"):
        space.run()
    space.file("d.txt", "1")
    space.workflow([{"id": "read", "inputs": {"p": "d.txt"}}])
    assert space.run().values["read"]["t"].endswith("d.txt")


def test_the_file_that_a_default_writes_is_published_and_restored(space: Space) -> None:
    space.nodes("@workflow_node\ndef save(p: Output = Output('out/r.txt')): p.write_text('x')\n")
    space.workflow([{"id": "save"}])
    space.run()
    for _ in range(2):
        assert (space.root / "out/r.txt").read_text() == "x"
        (space.root / "out/r.txt").unlink()
        space.run()
        space.restored("save")
    space.workflow([{"id": "save"}, {"id": "again", "function": "n.save"}])
    with pytest.raises(WorkflowError, match="step 'again' writes 'out/r.txt', and so does step 'save'"):
        space.run()


@pytest.mark.parametrize("kind", ["Path", "Path | None", "list[Path]"])
def test_a_file_among_further_arguments_counts(space: Space, kind: str) -> None:
    space.nodes(
        f"@workflow_node\ndef read(**files: {kind}):\n"
        "    return {k: (f[0] if isinstance(f, list) else f).read_text() for k, f in files.items()}\n"
    )
    space.workflow([{"id": "read", "inputs": {"a": ["d.txt"] if "list" in kind else "d.txt"}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"] == {"a": text}


def test_a_set_of_files_counts(space: Space) -> None:
    space.nodes("@workflow_node\ndef read(ps: set[Path]): return {'t': [one.read_text() for one in ps]}\n")
    space.workflow([{"id": "read", "inputs": {"ps": ["d.txt"]}}])
    for text in ("1", "2"):
        space.file("d.txt", text)
        assert space.run().values["read"]["t"] == [text]


FOLDER = """
@workflow_node
def read(d: Path):
    return {"t": sorted(one.read_text() for one in Path(d).rglob("*.txt")), "n": [Path(d, "z", "q.txt").read_text()]}
"""


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_a_directory_is_followed(space: Space) -> None:
    space.nodes(FOLDER)
    space.workflow([{"id": "read", "inputs": {"d": "dd"}}])
    space.file("dd/a.txt", "a")
    space.file("t/q.txt", "1")
    (space.root / "dd/z").symlink_to("../t")
    (space.root / "dd/loop").symlink_to(".")
    (space.root / "dd/nowhere").symlink_to("gone")
    assert space.run().values["read"]["n"] == ["1"]
    space.file("t/q.txt", "2")
    assert space.run().values["read"]["n"] == ["2"]
    space.run()
    space.nothing_ran()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files there")
@pytest.mark.parametrize("given", ["pipe", "folder"])
def test_a_pipe_is_no_input(space: Space, given: str) -> None:
    space.nodes(WRITER)
    space.workflow([{"id": "read", "inputs": {"path": given}}])
    (space.root / "folder").mkdir()
    for place in ("pipe", "folder/pipe"):
        os.mkfifo(space.root / place)
    assert "it is no file" in space.run().failure("read")


def test_a_device_is_no_input(space: Space) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no such device there")
    space.nodes(WRITER)
    space.workflow([{"id": "read", "inputs": {"path": "/dev/zero"}}])
    assert "it is no file" in space.run().failure("read")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_folder_that_became_another_is_noticed_by_a_remembered_plan(space: Space) -> None:
    """Through it the reader reads what the writer writes, and so needs it."""
    space.nodes(WRITER)
    space.workflow(
        [
            {"id": "write", "inputs": {"text": "1", "path": "one/f.txt"}},
            {"id": "read", "inputs": {"path": "two/f.txt"}},
        ]
    )
    space.file("two/f.txt", "own")
    assert space.run().values["read"]["text"] == "own"
    shutil.rmtree(space.root / "two")
    (space.root / "two").symlink_to("one")
    (space.root / "one/f.txt").unlink()
    assert space.run().values["read"]["text"] == "1"
    (space.root / "two").unlink()
    space.file("two/f.txt", "again")
    (space.root / "one/f.txt").unlink()
    assert space.run().values["read"]["text"] == "again"


def test_a_directory_is_read_after_what_is_written_into_it(space: Space) -> None:
    """Whichever stands first: in one run, and not stale until the next."""
    space.nodes(
        WRITER + "\n@workflow_node\ndef names(d: Path): return {'names': sorted(one.name for one in d.iterdir())}\n"
    )
    nodes = [
        {"id": "names", "inputs": {"d": "d"}},
        {"id": "write", "inputs": {"text": "${text}", "path": "d/x.txt"}},
        {"id": "deep", "function": "n.write", "inputs": {"text": "1", "path": "d/deep/y.txt"}},
    ]
    space.workflow(nodes, params={"text": "1"})
    assert space.run().values["names"]["names"] == ["deep", "x.txt"]
    space.run(text="2")
    space.ran("write", "names")
    space.run(text="2")
    space.nothing_ran()
    # One that needs the reader cannot come before it; then the directory is what it was.
    nodes[1]["depends_on"] = ["names"]  # type: ignore[index]
    space.workflow(nodes, params={"text": "1"})
    space.run()
