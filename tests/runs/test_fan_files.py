"""Files between fans and other steps: who writes a file comes before who reads it."""

from __future__ import annotations

import os
from typing import Any

import pytest
from space import Space

from wfe.core.outcome import StepState
from wfe.errors import WorkflowError

NODES = """
@workflow_node(outputs={"n": int})
def write(x: Any, to: Output):
    to.write_text(str(x))
    return {"n": 1}

@workflow_node(outputs={"text": str})
def read(source: Path):
    return {"text": source.read_text()}

@workflow_node(outputs={"items": list})
def source(items: list):
    return {"items": items}
"""

READER = {"id": "read", "inputs": {"source": "out/b.txt"}}


def written(x: Any = "$item", items: Any = ("a", "b"), **more: Any) -> dict[str, Any]:
    return {"id": "write", "foreach": items, "inputs": {"x": x, "to": "out/${item}.txt"}, **more}


@pytest.mark.parametrize("items", [["a", "b"], "$source.items"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_step_reads_what_an_item_writes(space: Space, items: Any, jobs: int) -> None:
    """The reader stands first in the document; the names of the files are known or only their pattern."""
    space.nodes(NODES)

    def told(x: Any) -> None:
        source = {"id": "source", "inputs": {"items": ["a", "b"]}}
        space.workflow([READER, source, written(x, items)])

    told("$item")
    space.run(jobs=jobs, inline=jobs == 1)
    assert space.value("read") == {"text": "b"}
    space.run()
    space.nothing_ran()
    told("other")
    space.run(jobs=jobs, inline=jobs == 1)
    space.ran("write[a]", "write[b]", "read")
    assert space.value("read") == {"text": "other"}
    (space.root / "out" / "b.txt").write_text("edited by hand")
    space.run()
    assert space.value("read") == {"text": "other"}, "the file is put back before it is read"


def test_an_item_reads_what_a_step_writes(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "read", "foreach": ["out/b.txt", "in.txt"], "inputs": {"source": "$item"}},
            {"id": "write", "inputs": {"x": 5, "to": "out/b.txt"}},
        ]
    )
    space.file("in.txt", "given")
    space.run()
    assert space.value("read[b.txt]") == {"text": "5"}
    assert space.value("read[in.txt]") == {"text": "given"}
    space.run()
    space.nothing_ran()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("given", ["out/b.txt", "link/b.txt", "link.txt"])
def test_an_item_does_not_read_what_a_skipped_step_wrote_once(space: Space, given: str) -> None:
    """As without a fan: in a clean folder there is no such file."""
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "read", "foreach": [given, "in.txt"], "inputs": {"source": "$item"}},
            {"id": "alone", "function": "n.read", "inputs": {"source": given}},
            {"id": "write", "when": "${on}", "inputs": {"x": 5, "to": "out/b.txt"}},
        ],
        params={"on": True},
    )
    space.file("in.txt", "given")
    (space.root / "link").symlink_to("out", target_is_directory=True)
    (space.root / "link.txt").symlink_to("out/b.txt")
    first = f"read[{given.rpartition('/')[2]}]"
    for on in (True, False, True):
        found = space.run(on=on)
        assert found.of(StepState.SKIPPED) == (set() if on else {"write", "alone", first})
    assert space.value(first) == {"text": "5"}
    space.run()
    space.nothing_ran()


def test_a_step_does_not_read_what_a_skipped_item_wrote_once(space: Space) -> None:
    both = {"id": "both", "inputs": {"sources": {"a": "out/a.txt", "b": "out/b.txt"}}}
    space.nodes(
        NODES
        + """
@workflow_node
def both(sources: dict[str, Path]):
    return {name: path.read_text() for name, path in sources.items()}
"""
    )
    space.workflow([READER, both, written(when="${on} or $item != 'b'")], params={"on": True})
    for on in (True, False, True):
        found = space.run(on=on)
        assert found.of(StepState.SKIPPED) == (set() if on else {"write[b]", "read", "both"})
    assert space.value("both") == {"a": "a", "b": "b"}
    space.run()
    space.nothing_ran()


@pytest.mark.parametrize(
    ("items", "sources", "texts"),
    [
        (["out/b.txt", "in.txt"], ["$item"], ["5", "in"]),
        ([["out/b.txt", "in.txt"], ["in.txt"]], "$item", ["5 in", "in"]),
        ([{"id": 1, "at": "out/b.txt"}, {"id": 2, "at": "in.txt"}], ["in.txt", "$item.at"], ["in 5", "in in"]),
    ],
    ids=["an item", "in an item", "beside a constant"],
)
def test_an_item_that_a_step_gave_does_not_read_what_a_skipped_step_wrote_once(
    space: Space, items: Any, sources: Any, texts: list[str]
) -> None:
    """Which files they are is known only in the run, after the writer's turn."""
    space.nodes(
        NODES
        + """
@workflow_node
def read_all(sources: list[Path]):
    return {"text": " ".join(one.read_text() for one in sources)}
"""
    )
    space.workflow(
        [
            {"id": "read", "function": "n.read_all", "foreach": "$source.items", "inputs": {"sources": sources}},
            {"id": "source", "depends_on": ["write"], "inputs": {"items": items}},
            {"id": "write", "when": "${x} > 0", "inputs": {"x": "${x}", "to": "out/b.txt"}},
        ],
        params={"x": 5},
    )
    space.file("in.txt", "in")
    for x in (5, 0, 6, 5):
        found = space.run(x=x)
        read = [one and one["text"] for name, one in found.values.items() if name.startswith("read[")]
        assert read == ([text.replace("5", str(x)) for text in texts] if x else [None, texts[1]])
        assert len(found.of(StepState.SKIPPED)) == (0 if x else 2)
    space.run()
    space.nothing_ran()


