"""Node: export Ultralytics weights (.pt) as ONNX, in an environment of its own.

ultralytics brings PyTorch and the full opencv-python, which must not come near the main environment.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from wfe import Output, workflow_node


@workflow_node(
    outputs={"onnx_path": Output},
    dependencies=["ultralytics>=8.3,<9", "onnx>=1.17", "onnxslim>=0.1.50", "onnxruntime>=1.20"],
    environment="ultralytics-export",
    isolation_mode="always",
)
def export_ultralytics(
    weights: Path, onnx_path: Output, input_size: int = 640, dynamic: bool = False, half: bool = False, opset: int = 17
) -> dict[str, Any]:
    """Export a detector's weights to ONNX with output 1 x (4+classes) x anchors and its class names in the metadata.

    The exporter writes beside the weights, so it works on a copy. Raises what ultralytics raises.
    """
    from ultralytics import YOLO  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "weights.pt"
        shutil.copyfile(weights, copy)
        made = YOLO(str(copy)).export(format="onnx", imgsz=input_size, dynamic=dynamic, half=half, opset=opset)
        shutil.move(str(made), onnx_path)
    return {"onnx_path": onnx_path}
