"""Paths in what a step returns that writes files: the parameter means the file, and the place where it is written for the
time of the call is no part of a result."""

from __future__ import annotations

import pytest
from space import Space

NODES = """
@workflow_node
def save(to: Output):
    to.write_text("saved")
    return {returned}

@workflow_node
def read(found: Any):
    return {{"found": found}}
"""


def saving(space: Space, returned: str) -> Space:
    """`save`, which returns that, and `read`, which is given it."""
    space.nodes(NODES.format(returned=returned))
    space.workflow(
        [
            {"id": "save", "inputs": {"to": "out/saved.txt"}},
            {"id": "read", "inputs": {"found": "$save"}},
        ]
    )
    return space


@pytest.mark.parametrize(
    ("returned", "at"),
    [
        ("{'m': f'wrote {to}'}", "m"),
        ("{'m': {'n': [1, f'{to}.bak']}}", "m.n.1"),
        ("{'folder': str(to.parent)}", "folder"),
        ("{'from_here': __import__('os').path.relpath(to)}", "from_here"),
        ("{'sizes': {str(to): 5}}", "sizes"),
    ],
)
def test_the_place_where_a_file_is_written_is_no_part_of_a_result(space: Space, returned: str, at: str) -> None:
    """It is another in each run, so that all that reads it would be rebuilt."""
    for inline in (True, False):
        told = saving(space, returned).run(inline=inline).failure("save")
        assert f"tells, under {at}" in told
        assert "return the parameter itself" in told
        space.blocked("read")


@pytest.mark.parametrize(
    "returned", ["{'a': to, 'b': str(to)}", "{'a': [str(to)], 'm': f'wrote {to.name}'}", "{'m': 'wrote saved.txt'}"]
)
def test_the_parameter_is_the_file(space: Space, returned: str) -> None:
    told = saving(space, returned).run().values["read"]["found"]
    assert "out/saved.txt" in str(told)
    space.run(forced=["save"])
    space.current("read")
