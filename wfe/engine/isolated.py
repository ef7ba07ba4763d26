"""The nodes of a workflow that ask for packages, an environment or a Python: what `wfe.env` makes of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

from wfe.core.planner import Code, Placed
from wfe.core.signature import Signature
from wfe.core.step import ABSENT
from wfe.core.workflow import Node, Workflow
from wfe.engine.project import Project
from wfe.env import declared
from wfe.env.declared import Declared
from wfe.env.environments import Environments
from wfe.env.need import Need, isolation
from wfe.env.place import Absent, Isolated, Placement
from wfe.env.prefix import Say, silent
from wfe.env.uv import Uv
from wfe.errors import EnvironmentFailure, Place

LOCK_FILE: Final = "workflows/environments.lock.json"


def environments_of(project: Project, say: Say = silent, stopping: Event | None = None) -> Environments:
    """The isolated environments of a project; `say` hears how far making one is, `stopping` ends it."""
    return Environments(project.cache / "environments", project.root / LOCK_FILE, say=say, uv=_uv(stopping))


def _uv(stopping: Event | None) -> Uv | None:
    if stopping is None:
        return None
    try:
        return Uv(stop=stopping)
    except EnvironmentFailure:
        return None  # told when it is first needed


@dataclass(slots=True)
class Isolation:
    """placements: node -> where and why. placed: those that do not run in the main environment. read: path -> content of
    the files that this depends on. missing: the paths of those that it would depend on."""

    placements: Mapping[str, Placement]
    placed: dict[str, Placed] = field(default_factory=dict)
    read: dict[str, bytes] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


def isolate(
    project: Project,
    workflow: Workflow,
    asked: Sequence[tuple[Node, Signature, Code]],
    environments: Environments | None = None,
) -> Isolation:
    """Place the nodes, and lock the environments that they need. Raises EnvironmentFailure with every problem."""
    environments = environments or environments_of(project)
    read: dict[str, bytes] = {}
    missing: set[str] = set()
    needs = [need_of(project, *one) for one in asked]
    known = declared_by(project, workflow, read, missing)
    found = Isolation(environments.place(needs, known), read=read, missing=missing)
    for name, one in found.placements.items():
        if isinstance(one, Isolated):
            digest = environments.lock(one.spec).digest
            found.placed[name] = Placed(f"locked {digest}", digest)
        elif isinstance(one, Absent):
            found.placed[name] = Placed("absent", f"{ABSENT}{one.reason}")
    lock_file = project.root / LOCK_FILE
    if lock_file.is_file():
        read[LOCK_FILE] = lock_file.read_bytes()
    return found


def need_of(project: Project, node: Node, signature: Signature, code: Code) -> Need:
    """What a node asks of its environment."""
    del code
    told = signature.options
    module = project.root.joinpath(*signature.module.split(".")).with_suffix(".py")
    place = Place(project.shown(module), signature.line, signature.column)
    return Need(
        node.id,
        tuple(told.get("dependencies", ())),
        node.environment or told.get("environment"),
        isolation(node.isolation_mode or told.get("isolation_mode", "auto"), place),
        told.get("python"),
        place,
    )


def declared_by(
    project: Project, workflow: Workflow, read: dict[str, bytes], missing: set[str]
) -> Mapping[str, Declared] | None:
    """The environments that the workflow's own file declares; the file's content goes into `read`, the path of one that would
    be taken in its place into `missing`. Raises WfeError."""
    name = workflow.environments
    if name is None:
        return None
    beside = project.root / Path(workflow.document.file).parent / name
    path = beside
    if not beside.is_file():
        missing.add(project.shown(beside))
        path = project.root / name
    found = declared.read(path, project.shown(path))
    read[project.shown(path)] = path.read_bytes()
    return found
