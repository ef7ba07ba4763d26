"""Which generated files a person has read and trusts: `.wfe/approved.json`, committed with the project.

Knows digests of whole files. A file that wfe did not generate is trusted, as all code of a project is; a generated one
is trusted while its text is the one that was approved.
"""

from __future__ import annotations

import json
import os
import tempfile
from hashlib import sha256
from pathlib import Path

from wfe.agent import header
from wfe.errors import WorkflowError

RECORD = Path(".wfe") / "approved.json"
KINDS = ("trusted", "permitted")


def trusted(project: Path, path: Path) -> bool:
    """Whether the node's source `path` may run with the user's own rights. Raises WorkflowError for a damaged
    record.
    """
    text = path.read_bytes()
    return _ours(text) or _holds(project, path, text, "trusted")


def permitted(project: Path, path: Path) -> bool:
    """Whether an untrusted node may have the permissions that its decorator asks for."""
    text = path.read_bytes()
    return _ours(text) or any(_holds(project, path, text, kind) for kind in KINDS)


def approve(project: Path, path: Path, kind: str = "trusted") -> str:
    """Record that `path`, as it is now, is "trusted", or only "permitted" what it asks for; returns its digest.

    Raises WorkflowError.
    """
    if not path.is_file():
        raise WorkflowError(f"there is no file {path}", hint="`wfe list --nodes` lists the nodes")
    record = read(project)
    record[kind][_name(project, path)] = found = sha256(path.read_bytes()).hexdigest()
    _write(project, record)
    return found


def withdraw(project: Path, path: Path) -> bool:
    """Take all approval of `path` back; whether there was any."""
    record = read(project)
    had = [record[kind].pop(_name(project, path), None) for kind in KINDS]
    if any(had):
        _write(project, record)
    return any(had)


def read(project: Path) -> dict[str, dict[str, str]]:
    """kind ("trusted", "permitted") -> path relative to the project -> SHA-256 of the text that was approved."""
    file = project / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        record = {}
    except (ValueError, OSError) as error:
        raise WorkflowError(
            f"{RECORD} cannot be read: {error}", hint="restore it, or delete it and approve again"
        ) from error
    found = {kind: record.get(kind, {}) if isinstance(record, dict) else None for kind in KINDS}
    for entries in found.values():
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise WorkflowError(f"{RECORD} is damaged", hint="restore it, or delete it and approve again")
    return found  # type: ignore[return-value]


def _ours(text: bytes) -> bool:
    """Whether a person wrote it: all code of a project is trusted, except what wfe generated."""
    return header.read(text.decode("utf-8", "replace")) is None


def holds(project: Path, path: Path, kind: str) -> bool:
    """Whether `path`, as it is now, was approved as `kind`."""
    return _holds(project, path, path.read_bytes(), kind)


def _holds(project: Path, path: Path, text: bytes, kind: str) -> bool:
    return read(project)[kind].get(_name(project, path)) == sha256(text).hexdigest()


def _name(project: Path, path: Path) -> str:
    return Path(os.path.relpath(path.resolve(), project.resolve())).as_posix()


def _write(project: Path, record: dict[str, dict[str, str]]) -> None:
    file = project / RECORD
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix="approved-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=2, sort_keys=True)
        stream.write("\n")
    os.replace(name, file)
