"""Nodes that tell what was found: a JSON file, and a table on the screen."""

from __future__ import annotations

import json
from typing import Any

import wfe
from nodes.vision.decode import Detection, counts
from wfe import Output, workflow_node


def table_of(detections: list[Detection]) -> list[str]:
    """The lines of a table: class, confidence and box of each detection, then a line that counts the classes."""
    if not detections:
        return ["nothing found above the confidence threshold"]
    wide = max(len("class"), *(len(detection["class"]) for detection in detections))
    lines = [f"{'class':<{wide}}  score   x1     y1     x2     y2"]
    for detection in detections:
        box = "  ".join(f"{value:5.0f}" for value in detection["bbox"])
        lines.append(f"{detection['class']:<{wide}}  {detection['confidence']:.3f}  {box}")
    summed = ", ".join(f"{count} {name}" for name, count in counts(detections).items())
    lines.append(f"{len(detections)} found: {summed}")
    return lines


@workflow_node(outputs={"json_path": "Output"})
def save_detections(detections: list[Any], width: int, height: int, json_path: Output) -> dict[str, Any]:
    """Write the detections and the size of their picture as JSON."""
    document = {"width": width, "height": height, "detections": detections}
    json_path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"json_path": json_path}


@workflow_node(outputs={"table": "str"})
def show_table(detections: list[Any]) -> dict[str, Any]:
    """Show the detections as a table on the screen; the same text is the output."""
    lines = table_of(detections)
    for line in lines:
        wfe.log(line)
    return {"table": "\n".join(lines)}
