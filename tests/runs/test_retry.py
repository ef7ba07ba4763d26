"""When a failed step is tried again, and after which pause."""

from __future__ import annotations

import json

import pytest
from space import Space

from wfe.core.outcome import Event, Note, StepFinished, StepStarted
from wfe.core.retry import Retry
from wfe.engine.run import Run

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


def test_the_log_has_every_attempt_of_the_last_run(space: Space) -> None:
    flaky(space, {"count": 2, "delay": 0})
    log = space.cache / "logs" / "w" / "flaky.log"
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier run\n")
    space.run()
    space.ran("flaky")
    text = log.read_text()
    assert "earlier run" not in text
    assert text.count("Traceback (most recent call last)") == 2
    said = [line for line in text.splitlines() if line.startswith("[")]
    assert said == [f"[attempt {n}: ValueError: not yet; trying again in 0 s]" for n in (1, 2)]


def test_it_fails_when_the_attempts_are_used_up(space: Space) -> None:
    flaky(space, {"count": 1, "delay": 0})
    found = space.run()
    space.failed("flaky")
    assert found.outcomes["flaky"].attempts == 2


def test_another_exception_is_not_tried_again(space: Space) -> None:
    flaky(space, {"count": 5, "delay": 0, "on": ["OSError"]}, kind="KeyError")
    assert space.run().outcomes["flaky"].attempts == 1
    space.failed("flaky")


UNTIL = """
@workflow_node(outputs={"n": int})
def until(mark: str):
    if not Path(mark).exists():
        raise ValueError("not yet")
    return {"n": 1}

@workflow_node(outputs={"n": int})
def marks(mark: str):
    Path(mark).write_text("")
    return {"n": 1}
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_while_a_step_waits_for_its_next_attempt_others_have_its_place(space: Space, jobs: int) -> None:
    """Only what comes after it in the queue lets it succeed; with two at a time both want the one gpu."""
    space.nodes(UNTIL)
    mark = str(space.root / "mark")
    retries = {"count": 1, "delay": 0} if jobs == 1 else {"count": 500, "delay": 0.01, "factor": 1}
    space.workflow(
        [
            {"id": "until", "inputs": {"mark": mark}, "retries": retries, "resources": {"gpu": 1}},
            {"id": "marks", "inputs": {"mark": mark}, "resources": {"gpu": 1}},
        ]
    )
    found = space.run(jobs=jobs, inline=jobs == 1)
    space.ran("until", "marks")
    assert found.outcomes["until"].attempts > 1 or jobs == 2
    starts = [event.step for event in found.events if isinstance(event, StepStarted)]
    assert sorted(starts) == ["marks", "until"], "a step starts once, however many attempts it takes"


def test_while_a_step_waits_for_its_next_attempt_another_run_may_make_it(space: Space) -> None:
    space.nodes(UNTIL)
    mark = str(space.root / "mark")
    space.workflow(
        [
            {"id": "until", "inputs": {"mark": mark}, "retries": {"count": 1, "delay": 0}},
            {"id": "marks", "inputs": {"mark": mark}},
        ]
    )

    class Rival:
        """When the other step has ended, a run of its own makes the one that failed."""

        def hear(self, event: Event) -> None:
            if isinstance(event, StepFinished) and event.step == "marks":
                Space(space.root).run()

    found = space.run(change=lambda run: run.listeners.append(Rival()))
    assert found.outcomes["until"].state.value == "restored"


def test_a_step_in_its_back_off_is_cancelled_when_the_run_is_stopped(space: Space) -> None:
    flaky(space, {"count": 1, "delay": 1000})

    class Stop:
        def __init__(self, run: Run) -> None:
            self.run = run

        def hear(self, event: Event) -> None:
            if isinstance(event, Note) and "trying again" in event.message:
                self.run.stopping.set()

    found = space.run(change=lambda run: run.listeners.append(Stop(run)))
    assert found.outcomes["flaky"].state.value == "cancelled"
