"""Two paths of one file: by an absolute path, through a link to a directory, or both."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from space import Space

from wfe.errors import WorkflowError

NODES = """
@workflow_node(outputs={"n": int})
def change(source: Path, to: Output):
    to.write_text(source.read_text() + "!")
    return {"n": 1}

@workflow_node(outputs={"n": int})
def write(x: str, to: Output):
    to.write_text(x)
    return {"n": 1}

@workflow_node(outputs={"text": str})
def read(source: Path):
    return {"text": source.read_text()}

@workflow_node(outputs={"files": list})
def scan(folder: str):
    return {"files": sorted(str(one) for one in Path(folder).iterdir())}
"""


@pytest.fixture(params=["absolute", "link", "both", "up"])
def other(request: pytest.FixtureRequest, space: Space) -> str:
    """Another path of the directory `data` of the project."""
    space.file("data/in.txt", "mine")
    (space.root / "link").symlink_to(space.root / "data", target_is_directory=True)
    return {
        "absolute": str(space.root / "data"),
        "link": "link",
        "both": str(space.root / "link"),
        "up": f"link{os.sep}..{os.sep}data",
    }[request.param]


def refused(space: Space, *nodes: dict[str, Any], **params: Any) -> str:
    space.nodes(NODES)
    space.workflow(nodes)
    with pytest.raises(WorkflowError) as caught:
        space.run(**params)
    assert all(problem.place.line for problem in caught.value.problems)
    return str(caught.value)


def test_an_input_is_not_overwritten_by_another_name(space: Space, other: str) -> None:
    told = refused(space, {"id": "change", "inputs": {"source": "data/in.txt", "to": f"{other}/in.txt"}})
    assert "which it also reads" in told
    told = refused(space, {"id": "change", "inputs": {"source": f"{other}/in.txt", "to": "data/in.txt"}})
    assert "which it also reads" in told
    assert (space.root / "data" / "in.txt").read_text() == "mine"


def test_two_steps_do_not_write_one_file_by_two_names(space: Space, other: str) -> None:
    told = refused(
        space,
        {"id": "a", "function": "n.write", "inputs": {"x": "a", "to": "data/out.txt"}},
        {"id": "b", "function": "n.write", "inputs": {"x": "b", "to": f"{other}/out.txt"}},
    )
    assert "and so does step 'a'" in told


def test_a_reader_by_another_name_comes_after_the_writer(space: Space, other: str) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "read", "inputs": {"source": f"{other}/out.txt"}},
            {"id": "write", "inputs": {"x": "new", "to": "data/out.txt"}},
        ]
    )
    space.run()
    assert space.value("read") == {"text": "new"}
    space.run()
    space.nothing_ran()


def test_a_reader_by_another_name_comes_after_the_fan_that_writes(space: Space, other: str) -> None:
    space.nodes(NODES)
    for items in (["a", "b"], "$scan.files"):
        space.workflow(
            [
                {"id": "read", "inputs": {"source": f"{other}/out-b.txt"}},
                {"id": "scan", "inputs": {"folder": "names"}},
                {"id": "write", "foreach": items, "inputs": {"x": "$item", "to": "data/out-${item.stem}.txt"}},
            ]
        )
        space.file("names/a")
        space.file("names/b")
        space.run()
        assert space.value("read") == {"text": "b" if items == ["a", "b"] else "names/b"}
        (space.root / "data" / "out-b.txt").unlink()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("items", [None, ["a", "b"], "$scan.files"], ids=["step", "constants", "late"])
@pytest.mark.parametrize("to", ["data/out-b.txt", "data"], ids=["file", "directory"])
def test_what_is_read_through_a_link_is_read_after_its_writer(space: Space, to: str, items: Any) -> None:
    """In one run, and not stale until the next."""
    space.nodes(
        NODES
        + """
@workflow_node
def look(source: Path):
    return {"text": source.read_text() if source.is_file() else (source / "out-b.txt").read_text()}
