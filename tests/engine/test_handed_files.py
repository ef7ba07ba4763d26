"""Files that one step hands to another: what is read is what the step wrote in this run, whoever else has been at the file
meanwhile; and what may stand beside them."""

from __future__ import annotations

from typing import Any

import pytest
from space import Space

NODES = """
import os

@workflow_node
def write(text: str, to: Output):
    to.write_text(text)

@workflow_node
def meddle(where: str, how: str):
    path = Path(where)
    if how == "edit":
        path.write_text("othr")  # of the same size
    elif how == "replace":
        path.with_name("new").write_text("other")
        os.replace(path.with_name("new"), path)
    elif how == "delete":
        path.unlink()

@workflow_node
def append(source: str):
    with open(source, "a") as file:
        file.write("Z")

@workflow_node
def read(source: Path):
    return {"text": source.read_text()}

@workflow_node
def read_text(source: str):
    return {"text": Path(source).read_text()}

@workflow_node
def read_all(source: list[Path]):
    return {"text": source[0].read_text()}
"""


@pytest.mark.parametrize("how", ["edit", "replace", "delete"])
@pytest.mark.parametrize("reader", ["read", "read_text", "read_all"])
def test_a_step_reads_what_the_other_wrote_and_not_what_stands_there_now(space: Space, reader: str, how: str) -> None:
    space.nodes(NODES)
    source = ["$write.to"] if reader == "read_all" else "$write.to"
    space.workflow(
        [
            {"id": "write", "inputs": {"text": "${text}", "to": "out/a.txt"}},
            {"id": "meddle", "depends_on": ["write"], "inputs": {"where": str(space.root / "out/a.txt"), "how": how}},
            {"id": "last", "function": f"n.{reader}", "depends_on": ["meddle"], "inputs": {"source": source}},
        ],
        params={"text": "mine"},
    )
    for text in ("mine", "your", "mine"):
        space.run(text=text)
        assert space.value("last") == {"text": text}
    assert (space.root / "out/a.txt").read_text() == "mine"
    space.run()
    space.nothing_ran()


def test_a_step_that_changes_a_file_that_it_was_told_the_path_of_fails(space: Space) -> None:
    """As with a parameter that is a `Path`: else what it left would be there for some of the others, and in some runs."""
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "write", "inputs": {"text": "mine", "to": "out/a.txt"}},
            {"id": "append", "inputs": {"source": "$write.to"}},
            {"id": "read", "inputs": {"source": "$write.to"}},
        ]
    )
    for inline in (True, False):
        found = space.run(inline=inline)
        assert "its input out/a.txt changed while it ran" in found.failure("append")
        assert space.value("read") == {"text": "mine"}


def test_a_file_has_one_content_by_its_name_and_by_its_writer(space: Space) -> None:
    """A name that comes in the run makes no edge to the writer."""
    space.nodes(
        NODES
        + """
@workflow_node
def names(at: str):
    return {"files": [at]}

@workflow_node
def both(one: Path, two: list[Path]):
    return {"same": one.read_text() == two[0].read_text()}
"""
    )
    space.workflow(
        [
            {"id": "write", "inputs": {"text": "mine", "to": "out/a.txt"}},
            {"id": "names", "inputs": {"at": "out/a.txt"}},
            {"id": "meddle", "depends_on": ["write"], "inputs": {"where": "${where}", "how": "edit"}},
            {
                "id": "both",
                "depends_on": ["meddle"],
                "inputs": {"one": "$write.to", "two": "$names.files"},
            },
        ],
        params={"where": str(space.root / "out/a.txt")},
    )
    assert "out/a.txt was changed by somebody" in space.run().failure("both")
    assert space.run(where=str(space.file("other.txt"))).values["both"] == {"same": True}


@pytest.mark.parametrize("given", ["constants", "whole", "entries"])
@pytest.mark.parametrize("hint", ["list[Path | int]", "list[Path | float | None]", "dict[str, list[Path | int]]"])
def test_other_things_beside_paths(space: Space, given: str, hint: str) -> None:
    """Whether the document has them or a step before gives them."""
    as_dict = hint.startswith("dict")
    items: list[Any] = [str(space.file("in.txt", "text")), 5]
    space.nodes(f"""
    @workflow_node
    def give(path: str):
        return {{"all": {"{'a': [path, 5]}" if as_dict else "[path, 5]"}, "path": path, "number": 5}}
    @workflow_node
    def read(paths: {hint}):
        return {{"found": [one.read_text() if isinstance(one, Path) else one for one in {"paths['a']" if as_dict else "paths"}]}}
    """)
    entries = {"constants": items, "entries": ["$give.path", "$give.number"], "whole": "$give.all"}[given]
    paths = {"a": entries} if as_dict and given != "whole" else entries
    space.workflow([{"id": "give", "inputs": {"path": items[0]}}, {"id": "read", "inputs": {"paths": paths}}])
    space.run()
    assert space.value("read") == {"found": ["text", 5]}
    space.file("in.txt", "other")
    space.run()
    space.ran("read")


def test_arrays_beside_paths(space: Space) -> None:
    space.nodes("""
    @workflow_node
    def give(path: str, n: int):
        import numpy
        return {"all": [path, numpy.arange(n)]}
    @workflow_node
    def read(paths: list[Path | Any]):
        return {"found": [paths[0].read_text(), paths[1].tolist()]}
    """)
    space.file("in.txt", "text")
    space.workflow(
        [{"id": "give", "inputs": {"path": "in.txt", "n": "${n}"}}, {"id": "read", "inputs": {"paths": "$give.all"}}],
        params={"n": 2},
    )
    for n in (2, 3):
        space.run(n=n)
        assert space.value("read") == {"found": ["text", list(range(n))]}


def test_only_paths_where_the_type_has_nothing_else(space: Space) -> None:
    space.nodes("""
    @workflow_node
    def give():
        return {"all": [5]}
    @workflow_node
    def read(paths: list[Path]):
        return {}
    """)
    space.workflow([{"id": "give"}, {"id": "read", "inputs": {"paths": "$give.all"}}])
    assert "takes a path, found int" in space.run().failure("read")
