"""Where each node of a workflow runs, and what its action key says of that.

Joins what the catalogue knows (imports, declared dependencies) with what `wfe.env` decides. A workflow whose nodes
declare nothing asks `wfe.env` nothing: the main environment serves, named by the versions of what the code imports.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from wfe.core.plan import Code, Placed
from wfe.core.signature import Signature
from wfe.core.workflow import Node, Workflow
from wfe.env.declared import Declared
from wfe.env.environments import Environments
from wfe.env.need import Need, isolation
from wfe.env.place import Absent, Isolated, Placement
from wfe.env.prefix import Say, silent
from wfe.errors import Place
from wfe.run.project import Project

LOCK_FILE: Final = "workflows/environments.lock.json"
ABSENT: Final = "absent:"  # how the prefix of a node begins that cannot run on this machine; the reason follows

Asked = Sequence[tuple[Node, Signature, Code]]


def environments_of(project: Project, say: Say = silent) -> Environments:
    """The isolated environments of a project; `say` hears how far making one is."""
    return Environments(project.cache / "environments", project.root / LOCK_FILE, say=say)


class Places:
    """Places the nodes of one workflow. `read`: the files that the answer depends on."""

    def __init__(self, project: Project, workflow: Workflow, environments: Environments | None = None) -> None:
        self.project = project
        self.workflow = workflow
        self.environments = environments or environments_of(project)
        self.read: dict[str, bytes] = {}
        self.placements: Mapping[str, Placement] = {}

    def __call__(self, asked: Asked) -> dict[str, Placed]:
        needs = [need for one in asked if (need := self.need(*one)) is not None]
        locks = {}
        if needs:
            self.placements = self.environments.place(needs, self.declared())
            for one in self.placements.values():
                if isinstance(one, Isolated):
                    locks[one.node] = self.environments.lock(one.spec)
            lock_file = self.project.root / LOCK_FILE
            if lock_file.is_file():
                self.read[LOCK_FILE] = lock_file.read_bytes()
        found = {}
        versions = _Versions()
        for node, signature, code in asked:
            placement = self.placements.get(node.id)
            if isinstance(placement, Isolated):
                digest = locks[node.id].digest
                found[node.id] = Placed(f"locked {digest}", digest)
            elif isinstance(placement, Absent):
                found[node.id] = Placed("absent", f"{ABSENT}{placement.reason}")
            else:
                found[node.id] = Placed(versions.text(code.packages, signature.options.get("dependencies", ())))
        return found

    def need(self, node: Node, signature: Signature, code: Code) -> Need | None:
        told = signature.options
        requirements = tuple(told.get("dependencies", ()))
        environment = node.environment or told.get("environment")
        mode = node.isolation_mode or told.get("isolation_mode", "auto")
        python = told.get("python")
        if not requirements and not environment and mode == "auto" and not python:
            return None
        module = self.project.root.joinpath(*signature.module.split(".")).with_suffix(".py")
        place = Place(self.project.shown(module), signature.line, signature.column)
        return Need(node.id, requirements, environment, isolation(mode, place), python, place)

    def declared(self) -> Mapping[str, Declared] | None:
        from wfe.env import declared

        name = self.workflow.environments
        if name is None:
            return None
        base = Path(self.workflow.document.file).parent
        path = next(
            (one for one in (self.project.root / base / name, self.project.root / name) if one.is_file()),
            self.project.root / name,
        )
        found = declared.read(path, self.project.shown(path))
        self.read[self.project.shown(path)] = path.read_bytes()
        return found


class _Versions:
    """The versions of the main environment's distributions, by import name."""

    def __init__(self) -> None:
        self._names: Mapping[str, list[str]] | None = None

    def text(self, packages: frozenset[str], dependencies: Sequence[str]) -> str:
        """Python's minor version, and each distribution that the code imports or declares with its version.

        A name that no distribution provides is named too: installing it changes what the node does.
        """
        parts = set()
        for package in packages:
            for name in self.names.get(package, []):
                parts.add(f"{name}=={self.version(name)}")
            if package not in self.names:
                parts.add(f"{package} (not installed)")
        for text in dependencies:
            name = _name(text)
            parts.add(f"{name}=={self.version(name)}")
        version = f"python {sys.version_info[0]}.{sys.version_info[1]}"
        return " ".join([version, *sorted(parts)])

    @property
    def names(self) -> Mapping[str, list[str]]:
        if self._names is None:
            from importlib.metadata import packages_distributions

            self._names = packages_distributions()
        return self._names

    @staticmethod
    def version(name: str) -> str:
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(name)
        except PackageNotFoundError:
            return "none"


def _name(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        return requirement


def skipped_here(prefix: str) -> str:
    """The reason why a step cannot run on this machine, "" when it can."""
    return prefix.removeprefix(ABSENT) if prefix.startswith(ABSENT) else ""
