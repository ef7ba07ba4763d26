"""When a failed step is tried again, and after which pause."""

from __future__ import annotations

import json

from space import Space

from wfe.core.retry import Retry

FLAKY = """
@workflow_node(outputs={"tries": int})
def flaky(good: int, kind: str = "ValueError"):
    counter = Path("tries.txt")
    tries = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(tries))
    if tries < good:
        raise {"ValueError": ValueError, "KeyError": KeyError}[kind]("not yet")
    return {"tries": tries}
"""


def flaky(space: Space, retries: object, good: int = 3, kind: str = "ValueError") -> None:
    space.nodes(FLAKY.replace('Path("tries.txt")', f"Path({str(space.root / 'tries.txt')!r})"))
    space.workflow([{"id": "flaky", "inputs": {"good": good, "kind": kind}, "retries": retries}])


def test_notations() -> None:
    assert Retry.of(0).times == 0
    assert Retry.of(2).times == 2
    assert Retry.of({"count": 4, "delay": 0.5}) == Retry(4, 0.5)
    assert Retry.of({"on": ["OSError"]}) == Retry(1, on=("OSError",))


def test_pauses_grow_up_to_a_limit() -> None:
    retry = Retry(9, delay=1.0, factor=3.0, limit=10.0)
    assert [retry.pause(attempt) for attempt in (1, 2, 3, 4)] == [1.0, 3.0, 9.0, 10.0]


def test_a_base_class_counts_and_a_missing_environment_does_not() -> None:
    retry = Retry.of({"count": 2, "on": ["OSError", "died"]})
    assert retry.again(1, "FileNotFoundError", ("FileNotFoundError", "OSError"))
    assert retry.again(2, "died")
    assert not retry.again(3, "died")
    assert not retry.again(1, "ValueError", ("ValueError",))
    assert not Retry.of(5).again(1, "environment")


def test_a_step_is_tried_as_often_as_told_and_its_key_does_not_change(space: Space) -> None:
    flaky(space, {"count": 2, "delay": 0})
    found = space.run()
    space.ran("flaky")
    assert found.outcomes["flaky"].attempts == 3
    assert space.value("flaky") == {"tries": 3}
    document = json.loads((space.root / "workflows/w.json").read_text())
    document["nodes"][0]["retries"] = 7
    space.file("workflows/w.json", json.dumps(document))
    space.run()
    space.nothing_ran()


def test_it_fails_when_the_attempts_are_used_up(space: Space) -> None:
    flaky(space, {"count": 1, "delay": 0})
    found = space.run()
    space.failed("flaky")
    assert found.outcomes["flaky"].attempts == 2


def test_another_exception_is_not_tried_again(space: Space) -> None:
    flaky(space, {"count": 5, "delay": 0, "on": ["OSError"]}, kind="KeyError")
    assert space.run().outcomes["flaky"].attempts == 1
    space.failed("flaky")
