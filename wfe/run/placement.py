"""Where each node of a workflow runs, and what its action key says of that.

A workflow whose nodes declare nothing asks `wfe.env` nothing, and does not import it (60 ms): the main environment serves,
named by the versions of the distributions that the code imports. The rest is `isolated`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wfe.core.planner import Code, Placed
from wfe.core.signature import Signature
from wfe.core.workflow import Node, Workflow
from wfe.run.project import Project

if TYPE_CHECKING:
    from wfe.env.environments import Environments
    from wfe.env.place import Placement

Asked = Sequence[tuple[Node, Signature, Code]]


class Places:
    """Places the nodes of one workflow. `read`: the files that the answer depends on; `placements`: what `wfe.env` said of
    the nodes that declare something."""

    def __init__(self, project: Project, workflow: Workflow, environments: Environments | None = None) -> None:
        self.project = project
        self.workflow = workflow
        self.environments = environments
        self.read: dict[str, bytes] = {}
        self.placements: Mapping[str, Placement] = {}

    def __call__(self, asked: Asked) -> dict[str, Placed]:
        found: dict[str, Placed] = {}
        if any(declares(node, signature) for node, signature, _ in asked):
            from wfe.run.isolated import isolate

            isolated = isolate(self.project, self.workflow, asked, self.environments)
            self.read, self.placements = isolated.read, isolated.placements
            found.update(isolated.placed)
        versions = _Versions()
        for node, signature, code in asked:
            if node.id not in found:
                found[node.id] = Placed(versions.text(code.packages, signature.options.get("dependencies", ())))
        return found


def declares(node: Node, signature: Signature) -> bool:
    """Whether a node asks anything of its environment."""
    told = signature.options
    mode = node.isolation_mode or told.get("isolation_mode", "auto")
    return (
        bool(told.get("dependencies") or node.environment or told.get("environment") or told.get("python"))
        or mode != "auto"
    )


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
