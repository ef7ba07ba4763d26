"""Workflow name + parameters -> an Index: read back when nothing that made it has changed, else planned anew.

Knows the documents, the catalogue, the environment and the memo of plans. Does not look at results.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wfe
from wfe.core.digest import digest, digest_of
from wfe.engine.ground import Ground
from wfe.engine.index import Index
from wfe.engine.project import Project
from wfe.engine.site import folder_time, own_stamp, site_stamp
from wfe.errors import Place, Problem, WorkflowError
from wfe.store.stamp import holds, stamp
from wfe.store.state import State

if TYPE_CHECKING:
    from wfe.core.workflow import Workflow

_KEPT: Final = 16  # plans of one workflow (one for each set of parameters in use)


def prepare(project: Project, state: State, name: str, overrides: Mapping[str, Any]) -> Index:
    """The index of the workflow `name`. Raises WfeError with all that is wrong."""
    path = project.find(name)
    data = _read(path, project)
    name = path.stem if path.parent == project.workflows else project.shown(path).replace("/", ".")
    key = digest_of(
        [
            digest(data),
            sorted(overrides.items()),
            wfe.__version__,
            own_stamp(),
            sys.version_info[:2],
            os.environ.get("WFE_DEVICE", ""),
        ]
    )
    memo = state.get("memo", key, f"plan:{name}")
    if memo is not None:
        found = _reuse(memo, project)
        if found is not None:
            return found
    return _plan(project, state, name, path, data, overrides, key)


def _read(path: Path, project: Project) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorkflowError(Problem(f"cannot be read: {error.strerror}", Place(project.shown(path)))) from None


def _reuse(memo: tuple[Any, ...], project: Project) -> Index | None:
    """The index in a memo, None when something that it was made from has changed."""
    sources, absent, present, spaces, folders, links, site, packed = memo
    if site != site_stamp() or Ground(project).links(folder for folder, _ in links) != links:
        return None
    base = f"{project.root}{os.sep}"
    if any(os.path.exists(base + path) for path in absent) or not all(os.path.isdir(base + path) for path in spaces):
        return None
    if not all(os.path.exists(os.path.join(base, path)) for path in present):
        return None
    if any(folder_time(base + path) != time for path, time in folders):
        return None
    for path, old, known in sources:
        if not holds(old, base + path):
            try:
                if digest(Path(base + path).read_bytes()) != known:
                    return None
            except OSError:
                return None
    found = Index.unpack(packed)
    found.sources = sources
    return found


def _plan(
    project: Project, state: State, name: str, path: Path, data: bytes, overrides: Mapping[str, Any], key: str
) -> Index:
    # Imported here: an unchanged workflow needs neither the parser nor the planner.
    from wfe.catalog import Catalogue
    from wfe.core.parse import parse
    from wfe.core.planner import plan
    from wfe.engine.placement import Places

    catalogue = Catalogue(project.root)
    problems: list[Problem] = []
    workflow = parse(data, project.shown(path), name, problems)
    included: dict[str, bytes] = {}
    documents = [str(path)]
    places = Places(project, workflow, state)

    def load(other: str, place: Place) -> Workflow:
        file = project.find(other, place)
        documents.append(str(file))
        included[project.shown(file)] = content = _read(file, project)
        return parse(content, project.shown(file), file.stem)

    present: set[str] = set()  # thousands of steps may read one file

    def absent(file: str) -> str | None:
        if os.path.exists(project.root / file):
            present.add(file)
            return None
        return _similar(project.root / file)

    disk = Ground(project, documents)
    made = Index.of(plan(workflow, overrides, catalogue, places, load, known=problems, absent=absent, disk=disk))
    base = f"{project.root}{os.sep}"
    sources = []
    for relative, content in {**catalogue.read, **included, **places.read}.items():
        # Stamped after it was read: if it was changed in between, the digest is the old content's and the stamp the new
        # one's, so a stamp may only be trusted if the content now is still what was read.
        taken = stamp(base + relative)
        if Path(base + relative).read_bytes() != content:
            taken = taken._replace(settled=False)
        sources.append((relative, taken.plain(), digest(content)))
    folders = [(p, folder_time(base + p)) for p in _folders(project.root)] if catalogue.listed else []
    if included:  # another document of such a name may come
        folders.append((project.shown(project.workflows), folder_time(str(project.workflows))))
    made.sources = tuple(sources)
    looked_for = (
        tuple(sorted(catalogue.absent | places.missing)),
        tuple(sorted(present)),
        tuple(sorted(catalogue.spaces)),
    )
    memo = (made.sources, *looked_for, tuple(folders), disk.links(), site_stamp(), made.pack())
    scope = f"plan:{name}"
    with state.transaction():
        if len(state.all("memo", scope)) >= _KEPT:
            state.remove("memo", scope=scope)
        state.set("memo", key, memo, scope)
        for signature in catalogue._reaches.values():
            state.set("memo", signature.digest, signature.parts, "code")
    return made


def _similar(path: Path) -> str:
    from wfe.errors import nearest

    folder = path.parent
    try:
        if not folder.is_dir():
            return f"there is no directory {folder.name!r} either"
        if path.is_symlink():
            return f"there is a link of this name, which leads nowhere: to {os.readlink(path)!r}"
        return nearest(path.name, sorted(entry.name for entry in folder.iterdir())[:500])
    except OSError as error:
        return f"{folder.name!r} cannot be read: {error.strerror}"


def _folders(root: Path) -> list[str]:
    nodes = root / "nodes"
    return [Path(folder).relative_to(root).as_posix() for folder, _, _ in os.walk(nodes) if "__pycache__" not in folder]