def test_an_item_that_a_step_gave_and_a_writer_that_need_not_come_before(space: Space) -> None:
    """What it read would be the file of this run or of one before, by chance."""
    space.nodes(NODES)
    nodes = [
        {"id": "read", "foreach": "$source.items", "inputs": {"source": "$item"}},
        {"id": "source", "inputs": {"items": ["out/b.txt"]}},
        {"id": "write", "inputs": {"x": 5, "to": "out/b.txt"}},
    ]
    space.workflow(nodes)
    told = space.run().failure("read")
    assert "reads 'out/b.txt', which step 'write' writes; name that under 'depends_on'" in told
    space.workflow([{**nodes[0], "depends_on": ["write"]}, *nodes[1:]])
    assert space.run().values["read[b.txt]"] == {"text": "5"}


@pytest.mark.parametrize("late", [False, True])
def test_a_fan_does_not_read_what_a_skipped_item_of_another_wrote_once(space: Space, late: bool) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {
                "id": "read",
                "foreach": "$source.items" if late else ["a", "b"],
                "inputs": {"source": "out/${item}.txt"},
                "depends_on": ["write"] if late else [],  # of two patterns nobody knows whether they meet
            },
            {"id": "source", "inputs": {"items": ["a", "b"]}},
            written(items="$source.items" if late else ["a", "b"], when="${on} or $item != 'b'"),
        ],
        params={"on": True},
    )
    for on in (True, False, True):
        found = space.run(on=on)
        assert found.of(StepState.SKIPPED) == (set() if on else {"write[b]", "read[b]"})
        assert found.values["read[a]"] == {"text": "a"}
    space.run()
    space.nothing_ran()


def test_a_fan_reads_what_another_fan_writes(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "read", "matrix": {"k": ["a", "b"]}, "inputs": {"source": "out/${matrix.k}.txt"}},
            written(),
        ]
    )
    space.run()
    assert space.value("read[a]") == {"text": "a"}


def test_a_pattern_that_fits_what_the_fan_itself_comes_from_makes_no_circle(space: Space) -> None:
    space.nodes(NODES)
    space.file("out/list.txt", "x")
    space.workflow(
        [
            {"id": "read", "inputs": {"source": "out/list.txt"}},
            {"id": "source", "inputs": {"items": ["a", "$read.text"]}},
            written(items="$source.items"),
        ]
    )
    space.run()
    space.ran("read", "source", "write[a]", "write[x]")


def test_a_circle_of_files_is_told(space: Space) -> None:
    space.nodes(NODES)
    space.workflow([READER, written("$read.text")])
    with pytest.raises(WorkflowError, match="in a circle"):
        space.run()


@pytest.mark.parametrize("items", [["a", "b"], "$list.items"])
def test_a_fan_and_another_step_that_write_one_file(space: Space, items: Any) -> None:
    """Known when the items are; before that was told, the two took turns at the file, and its reader had either's."""
    space.nodes(
        """
        @workflow_node(outputs={"items": list})
        def list(n: int):
            return {"items": ["a", "b"]}

        @workflow_node
        def write(text: str, path: Output) -> None:
            path.write_text(text)
        """
    )
    space.workflow(
        [
            {"id": "list", "inputs": {"n": 2}},
            {"id": "plain", "function": "n.write", "inputs": {"text": "plain", "path": "out/f-b.txt"}},
            {
                "id": "fan",
                "function": "n.write",
                "foreach": items,
                "inputs": {"text": "$item", "path": "out/f-${key}.txt"},
            },
        ]
    )
    for _ in range(2):
        assert "'plain'" in space.run().failure("fan")
        assert (space.root / "out/f-b.txt").read_text() == "plain"


@pytest.mark.parametrize("items", [["a", "b"], "$source.items"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_step_reads_a_directory_that_a_fan_writes_into(space: Space, items: Any, jobs: int) -> None:
    """As where a step that is no fan writes into it: read after all of it is written, and need not be there before."""
    space.nodes(
        NODES + "@workflow_node\n"
        "def gather(folder: Path): return {'texts': [one.read_text() for one in sorted(folder.rglob('*.txt'))]}\n"
    )

    def told(*texts: str, **more: Any) -> None:
        reader = {"id": "gather", "inputs": {"folder": "out"}}
        source = {"id": "source", "inputs": {"items": list(texts)}}
        space.workflow([reader, source, written("$item", items if isinstance(items, str) else list(texts), **more)])

    told("a", "b")
    space.run(jobs=jobs, inline=jobs == 1)
    assert space.value("gather") == {"texts": ["a", "b"]}
    told("a", "b", "c")
    space.run(jobs=jobs, inline=jobs == 1)
    assert space.value("gather") == {"texts": ["a", "b", "c"]}
    space.run()
    space.nothing_ran()
    (space.root / "out" / "b.txt").write_text("edited by hand")
    space.run()
    space.restored("write[b]")
    assert space.value("gather") == {"texts": ["a", "b", "c"]}


def test_a_directory_makes_no_circle(space: Space) -> None:
    """Who looks into a directory for the items is not to wait for what the items' steps write there."""
    space.nodes(
        NODES + "@workflow_node(outputs={'items': list})\n"
        "def look(folder: Path): return {'items': sorted(one.stem for one in folder.glob('*.in'))}\n"
    )
    space.file("out/a.in")
    look = {"id": "look", "inputs": {"folder": "out"}}
    space.workflow([look, {**written(items="$look.items"), "inputs": {"x": 1, "to": "out/${item}.txt"}}])
    space.run()
    space.ran("look", "write[a]")
