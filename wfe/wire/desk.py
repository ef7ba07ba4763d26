"""The side of a worker at shared-memory blocks: reads those it is told of, and puts results into blank ones.

Knows which blocks of a call are mapped, and which of its arrays outlive the call. Does not own any file: the host does.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

from wfe.wire.shm import Block, Flag, anchor, create, describe, needed


class Desk:
    """The blocks that a worker works with: mappings kept from call to call, so that only the first pays for faults."""

    def __init__(self) -> None:
        self._open: dict[str, Block] = {}
        self._touched: set[str] = set()
        self._views: list[tuple[str, Any]] = []
        self._blanks: list[Block] = []
        self._folders: Sequence[str] = ()

    def lay_out(self, folders: Sequence[str], blanks: Sequence[str]) -> None:
        """The host's folders, and the paths of blocks that results may be put into."""
        self._folders = folders
        self._blanks = [self._attach(path) for path in blanks]

    def _attach(self, path: str) -> Block:
        block = self._open.get(path)
        if block is None:
            block = self._open[path] = Block.attach(path)
        self._touched.add(path)
        return block

    def read(self, ticket: str) -> Any:
        """The read-only array of a ticket."""
        path, _, generation = ticket.rpartition("#")
        block = self._attach(path)
        array = block.get(generation=int(generation))
        block.flag = Flag.PROCESSING
        self._views.append((path, weakref.ref(anchor(array))))
        return array

    def place(self, codec: str, suffix: str, value: Any) -> tuple[str, str]:
        """Put an array into a blank block, or a new one in the host's folder; as values.Place."""
        del suffix
        if codec != "npy":
            raise TypeError("a call without a staging folder returns arrays and JSON values only")
        head, payload = describe(value, False)
        size = needed(head, payload)
        fit = [block for block in self._blanks if block.size >= size]
        if fit:
            block = min(fit, key=lambda block: block.size)
            self._blanks.remove(block)
        else:
            # Never a name of before, which a process with the same number may have used.
            block = create(self._folders, f"w{os.getpid()}-{os.urandom(6).hex()}", size)
            path = str(block.path)
            self._open[path] = block
            self._touched.add(path)
        block.store(head, payload)
        return "shm", block.ticket()

    def clear(self) -> list[str]:
        """After a call: paths of the read blocks whose arrays the function kept, which must not be filled again."""
        kept = [path for path, view in self._views if view() is not None]
        for path, _ in self._views:
            self._open[path].flag = Flag.DONE
        for path in [path for path in self._open if path not in self._touched or path in kept]:
            self._open.pop(path).close()
        self._views.clear()
        self._blanks.clear()
        self._touched.clear()
        return kept
