"""One step at a time: the next one is called while the result of this one is stored, and only one that will have its turn."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Any, cast

import pytest
from processes import Running, called, counting, door, entered, go
from space import Listen, Space

from wfe.core.outcome import Event, StepFinished, StepStarted, StepState
from wfe.door import enter
from wfe.engine.ahead import Ahead
from wfe.engine.project import Project
from wfe.engine.run import Run

polled = pytest.mark.skipif(sys.platform == "win32", reason="threads read the pipes there, and nothing is sent ahead")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses FIFOs")

NODES = """
@workflow_node(outputs={"n": int})
def step(name: str, n: int = 0):
    count(name)
    return {"n": n + 1}

@workflow_node(outputs={"n": int})
def fails(name: str):
    count(name)
    raise ValueError("no")

@workflow_node(outputs={"n": int})
def at_times(name: str):
    count(name)
    if name.startswith("skips"):
        raise Skip("no")
    return {"n": 1}

@workflow_node(outputs={"n": int})
def wrong(name: str):
    count(name)
    return {"n": "a text"}

@workflow_node(outputs={"n": int})
def waits(name: str, door: str):
    count(name)
    with open(door, "w") as out:
        out.write("in")
    with open(door + ".go") as go:
        go.read()
    return {"n": 1}
"""


def project(space: Space, **functions: str) -> None:
    """Steps that do not need each other, in this order: name -> function."""
    counting(space, NODES)
    space.workflow(
        [{"id": name, "function": f"n.{function}", "inputs": {"name": name}} for name, function in functions.items()]
    )


def story(events: list[Event]) -> list[str]:
    return [
        f"{one.step} begins" if isinstance(one, StepStarted) else f"{one.step} {one.outcome.state.value}"
        for one in events
        if isinstance(one, StepStarted | StepFinished)
    ]


@polled
def test_the_next_step_begins_before_the_result_of_this_one_is_stored(space: Space) -> None:
    project(space, a="step", b="step", c="step")
    ended = space.run(inline=False)
    assert story(ended.events) == ["a begins", "b begins", "a ran", "c begins", "b ran", "c ran"]
    assert called(space) == ["a", "b", "c"]
    space.run(inline=False)
    space.nothing_ran()


def test_a_step_that_needs_this_one_does_not(space: Space) -> None:
    counting(space, NODES)
    space.workflow(
        [
            {"id": "a", "function": "n.step", "inputs": {"name": "a"}},
            {"id": "b", "function": "n.step", "inputs": {"name": "b", "n": "$a.n"}},
        ]
    )
    ended = space.run(inline=False)
    assert story(ended.events) == ["a begins", "a ran", "b begins", "b ran"]
    assert space.value("b") == {"n": 2}


@polled
def test_steps_of_a_fan_whose_items_come_late(space: Space) -> None:
    space.nodes(
        """
        @workflow_node()
        def items() -> dict: return {"items": [1, 2, 3]}
        @workflow_node()
        def twice(x: int) -> dict: return {"x": 2 * x}
        """
    )
    fan = {"id": "f", "function": "n.twice", "foreach": "$items.items", "inputs": {"x": "$item"}}
    space.workflow([{"id": "items"}, fan])
    ended = space.run(inline=False)
    told = story(ended.events)
    first, second, third = (one.removesuffix(" begins") for one in told if one.startswith("f[") and "begins" in one)
    assert told.index(f"{second} begins") < told.index(f"{first} ran")
    assert told.index(f"{third} begins") < told.index(f"{second} ran")


def test_after_a_failure_none_is_begun(space: Space) -> None:
    project(space, a="step", b="fails", c="step")
    ended = space.run(inline=False, keep_going=False)
    assert called(space) == ["a", "b"]
    assert ended.of(StepState.FAILED) == {"b"} and ended.of(StepState.CANCELLED) == {"c"}
    space.run(inline=False)
    assert called(space) == ["b", "c"]


@polled
def test_the_next_attempt_of_a_step_whose_turn_was_not_yet(space: Space) -> None:
    """It is brought to its end before the one whose turn it is, and one after it was begun when it returned what is no result:
    that has the only worker, which the next attempt waited for."""
    counting(
        space,
        NODES
        + """
