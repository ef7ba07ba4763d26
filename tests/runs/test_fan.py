"""foreach and matrix: items that come and go, keys, references to a fan, and what becomes of one that cannot begin."""

from __future__ import annotations

from typing import Any

import pytest
from fans import NODES, fan, upstream
from space import Listen, Space

from wfe.core.fan import keys_of
from wfe.core.outcome import RunFinished, StepState
from wfe.engine.project import Project
from wfe.errors import WorkflowError
from wfe.front import perform
from wfe.report.board import Board


def test_keys_go_by_content_and_never_by_position() -> None:
    items = ["a", "dir/b.png", {"id": 7}, {"w": 1, "h": "x"}, [1, 2], None, True, 2.5, "ü/ö", ""]
    keys = keys_of(items)
    assert keys[:4] == ["a", "b.png", "7", "1,x"]
    assert keys_of(list(reversed(items))) == list(reversed(keys))
    assert len(set(keys)) == len(items)
    assert len(set(keys_of(["x/a.png", "y/a.png", "x/a.png"]))) == 3
    assert keys_of([{"n": "p", "v": 1}, {"n": "q", "v": 1}], "n") == ["p", "q"]


@pytest.mark.parametrize("make", [fan, upstream])
def test_an_item_added_removed_or_moved_costs_what_changed(space: Space, make: Any) -> None:
    make(space, ["a", "b", "c"])
    first = "source" if make is upstream else None
    changed = [first] if first else []
    space.run()
    space.ran("each[a]", "each[b]", "each[c]", "collect", *changed)
    space.run()
    space.nothing_ran()
    make(space, ["a", "b", "c", "d"])
    space.run()
    space.ran("each[d]", "collect", *changed)
    make(space, ["d", "a", "c"])
    space.run()
    space.ran("collect", *changed)
    assert space.value("collect") == {"all": ["d", "a", "c"]}
    make(space, ["a", "a", "c"])
    space.run()
    assert space.value("collect") == {"all": ["a", "a", "c"]}
    make(space, ["a", "b", "c"])
    space.run()
    space.ran()
    assert space.value("collect") == {"all": ["a", "b", "c"]}


def test_the_look_finds_a_fan_current_and_counts_its_steps(space: Space) -> None:
    upstream(space, ["a", "b"])
    space.run()
    for _ in range(2):
        asked: list[set[str]] = []
        found = space.run(change=lambda run, asked=asked: asked.append(set(run.marks)))
        assert asked[-1] == {"source", "each", "each[a]", "each[b]", "collect"}
        assert set(found.outcomes) == {"source", "each[a]", "each[b]", "collect"}
    assert found.events[0].steps == 4
    assert sum(found.events[-1].counts.values()) == 4


@pytest.mark.parametrize("make", [fan, upstream])
def test_the_live_counts_add_up(space: Space, make: Any) -> None:
    """Whatever is current before, and however late the items are known: what is done is all there is, at the end."""
    for items in (["a", "b"], ["a", "b", "c"], ["c"], [], ["a", "b", "d"]):
        make(space, items)
        board = Board()
        space.run(change=lambda run, board=board: run.listeners.append(board))
        assert board.done == board.steps == sum(board.counts.values()), (items, board.counts)


@pytest.mark.parametrize("make", [fan, upstream])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "edited"])
@pytest.mark.parametrize(
    "asked",
    [
        {"force_all": True},
        {"force_all": True, "steps": ["each"]},
        {"force_all": True, "steps": ["each[b]"]},
        {"force_all": True, "forced": frozenset({"each[b]"})},
        {"forced": frozenset({"each"})},
        {"forced": frozenset({"each[b]"})},
        {"forced": frozenset({"each[b]"}), "steps": ["each"]},
        {"steps": ["each[b]"]},
        {"steps": ["each"]},
    ],
    ids=str,
)
def test_the_live_counts_are_of_what_was_asked_for(space: Space, make: Any, kept: bool, asked: Any) -> None:
    """Current steps that are run all the same count once, and those that were not asked for never."""
    make(space, ["a", "b"])
    space.run()
    make(space, ["a", "b"] if kept else ["b", "c", "d"])
    board, listen = Board(), Listen()
    perform(Project.at(space.root), "w", {}, listeners=lambda project: [board, listen], inline=True, **asked)
    last = listen.heard[-1]
    assert isinstance(last, RunFinished)
    assert {state: number for state, number in last.counts.items() if number} == board.counts
    assert board.done == board.steps == sum(board.counts.values())


