"""Run by the Python of a prefix, as a script: import what the named distributions provide, and tell how that went.

    python -I probe.py REPORT DISTRIBUTION...

REPORT gets a JSON line before each import ({"importing", "of"}) and after it ({"imported"} or {"failed", "error",
"missing"}), so that a reader knows which import ended the process. Standard library only, Python 3.10 and newer: it
runs where nothing of ours is. A file and not a pipe, since what is imported may print, or close what it finds open.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module, metadata
from pathlib import Path
from threading import Thread

_SUFFIXES = (".py", ".so", ".pyd")
_ASIDE = {
    "test",
    "tests",
    "testing",
    "doc",
    "docs",
    "example",
    "examples",
    "benchmarks",
    "conftest",
    "setup",
    "scripts",
}
_DEPTH = 3  # how far down a namespace package is followed: google/cloud/storage


def modules(names: list[str]) -> list[str]:
    """The public import names behind the files of one distribution (relative paths with '/'), sorted, without those
    inside a package that is named itself. A folder with no `__init__` is a namespace: what counts is what lies in
    it."""
    files = {tuple(name.split("/")) for name in names}
    packages = {parts[:-1] for parts in files if parts[-1].startswith("__init__.") and parts[-1].endswith(_SUFFIXES)}
    found = set()
    for parts in files:
        if (
            not parts[-1].endswith(_SUFFIXES)
            or parts[0].endswith((".dist-info", ".data", ".libs"))
            or parts[0] in ("..", ".")
        ):
            continue
        for depth in range(1, min(len(parts), _DEPTH + 1)):
            if parts[:depth] in packages:
                found.add(parts[:depth])
                break
        else:
            if len(parts) <= _DEPTH:
                found.add((*parts[:-1], parts[-1].split(".")[0]))
    public = [
        parts
        for parts in found
        if all(part.isidentifier() and not part.startswith("_") for part in parts) and parts[0] not in _ASIDE
    ]
    return [".".join(parts) for parts in sorted(public)]


def _files(distribution: metadata.Distribution) -> list[str]:
    return [file.as_posix() for file in distribution.files or ()]


def _go_with_the_parent() -> None:
    # The pipe on standard input ends when wfe does, by kill -9 too; an import that hangs must not outlive it.
    while os.read(0, 1):
        pass
    os._exit(1)


def main(report: str, distributions: list[str]) -> None:
    Thread(target=_go_with_the_parent, daemon=True).start()
    with Path(report).open("a", encoding="utf-8") as stream:

        def tell(**line: object) -> None:
            stream.write(json.dumps(line) + "\n")
            stream.flush()

        for name in distributions:
            for module in modules(_files(metadata.distribution(name))):
                tell(importing=module, of=name)
                try:
                    import_module(module)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001  told to the reader; an import may raise SystemExit, too
                    missing = error.name if isinstance(error, ModuleNotFoundError) else None
                    tell(failed=module, of=name, error=f"{type(error).__name__}: {error}", missing=missing)
                else:
                    tell(imported=module, of=name)
        tell(end=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
