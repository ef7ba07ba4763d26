"""Which weights each model had when its server was last asked: `.wfe/models.json`, committed with the project.

A model is an input of what it writes, and its name alone does not say which one it is: `ollama pull` may put other
weights under it. Asking the server whether it did would make every look at a current node a request, so the digest
that was last seen stands for the model, and it is renewed whenever the server is asked for something else anyway.
From then on what the older weights wrote counts as out of date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

RECORD = Path(".wfe") / "models.json"


def last(project: Path, model: str) -> str:
    """The digest of `model` when its server was last asked; "" when it never was, or nobody can read the record."""
    return _read(project).get(model, "")


def changed(project: Path, model: str, digest: str) -> Mapping[str, str] | None:
    """The record with this digest in it, None when it says so already."""
    record = _read(project)
    return None if record.get(model) == digest else {**record, model: digest}


def _read(project: Path) -> dict[str, str]:
    try:
        found = json.loads((project / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a lost record makes nothing out of date: the next answer writes it anew
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
