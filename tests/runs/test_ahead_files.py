"""One at a time, a step that reads files is begun early too, and counts them as they are when its turn comes."""

from __future__ import annotations

import pytest
from processes import Running, called, counting
from space import Space
from test_ahead import NODES, polled, story

from wfe.core.outcome import StepState

READING = """
@workflow_node(outputs={"text": str})
def reads(name: str, source: Path, target: str = "", text: str = ""):
    found = source.read_text()
    count(f"{name}:{found}")
    if target:
        Path(target).write_text(text)
    return {"text": found}
"""


def reading(space: Space, **inputs: dict[str, str]) -> None:
    """Steps of `reads`, in this order, that do not need each other."""
    counting(space, READING)
    space.workflow(
        [{"id": name, "function": "n.reads", "inputs": {"name": name, **given}} for name, given in inputs.items()]
    )


@polled
def test_a_step_that_reads_a_file_is_begun_early_too(space: Space) -> None:
    for name in "abc":
        space.file(name, name)
    reading(space, a={"source": "a"}, b={"source": "b"}, c={"source": "c"})
    ended = space.run(inline=False)
    assert story(ended.events) == ["a begins", "b begins", "a ran", "c begins", "b ran", "c ran"]
    assert called(space) == ["a:a", "b:b", "c:c"]
    space.run(inline=False)
    space.nothing_ran()


def test_a_long_file_is_not_read_before_its_turn(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wfe.engine.ahead._READ", 3)
    space.file("a", "a")
    space.file("b", "long")
    reading(space, a={"source": "a"}, b={"source": "b"})
    assert story(space.run(inline=False).events) == ["a begins", "a ran", "b begins", "b ran"]


def test_a_file_that_the_step_before_wrote_unsaid_counts_as_it_is_then(space: Space) -> None:
    """The next one was decided about, and its call was on its way, when the old content stood there; and after it comes one that
    writes there too."""
    for name in "abcd":
        space.file(name, f"{name}-old")
    where = str(space.root / "c")
    writing = {"target": where, "text": "new"}
    reading(
        space,
        a={"source": "a"},
        b={"source": "b", **writing},
        c={"source": "c"},
        d={"source": "d", **writing, "text": "newer"},
    )
    ended = space.run(inline=False)
    assert called(space) == ["a:a-old", "b:b-old", "c:new", "d:d-old"]
    assert ended.of(StepState.RAN) >= {"a", "b", "d"}
    told = ended.outcomes["c"].failure
    if told is not None:  # what is younger than the clock's tick proves nothing, and d may have written there by then
        assert "changed while it ran" in told.message
        return
    assert space.value("c") == {"text": "new"}
    assert ended.outcomes["c"].attempts == 1
    assert [one for one in story(ended.events) if "begins" in one] == [f"{one} begins" for one in "abcd"]
    space.file("c", "new")
    space.run(inline=False)
    space.nothing_ran()


@polled
def test_a_step_whose_turn_comes_before_those_that_were_begun(space: Space) -> None:
    """doit was asked for steps in another order than their needs allow: what was begun is brought to its end first, also where
    that must be decided about again."""
    for name in "acd":
        space.file(name, "old")
    where = str(space.root / "c")
    counting(space, READING + NODES)
    space.workflow(
        [
            {"id": "a", "function": "n.reads", "inputs": {"name": "a", "source": "a"}},
            {"id": "b", "function": "n.reads", "inputs": {"name": "b", "source": "a", "target": where, "text": "new"}},
            {"id": "c", "function": "n.reads", "inputs": {"name": "c", "source": "c"}},
            {"id": "d", "function": "n.reads", "inputs": {"name": "d", "source": "d"}},
            {"id": "e", "function": "n.reads", "inputs": {"name": "e", "source": "a"}, "depends_on": ["b"]},
        ]
    )
    code, said = Running(space, "doit", "a", "e", "b", "c", "d").end()
    assert code == 0 and "5 ran" in said, said
    assert sorted(called(space)) == ["a:old", "b:old", "c:new", "d:old", "e:old"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_step_that_writes_to_what_it_reads_fails_after_its_attempts(space: Space, jobs: int) -> None:
    """It is decided about again before each, and has no more of them for that."""
    counting(
        space,
        """
@workflow_node(outputs={"n": int}, retries={"count": 2, "delay": 0})
def spoils(name: str, source: Path):
    count(name)
    source.write_text(source.read_text() + "x")
    return {"n": 1}
""",
    )
    space.file("in.txt", "")
    space.workflow([{"id": "a", "function": "n.spoils", "inputs": {"name": "a", "source": "in.txt"}}])
    ended = space.run(inline=False, jobs=jobs)
    assert "in.txt changed while it ran" in ended.failure("a")
    assert called(space) == ["a", "a", "a"] and ended.outcomes["a"].attempts == 3
