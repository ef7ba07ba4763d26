"""What a step leaves in the place of an output file: only a file of its own becomes a blob."""

from __future__ import annotations

import os

import pytest
from space import Space

from wfe.errors import ExitCode

NODE = """
import os

@workflow_node
def leave(source: str, target: Output):
    {how}
"""


def leaving(space: Space, how: str) -> Space:
    """A workflow of one step that leaves its output so."""
    space.file("mine.txt", "mine")
    space.nodes(NODE.format(how=how))
    step = {"id": "leave", "function": "n.leave"}
    space.workflow([{**step, "inputs": {"source": str(space.root / "mine.txt"), "target": "out/x.txt"}}])
    return space


@pytest.mark.parametrize("how", ["os.symlink(source, target)", "os.link(source, target)"])
def test_of_a_link_the_content_is_kept_and_not_the_link(space: Space, how: str) -> None:
    """Else the blob would change with the other file, and the other file's rights with the blob's."""
    leaving(space, how).run()
    mine = space.root / "mine.txt"
    (blob,) = space.blobs()
    assert not blob.is_symlink() and blob.stat().st_ino != mine.stat().st_ino
    assert os.access(mine, os.W_OK) and mine.stat().st_nlink == 1
    mine.write_text("edited")
    assert blob.read_text() == "mine"
    (space.root / "out/x.txt").unlink()
    space.run()
    assert (space.root / "out/x.txt").read_text() == "mine"


@pytest.mark.parametrize("how", ["os.mkfifo(target)", "os.mkdir(target)", "os.symlink('/nowhere', target)"])
def test_what_is_no_file_is_refused(space: Space, how: str) -> None:
    leaving(space, how).run()
    space.failed("leave")
    assert space.last is not None and space.last.code is ExitCode.FAILED
