"""Where each node of a workflow runs, and what its action key says of that.

A workflow whose nodes declare nothing asks `wfe.env` nothing, and does not import it (60 ms): the main environment serves,
named by the versions of the distributions that the code imports. The rest is `isolated`'s.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wfe.core.planner import Code, Placed
from wfe.core.signature import Signature
from wfe.core.workflow import Node, Workflow
from wfe.engine.project import Project
from wfe.engine.site import site_stamp
from wfe.store.state import State

if TYPE_CHECKING:
    from wfe.env.environments import Environments
    from wfe.env.place import Placement

Asked = Sequence[tuple[Node, Signature, Code]]


class Places:
    """Places the nodes of one workflow. `read`: the files that the answer depends on; `missing`: those that it would depend on;
    `placements`: what `wfe.env` said of the nodes, where one declares something."""

    def __init__(
        self, project: Project, workflow: Workflow, state: State, environments: Environments | None = None
    ) -> None:
        self.project = project
        self.state = state
        self.workflow = workflow
        self.environments = environments
        self.read: dict[str, bytes] = {}
        self.missing: set[str] = set()
        self.placements: Mapping[str, Placement] = {}

    def __call__(self, asked: Asked) -> dict[str, Placed]:
        found: dict[str, Placed] = {}
        # The file of environments may list a node that says nothing itself.
        if self.workflow.environments is not None or any(declares(node, signature) for node, signature, _ in asked):
            from wfe.engine.isolated import isolate

            isolated = isolate(self.project, self.workflow, asked, self.environments)
            self.read, self.missing, self.placements = isolated.read, isolated.missing, isolated.placements
            found.update(isolated.placed)
        versions = _Versions(self.state)
        main: dict[str, Placed] = {}  # function -> where its nodes run
        for node, signature, code in asked:
            if node.id not in found:
                where = main.get(signature.function)
                if where is None:
                    told = versions.text(code.packages, signature.options.get("dependencies", ()))
                    where = main[signature.function] = Placed(told)
                found[node.id] = where
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
    """The versions of the main environment's distributions, by import name.

    Remembered in the state database as long as the directories that hold them have the same times: finding out which
    distribution provides which name takes 0.3 s.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: tuple[dict[str, list[str]], dict[str, str]] | None = None

    def text(self, packages: frozenset[str], dependencies: Sequence[str]) -> str:
        """Python's minor version, and each distribution that the code imports or declares with its version.

        A name that no distribution provides is named too: installing it changes what the node does.
        """
        parts = set()
        if packages or dependencies:
            names, versions = self.known()
            for package in packages:
                if package not in names:
                    parts.add(f"{package} (not installed)")
                parts.update(f"{name}=={versions.get(_canonical(name), 'none')}" for name in names.get(package, ()))
            for text in dependencies:
                name = _name(text)
                parts.add(f"{name}=={versions.get(_canonical(name), 'none')}")
        version = f"python {sys.version_info[0]}.{sys.version_info[1]}"
        return " ".join([version, *sorted(parts)])

    def known(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """(import name -> distributions, distribution -> version)."""
        if self._known is None:
            site = site_stamp()
            memo = self._state.get("memo", "versions", "site")
            if memo is not None and memo[0] == site:
                self._known = (memo[1], memo[2])
            else:
                from importlib.metadata import distributions, packages_distributions

                names = {name: sorted(set(found)) for name, found in packages_distributions().items()}
                versions: dict[str, str] = {}
                for one in distributions():
                    versions.setdefault(_canonical(one.metadata["Name"]), one.version)  # the first on the path is used
                self._known = (names, versions)
                self._state.set("memo", "versions", (site, names, versions), "site")
        return self._known


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _name(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        return requirement