"""
    )
    (space.root / "link").symlink_to(to, target_is_directory=to == "data")
    space.file("names/a", "")
    space.file("names/b", "")
    fan = {"foreach": items, "inputs": {"x": "${text}", "to": "data/out-${item.stem}.txt"}}
    plain = {"inputs": {"x": "${text}", "to": "data/out-b.txt"}}
    space.workflow(
        [
            {"id": "look", "inputs": {"source": "link"}},
            {"id": "scan", "inputs": {"folder": "names"}},
            {"id": "write", **(plain if items is None else fan)},
        ],
        params={"text": "1"},
    )
    for text in ("1", "2", "1"):
        assert space.run(text=text).values["look"] == {"text": text}
    space.run(text="1")
    space.nothing_ran()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_step_does_not_overwrite_what_it_reads_through_a_link(space: Space) -> None:
    space.file("data/in.txt", "mine")
    (space.root / "link.txt").symlink_to("data/in.txt")
    told = refused(space, {"id": "change", "inputs": {"source": "link.txt", "to": "data/in.txt"}})
    assert "which it also reads" in told
    told = refused(space, {"id": "change", "foreach": ["link.txt"], "inputs": {"source": "$item", "to": "data/in.txt"}})
    assert "which it also reads" in told


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_directory_that_became_a_link_is_noticed_by_a_remembered_plan(space: Space) -> None:
    space.nodes(
        NODES + "\n@workflow_node\ndef names(d: Path): return {'names': sorted(one.name for one in d.iterdir())}\n"
    )
    space.workflow([{"id": "names", "inputs": {"d": "d"}}, {"id": "write", "inputs": {"x": "1", "to": "data/out.txt"}}])
    space.file("d/own.txt")
    assert space.run().values["names"] == {"names": ["own.txt"]}
    (space.root / "d" / "own.txt").unlink()
    (space.root / "d").rmdir()
    (space.root / "d").symlink_to("data", target_is_directory=True)
    (space.root / "data" / "out.txt").unlink()
    assert space.run().values["names"] == {"names": ["out.txt"]}


@pytest.mark.parametrize("items", ["constants", "$scan.files"])
def test_an_item_does_not_overwrite_what_it_reads(space: Space, other: str, items: str) -> None:
    space.nodes(NODES)
    given: Any = ["data/in.txt"] if items == "constants" else items
    change = {"source": "$item", "to": other + "/${item.name}"}
    space.workflow(
        [
            {"id": "scan", "inputs": {"folder": "data"}},
            {"id": "change", "foreach": given, "inputs": change},
        ]
    )
    if items == "constants":  # told before anything runs
        with pytest.raises(WorkflowError, match="step 'change': .* which it also reads"):
            space.run()
    else:
        assert "which it also reads" in space.run().failure("change")
    assert (space.root / "data" / "in.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("to", "what"),
    [
        ("workflows/w.json", "a workflow document"),
        ("workflows/other.yaml", "a workflow document"),
        ("nodes/n.py", "a source of the nodes"),
        ("nodes/deep/new.py", "a source of the nodes"),
        ("dodo.py", "the project's own"),
        ("cache", "wfe's own in the cache"),
        ("cache/state.db", "wfe's own in the cache"),
        ("cache/state.db-wal", "wfe's own in the cache"),
        ("cache/claims.lock", "wfe's own in the cache"),
        ("cache/blobs/x", "wfe's own in the cache"),
        ("cache/steps/w/write.json", "wfe's own in the cache"),
        ("out/../cache/logs/w/write.log", "wfe's own in the cache"),
        ("workflows", "a directory"),
        ("n" * 221, "longer than the 220 bytes that its name may have"),
        ("new/" + "\u4e2d" * 74, "longer than the 220 bytes that its name may have"),
    ],
)
def test_no_step_writes_what_wfe_or_the_project_is_made_of(space: Space, to: str, what: str) -> None:
    for path in (to, str(space.root / to)):
        told = refused(space, {"id": "write", "inputs": {"x": "x", "to": path}})
        assert f"step 'write' would write {path!r}, which is {what}" in told and "write another file" in told
    fan = {"id": "write", "foreach": [to], "inputs": {"x": "x", "to": "./${item}"}}
    assert f"which is {what}" in refused(space, fan)
    space.nodes("@workflow_node(outputs={'names': list})\ndef names(names: list): return {'names': names}\n", "more")
    names = {"id": "names", "function": "more.names", "inputs": {"names": [to]}}
    space.workflow([names, {**fan, "foreach": "$names.names"}])
    assert f"which is {what}" in space.run().failure("write")


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("to", ["made.py", "./made.py", "made/__init__.py"])
@pytest.mark.parametrize("items", [None, ["a"]])
def test_no_step_writes_what_another_imports(space: Space, to: str, there: bool, items: Any) -> None:
    """What it imports is read before anything runs, and for that its result would be kept."""
    if there:
        space.file(to, "K = 1")
    space.nodes(NODES + "\n@workflow_node\ndef use():\n    import made\n    return {'k': made.K}\n")
    fan = {} if items is None else {"foreach": items}
    write = {"id": "write", **fan, "inputs": {"x": "K = 2", "to": to}}
    space.workflow([write, {"id": "use", "depends_on": ["write"]}])
    with pytest.raises(WorkflowError, match="which a function of this workflow imports"):
        space.run()
    space.workflow([write])
    space.run()  # for another workflow it may be made
    assert (space.root / to).read_text() == "K = 2"


def test_a_document_elsewhere_is_not_written_either(space: Space) -> None:
    space.nodes(NODES)
    inner = {
        "workflow": {"name": "inner"},
        "nodes": [{"id": "x", "function": "n.write", "inputs": {"x": "", "to": "o"}}],
    }
    space.file("flows/inner.json", json.dumps(inner))
    for to in ("flows/outer.json", "flows/inner.json"):
        outer = {
            "workflow": {"name": "outer"},
            "nodes": [
                {"id": "write", "function": "n.write", "inputs": {"x": "x", "to": to}},
                {"id": "all", "include": "flows/inner.json"},
            ],
        }
        space.file("flows/outer.json", json.dumps(outer))
        with pytest.raises(WorkflowError, match="which is a workflow document"):
            space.run(str(space.root / "flows" / "outer.json"))


@pytest.mark.parametrize(
    "to",
    ["cache/results/a.txt", "workflows/notes.txt", "nodes/model.bin", "cache-of-mine/a", "n" * 220, "\u4e2d" * 73],
)
def test_what_lies_beside_it_may_be_written(space: Space, to: str) -> None:
    space.nodes(NODES)
    space.workflow([{"id": "write", "inputs": {"x": "x", "to": to}}])
    space.run()
    assert (space.root / to).read_text() == "x"


@pytest.mark.parametrize("given", [".", "", "cache", "./cache/", "root", "up"])
def test_a_directory_with_the_cache_is_no_input(space: Space, given: str) -> None:
    path = {"root": str(space.root), "up": ".."}.get(given, given)
    told = refused(space, {"id": "change", "inputs": {"source": path, "to": "out.txt"}})
    assert f"input 'source': the directory {path!r} holds the cache" in told


def test_one_beside_the_cache_is(space: Space) -> None:
    space.nodes(
        "@workflow_node(outputs={'n': int})\ndef many(folder: Path):\n    return {'n': len(list(folder.iterdir()))}\n"
    )
    space.workflow([{"id": "many", "inputs": {"folder": "data"}}])
    space.file("data/a")
    space.run()
    assert space.value("many") == {"n": 1}


def test_what_is_written_as_a_file_is_no_directory_of_another(space: Space, other: str) -> None:
    told = refused(
        space,
        {"id": "b", "function": "n.write", "inputs": {"x": "b", "to": f"{other}/a/deep/b"}},
        {"id": "a", "function": "n.write", "inputs": {"x": "a", "to": "data/a"}},
    )
    assert "step 'b' writes into 'a', which step 'a' writes as a file; the other is at workflows/w.json:17" in told
