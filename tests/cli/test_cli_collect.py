"""What can be deleted from a store, and that nothing else is."""

from __future__ import annotations

import time
from pathlib import Path

from wfe.engine.project import Project
from wfe.engine.workspace import Workspace
from wfe.store.collect import on_disk, remove, spare
from wfe.testing import ProjectUnderTest

SOURCE = """
from wfe import workflow_node


@workflow_node()
def make(size: int) -> dict:
    import numpy

    return {"array": numpy.full((100, size), size)}
"""
DAY = 86400.0


def _three_sizes(project: ProjectUnderTest) -> None:
    project.node("arrays", SOURCE)
    nodes = [{"id": "make", "function": "arrays.make", "inputs": {"size": "${size}"}}]
    project.workflow("w", params={"size": 1}, nodes=nodes)
    for size in (1, 2, 3):
        project.run("w", size=size)


def _blobs(project: ProjectUnderTest) -> int:
    return len(list(on_disk(Workspace(Project.at(project.root)).blobs)))


def test_what_stands_in_the_workspace_stays_however_old(wfe_project: ProjectUnderTest) -> None:
    _three_sizes(wfe_project)
    space = Workspace(Project.at(wfe_project.root))
    later = time.time() + 1000 * DAY
    found = spare(space.state, space.blobs, ["w"], later, older_than=30 * DAY)
    assert (len(found.traces), len(found.blobs)) == (2, 2)
    freed = remove(space.state, space.blobs, found)
    assert freed == found.bytes > 0
    space.close()
    wfe_project.run("w", size=3)
    assert wfe_project.report is not None and wfe_project.report.current == ["make"]
    wfe_project.run("w", size=1)
    assert wfe_project.ran("make")
    assert wfe_project.report["make"]["array"].shape == (100, 1)


def test_what_is_younger_than_an_hour_stays(wfe_project: ProjectUnderTest) -> None:
    _three_sizes(wfe_project)
    space = Workspace(Project.at(wfe_project.root))
    found = spare(space.state, space.blobs, ["w"], time.time(), older_than=0, to_size=0)
    assert not found.traces and not found.blobs
    # A blob that a run has put in place before it recorded the trace: of no trace, but young.
    staged = Path(wfe_project.root) / "cache" / "staged"
    staged.write_bytes(b"just made")
    space.blobs.adopt(str(staged), "ab" + "0" * 30)
    assert not spare(space.state, space.blobs, ["w"], time.time(), older_than=0).blobs
    assert "ab" + "0" * 30 in spare(space.state, space.blobs, ["w"], time.time() + DAY, older_than=30 * DAY).blobs


def test_to_a_size_the_oldest_go_first(wfe_project: ProjectUnderTest) -> None:
    _three_sizes(wfe_project)
    space = Workspace(Project.at(wfe_project.root))
    sizes = sorted(size for _, size, _ in on_disk(space.blobs))
    later = time.time() + DAY
    found = spare(space.state, space.blobs, ["w"], later, older_than=30 * DAY, to_size=sum(sizes) - 1)
    assert list(found.blobs.values()) == [sizes[0]]  # size 1 was made first
    assert found.kept == sum(sizes) - sizes[0]


def test_the_results_of_a_workflow_that_is_gone_go(wfe_project: ProjectUnderTest) -> None:
    _three_sizes(wfe_project)
    space = Workspace(Project.at(wfe_project.root))
    found = spare(space.state, space.blobs, [], time.time() + 40 * DAY, older_than=30 * DAY)
    assert found.scopes == ["w"] and len(found.traces) == 3
    remove(space.state, space.blobs, found)
    assert list(on_disk(space.blobs)) == [] and space.state.scopes("step") == []


def test_a_trace_that_a_row_names_meanwhile_stays(wfe_project: ProjectUnderTest) -> None:
    _three_sizes(wfe_project)
    space = Workspace(Project.at(wfe_project.root))
    found = spare(space.state, space.blobs, ["w"], time.time() + 40 * DAY, older_than=30 * DAY)
    wfe_project.run("w", size=1)  # restored between the look and the removal
    remove(space.state, space.blobs, found)
    wfe_project.run("w", size=1)
    assert wfe_project.report is not None and wfe_project.report.current == ["make"]
    assert wfe_project.report["make"]["array"].shape == (100, 1)
    assert _blobs(wfe_project) == 2
