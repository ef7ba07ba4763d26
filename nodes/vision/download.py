"""Node: fetch a model of the registry, verified, with its licence shown before."""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import Any

import wfe
from nodes.vision.transfer import TransferError, fetch
from wfe import Output, Refuse, workflow_node

MIRROR = "WFE_MODEL_MIRROR"


def source_of(entry: dict[str, Any], mirror: str | None) -> str:
    """Where a model comes from: the mirror (a folder, or the URL of one) when there is one, else its makers' URL."""
    if mirror:
        try:
            parts = urllib.parse.urlsplit(mirror)
        except ValueError as error:
            raise Refuse(f"'mirror' (or {MIRROR}) is {mirror!r}, which is no address: {error}") from error
        if parts.scheme in ("http", "https"):
            if not parts.netloc:
                raise Refuse(f"'mirror' (or {MIRROR}) is {mirror!r}, an address without a host")
            return f"{mirror.rstrip('/')}/{entry['file']}"
        return str(Path(mirror).expanduser() / entry["file"])
    if not entry.get("url"):
        raise Refuse(f"model {entry['name']!r} is part of the project, at models/{entry['file']}; use that path")
    return str(entry["url"])


@workflow_node(outputs={"model_path": Output, "licence": str, "sha256": str, "size": int})
def download_model(
    entry: dict[str, Any],
    model_path: Output,
    mirror: str | None = None,
    parts_dir: str = "cache/downloads",
    retry_wait: float = 1.0,
) -> dict[str, Any]:
    """Fetch the model of a registry entry (see registry.find_model) to `model_path`.

    mirror: a folder, or the URL of one, that holds the file; the environment variable WFE_MODEL_MIRROR by default, else
    the makers' release. An incomplete file is kept in `parts_dir` and resumed by the next run. Raises wfe.Refuse when
    the file cannot be had or is not the expected one; then nothing is left at `model_path`.
    """
    mirror = mirror or os.environ.get(MIRROR) or None
    source = source_of(entry, mirror)
    size, known = entry.get("size"), entry.get("sha256")
    amount = f", {size / 1e6:.1f} MB" if size else ""
    wfe.log(f"{entry['name']}: licence {entry['licence']} ({entry['licence_url']})")
    wfe.log(f"{entry['name']}: fetching {source}{amount}")
    part = Path(parts_dir) / f"{entry['name']}-{(known or 'unverified')[:16]}-{entry['file']}.part"
    try:
        found = fetch(
            source,
            Path(model_path),
            sha256=known,
            size=size,
            part=part,
            wait=retry_wait,
            progress=lambda done, total: wfe.progress(done, total or size, entry["file"]),
        )
    except TransferError as error:
        raise Refuse(f"{error}\n{_advice(entry, mirror, error)}") from error
    if known is None:
        wfe.log(f"{entry['name']}: the registry knows no sha256, so the file was not verified; it has {found}")
    return {
        "model_path": model_path,
        "licence": entry["licence"],
        "sha256": found,
        "size": Path(model_path).stat().st_size,
    }


def _advice(entry: dict[str, Any], mirror: str | None, error: TransferError) -> str:
    """What to do now."""
    if "not the expected file" in str(error):
        return (
            "The source may have changed or been tampered with; compare it with the makers' release before trusting it."
        )
    if mirror:
        return f"The mirror {mirror} must hold {entry['file']}; without a mirror it comes from {entry.get('url')}."
    return (
        f"Without a network: bring {entry['file']} here by other means and set 'model_path' of the workflow to it, or "
        f"set {MIRROR} to the folder (or URL) that holds it. The project's own models/shapes.onnx needs no download."
    )