def test_a_damaged_item_is_seen_and_mended(space: Space) -> None:
    upstream(space, ["a", "b"])
    space.run()
    space.run()
    space.result_file("each[a]").write_text("{}")
    space.run()
    space.restored("each[a]")
    space.current("source", "each[b]", "collect")
    assert space.result_file("each[a]").read_text() == '{"out":"a"}\n'


def test_forcing_one_item_leaves_the_others(space: Space) -> None:
    upstream(space, ["a", "b"])
    space.run()
    space.run(forced=["each[a]"])
    space.ran("each[a]")
    space.current("source", "each[b]", "collect")
    space.run(forced=["each"])
    space.ran("each[a]", "each[b]")
    space.run(forced=["source"])
    space.ran("source")


def test_items_of_every_kind(space: Space) -> None:
    items = [{"name": "p", "v": [1]}, [1, [2]], None, True, 0, "t", {}]
    upstream(space, items)
    space.run()
    assert space.value("collect") == {"all": items}


def test_arrays_are_items_too(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "arrays", "inputs": {"n": 3}},
            {"id": "total", "foreach": "$arrays.a", "inputs": {"a": "$item"}},
            {"id": "collect", "inputs": {"out": "$total.s"}},
            {"id": "one", "function": "n.each", "inputs": {"x": "$total.2.s"}},
        ]
    )
    space.run()
    assert space.value("collect") == {"all": [0.0, 3.0, 6.0]}
    assert space.value("one") == {"out": 6.0}


def test_an_empty_list(space: Space) -> None:
    for make in (fan, upstream):
        make(space, [])
        steps = {"collect", *(["source"] if make is upstream else [])}
        space.run()
        assert space.value("collect") == {"all": []}
        for _ in range(2):
            found = space.run()
            space.nothing_ran()
            space.current("each", *steps)
            assert found.outcomes["each"].skip == "it has no items"
            assert found.events[0].steps == sum(found.events[-1].counts.values()) == len(steps) + 1


def test_the_longest_names_can_be_those_of_files(space: Space) -> None:
    space.nodes(NODES)
    nested = [{"in": ["a" * 60], "as": "p"}, {"in": ["b" * 60, "c" * 60], "as": "q"}]
    space.workflow([{"id": "e" * 100, "function": "n.each", "foreach": nested, "inputs": {"x": "$q"}}])
    space.run()
    assert len(space.last.of(StepState.RAN)) == 2  # type: ignore[union-attr]
    space.doit("run", "workflow=w", "-a")


def test_matrix(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "each", "matrix": {"a": [1, 2], "b": ["u"]}, "inputs": {"x": "$matrix.a", "y": "$matrix.b"}},
            {"id": "collect", "inputs": {"out": "$each.out"}},
            {"id": "pick", "function": "n.each", "inputs": {"x": "$each.1.out"}},
        ]
    )
    space.run()
    space.ran("each[1,u]", "each[2,u]", "collect", "pick")
    assert space.value("collect") == {"all": [[1, "u"], [2, "u"]]}
    assert space.value("pick") == {"out": [2, "u"]}


def test_nested_over_parts_of_the_outer_item_and_over_a_constant(space: Space) -> None:
    space.nodes(NODES)
    videos = [{"id": "v1", "frames": ["f1", "f2"]}, {"id": "v2", "frames": []}, {"id": "v3", "frames": ["f1"]}]
    nested = [{"in": "$source.items", "as": "video"}, {"in": "$video.frames", "as": "frame"}]
    space.workflow(
        [
            {"id": "source", "inputs": {"items": videos}},
            {"id": "each", "foreach": nested, "inputs": {"x": "$video.id", "y": "$frame"}},
            {
                "id": "cross",
                "function": "n.each",
                "foreach": [{"in": [1, 2], "as": "p"}, {"in": ["a"], "as": "q"}],
                "inputs": {"x": "$p", "y": "$q"},
            },
            {"id": "write", "foreach": nested, "inputs": {"x": 1, "to": "out/${video.id}/${frame}.txt"}},
            {"id": "collect", "inputs": {"out": "$each.out"}},
        ]
    )
    space.run()
    assert space.value("collect") == {"all": [["v1", "f1"], ["v1", "f2"], ["v3", "f1"]]}
    assert {"each[v1,f1]", "each[v3,f1]", "cross[1,a]", "cross[2,a]"} <= set(space.last.values)  # type: ignore[union-attr]
    assert (space.root / "out/v1/f2.txt").exists()
    space.run()
    space.nothing_ran()


