"""A space whose steps all run in one kind of place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from space import Ended, Space

KINDS = ("inline", "main", "isolated")


class Lab:
    """A space whose steps all run in one kind of place, and what it says of them."""

    def __init__(self, space: Space, kind: str) -> None:
        self.space = space
        self.kind = kind

    def workflow(self, nodes: Iterable[Mapping[str, Any]], asks: Iterable[str] = ("marker==1.0",), **head: Any) -> None:
        """As Space.workflow; the nodes of the isolated kind name an environment that has the packages `asks`."""
        entries = [dict(one) for one in nodes]
        if self.kind == "isolated":
            for one in entries:
                one["environment"] = "lab"
            head["environments"] = "environments.json"
            declared = {"lab": {"requirements": list(asks), "isolation_mode": "always"}}
            self.space.file("workflows/environments.json", json.dumps(declared))
        self.space.workflow(entries, **head)

    def run(self, *chosen: str, **options: Any) -> Ended:
        return self.space.run("w", *chosen, inline=self.kind == "inline", **options)
