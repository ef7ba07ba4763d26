"""Models on OpenVINO: CPU, GPU and NPU. The device is named outright; AUTO, which chooses by itself, is never used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from nodes.vision.backends.protocol import BackendError, Device, Port, Tensor, fit
from nodes.vision.one_file import check_whole
from wfe import Refuse, Skip

SUFFIX = ".onnx"
"""The one kind of file that is read. OpenVINO's own .xml has its weights in a .bin beside it, which no step would see
change."""
KINDS = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


def devices() -> list[Device]:
    """CPU, GPU and NPU as OpenVINO sees them, with the reason where one is missing."""
    core = ov.Core()
    found = []
    for device, kind in KINDS.items():
        reason = missing(device)
        name = "" if reason else str(core.get_property(_here(core, kind)[0], "FULL_DEVICE_NAME"))
        found.append(Device("openvino", device, name, not reason, reason, {"openvino": ov.__version__}))
    return found


def missing(device: str) -> str:
    """Why `device` cannot be used here; empty when it can."""
    if device not in KINDS:
        raise Refuse(f"openvino knows no device {device!r}; known: {', '.join(KINDS)}")
    core = ov.Core()
    if _here(core, KINDS[device]):
        return ""
    return f"OpenVINO finds no {KINDS[device]}; it finds {', '.join(core.available_devices) or 'nothing'}"


def open_model(model_path: Path, device: str = "cpu", threads: int = 0, *, streams: int = 1) -> OpenVinoRunner:
    """Load an ONNX file and compile it for the device: a CPU computes in float32, a GPU or an NPU in what it chooses.

    threads: of one inference (0: the runtime's choice); streams: how many inferences run at once. Raises wfe.Skip when the
    device is missing, Refuse for a part of a model, BackendError for what is no model, or when the compiled model would
    run elsewhere.
    """
    reason = missing(device)
    if reason:
        raise Skip(f"no {device} for openvino: {reason}")
    # Before the suffix: OpenVINO goes by the content, and reads its own format under the name of an ONNX file too.
    check_whole(model_path)
    if model_path.suffix.lower() != SUFFIX:
        # Any other file is offered to seven readers in turn, each of which writes its complaint to stderr.
        raise BackendError(f"{model_path}: no model for openvino by its name; it reads {SUFFIX} here")
    core = ov.Core()
    kind = _here(core, KINDS[device])[0]
    settings: dict[str, Any] = {"NUM_STREAMS": str(streams)}
    if device == "cpu":
        # A processor that has bfloat16 would compute in it: 8 bits of a number, boxes of other pixels than on the next
        # machine, and one cached result for both.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    if device == "cpu" and threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads * streams)
        # Pinning lets two streams of different compiled models meet on one core while another idles.
        settings["ENABLE_CPU_PINNING"] = False
    try:
        model = core.read_model(str(model_path))
        compiled = core.compile_model(model, kind, settings)
    except Exception as error:  # RuntimeError with the runtime's own source lines in it
        raise BackendError(f"{model_path}: openvino cannot open it as a model: {_last_line(error)}") from error
    actual = [str(name) for name in compiled.get_property("EXECUTION_DEVICES")]
    if any(name.split(".")[0] != KINDS[device] for name in actual):
        raise BackendError(f"{model_path}: asked openvino for {kind}, got {', '.join(actual)}")
    return OpenVinoRunner(model, compiled, ", ".join(actual), threads)


class OpenVinoRunner:
    """A compiled model of OpenVINO. See `protocol.Runner`. Each calling thread gets an infer request of its own."""

    def __init__(self, model: ov.Model, compiled: ov.CompiledModel, where: str, threads: int) -> None:
        self._compiled: ov.CompiledModel | None = compiled
        self._own = threading.local()
        self.where = where
        self.threads = threads
        self.inputs = tuple(_port(port) for port in compiled.inputs)
        self.outputs = tuple(_port(port) for port in compiled.outputs)
        self.metadata: Mapping[str, str] = _metadata(model)

    @property
    def closed(self) -> bool:
        return self._compiled is None

    def run(self, batch: Tensor, shared: bool = False) -> list[Tensor]:
        if self._compiled is None:
            raise BackendError("the model was closed")
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        found = request.infer({0: fit(batch, self.inputs[0])}, share_inputs=True, share_outputs=True)
        views = [found[port] for port in self._compiled.outputs]
        return views if shared else [np.array(view) for view in views]

    def close(self) -> None:
        self._compiled = None
        self._own = threading.local()


def _here(core: ov.Core, kind: str) -> list[str]:
    return [name for name in core.available_devices if name.split(".")[0] == kind]


def _metadata(model: ov.Model) -> dict[str, str]:
    """The metadata of an ONNX file, which OpenVINO keeps under "framework" with the keys unchanged."""
    if not model.has_rt_info(["framework"]):
        return {}
    found = model.get_rt_info(["framework"]).astype(dict)
    return {str(key): str(getattr(value, "value", value)) for key, value in found.items()}


def _port(port: Any) -> Port:
    shape = tuple(None if length.is_dynamic else length.get_length() for length in port.get_partial_shape())
    return Port(
        port.get_any_name() if port.get_names() else "", shape, np.dtype(port.get_element_type().to_dtype()).name
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
