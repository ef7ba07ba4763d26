"""Where a project keeps what: its workflows, its nodes, its cache. Knows paths only."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wfe.errors import Place, Problem, WfeError, WorkflowError, nearest

SUFFIXES: Final = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Project:
    """A directory with `workflows/` and `nodes/`. `cache` is `cache/` in it, or where WFE_CACHE points."""

    root: Path
    cache: Path

    @classmethod
    def at(cls, root: str | Path) -> Project:
        base = Path(root).resolve()
        elsewhere = os.environ.get("WFE_CACHE")
        return cls(base, Path(elsewhere).expanduser().resolve() if elsewhere else base / "cache")

    @classmethod
    def around(cls, start: str | Path = ".") -> Project:
        """The project of a directory: the nearest one at or above it that has `workflows/` or `dodo.py`.

        Raises WfeError when there is none.
        """
        here = Path(start).resolve()
        for candidate in (here, *here.parents):
            if (candidate / "workflows").is_dir() or (candidate / "dodo.py").is_file():
                return cls.at(candidate)
        raise WfeError(
            f"{here} is in no wfe project: neither it nor a directory above has workflows/ or dodo.py",
            "`wfe init` begins one",
        )

    @property
    def workflows(self) -> Path:
        return self.root / "workflows"

    def names(self) -> list[str]:
        """The workflows' names: the stems of the documents in workflows/."""
        files = (path for path in self.workflows.glob("*") if path.suffix in SUFFIXES and path.is_file())
        return sorted({path.stem for path in files if not _of_environments(path)})

    def find(self, name: str, place: Place | None = None) -> Path:
        """The document of the workflow `name`: a name in workflows/, or a path. place: of the document that includes it, whose
        paths are the project's, wherever one stands. Raises WorkflowError."""
        # os.path's: a name that no file can have, of 300 letters perhaps, is no error of the system's for it.
        found = [path for suffix in SUFFIXES if os.path.isfile(path := self.workflows / f"{name}{suffix}")]
        if len(found) > 1:
            raise WorkflowError(
                f"workflow {name!r} has two documents: {', '.join(path.name for path in found)}", "keep one"
            )
        if found:
            return found[0]
        path = Path(name)
        for candidate in (self.root / path,) if place else (path, self.root / path):
            if candidate.suffix in SUFFIXES and os.path.isfile(candidate):
                return candidate.resolve()
        hint = nearest(name, self.names()) or (
            "`wfe list` shows those that there are" if self.names() else "put a document into workflows/"
        )
        raise WorkflowError(Problem(f"there is no workflow {name!r}", place or Place(), hint))

    def shown(self, path: Path) -> str:
        """A path as the user would name it."""
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            return str(path)


def _of_environments(path: Path) -> bool:
    """Whether a file beside the workflows is the lock of environments, or declares them: under the name that most give it."""
    if path.name != "environments.json":
        return path.name.endswith(".lock.json")
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(known, dict) and known.keys().isdisjoint(("workflow", "nodes"))
