"""What `wfe env list`, `remove` and `gc` need to know and do about the prefixes under one root.

Knows the layout (see `prefix` and `lease`) and how to measure it. Prints nothing; which nodes use a prefix is told to
it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wfe.env import lease, prefix
from wfe.errors import EnvironmentFailure, nearest

_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One prefix on disk. own, linked: bytes on disk of files that only it has, and of hard links to uv's cache or to
    other prefixes (where the file system clones instead, clones count as own: it does not tell). users: ids of the
    processes that use it now. nodes: which nodes it is for, and why. usable: False when it will be made anew on its
    next use."""

    digest: str
    path: Path
    python: str
    packages: tuple[str, ...]
    asked: tuple[str, ...]
    own: int
    linked: int
    made: float
    used: float
    users: tuple[int, ...] = ()
    nodes: Mapping[str, str] | None = None
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Removal:
    """A prefix that was removed, or (on a dry run) would be: bytes that only it had, and why. digest: of its lock, or the name
    of a folder that is none."""

    digest: str
    bytes: int
    why: str


def size(path: Path) -> tuple[int, int]:
    """(own, linked) bytes on disk under `path`; a file that has one name counts as own. Symbolic links are not
    followed."""
    own = linked = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                found = os.stat(os.path.join(folder, name), follow_symlinks=False)
            except FileNotFoundError:
                continue
            # st_blocks counts what the disk gives; Windows has no such count.
            took = getattr(found, "st_blocks", None)
            amount = found.st_size if took is None else took * 512
            if name in files and found.st_nlink > 1:
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    linked += amount
            else:
                own += amount
    return own, linked


def entries(root: Path, nodes: Mapping[str, Mapping[str, str]] | None = None) -> list[Entry]:
    """Every prefix under `root`, by digest. nodes: lock digest -> node -> reason, of the workflows that are known."""
    found = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if not _DIGEST.fullmatch(path.name) or not path.is_dir():
            continue
        made = prefix.look(root, path.name)
        own, linked = size(path)
        found.append(
            Entry(
                digest=path.name,
                path=path,
                python=made.interpreter if made else "",
                packages=tuple(made.packages.values()) if made else (),
                asked=made.asked if made else (),
                own=own,
                linked=linked,
                made=made.made if made else 0.0,
                used=lease.last_used(root, path.name) or (made.made if made else 0.0),
                users=tuple(lease.users(root, path.name)),
                nodes=(nodes or {}).get(path.name),
                usable=made is not None and not prefix.damage(root, path.name, thorough=True),
            )
        )
    return found


def remove(root: Path, digest: str) -> Removal:
    """Remove a prefix by its digest, or the beginning of it. Raises EnvironmentFailure: unknown, ambiguous, in use."""
    known = [path.name for path in sorted(root.iterdir()) if _DIGEST.fullmatch(path.name)] if root.is_dir() else []
    matches = [name for name in known if digest and name.startswith(digest)]
    if not matches:
        raise EnvironmentFailure(f"there is no environment {digest!r}", nearest(digest, known) or "see `wfe env list`")
    if len(matches) > 1:
        raise EnvironmentFailure(
            f"{digest!r} is the beginning of {len(matches)} environments", "give more digits of one"
        )
    removal = _remove(root, matches[0], "asked for", dry=False)
    if removal is None:
        users = ", ".join(str(pid) for pid in lease.users(root, matches[0])) or "another run"
        raise EnvironmentFailure(f"environment {matches[0]} is in use (process {users})", "wait for it, or end it")
    return removal


def collect(
    root: Path,
    *,
    unused_for: float | None = None,
    at_most: int | None = None,
    keep: Iterable[str] = (),
    dry_run: bool = False,
    now: float | None = None,
) -> list[Removal]:
    """Remove prefixes: those unused for so many seconds, then the longest unused until the rest has `at_most` bytes of
    its own. What cannot be used any more goes always, and so does what a killed run left half made or half removed; what is
    in use, or in `keep` (lock digests), never.

    dry_run: say what would go, and touch nothing. now: Unix seconds, for tests. Without limits only what is broken
    goes.
    """
    moment = time.time() if now is None else now
    kept = set(keep)
    left = prefix.sweep(root, dry=True) if root.is_dir() else []
    gone = [Removal(path.name, size(path)[0], "a run that was killed left it") for path in left]
    if left and not dry_run:
        prefix.sweep(root)
    found = sorted((one for one in entries(root) if one.digest not in kept), key=lambda one: (one.used, one.digest))
    total = sum(one.own for one in found)
    for one in found:
        idle = moment - one.used
        if not one.usable:
            why = "it is damaged"
        elif unused_for is not None and idle >= unused_for:
            why = f"not used for {idle / 86400:.1f} days"
        elif at_most is not None and total > at_most:
            why = "the longest unused, to make room"
        else:
            continue
        removal = None if one.users else _remove(root, one.digest, why, dry=dry_run)
        if removal:
            gone.append(removal)
            total -= removal.bytes
    return gone


def _remove(root: Path, digest: str, why: str, *, dry: bool) -> Removal | None:
    """Remove one prefix unless a process uses or makes it; None when it does."""
    if dry:
        return None if lease.users(root, digest) else Removal(digest, size(root / digest)[0], why)
    lock = lease.try_holding(root, digest)
    if lock is None:
        return None
    try:
        if lease.users(root, digest):
            return None
        own, _ = size(root / digest)
        prefix.discard(root, root / digest)
        lease.forget(root, digest)
    finally:
        lock.release()
    return Removal(digest, own, why)
