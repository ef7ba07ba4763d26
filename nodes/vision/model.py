"""Node: find out what a detection model wants and gives, from its metadata and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nodes.vision.session import describe_session, open_session
from wfe import workflow_node


@workflow_node(outputs={"detector": "dict"})
def inspect_model(
    model_path: Path,
    layout: str = "auto",
    input_size: int | list[int] | None = None,
    fit: str = "auto",
    colour: str = "auto",
    class_names: list[str] | None = None,
) -> dict[str, Any]:
    """Describe an ONNX detector as layout.Detector does: layout, input size, class names, colour order, padding.

    Each parameter overrules what the model says. Raises wfe.Refuse that names the parameter to set where it is unclear.
    """
    detector = describe_session(
        open_session(model_path),
        model=str(model_path),
        layout=layout,
        input_size=input_size,
        fit=fit,
        colour=colour,
        class_names=class_names,
    )
    return {"detector": detector.to_json()}