@pytest.mark.parametrize("outer", [["p", "q"], "$names.items"])
def test_the_inner_list_is_another_steps_output(space: Space, outer: Any) -> None:
    space.nodes(NODES)

    def write(sizes: Any) -> None:
        space.workflow(
            [
                {"id": "sizes", "function": "n.source", "inputs": {"items": sizes}},
                {"id": "names", "function": "n.source", "inputs": {"items": ["p", "q"]}},
                {
                    "id": "each",
                    "foreach": [{"in": outer, "as": "name"}, {"in": "$sizes.items", "as": "size"}],
                    "inputs": {"x": "$name", "y": "$size"},
                },
                {"id": "collect", "inputs": {"out": "$each.out"}},
            ]
        )

    write([1, 2])
    space.run()
    assert space.value("collect") == {"all": [["p", 1], ["p", 2], ["q", 1], ["q", 2]]}
    space.run()
    space.nothing_ran()
    write([2, 3])
    space.run()
    space.ran("sizes", "each[p,3]", "each[q,3]", "collect")
    assert space.value("collect") == {"all": [["p", 2], ["p", 3], ["q", 2], ["q", 3]]}
    for wrong, state in (("skip", "skipped"), ("fail", "blocked")):
        write(wrong)
        assert space.run().outcomes["each"].state.value == state


def test_an_inner_list_that_is_none_fails_the_fan(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "text", "function": "n.each", "inputs": {"x": "text"}},
            {"id": "each", "foreach": [{"in": [1], "as": "p"}, {"in": "$text.out", "as": "q"}], "inputs": {"x": "$p"}},
        ]
    )
    assert "the inner 'foreach' goes through a list, found a text" in space.run().failure("each")


def test_the_inner_list_is_a_fan_and_its_items_are_arrays(space: Space) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "arrays", "foreach": [1, 2], "inputs": {"n": "$item"}},
            {
                "id": "total",
                "foreach": [{"in": [0, 1], "as": "p"}, {"in": "$arrays.a", "as": "q"}],
                "inputs": {"a": "$q.0"},
            },
            {"id": "collect", "inputs": {"out": "$total.s"}},
        ]
    )
    space.run()
    assert space.value("collect") == {"all": [0.0, 0.0, 0.0, 0.0]}


def test_what_is_wrong_with_a_nested_fan_is_told_before_the_run(space: Space) -> None:
    space.nodes(NODES)
    for inner, said in (
        ({"in": "$nobody.items", "as": "q"}, "unknown step 'nobody'"),
        ({"in": [1], "as": "p"}, "are called 'p'"),
    ):
        space.workflow(
            [
                {"id": "source", "inputs": {"items": [1]}},
                {"id": "each", "foreach": [{"in": [1], "as": "p"}, inner], "inputs": {"x": "$p"}},
            ]
        )
        with pytest.raises(WorkflowError, match=said):
            space.run()


def test_two_items_that_write_one_file_are_told(space: Space) -> None:
    space.nodes(NODES)
    space.workflow([{"id": "write", "foreach": [1, 2], "inputs": {"x": "$item", "to": "out.txt"}}])
    with pytest.raises(WorkflowError, match=r"w.json:\d+:\d+: step 'write': .*both write 'out.txt'; put \$\{key\}"):
        space.run()
    space.workflow([{"id": "write", "foreach": [1, 2], "inputs": {"x": "$item", "to": "out-${key}.txt"}}])
    space.run()
    space.ran("write[1]", "write[2]")
    assert (space.root / "out-2.txt").read_text() == "2"


def test_when_is_asked_for_each_item(space: Space) -> None:
    for make in (fan, upstream):
        make(space, [1, 5, 9], when="$item > 4")
        space.run()
        space.skipped("each[1]")
        assert space.value("collect") == {"all": [None, 5, 9]}
        name = "$source.items.0" if make is upstream else "$item"
        assert f"'{name} > 4' does not hold ({name} is 1)" in space.last.outcomes["each[1]"].skip  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("shape", "when", "values"),
    [
        ({"matrix": {"p": [1]}}, "$matrix.p > 1", "$matrix.p is 1"),
        ({"foreach": {"in": [{"size": 1}], "as": "picture"}}, "$picture.size > 1", "$picture.size is 1"),
        (
            {"foreach": [{"in": [1], "as": "a"}, {"in": [2], "as": "b"}]},
            "$a == $b and ${most} == 3",
            "${most} is 3, $a is 1, $b is 2",
        ),
    ],
)
def test_a_condition_of_items_is_told_in_the_words_of_the_document(
    space: Space, shape: dict[str, Any], when: str, values: str
) -> None:
    space.nodes(NODES)
    space.workflow(
        [{"id": "each", "function": "n.each", **shape, "when": when, "inputs": {"x": 1}}], params={"most": 3}
    )
    (skipped,) = [one.skip for one in space.run().outcomes.values() if one.skip]
    assert skipped == f"its condition {when!r} does not hold ({values})"


