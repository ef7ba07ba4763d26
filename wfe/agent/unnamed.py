"""Nodes of a document that name no function: one of the node's own name is taken, and written into the document.

Knows JSON text. Does not know YAML, where what is put in could change what is meant, and whose comments a parser drops.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from typing import Any

from wfe.catalog import Catalogue
from wfe.core.document import read
from wfe.core.parse import ID
from wfe.errors import WorkflowError


def named(data: bytes, file: str, catalogue: Catalogue) -> tuple[bytes, Mapping[str, str]]:
    """The document with a function for each node that has none and is no include, and which: id -> function. One that is there
    by the node's name is taken, else one to be written. Raises WorkflowError for what is no document."""
    document = read(data, file)
    found: dict[str, str] = {}
    nodes = document.value.get("nodes") if isinstance(document.value, dict) else None
    if not file.endswith(".json") or not isinstance(nodes, list):
        return data, found
    text = data.decode("utf-8-sig")
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for position, node in reversed(list(enumerate(nodes))):
        if not _lacks(node):
            continue
        function = found[node["id"]] = _function(node["id"], catalogue)
        place = document.place(("nodes", position, "id"))
        _, end = json.JSONDecoder().raw_decode(text, starts[place.line - 1] + place.column - 1)
        text = f'{text[:end]}, "function": {json.dumps(function)}{text[end:]}'
    return text.encode(), dict(reversed(found.items()))


def _lacks(node: Any) -> bool:
    if not isinstance(node, dict) or "function" in node or "include" in node:
        return False
    id = node.get("id")
    return isinstance(id, str) and bool(ID.match(id))


def _function(id: str, catalogue: Catalogue) -> str:
    name = id.replace("-", "_")
    if keyword.iskeyword(name):
        name += "_"
    try:
        known = catalogue.find(name)
    except WorkflowError:  # there are several
        known = None
    return known.function.removeprefix("nodes.") if known is not None else f"custom.{name}.{name}"
