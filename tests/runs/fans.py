"""A workflow with a fan over constants, or over what another step gives."""

from __future__ import annotations

from typing import Any

from space import Space

NODES = """
@workflow_node(outputs={"items": list})
def source(items: Any):
    if items == "skip":
        raise Skip("nothing here")
    if items == "fail":
        raise ValueError("no source")
    return {"items": items}

@workflow_node(outputs={"out": Any})
def each(x: Any, y: Any = None):
    if x == "fail":
        raise ValueError("bad item")
    if x == "skip":
        raise Skip("not this one")
    return {"out": x if y is None else [x, y]}

@workflow_node(outputs={"all": list})
def collect(out: list):
    return {"all": out}

@workflow_node(outputs={"all": Any})
def spare(out: list | None = None):
    return {"all": out}

@workflow_node(outputs={"n": int})
def write(x: Any, to: Output):
    to.write_text(str(x))
    return {"n": 1}

@workflow_node(outputs={"a": Any})
def arrays(n: int):
    import numpy
    return {"a": [numpy.full(3, k) for k in range(n)]}

@workflow_node(outputs={"s": float})
def total(a: Any):
    return {"s": float(a.sum())}
"""


def fan(space: Space, foreach: Any, x: Any = "$item", **more: Any) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "each", "foreach": foreach, "inputs": {"x": x}, **more},
            {"id": "collect", "depends_on": ["each"]},
        ]
    )


def upstream(space: Space, items: Any, x: Any = "$item", **more: Any) -> None:
    space.nodes(NODES)
    space.workflow(
        [
            {"id": "source", "inputs": {"items": items}},
            {"id": "each", "foreach": "$source.items", "inputs": {"x": x}, **more},
            {"id": "collect", "depends_on": ["each"]},
        ]
    )
