"""Opens an ONNX model with onnxruntime on the CPU and says what it wants and gives.

Knows onnxruntime. Does not know layouts' numbers (layout.py) nor other backends. A session stays open in its worker, so
that the next step or the next picture does not load the model again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nodes.vision.layout import Detector, Shape, describe
from nodes.vision.one_file import check_whole
from wfe import Refuse

if TYPE_CHECKING:
    import onnxruntime

_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def open_session(model_path: str | os.PathLike[str]) -> onnxruntime.InferenceSession:
    """The session of a model file, opened once for each content of the file (told by its time and size).

    Raises wfe.Refuse when there is no such file, onnxruntime cannot load it, or its weights lie in another file.
    """
    path = Path(model_path)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Refuse(
            f"{path}: there is no such model file; set 'model_path', or fetch one that models/models.json lists"
        ) from None
    if path.is_dir():
        raise Refuse(f"{path}: is a folder, not an ONNX model file")
    if found.st_size == 0:
        raise Refuse(f"{path}: the model file is empty; fetch it again")
    return _open(str(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _open(path: str, mtime_ns: int, size: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    del mtime_ns
    check_whole(Path(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; its warnings would only fill the step's log
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen classes of its own, with RuntimeError as their only base
        with Path(path).open("rb") as file:
            start = file.read(40)
        kind = "starts like text, " if start.isascii() and b"\x00" not in start else ""
        raise Refuse(
            f"{path}: is no ONNX model that onnxruntime can load ({kind}{size} bytes, first {start[:16]!r}): "
            f"{str(error).splitlines()[0]}"
        ) from error


def describe_session(
    session: onnxruntime.InferenceSession,
    *,
    model: str = "the model",
    layout: str = "auto",
    input_size: int | Sequence[int] | None = None,
    fit: str = "auto",
    colour: str = "auto",
    class_names: Sequence[str] | None = None,
) -> Detector:
    """What the session's model wants and gives; parameters and errors as those of `layout.describe`."""
    inputs = [(port.name, _axes(port.shape), _NUMPY_NAMES.get(port.type, port.type)) for port in session.get_inputs()]
    outputs = [(port.name, _axes(port.shape)) for port in session.get_outputs()]

    def probe(shape: tuple[int, ...]) -> Sequence[Shape]:
        zeros = np.zeros(shape, dtype=inputs[0][2])
        try:
            return [np.shape(array) for array in session.run(None, {inputs[0][0]: zeros})]
        except Exception as error:  # as in _open
            raise Refuse(
                f"{model}: does not run on an input of {' x '.join(map(str, shape))} "
                f"({str(error).splitlines()[0]}); set 'input_size' to a size that it takes"
            ) from error

    return describe(
        inputs,
        outputs,
        dict(session.get_modelmeta().custom_metadata_map),
        model=model,
        layout=layout,
        input_size=input_size,
        fit=fit,
        colour=colour,
        class_names=class_names,
        probe=probe,
    )


def run_session(
    session: onnxruntime.InferenceSession, detector: Detector, tensor: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """The raw output of the detector for a batch of inputs. Raises wfe.Refuse when the model refuses the tensor."""
    fed = np.ascontiguousarray(tensor, dtype=detector.dtype)
    try:
        (output,) = session.run([detector.output], {detector.input: fed})
    except Exception as error:  # as in _open
        raise Refuse(
            f"the model does not run on an input of {' x '.join(map(str, fed.shape))}: {str(error).splitlines()[0]}"
        ) from error
    return np.asarray(output)


def _axes(shape: Sequence[Any]) -> Shape:
    return [axis if isinstance(axis, int) and axis > 0 else None for axis in shape]
