"""A workflow as its document says it: frozen, unresolved, with the places for error messages.

Knows names and values. Does not know functions, their signatures, or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from wfe.core.document import Document, Path
from wfe.errors import Place

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


# These are named tuples, not dataclasses, as the events are.
class Ref(NamedTuple):
    """`$step.key.0.name`: a value inside another step's result. An empty trail means the whole result."""

    step: str
    trail: Path = ()

    def __str__(self) -> str:
        return "$" + ".".join([self.step, *map(str, self.trail)])


class Param(NamedTuple):
    """A workflow parameter: its default (None with `required`), what it may be, and what it is for."""

    name: str
    default: Any = None
    required: bool = False
    type: str = ""  # one of string, integer, number, boolean, array, object; "" takes the type of the default
    description: str = ""


class Settings(NamedTuple):
    """`workflow.settings`: how many steps may run at once (0: not said) and the sizes of named pools."""

    max_parallel_nodes: int = 0
    pools: Mapping[str, float | str] = _NOTHING


class Node(NamedTuple):
    """One entry of `nodes`, as written. `at` is its path in the document; options are None where the document is silent.

    after: nodes that come before it and give it nothing by themselves: what the include that brought it in depends on.
    sound: whether its function and its inputs are what the document says; of one that is not, neither is looked into.
    """

    id: str
    function: str
    at: Path
    depends_on: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = _NOTHING
    description: str = ""
    when: str | None = None
    foreach: Any = None
    matrix: Mapping[str, Any] | None = None
    include: str | None = None
    cache: str | None = None
    seed: int | None = None
    ttl: float | None = None
    device: str | None = None
    environment: str | None = None
    isolation_mode: str | None = None
    resources: Mapping[str, Any] | None = None
    retries: Any = None
    timeout: float | None = None
    after: tuple[str, ...] = ()
    sound: bool = True


class Workflow(NamedTuple):
    """A whole document. `name` is what the command line calls it: the stem of its file name."""

    name: str
    title: str
    description: str
    version: str
    settings: Settings
    params: Mapping[str, Param]
    nodes: tuple[Node, ...]
    document: Document
    environments: str | None = None

    def place(self, path: Path) -> Place:
        return self.document.place(path)
