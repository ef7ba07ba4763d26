"""The gate of imports: what a draft imports is what it declares, and it is installed.

Knows Python's import statements and which distribution brings which module. Does not import anything of the draft's.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from packaging.utils import canonicalize_name

from wfe.agent.gate import Site
from wfe.agent.spec import Draft, NodeSpec
from wfe.agent.verdict import Verdict
from wfe.core import syntax
from wfe.core.signature import decorator_of, signature_of

_FROM_WFE = ("workflow_node", "Output", "Skip", "Refuse", "log", "progress", "device")


@dataclass(frozen=True, slots=True)
class Imports:
    """What is imported is what is declared, and it is installed; nothing of the project, nothing by name at run
    time.
    """

    name: str = "imports"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        tree = syntax.module(draft.code)
        node = next(one for one in tree.body if isinstance(one, ast.FunctionDef) and decorator_of(one))
        declared = {
            str(canonicalize_name(name))
            for name in signature_of(node, spec.module, tree).options.get("dependencies", [])
        }
        wrong: list[Verdict] = []
        used: set[str] = set()
        for line, module, names in imported(tree):
            wrong += self.judge(f"code:{line}", module, names, declared, used)
        for line, module, names in imported(syntax.module(draft.test)):
            if module != spec.module and module.partition(".")[0] != "pytest":
                wrong += self.judge(f"test:{line}", module, names, declared, set())
        if idle := declared - used:
            wrong.append(Verdict("code", "only dependencies that are imported", ", ".join(sorted(idle)), "remove them"))
        told = {canonicalize_name(name) for name in draft.dependencies}
        if told != declared and not wrong:
            shown = ", ".join(sorted(declared)) or "none"
            wrong.append(
                Verdict("answer.dependencies", f"those of the decorator: {shown}", ", ".join(sorted(told)) or "none")
            )
        return wrong

    def judge(self, place: str, module: str, names: Sequence[str], declared: set[str], used: set[str]) -> list[Verdict]:
        top = module.partition(".")[0]
        if top == "wfe":
            bad = [name for name in names if name not in _FROM_WFE] if module == "wfe" and names else [module]
            return [Verdict(place, "of wfe only " + ", ".join(_FROM_WFE), ", ".join(bad))] if bad else []
        if top in ("", "nodes"):
            return [
                Verdict(
                    place,
                    "a module that stands alone",
                    f"import of {module or 'a neighbour'}",
                    "write the function here",
                )
            ]
        if top in ("importlib", "runpy", "ctypes", "pickle", "marshal"):
            return [Verdict(place, "plain import statements and plain data", f"import of {module}")]
        if top in sys.stdlib_module_names:
            return []
        offered = distributions().get(top)
        if not offered:
            return [
                Verdict(
                    place,
                    "a module of an installed package",
                    module,
                    "use the standard library or one of: " + ", ".join(installed()),
                )
            ]
        known = {canonicalize_name(name) for name in offered}
        from wfe.env import variants  # brings all of wfe.env, 200 ms

        known |= {canonicalize_name(other) for name in known for other in variants.replaced_by(name)}
        if met := known & declared:
            used |= met
            return []
        best = min(offered)
        return [Verdict(place, f"every import declared: dependencies=[{best!r}]", f"import {module}, not declared")]


def imported(tree: ast.Module) -> list[tuple[int, str, tuple[str, ...]]]:
    """(line, module, names taken from it) of every import and every `__import__`; the module of a relative one is
    empty.
    """
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, one.name, ()) for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            found.append((node.lineno, "" if node.level else node.module or "", tuple(one.name for one in node.names)))
        elif isinstance(node, ast.Name) and node.id == "__import__":
            found.append((node.lineno, "importlib", ()))
    return sorted(found)


@cache
def distributions() -> Mapping[str, list[str]]:
    """Top-level module -> distributions that bring it, in the running environment."""
    return metadata.packages_distributions()


@cache
def installed() -> tuple[str, ...]:
    """The distributions that a generated node may use: those a person asked for by name are not told apart from
    theirs.
    """
    tools = {
        "pip",
        "setuptools",
        "wheel",
        "wfe",
        "pytest",
        "mypy",
        "ruff",
        "ollama",
        "pre-commit",
        "coverage",
        "virtualenv",
        "doit",
    }
    names = {canonicalize_name(name) for found in distributions().values() for name in found}
    return tuple(sorted(names - tools))