@workflow_node(outputs={"n": int}, retries={"count": 1, "delay": 0})
def second(name: str, log: str):
    count(name)
    return {"n": 1 if Path(log).read_text().split().count(name) > 1 else "a text"}
""",
    )
    nodes = [{"id": name, "function": "n.step", "inputs": {"name": name}} for name in "abd"]
    nodes.insert(2, {"id": "c", "function": "n.second", "inputs": {"name": "c", "log": str(space.root / "log")}})
    space.workflow([*nodes, {"id": "e", "function": "n.step", "inputs": {"name": "e"}, "depends_on": ["b"]}])
    code, said = Running(space, "doit", "a", "e", "b", "c", "d").end()
    assert code == 0 and "5 ran" in said, said
    assert sorted(called(space)) == ["a", "b", "c", "c", "d", "e"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_step_that_failed_is_not_called_again(space: Space, jobs: int) -> None:
    """It follows one that was put aside for its next attempt, when that is called again."""
    counting(
        space,
        """
@workflow_node(outputs={"n": int})
def flaky(name: str, fails: bool, log: str):
    count(name)
    if fails and (name == "c" or Path(log).read_text().split().count(name) == 1):
        raise ValueError("no")
    return {"n": 1}
        """,
    )
    log = str(space.root / "log")
    given = {"a": {"count": 1, "delay": 0.01}, "c": 0, "b": {"count": 1, "delay": 0.02}}
    space.workflow(
        [
            {"id": name, "function": "n.flaky", "inputs": {"name": name, "fails": True, "log": log}, "retries": retries}
            for name, retries in given.items()
        ]
    )
    ended = space.run(inline=False, jobs=jobs)
    assert sorted(called(space)) == ["a", "a", "b", "b", "c"]
    assert ended.of(StepState.FAILED) == {"c"} and ended.of(StepState.RAN) == {"a", "b"}
    assert len([one for one in ended.events if isinstance(one, StepFinished)]) == 3


@linux
def test_what_was_begun_is_ended_when_storing_fails(space: Space) -> None:
    """That a function gave something wrong is found out after the next one was called."""
    counting(space, NODES)
    with door(space) as path:  # nobody comes to it at first: what opens it waits until it is ended
        waits = {"id": "b", "function": "n.waits", "inputs": {"name": "b", "door": str(path)}}
        space.workflow([{"id": "a", "function": "n.wrong", "inputs": {"name": "a"}}, waits])
        ended = space.run(inline=False, keep_going=False)
        assert ended.of(StepState.FAILED) == {"a"} and ended.of(StepState.CANCELLED) == {"b"}
        # No claim of it is left in this process: the same step can be made at once.
        called(space)
        space.workflow([waits])
        thread = threading.Thread(target=lambda: (entered(path), go(path)))
        thread.start()
        space.run(inline=False)
        thread.join()
        assert called(space) == ["b"]


def test_what_was_begun_goes_on_when_a_run_is_to_continue(space: Space) -> None:
    project(space, a="wrong", b="step", c="step")
    ended = space.run(inline=False, keep_going=True)
    assert ended.of(StepState.FAILED) == {"a"} and ended.of(StepState.RAN) == {"b", "c"}
    assert called(space) == ["a", "b", "c"]


def test_what_a_worker_did_not_begin_has_its_turn_before_what_is_sent_later(space: Space) -> None:
    """After a step that is skipped it does nothing by itself of what was sent already."""
    names = [f"skips{number}" if number % 7 == 5 else f"step{number}" for number in range(40)]
    project(space, **dict.fromkeys(names, "at_times"))
    ended = space.run(inline=False)
    assert called(space) == names
    assert ended.of(StepState.RAN) == {name for name in names if not name.startswith("skips")}


def test_only_a_chosen_step_is_begun(space: Space) -> None:
    project(space, a="step", b="step", c="step")
    space.doit("run", "workflow=w", "a", "c")
    assert called(space) == ["a", "c"]
    space.run("w", "b", inline=False)
    assert called(space) == ["b"]


@pytest.mark.parametrize("number", [[], ["-n", "1"]])
def test_an_ignored_step_is_not_begun(space: Space, number: list[str]) -> None:
    project(space, a="step", b="step", c="step")
    space.doit("ignore", "workflow=w", "b")
    space.doit("run", "workflow=w", *number)
    assert called(space) == ["a", "c"]


@polled
def test_with_one_at_a_time_doit_says_the_same(space: Space) -> None:
    """`-n 1` makes doit take the runner for several; there is one of ours in its place."""
    project(space, a="step", b="step", c="step")
    space.doit("run", "workflow=w", "-n", "1")
    (record,) = (space.cache / "runs").glob("*.ndjson")
    events = [json.loads(line) for line in record.read_text().splitlines()]
    told = [(one["event"], one["step"]) for one in events if one["event"] in ("step-started", "step-finished")]
    assert told.index(("step-started", "b")) < told.index(("step-finished", "a"))


@linux
def test_after_ctrl_c_none_is_begun(space: Space) -> None:
    counting(space, NODES)
    with door(space) as path:
        space.workflow(
            [
                {"id": "a", "function": "n.waits", "inputs": {"name": "a", "door": str(path)}},
                {"id": "b", "function": "n.step", "inputs": {"name": "b"}},
            ]
        )
        running = Running(space, "wfe")
        entered(path)
        running.process.send_signal(signal.SIGINT)
        running.until("stopping:")
        go(path)
        code, said = running.end()
        assert code == 130, said
        running.gone()
    assert called(space) == ["a"]
    space.run()
    space.ran("b")


def test_after_ctrl_c_what_runs_by_then_is_kept(space: Space) -> None:
    """It comes while the result of a step is stored: the next one runs already, and has its seconds to finish."""
    project(space, a="step", b="step", c="step")

    def change(run: Run) -> None:
        honest = run.workspace.traces.save

        def save(workflow: str, name: str, *rest: Any) -> None:
            run.stopping.set()
            honest(workflow, name, *rest)

        run.workspace.traces.save = save  # type: ignore[method-assign]

    ended = space.run(inline=False, change=change)
    ran = called(space)
    assert ended.code == 130 and ended.of(StepState.RAN) == set(ran)
    space.run(inline=False)
    assert called(space) == [name for name in "abc" if name not in ran]


def test_another_step_than_was_thought_has_its_turn(space: Space) -> None:
    """What was begun has the only place and the only worker: it is brought to its end first, and the one that may have been
    begun behind it as well."""
    project(space, a="step", b="step", c="step", d="step", e="step")
    listen = Listen()
    door = enter(Project.at(space.root), "w", {}, listeners=lambda project: [listen], jobs=1)
    run: Run = door.run
    try:
        run.start()
        run.ahead.wanted = lambda name: True
        run.ahead.follow(["a", "b", "c", "d", "e"])
        assert run.perform("a").state is StepState.RAN
        assert run.perform("e").state is StepState.RAN
        for name in ("b", "c", "d"):
            assert run.perform(name) is run.outcomes[name]
            assert run.outcomes[name].state is StepState.RAN
    finally:
        door.close()
    assert sorted(called(space)) == ["a", "b", "c", "d", "e"]


def test_an_error_about_the_next_step_is_told_at_its_turn(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that runs meanwhile has no part in it: its result is kept."""
    from wfe.engine import ahead, decide

    project(space, a="step", b="step")
    honest = decide.pending_of

    def broken(known: Run, name: str, forced: bool = False) -> decide.Pending:
        if name == "b":
            raise PermissionError(13, "Permission denied", "somewhere")
        return honest(known, name, forced)

    monkeypatch.setattr(ahead, "pending_of", broken)
    ended = space.run(inline=False)
    assert ended.of(StepState.RAN) == {"a", "b"} and ended.code == 0


