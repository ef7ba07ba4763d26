"""Which generated files a person has read and trusts: `.wfe/approved.json`, committed with the project.

Knows digests of whole files. A file that wfe did not generate is trusted, as all code of a project is; a generated one is
trusted while its text is the one that was approved.
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


def trusted(project: Path, path: Path) -> bool:
    """Whether the node's source `path` may run with the user's own rights. Raises WorkflowError for a damaged record."""
    text = path.read_bytes()
    if header.read(text.decode("utf-8", "replace")) is None:
        return True
    return read(project).get(_name(project, path)) == sha256(text).hexdigest()


def approve(project: Path, path: Path) -> str:
    """Record that `path`, as it is now, is trusted; returns its digest. Raises WorkflowError."""
    if not path.is_file():
        raise WorkflowError(f"there is no file {path}", hint="`wfe list --nodes` lists the nodes")
    record = read(project)
    record[_name(project, path)] = found = sha256(path.read_bytes()).hexdigest()
    _write(project, record)
    return found


def withdraw(project: Path, path: Path) -> None:
    """Take the approval of `path` back; nothing happens when there was none."""
    record = read(project)
    if record.pop(_name(project, path), None) is not None:
        _write(project, record)


def read(project: Path) -> dict[str, str]:
    """Path relative to the project -> SHA-256 of the text that was approved."""
    file = project / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise WorkflowError(
            f"{RECORD} cannot be read: {error}", hint="restore it, or delete it and approve again"
        ) from error
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        raise WorkflowError(f"{RECORD} is not an object of texts", hint="restore it, or delete it and approve again")
    return record


def _name(project: Path, path: Path) -> str:
    return Path(os.path.relpath(path.resolve(), project.resolve())).as_posix()


def _write(project: Path, record: dict[str, str]) -> None:
    file = project / RECORD
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix="approved-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=2, sort_keys=True)
        stream.write("\n")
    os.replace(name, file)
