"""Models on ONNX Runtime: CPU, CUDA and DirectML, each by its execution provider.

ONNX Runtime answers a provider that cannot start with a warning and the CPU. Here that is an error: the providers of
the opened model are compared with the one asked for.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from nodes.vision.backends.protocol import BackendError, Device, Port, Tensor, fit
from nodes.vision.one_file import check_whole
from wfe import Refuse, Skip

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "directml": "DmlExecutionProvider"}
PACKAGES = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml"}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def devices() -> list[Device]:
    """CPU, CUDA and DirectML as the installed ONNX Runtime sees them, with the reason where one is missing."""
    found = []
    for device, provider in PROVIDERS.items():
        reason = missing(device)
        details = {"onnxruntime": ort.__version__, "provider": provider}
        found.append(Device("onnxruntime", device, ort.get_device() if not reason else "", not reason, reason, details))
    return found


def missing(device: str) -> str:
    """Why `device` cannot be used here; empty when it can, as far as the installed package tells."""
    if device not in PROVIDERS:
        raise Refuse(f"onnxruntime knows no device {device!r}; known: {', '.join(PROVIDERS)}")
    if PROVIDERS[device] in ort.get_available_providers():
        return ""
    if device == "directml" and os.name != "nt":
        return "DirectML is a part of Windows, and this is another system"
    package = PACKAGES[device]
    try:
        return f"{package} {version(package)} is installed, but offers no {PROVIDERS[device]}"
    except PackageNotFoundError:
        return f"the installed onnxruntime {ort.__version__} has no {PROVIDERS[device]}; {package} has it"


def open_model(model_path: Path, device: str = "cpu", threads: int = 0, *, profile: str = "") -> OnnxRuntimeRunner:
    """Load an ONNX file. `threads`: of one inference, 0 for the runtime's choice; `profile`: prefix of a profile file.

    Raises wfe.Skip when the device is missing, Refuse for a part of a model, BackendError for what is no model, or when the
    runtime would use another device.
    """
    reason = missing(device)
    if reason:
        raise Skip(f"no {device} for onnxruntime: {reason}")
    check_whole(model_path)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    if device == "directml":
        # DirectML's documentation demands both of these.
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    asked = PROVIDERS[device]
    try:
        loaded = ort.InferenceSession(str(model_path), options, providers=[asked])
    except Exception as error:  # the binding raises a dozen types without a common base
        raise BackendError(f"{model_path}: onnxruntime cannot open it as a model: {_first_line(error)}") from error
    actual = loaded.get_providers()
    if not actual or actual[0] != asked:
        raise BackendError(
            f"{model_path}: asked onnxruntime for {asked}, got {', '.join(actual) or 'none'}; "
            f"the device or its driver did not start. Ask for the device that is here, or repair the driver"
        )
    return OnnxRuntimeRunner(loaded, asked, threads)


class OnnxRuntimeRunner:
    """A loaded model of ONNX Runtime. See `protocol.Runner`."""

    def __init__(self, loaded: ort.InferenceSession, where: str, threads: int) -> None:
        self._loaded: ort.InferenceSession | None = loaded
        self.where = where
        self.threads = threads
        self.inputs = tuple(_port(node) for node in loaded.get_inputs())
        self.outputs = tuple(_port(node) for node in loaded.get_outputs())
        self.metadata: Mapping[str, str] = dict(loaded.get_modelmeta().custom_metadata_map)

    @property
    def closed(self) -> bool:
        return self._loaded is None

    def run(self, batch: Tensor, shared: bool = False) -> list[Tensor]:
        del shared  # the runtime makes new outputs each time
        if self._loaded is None:
            raise BackendError("the model was closed")
        found = self._loaded.run(None, {self.inputs[0].name: fit(batch, self.inputs[0])})
        return [np.asarray(value) for value in found]

    def close(self) -> None:
        self._loaded = None


def shares(model_path: Path, device: str, batch: Tensor) -> dict[str, float]:
    """The share of the time of one inference that each execution provider took, from ONNX Runtime's own profile.

    A provider hands operators that it lacks to the CPU one by one; `get_providers` does not tell, the profile does.
    """
    with tempfile.TemporaryDirectory() as folder:
        runner = open_model(model_path, device, profile=str(Path(folder) / "profile"))
        loaded = runner._loaded
        assert loaded is not None
        runner.run(batch)
        events = json.loads(Path(loaded.end_profiling()).read_text(encoding="utf-8"))
        runner.close()
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        provider = event.get("args", {}).get("provider", "")
        if provider:
            spent[provider] += event.get("dur", 0)
    total = sum(spent.values())
    return {provider: round(time / total, 4) for provider, time in sorted(spent.items())} if total else {}


def _port(node: Any) -> Port:
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    return Port(node.name, shape, DTYPES.get(node.type, "float32"))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