def test_the_time_of_a_step_is_not_that_of_storing_the_one_before(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(space, a="step", b="step")
    hours = [0]
    monkeypatch.setattr(time, "perf_counter", lambda: 3600.0 * hours[0])

    def change(run: Run) -> None:
        honest = run.workspace.traces.save

        def save(workflow: str, name: str, *rest: Any) -> None:
            hours[0] += name == "a"
            honest(workflow, name, *rest)

        run.workspace.traces.save = save  # type: ignore[method-assign]

    ended = space.run(inline=False, change=change)
    assert ended.outcomes["a"].seconds == 3600 > ended.outcomes["b"].seconds


def test_what_a_step_left_of_the_process_does_not_change_the_file_of_its_result(space: Space) -> None:
    """The worker writes it, after the function: with its own rights, and not with those that the function set."""
    space.nodes(
        """
        import os
        @workflow_node()
        def plain() -> dict: return {"n": 1}
        @workflow_node()
        def closes() -> dict:
            os.umask(0o777)
            os.chdir("/")
            os.close(1)
            os.close(2)
            return {"n": 1}
        """
    )
    space.workflow([{"id": "a", "function": "n.plain"}, {"id": "b", "function": "n.closes"}])
    space.run(inline=False)
    one, two = (space.cache / "steps" / "w" / f"{name}.json" for name in "ab")
    assert one.read_bytes() == two.read_bytes() == b'{"n":1}\n'
    assert one.stat().st_mode == two.stat().st_mode


def test_a_result_that_is_refused_does_not_stand_in_its_place(space: Space) -> None:
    space.nodes(
        """
        @workflow_node(outputs={"n": int})
        def told(bad: bool) -> dict: return {"n": "one"} if bad else {"n": 1}
        """
    )
    space.workflow([{"id": "a", "function": "n.told", "inputs": {"bad": "${bad}"}}], params={"bad": False})
    place = space.cache / "steps" / "w" / "a.json"
    space.run(inline=False)
    good = place.read_bytes()
    found = space.run(bad=True, inline=False)
    assert found.outcomes["a"].state.value == "failed" and not place.exists()
    space.run(inline=False)
    space.restored("a")
    assert place.read_bytes() == good


@linux
def test_the_next_step_is_anybodys_when_the_running_one_takes_longer_than_was_thought(space: Space) -> None:
    counting(
        space,
        NODES
        + """
@workflow_node(outputs={"n": int})
def perhaps(name: str, door: str = ""):
    return waits(name, door) if door else {"n": 1}
""",
    )
    with door(space) as path:
        space.workflow(
            [
                {"id": "a", "function": "n.perhaps", "inputs": {"name": "a"}},
                {"id": "b", "function": "n.perhaps", "inputs": {"name": "b", "door": str(path)}},
                {"id": "c", "function": "n.step", "inputs": {"name": "c"}},
            ]
        )
        running = Running(space, "wfe")
        entered(path)
        other = Space(space.root)
        other.run("w", "c")  # it would wait for ever for who has its claim
        other.ran("c")
        go(path)
        code, said = running.end()
        assert code == 0 and "restored  c" in said, said
    assert called(space) == ["b", "c"]


def test_the_worker_is_spared_files_as_far_as_it_is_the_slower_one() -> None:
    ahead = Ahead(cast(Run, None))
    ahead.waited(1.0)
    assert all(ahead.worker_writes() for _ in range(20))  # several at once: the engine has no time to
    ahead.wanted = lambda name: True
    for _ in range(8):
        ahead.waited(1.0)
    assert not any(ahead.worker_writes() for _ in range(20))
    for _ in range(4):
        ahead.waited(0.0)
    assert sum(ahead.worker_writes() for _ in range(20)) == 10
    for _ in range(4):
        ahead.waited(0.0)
    assert all(ahead.worker_writes() for _ in range(20))


def test_whoever_writes_the_file_of_a_result_it_is_the_same(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    project(space, **{f"s{number}": "step" for number in range(6)})
    files = {}
    for worker in (True, False):
        monkeypatch.setattr(Ahead, "worker_writes", lambda self, worker=worker: worker)
        space.run(inline=False, force=True)
        files[worker] = [(space.root / f"cache/steps/w/s{number}.json").read_bytes() for number in range(6)]
        space.run(inline=False)
        space.current(*(f"s{number}" for number in range(6)))
    assert files[True] == files[False] == [b'{"n":1}\n'] * 6
