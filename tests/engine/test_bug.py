"""An error in the engine itself, wherever it happens: the run ends, says so with a traceback, and exits with 70."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from space import DODO, Space

from wfe.errors import ExitCode

NODES = """
@workflow_node()
def step(n: int):
    return {"n": n}
"""


@pytest.fixture
def many(space: Space) -> Space:
    space.nodes(NODES)
    space.workflow([{"id": f"s{n}", "function": "n.step", "inputs": {"n": n}} for n in range(6)])
    return space


@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_in_a_carriers_thread(many: Space, kind: type[BaseException], capfd: pytest.CaptureFixture[str]) -> None:
    """doit's main thread must not wait for ever for the result of a thread that is gone."""

    def change(run: Any) -> None:
        def broken(*given: Any) -> None:
            raise kind("impossible")

        run.workspace.traces.save = broken

    ended = many.run(jobs=2, inline=False, keep_going=False, change=change)
    assert ended.code is ExitCode.BUG
    said = capfd.readouterr().err
    assert f"{kind.__name__}: impossible" in said and "BUG: this is an error in wfe itself" in said
    many.run()
    many.ran(*(f"s{n}" for n in range(6)))


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("place", ["action.Action.attempt", "run.Run.ready"])
def test_by_doit(many: Space, place: str, jobs: str) -> None:
    """`attempt` is called where steps are carried, `ready` by doit's main thread."""
    breaks = f"""
import wfe.engine.action, wfe.engine.run
def broken(*given):
    raise ZeroDivisionError("impossible")
wfe.engine.{place} = broken
"""
    (many.root / "dodo.py").write_text(DODO + breaks)
    said = many.doit("run", "workflow=w", "-n", jobs, code=70).stderr
    assert "ZeroDivisionError: impossible" in said and "BUG: this is an error in wfe itself" in said