def test_an_item_that_fails_blocks_what_gathers_and_nothing_else(space: Space) -> None:
    upstream(space, ["a", "fail", "b", "skip"])
    space.run()
    space.failed("each[fail]")
    space.skipped("each[skip]")
    space.ran("source", "each[a]", "each[b]")
    space.blocked("collect")


def test_a_source_that_fails_blocks_and_one_that_skips_skips(space: Space) -> None:
    for items, state in (("fail", "blocked"), ("skip", "skipped")):
        space.nodes(NODES)
        space.workflow(
            [
                {"id": "source", "inputs": {"items": items}},
                {"id": "each", "foreach": "$source.items", "inputs": {"x": "$item"}},
                {"id": "collect", "inputs": {"out": "$each.out"}},
                {"id": "spare", "inputs": {"out": "$each.out"}},
            ]
        )
        found = space.run()
        assert found.outcomes["each"].state.value == state
        assert found.outcomes["collect"].state.value == state
        assert found.outcomes["spare"].state.value == ("blocked" if state == "blocked" else "ran")
        assert sum(found.events[-1].counts.values()) == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_source_that_is_no_list_fails_the_fan_and_not_the_run(space: Space, jobs: int) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "source", "function": "n.each", "inputs": {"x": "text"}},
            {"id": "each", "foreach": "$source.out", "inputs": {"x": "$item"}},
            {"id": "collect", "inputs": {"out": "$each.out"}},
            {"id": "other", "function": "n.each", "inputs": {"x": 1}},
        ]
    )
    found = space.run(jobs=jobs, inline=jobs == 1)
    space.failed("each")
    space.blocked("collect")
    assert "goes through a list, found a text" in found.failure("each")
    assert found.outcomes["other"].state.value == "ran"


def test_doit_shows_a_fan_that_is_not_known_yet_and_its_items_after(space: Space) -> None:
    upstream(space, ["a", "b"])
    assert "items are not known yet" in space.doit("list", "workflow=w").stdout
    space.doit("run", "workflow=w", "-n", "2")
    shown = space.doit("list", "--all", "workflow=w", "--status").stdout
    assert "U each[a]" in shown
    assert "each[a]" not in space.doit("list", "workflow=w").stdout
    assert "status     : up-to-date" in space.doit("info", "workflow=w", "each[a]").stdout


def test_one_step_of_a_fan_is_run_alone(space: Space) -> None:
    """As the command says that is shown under a failure: another one of the fan must not come before it."""
    space.nodes(
        """
        @workflow_node(outputs={"v": int})
        def s(x: int):
            if x != 2:
                raise ValueError(f"item {x}")
            return {"v": x}
        """
    )
    space.workflow([{"id": "s", "foreach": [1, 2, 3], "inputs": {"x": "$item"}}])
    found = space.run("w", "s[3]")
    assert "item 3" in found.failure("s[3]")
    assert set(found.outcomes) <= {"s", "s[3]"}
    assert space.run("w", "s[2]").of(StepState.RAN) == {"s[2]"}
    assert "has no step 's[9]'" in space.run("w", "s[9]").failure("s")
    assert "has no step 's[9]'" in space.run(forced=["s[9]"]).failure("s")
    assert space.run("w", "s[2]", forced=["s[2]"]).of(StepState.RAN) == {"s[2]"}
    assert space.run().of(StepState.FAILED) >= {"s[1]", "s[3]"}


def test_what_needs_a_fan_needs_all_of_it(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"v": int})
        def s(x: int):
            return {"v": x}

        @workflow_node(outputs={"n": int})
        def t(all: list):
            return {"n": len(all)}
        """
    )
    space.workflow(
        [{"id": "s", "foreach": [1, 2, 3], "inputs": {"x": "$item"}}, {"id": "t", "inputs": {"all": "$s.v"}}]
    )
    assert space.run("w", "s[2]", "t").values["t"]["n"] == 3


def test_a_text_may_begin_with_what_an_item_gives(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"t": str})
        def s(text: str, path: Output):
            path.write_text(text)
            return {"t": text}
        """
    )
    inputs = {"text": "${index}:${item}", "path": "${key}.txt"}
    space.workflow([{"id": "s", "foreach": ["a", "b"], "inputs": inputs}])
    assert space.run().values["s[b]"]["t"] == "1:b"
    assert (space.root / "b.txt").read_text() == "1:b"
