"""Node: the model file to use, the user's own or the downloaded one."""

from __future__ import annotations

from typing import Any

from wfe import Refuse, workflow_node


@workflow_node(outputs={"model_path": str})
def use_model(own: str | None = None, downloaded: str | None = None) -> dict[str, Any]:
    """`own` when the user named a model file, else `downloaded`. Raises wfe.Refuse when there is neither."""
    chosen = own or downloaded
    if not chosen:
        raise Refuse("no model: set model_path=FILE, or model=NAME of models/models.json to have it downloaded")
    return {"model_path": str(chosen)}
