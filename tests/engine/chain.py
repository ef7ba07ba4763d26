"""A short chain of steps with a helper two imports deep: what most tests of rebuilding edit."""

from __future__ import annotations

from space import Space

NODES = """
import helper
SCALE = 3
OTHER = 5

@workflow_node()
def load(path: Path):
    return {"text": path.read_text(), "size": path.stat().st_size}

@workflow_node()
def scale(size: int, by: int = 1):
    return {"scaled": size * SCALE * by, "even": size % 2 == 0}

@workflow_node()
def shout(text: str):
    return {"loud": helper.loud(text)}

@workflow_node()
def write(scaled: int, to: Output):
    to.write_text(str(scaled))
"""
ALL = ("load", "scale", "shout", "write")


def begin(space: Space) -> Space:
    """load -> scale -> write, load -> shout; a helper module two imports deep."""
    space.nodes(NODES)
    space.file("helper.py", "import deep\ndef loud(text):\n    return deep.up(text)\ndef unused():\n    return 1\n")
    space.file("deep.py", "MARK = '!'\ndef up(text):\n    return text.upper() + MARK\n")
    space.file("in.txt", "abcd")
    space.workflow(
        [
            {"id": "load", "inputs": {"path": "in.txt"}},
            {"id": "scale", "inputs": {"size": "$load.size", "by": "${by}"}},
            {"id": "shout", "inputs": {"text": "$load.text"}},
            {"id": "write", "inputs": {"scaled": "$scale.scaled", "to": "out/n.txt"}},
        ],
        params={"by": 1},
    )
    space.run()
    space.ran(*ALL)
    return space
