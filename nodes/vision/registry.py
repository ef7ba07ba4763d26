"""Node: look a model up in models/models.json, the list of models that can be fetched."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from wfe import Refuse, workflow_node


class Entry(TypedDict):
    """A model of the registry. `url` is null for one that is part of the project; `sha256` and `size` (bytes) are null
    when not known; `classes` is a list of names or "coco"."""

    name: str
    file: str
    url: str | None
    sha256: str | None
    size: int | None
    licence: str
    licence_url: str
    layout: str
    input_size: int
    classes: list[str] | str


@workflow_node(outputs={"entry": dict})
def find_model(model_name: str, registry: Path, ready: bool = False) -> dict[str, Any]:
    """The registry's entry of a model, by its name ("yolox_s") or its file's ("yolox_s.onnx").

    ready: whether it must be one that can be used as it is fetched; weights that need an export are refused then.

    A step of its own, so that a new entry in the registry fetches no other model again. Raises wfe.Refuse.
    """
    try:
        listed: dict[str, dict[str, Any]] = json.loads(registry.read_text(encoding="utf-8"))["models"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refuse(f"{registry}: is no model registry: {error}") from error
    by_file = {entry["file"]: name for name, entry in listed.items()}
    name = by_file.get(model_name, model_name)
    if name not in listed and (stem := model_name.rpartition(".")[0]) in listed:
        name = stem
    if name not in listed:
        close = get_close_matches(model_name, [*listed, *by_file], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(listed))}"
        raise Refuse(f"{registry}: knows no model {model_name!r}; {hint}")
    file = str(listed[name]["file"])
    if ready and not file.endswith(".onnx"):
        raise Refuse(
            f"{registry}: {name!r} is fetched as {file}, weights that must be exported first: "
            f"run workflow=export_yolov8 model_name={name} weights_path=models/{file} model_path=models/{name}.onnx, "
            f"then give model_path=models/{name}.onnx here"
        )
    return {"entry": {"name": name, **listed[name]}}
