"""What is rebuilt and what is not, by real runs: edits of code, of parameters, of names, and of nothing."""

from __future__ import annotations

import json
import shutil

import pytest
from chain import ALL
from space import Space

from wfe.core.outcome import StepState
from wfe.errors import ExitCode


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


def test_what_is_never_cached_is_for_no_other_step(space: Space) -> None:
    """The same function with the same inputs: two clocks, and the time of the first run, which is to stay."""
    space.nodes(
        """
        import uuid
        @workflow_node
        def draw(): return {"text": uuid.uuid4().hex}
        @workflow_node
        def use(text: str): return {"used": text}
        """
    )
    live = {"function": "n.draw", "cache": "never"}
    space.workflow([{**live, "id": "one"}])
    space.workflow(
        [
            {"id": "first", "function": "n.draw"},
            {**live, "id": "one", "depends_on": ["first"]},
            {**live, "id": "two", "depends_on": ["one"]},
            *(
                {"id": f"use_{name}", "function": "n.use", "inputs": {"text": f"${name}.text"}}
                for name in ("one", "two")
            ),
        ],
        name="all",
    )
    seen = []
    for _ in range(2):
        found = space.run("all").values
        seen.append(found["first"])
        other = space.run().values["one"]
        texts = [one["text"] for one in (found["first"], found["one"], found["two"], other)]
        assert len(set(texts)) == 4
        assert [found["use_one"]["used"], found["use_two"]["used"]] == texts[1:3]
        for name in ("one", "two"):  # what stands in the workspace, after all of them
            assert json.loads(space.wfe("show", f"all:{name}").stdout) == found[name]
    assert seen[0] == seen[1]
    space.run("all")
    space.current("first")


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


def test_a_folder_that_was_a_package_and_is_gone(space: Space) -> None:
    """One without __init__.py: no file of it was read."""
    space.nodes(
        """
        try:
            import extra
        except ImportError:
            extra = None

        @workflow_node()
        def a():
            return {"there": extra is not None}
        """
    )
    space.workflow([{"id": "a"}])
    folder = space.root / "extra"
    for there in (False, True, False, True):
        if there:
            folder.mkdir()
        elif folder.exists():
            folder.rmdir()
        assert space.run().values["a"] == {"there": there}


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


def test_a_pickle_counts_by_the_code_that_made_it(space: Space) -> None:
    """Its bytes name a class; what the class does may have changed all the same, in the step that uses it or far above."""
    model = "class Model:\n    def predict(self): return {answer}\n"
    space.file("nodes/models.py", model.format(answer=1))
    space.nodes(
        """
        from wfe import Pickled
        from nodes.models import Model
        @workflow_node
        def make(): return {"model": Pickled(Model()), "count": 1}
        @workflow_node
        def hand(model): return {"model": Pickled(model)}
        @workflow_node
        def use(model): return {"answer": model.predict()}
        @workflow_node
        def count(count: int): return {"count": count}
        """
    )
    space.workflow(
        [
            {"id": "make"},
            {"id": "hand", "inputs": {"model": "$make.model"}},
            {"id": "use", "inputs": {"model": "$hand.model"}},
            {"id": "count", "inputs": {"count": "$make.count"}},
        ]
    )
    for answer in (1, 2):
        space.file("nodes/models.py", model.format(answer=answer))
        assert space.run().values["use"]["answer"] == answer
    space.current("count")
    space.run()
    space.nothing_ran()
    space.file("nodes/models.py", model.format(answer=1))
    assert space.run().values["use"]["answer"] == 1
    space.restored("make", "hand", "use")


@pytest.mark.parametrize("how", ["force", "forget"])
def test_a_result_made_anew_under_its_key_outdates_what_other_workflows_made_of_the_old(space: Space, how: str) -> None:
    space.nodes(
        """
        import uuid
        @workflow_node
        def draw(): return {"text": uuid.uuid4().hex}
        @workflow_node
        def use(text: str): return {"used": text}
        """
    )
    nodes = [{"id": "draw"}, {"id": "use", "inputs": {"text": "$draw.text"}}]
    space.workflow(nodes, name="q")
    space.workflow(nodes, name="p")
    space.run("q")
    if how == "forget":
        space.run("p")
        space.doit("forget", "workflow=p", "draw")
    new = space.run("p", forced=["draw"] if how == "force" else []).values["draw"]["text"]
    space.run("q")
    assert space.value("draw")["text"] == space.value("use")["used"] == new
    assert new in (space.cache / "steps/q/draw.json").read_text()
