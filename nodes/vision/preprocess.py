"""Makes a model's input tensor from pictures: the node `preprocess` and the functions under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.vision.layout import Detector
from nodes.vision.letterbox import Letterbox
from wfe import workflow_node


def to_tensor(fitted: Sequence[NDArray[np.uint8]], detector: Detector) -> NDArray[np.floating[Any]]:
    """Pictures of the model's input size (BGR, uint8) as one batch in the order, range and type the model wants."""
    batch = np.stack(fitted) if len(fitted) > 1 else fitted[0][None]
    if detector.colour == "rgb":
        batch = batch[..., ::-1]
    if not detector.channels_last:
        batch = batch.transpose(0, 3, 1, 2)
    # divided in float32 for float16 models too: 1/255 in float16 is off by 2e-4 at white
    tensor = np.ascontiguousarray(batch).astype(np.float32)
    if detector.scale != 255.0:
        tensor *= np.float32(detector.scale / 255.0)
    return tensor.astype(detector.dtype, copy=False)


@workflow_node(outputs={"tensor": "np.ndarray", "letterbox": "dict"})
def preprocess(image: np.ndarray, detector: dict[str, Any]) -> dict[str, Any]:
    """Fit a BGR picture into the model's input: `tensor` (a batch of one) and `letterbox` (the way back)."""
    model = Detector.from_json(detector)
    letterbox = Letterbox.fit(image.shape[1], image.shape[0], model.width, model.height, model.fit)
    return {"tensor": to_tensor([letterbox.apply(image)], model), "letterbox": letterbox.to_json()}
