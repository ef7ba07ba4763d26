"""What a node to be written will really be called with: the results of the steps before it, run first where need be.

Knows plans, results and documents. Does not know drafts or sandboxes. Where a step before is itself not written, is
repeated over a list, was skipped, or made something that cannot be handed over as JSON, arrays and files, there is no
real input: the examples that the model proposes are all that a draft is tried on then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wfe.agent.outline import Overlay
from wfe.agent.spec import NodeSpec
from wfe.catalog import Catalogue
from wfe.core.graph import closure
from wfe.core.parse import parse
from wfe.core.plan import Plan
from wfe.core.planner import nowhere, plan
from wfe.core.result import Missing, Result, put
from wfe.core.step import Binding, Step
from wfe.engine.inputs import part
from wfe.engine.project import Project
from wfe.engine.results import Results
from wfe.engine.workspace import Workspace
from wfe.errors import ExitCode, NodeFailure, WfeError
from wfe.store.stamp import Stamp

MARK = "wfe-real"
"""The key of {"wfe-real": "file" | "text" | "array", "path"}: what JSON cannot say, in the place of its value."""
_MOST_JSON = 1 << 20
_MOST_BYTES = 64 << 20
"""Larger ones are not copied for a trial: the run of the whole will show."""


class _None(Exception):
    """There is no real input, for the reason given."""


def real_inputs(
    spec: NodeSpec,
    path: Path,
    specs: Sequence[NodeSpec],
    project: Path,
    run: Callable[[str], ExitCode] | None = None,
) -> tuple[dict[str, Any], ...]:
    """The inputs of the first step that calls `spec` in the document `path`: none or one set, by parameter.

    specs: all nodes that the document lacks. run: makes the results that are not there yet.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        made = _plan(document, path.stem, specs, project)
        step = next((one for one in made.steps.values() if one.function.rpartition(".")[2] == spec.name), None)
        if step is None:
            return ()
        before = closure(step.needs, {name: one.needs for name, one in made.steps.items()})
        where = Project.at(project)
        try:
            return (_inputs(step, where, path.stem),)
        except _None:
            if run is None or not before:
                return ()
        part_of = _partial(document, before, path.stem, where)
        if part_of is None or run(str(part_of)) is not ExitCode.OK:
            return ()
        return (_inputs(step, where, where.shown(part_of).replace("/", ".")),)
    except (WfeError, _None):
        return ()  # what is wrong with the document or its steps is told by who plans and runs it


def _plan(document: Mapping[str, Any], name: str, specs: Sequence[NodeSpec], project: Path) -> Plan:
    workflow = parse(json.dumps(document).encode(), f"{name}.json", name)
    return plan(workflow, {}, Overlay(project, specs), nowhere)


def _partial(document: Mapping[str, Any], steps: set[str], name: str, project: Project) -> Path | None:
    """A document of these steps alone; None where one of them is no plain node, or is not written."""
    nodes = [node for node in document["nodes"] if node.get("id") in steps]
    catalogue = Catalogue(project.root)
    plain = all("foreach" not in one and catalogue.find(str(one.get("function", ""))) is not None for one in nodes)
    if len(nodes) != len(steps) or not plain:
        return None
    path = project.cache / "agent" / "upstream" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, "nodes": nodes}, indent=2), encoding="utf-8")
    return path


class _Standing:
    """The results that stand, as `wfe.engine.inputs.Upstream`."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def result(self, step: str) -> Result | None:
        try:
            return self.results.find(step)
        except Missing as missing:
            raise _None(str(missing)) from missing

    def fan(self, step: str) -> Sequence[str] | None:
        if self.results.members(step):
            raise _None(f"{step!r} is repeated")
        return None

    def target(self, step: str, parameter: str) -> str:
        raise AssertionError("BUG: only the parts of inputs are read here")

    def stamp(self, step: str, path: str, digest: str) -> Stamp:
        raise AssertionError("BUG: only the parts of inputs are read here")

    def blob(self, digest: str) -> str:
        raise AssertionError("BUG: only the parts of inputs are read here")


def _inputs(step: Step, project: Project, workflow: str) -> dict[str, Any]:
    workspace = Workspace(project)
    try:
        results = Results(workspace, workflow)
        found: dict[str, Any] = {}
        for name, binding in step.inputs.items():
            if binding.kind == "output":
                found[name] = {"output": Path(binding.value).name}
                continue
            try:
                value = part(step, name, binding, _Standing(results))
            except NodeFailure as failure:
                raise _None(str(failure)) from failure
            if not isinstance(value, Result):
                raise _None(f"{name!r} was skipped")
            found[name] = _plain(value, binding, results, project)
    finally:
        workspace.close()
    if len(json.dumps(found)) > _MOST_JSON:
        raise _None("too large")
    return found


def _plain(value: Result, binding: Binding, results: Results, project: Project) -> Any:
    """A value with its arrays and files marked."""
    tree = value.value
    for one in value.artifacts:
        if one.codec not in ("npy", "file"):
            raise _None(f"a value of {one.codec}")
        kind = "array" if one.codec == "npy" else "file" if binding.kind == "file" else "text"
        tree = put(tree, one.trail, _marked(kind, results.path(one)))
    if binding.kind == "file" and isinstance(tree, str):
        # Copied to an unwritten node, so no link and no `..` may lead to a file that is none of the project's.
        if not (project.root / tree).resolve().is_relative_to(project.root.resolve()):
            raise _None("a file outside the project")
        return _marked("file", project.root / tree)
    if binding.kind == "file" and MARK not in (tree if isinstance(tree, dict) else {}):
        raise _None("a list of files")
    return tree


def _marked(kind: str, path: Path) -> dict[str, str]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _None(f"{path.name}: {error.strerror}") from error
    if size > _MOST_BYTES:
        raise _None(f"{path.name} has {size} bytes")
    return {MARK: kind, "path": str(path)}
