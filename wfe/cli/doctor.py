"""`wfe doctor`: this machine and this project, looked over."""

from __future__ import annotations

import importlib.metadata
import json as json_
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import typer

import wfe
from wfe.cli import amount, here
from wfe.errors import ExitCode, WfeError

_NEEDED: Final = ("doit", "pyyaml", "numpy", "xxhash", "rich", "typer", "psutil", "filelock", "watchfiles")
_OF_NODES: Final = ("onnx", "openvino", "torch", "pillow", "av", "supervision", "ollama")
# Wheels that put the same import name into the same folder: with two of them, which one is imported is chance.
_FAMILIES: Final = {
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-directml",
        "onnxruntime-openvino",
        "onnxruntime-qnn",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. level: "ok", "note" or "bad" (wfe cannot work well so). hint: what to do."""

    what: str
    found: str
    level: str = "ok"
    hint: str = ""


def doctor(json: here.Json = False) -> None:
    """Check this machine and this project. Exits with 4 when something keeps wfe from working.

    \b
    wfe doctor
    """
    found = [*_machine(), *_packages(), *_devices(), *_project()]
    for one in found:
        if json:
            typer.echo(json_.dumps(asdict(one)))
        else:
            mark = {"ok": "  ", "note": "? ", "bad": "! "}[one.level]
            typer.echo(f"{mark}{one.what:<14} {one.found}" + (f"\n{'':<17}{one.hint}" if one.hint else ""))
    bad = sum(one.level == "bad" for one in found)
    if not json:
        typer.echo(f"\n{bad} thing{'s' * (bad != 1)} to mend" if bad else "\nall well")
    raise typer.Exit(ExitCode.ENVIRONMENT if bad else ExitCode.OK)


def _machine() -> Iterator[Finding]:
    from wfe.wire.processors import processors

    yield Finding("wfe", wfe.__version__)
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("platform", f"{platform.platform()}, {processors()} CPUs")
    uv = shutil.which("uv")
    if uv is None:
        yield Finding("uv", "not found", "note", "only nodes with an environment of their own need it: pip install uv")
    else:
        yield Finding("uv", _said([uv, "--version"]) or uv)
    yield _sandbox()


def _sandbox() -> Finding:
    from wfe.agent.sandbox import choose

    try:
        found = choose()
    except WfeError as error:
        return Finding("sandbox", error.problems[0].message, "note", error.problems[0].hint)
    hint = "" if found.holds_hosts else "with bubblewrap a generated node can be granted single hosts of the network"
    return Finding("sandbox", found.name, "note" if hint else "ok", hint)


def _packages() -> Iterator[Finding]:
    for name in _NEEDED:
        version = _version(name)
        level, hint = ("ok", "") if version else ("bad", f"pip install {name}")
        yield Finding(name, version or "missing", level, hint)
    for module, family in _FAMILIES.items():
        held = [f"{name} {version}" for name in family if (version := _version(name))]
        if len(held) > 1:
            hint = "they overwrite each other's files: keep one, and give the node that needs another `dependencies`"
            yield Finding(module, " and ".join(held), "bad", hint)
        elif held:
            yield Finding(module, held[0])
    for name in _OF_NODES:
        version = _version(name)
        if version:
            yield Finding(name, version)


def _devices() -> Iterator[Finding]:
    smi = shutil.which("nvidia-smi")
    if smi is not None:
        lines = _said([smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]).splitlines()
        for index, line in enumerate(lines):
            yield Finding(f"gpu {index}", line)
    if sys.platform == "linux":
        for folder, what in (("/dev/dri", "GPU nodes"), ("/dev/accel", "accelerators")):
            names = sorted(path.name for path in Path(folder).glob("*")) if Path(folder).is_dir() else []
            if names:
                yield Finding(what, ", ".join(names))
        cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
        if cameras:
            yield Finding("cameras", ", ".join(cameras))


def _project() -> Iterator[Finding]:
    from wfe.engine.isolated import environments_of
    from wfe.engine.workspace import Workspace
    from wfe.store.collect import on_disk

    try:
        where = here.project()
    except WfeError as error:
        yield Finding("project", str(error), "note")
        return
    names = where.names()
    hint = "" if names else "put a document into workflows/"
    yield Finding("project", f"{where.root}, {len(names)} workflows", "ok" if names else "note", hint)
    try:
        environments_of(where).file.read()
    except WfeError as error:
        yield Finding("environments", str(error), "bad")
    try:
        workspace = Workspace(where)
    except (WfeError, OSError) as error:
        yield Finding("cache", str(error), "bad")
        return
    try:
        kind = _file_system(where.cache)
        if workspace.state.note:
            level = "bad" if workspace.state.read_only else "note"
            yield Finding("state", workspace.state.note, level)
        sizes = [size for _, size, _ in on_disk(workspace.blobs)]
        yield Finding("cache", f"{where.cache}" + (f" ({kind})" if kind else ""))
        hint = "`wfe collect` removes what no workflow needs" if sum(sizes) > 10**10 else ""
        yield Finding("store", f"{amount.shown(sum(sizes))} in {len(sizes):,} files", "note" if hint else "ok", hint)
        if kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs", "9p")):
            hint = "SQLite needs locks that network file systems keep badly: set WFE_CACHE to a local directory"
            yield Finding("file system", kind, "note", hint)
        aside = sorted(path.name for path in where.cache.glob("state.db.damaged*"))
        if aside:
            yield Finding("state", f"a damaged database was put aside: {', '.join(aside)}", "note", "delete it")
        free = shutil.disk_usage(where.cache).free
        level, hint = ("note", "free some space") if free < 10**9 else ("ok", "")
        yield Finding("free space", amount.shown(free), level, hint)
    finally:
        workspace.close()


def _file_system(path: Path) -> str:
    """The kind of the file system that a directory is on, "" where nobody says."""
    import psutil

    best = ""
    kind = ""
    for one in psutil.disk_partitions(all=True):
        mount = one.mountpoint
        if (path.is_relative_to(mount) or str(path) == mount) and len(mount) >= len(best):
            best, kind = mount, one.fstype
    return str(kind)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
