"""Damaged isolated environments through the engine and the command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab
from space import Space

from wfe.core.outcome import Note

NODES = """
    @workflow_node(dependencies=["alpha<2"], outputs=["version"])
    def a(seen: int = 0):
        import alpha
        return {"version": alpha.VERSION}
"""


@pytest.fixture
def project(made: Callable[[str], Lab]) -> Space:
    space = made("main").space
    space.nodes(NODES)
    space.workflow([{"id": "a", "inputs": {"seen": "${seen}"}}], params={"seen": 0})
    return space


def packages(space: Space) -> Path:
    return next((space.cache / "environments").glob("*/lib/python3*/site-packages/alpha")).parent


def notes(space: Space) -> list[str]:
    assert space.last is not None
    return [one.message for one in space.last.events if isinstance(one, Note) and "damaged" in one.message]


@pytest.mark.skipif(os.name == "nt", reason="lib/python3")
def test_a_deleted_package_is_said_and_installed_again(project: Space) -> None:
    project.run(inline=False)
    shutil.rmtree(packages(project) / "alpha")
    found = project.run(inline=False, seen=1)
    assert found.code == 0
    assert ["alpha is gone from its packages" in one for one in notes(project)] == [True]


@pytest.mark.skipif(os.name == "nt", reason="lib/python3")
def test_a_step_that_fails_for_a_cut_file_says_so_and_the_next_run_mends_it(project: Space) -> None:
    project.run(inline=False)
    os.truncate(packages(project) / "alpha" / "__init__.py", 0)
    found = project.run(inline=False, seen=1)
    assert found.code == 1
    assert len(notes(project)) == 1
    assert "alpha/__init__.py of alpha has 0 bytes instead of 12; the next run makes it anew" in notes(project)[0]
    assert project.run(inline=False, seen=1).code == 0
    assert project.run(inline=False, seen=2).code == 0
    assert notes(project) == []


@pytest.mark.skipif(os.name == "nt", reason="a script as Python")
@pytest.mark.parametrize("change", ["python", "config"])
def test_a_python_that_does_not_start_or_finds_nothing_is_damage(project: Space, change: str) -> None:
    project.run(inline=False)
    home = packages(project).parents[2]
    if change == "python":
        (home / "bin" / "python").unlink()
        (home / "bin" / "python").write_text("#!/bin/sh\nexit 3\n")
        (home / "bin" / "python").chmod(0o755)
    else:
        (home / "pyvenv.cfg").unlink()
    assert project.run(inline=False, seen=1).code != 0
    why = "its Python does not start" if change == "python" else "its pyvenv.cfg is gone"
    assert [why in one for one in notes(project)] == [True]
    assert project.run(inline=False, seen=1).code == 0
    assert [why in one for one in notes(project)] == [True]  # that it is made anew
