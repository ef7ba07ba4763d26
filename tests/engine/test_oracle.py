"""The oracle: an incremental run equals a clean one and runs nothing in vain, and a rebuilder broken on purpose is caught."""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import random
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle import Choose, Oracle, World

from wfe import catalog
from wfe.errors import NodeFailure

Folders = Callable[[], Path]
THOROUGH = settings().max_examples > 100
LIVES = 500 if THOROUGH else 40  # of a broken rebuilder, before it counts as not caught


def live(folder: Path, choose: Choose, edits: int, **run: Any) -> None:
    """A world's life: drawn, run, edited and run again."""
    world = World(choose)
    oracle = Oracle(folder, world, **run)
    oracle.step("new")
    for _ in range(edits):
        oracle.step(world.edit(oracle.space))


def chooser(data: st.DataObject) -> Choose:
    return lambda count: data.draw(st.integers(0, count - 1))


def dice(seed: int) -> Choose:
    return random.Random(seed).randrange


@functools.cache
def _read(text: str, module: str, package: bool) -> bytes:
    return pickle.dumps(_source_of(text, module, package))


_source_of = catalog.source_of


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Fresh directories. What a text of Python says is found out once: it was half the time of a run."""
    monkeypatch.setenv("ORACLE_LOG", "")

    def read(text: str, module: str, package: bool, alias: object) -> object:
        return pickle.loads(_read(text, module, package))  # no node of these takes a type by a name of another module

    monkeypatch.setattr(catalog, "source_of", read)
    return lambda: tmp_path_factory.mktemp("world")


# A failing life is long and its runs slow: without a bound, shrinking it takes an hour.
@given(data=st.data())
@settings(max_examples=2_000 if THOROUGH else 6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_an_incremental_run_is_what_a_clean_run_is(data: st.DataObject, folders: Folders) -> None:
    live(folders(), chooser(data), 6)


@pytest.mark.parametrize(
    "seed", [pytest.param(one, marks=() if one < 6 else pytest.mark.slow) for one in range(200 if THOROUGH else 30)]
)
def test_by_the_dice(seed: int, folders: Folders) -> None:
    live(folders(), dice(seed), 8)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_with_workers(seed: int, jobs: int, folders: Folders) -> None:
    live(folders(), dice(seed), 4, inline=False, jobs=jobs)


# what -> module, function, (old, new)
BROKEN = {
    "the code is not in the key": ("wfe.core.manifest", "manifest_of", '("code", step.code)', '("code", "")'),
    "one input is not in the key": ("wfe.core.manifest", "manifest_of", "sorted(inputs)]", 'sorted(inputs) if name != "b"]'),
    "upstream marks are not compared": ("wfe.engine.look", "look", "if marks.get(ids[other]) != ups[position]:", "if False:"),
    "the plan's part is not compared": ("wfe.engine.look", "look", "row[0] != static or ", ""),
    "a stamp always holds": ("wfe.store.stamp", "holds", "if not old[4]:\n        return False", "return True"),
    "a blob is always sound": ("wfe.store.traces", "Traces.whole", "if not self.blobs.has(one):\n                return False", "return True"),
    "a workspace is always intact": ("wfe.engine.workspace", "Workspace.intact", "files = []\n", "return row, True\n        files = []\n"),
    "helpers are not followed": ("wfe.core.walk", "Walk.follow", "target = one.module\n", "return\n"),
    "conditions are forgotten": ("wfe.engine.decide", "_condition", "if step.when is None:", "if True:"),
    "a step's name is in the key": ("wfe.core.manifest", "manifest_of", '("code", step.code)', '("code", step.code + step.id)'),
    "nothing is ever current": ("wfe.core.rebuild", "decide", "if same and facts.intact:", "if facts.key:\n        return Decision(Verdict.RUN)\n    if same and facts.intact:"),
    "a trace is not kept": ("wfe.store.traces", "Traces.save", "if trace is not None:", "if trace is not None and False:"),
    "a fan's items are taken by place": ("wfe.core.fan", "_bound", "refs.append((path, found.origin[0], (*found.origin[1], *trail)))", "refs.append((path, found.origin[0], (*found.origin[1][:-1], 0, *trail)))"),
    "the look trusts every file": ("wfe.engine.look", "_unharmed", "fresh = None\n", "return row\n"),
    "who comes late makes it again": ("wfe.engine.action", "Action.newer", "before is None or trace.made > before.made", "False"),
    "an included condition is lost": ("wfe.core.include", "_moved", "when=_both(node.when, asked)", "when=asked"),
    "a failed attempt is the end": ("wfe.engine.action", "Action.again", "and retry.again(", "and False and retry.again("),
}  # fmt: skip
# These few in every run show that the oracle sees; all of them with the slow ones.
QUICK = ("the code is not in the key", "nothing is ever current", "conditions are forgotten")


@pytest.mark.parametrize("fault", BROKEN)
def test_every_fault_can_be_made(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine still has the text that a fault replaces: told in every run, not only where the slow ones run."""
    break_(monkeypatch, *BROKEN[fault])


@pytest.mark.parametrize("fault", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in BROKEN])
def test_a_broken_rebuilder_is_caught(fault: str, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    break_(monkeypatch, *BROKEN[fault])
    for seed in range(LIVES):
        try:
            live(folders(), dice(seed), 8)
        except (AssertionError, NodeFailure) as caught:
            print(f"{fault}: caught by life {seed}: {type(caught).__name__}: {str(caught)[:300]}")
            return
    pytest.fail(f"{LIVES} lives did not show that {fault}")


def break_(monkeypatch: pytest.MonkeyPatch, module_name: str, path: str, old: str, new: str) -> None:
    """Put a function with one text replaced in the place of the right one, wherever it was imported to."""
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
