"""The oracle: an incremental run equals a clean one and runs nothing in vain, and a rebuilder broken on purpose is caught."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle import Choose, Oracle, World

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def live(folder: Path, choose: Choose, edits: int, **run: Any) -> None:
    """A world's life: drawn, run, edited and run again."""
    world = World(choose)
    oracle = Oracle(folder, world, **run)
    oracle.step("new")
    for _ in range(edits):
        oracle.step(world.edit(oracle.space))


def chooser(data: st.DataObject) -> Choose:
    return lambda count: data.draw(st.integers(0, count - 1))


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ORACLE_LOG", "")
    # What is installed does not change here, and reading it anew was two thirds of the time of a run.
    known = metadata.packages_distributions()
    monkeypatch.setattr(metadata, "packages_distributions", lambda: known)
    return lambda: tmp_path_factory.mktemp("world")


@given(data=st.data())
@settings(max_examples=settings().max_examples if settings().max_examples > 100 else 5)
def test_an_incremental_run_is_what_a_clean_run_is(data: st.DataObject, folders: Any) -> None:
    live(folders(), chooser(data), 6)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=8)
def test_with_workers_and_two_at_a_time(data: st.DataObject, folders: Any) -> None:
    live(folders(), chooser(data), 4, inline=False, jobs=2)


# module, function, what is broken: (old, new)
BROKEN = {
    "the code is not in the key": ("wfe.core.manifest", "manifest_of", '("code", step.code)', '("code", "")'),
    "one input is not in the key": ("wfe.core.manifest", "manifest_of", "sorted(inputs))", 'sorted(inputs) if name != "b")'),
    "upstream marks are not compared": ("wfe.run.look", "look", "if marks.get(ids[other]) != ups[position]:", "if False:"),
    "the plan's part is not compared": ("wfe.run.look", "look", "row[0] != static or ", ""),
    "a stamp always holds": ("wfe.store.stamp", "holds", "if not old[4]:\n        return False", "return True"),
    "a blob is always sound": ("wfe.store.traces", "Traces.whole", "if not self.blobs.has(one):\n                return False", "return True"),
    "a workspace is always intact": ("wfe.run.workspace", "Workspace.intact", "files = []\n", "return row, True\n        files = []\n"),
    "helpers are not followed": ("wfe.core.reach", "_Walk.follow", "self.external(one.module)\n", "return\n"),
    "conditions are forgotten": ("wfe.run.run", "Run._condition", "if step.when is None:", "if step.when is not None:"),
    "a step's name is in the key": ("wfe.core.manifest", "manifest_of", '("code", step.code)', '("code", step.code + step.id)'),
    "nothing is ever current": ("wfe.core.rebuild", "decide", "if same and facts.intact:", "if facts.key:\n        return Decision(Verdict.RUN)\n    if same and facts.intact:"),
    "a trace is not kept": ("wfe.store.traces", "Traces.save", "if trace is not None:", "if trace is not None and False:"),
    "a fan's items are taken by place": ("wfe.core.fan", "_bound", "(path, origin[0], (*origin[1], *trail))", "(path, origin[0], (*origin[1][:-1], 0, *trail))"),
}  # fmt: skip
QUICK = "the code is not in the key"  # one in every run shows that the oracle sees; all of them with the slow ones


@pytest.mark.parametrize("fault", [pytest.param(one, marks=() if one == QUICK else pytest.mark.slow) for one in BROKEN])
def test_a_broken_rebuilder_is_caught(fault: str, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module_name, path, old, new = BROKEN[fault]
    break_(monkeypatch, module_name, path, old, new)

    @given(data=st.data())
    @settings(
        max_examples=200, phases=[Phase.generate], derandomize=True, database=None, deadline=None,
        suppress_health_check=QUIET, report_multiple_bugs=False,
    )  # fmt: skip
    def lives(data: st.DataObject) -> None:
        live(folders(), chooser(data), 8)

    with pytest.raises((AssertionError, OSError, ValueError, KeyError, ExceptionGroup)):
        lives()


def break_(monkeypatch: pytest.MonkeyPatch, module_name: str, path: str, old: str, new: str) -> None:
    """Put a function with one text replaced in the place of the right one, wherever it was imported to."""
    import sys

    module = importlib.import_module(module_name)
    owner: Any = module
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    right = inspect.getattr_static(owner, name)
    text = textwrap.dedent(inspect.getsource(right))
    indented = textwrap.indent(text, "    ") if outer else text
    assert indented.count(old) == 1, f"{path} has no {old!r} any more: break something else"
    text = textwrap.dedent(indented.replace(old, new))
    found: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + text, module_name, "exec"), module.__dict__, found)
    monkeypatch.setattr(owner, name, found[name])
    if not outer:
        for other in list(sys.modules.values()):
            if getattr(other, "__name__", "").startswith("wfe.") and getattr(other, name, None) is right:
                monkeypatch.setattr(other, name, found[name])
