"""Modules as texts, and what a node in them reaches."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from wfe.core.reach import reach
from wfe.core.source import Source, source_of
from wfe.core.walk import Reach

Modules = Mapping[str, str]


def reached(modules: Modules) -> Reach:
    """What node `f` of the module `n` reaches; a module "p/__init__" is a package."""
    packages = {name.removesuffix("/__init__") for name in modules if name.endswith("/__init__")}
    texts = {name.removesuffix("/__init__"): textwrap.dedent(text) for name, text in modules.items()}

    def load(name: str) -> Source | None:
        return source_of(texts[name], name, name in packages) if name in texts else None

    return reach("n", "f", load)


def changes(modules: Modules, module: str, old: str, new: str) -> bool:
    """Whether the edit changes the digest of `f`."""
    assert old in modules[module], (module, old)
    after = {**modules, module: modules[module].replace(old, new)}
    return reached(modules).digest != reached(after).digest
