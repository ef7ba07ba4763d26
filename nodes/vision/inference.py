"""Node: run an ONNX detector on a prepared input with onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.layout import Detector
from nodes.vision.preprocess import filled
from nodes.vision.session import open_session, run_session
from wfe import workflow_node


@workflow_node(outputs={"raw": "np.ndarray"})
def infer(model_path: Path, tensor: np.ndarray, detector: dict[str, Any]) -> dict[str, Any]:
    """The model's raw output for a batch of one. A model of a fixed larger batch gets the picture in every place."""
    model = Detector.from_json(detector)
    return {"raw": run_session(open_session(model_path), model, filled(tensor, model.batch))[:1]}
