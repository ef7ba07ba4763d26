"""The backends by name: which there are, and how to open a model with one. Imports a runtime only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from nodes.vision.backends.protocol import Device, Runner
from nodes.vision.stream_split import check_share
from wfe import Refuse, Skip

BACKENDS = {
    "onnxruntime": ("cpu", "cuda", "directml"),
    "openvino": ("cpu", "gpu", "npu"),
    "windowsml": ("cpu", "gpu", "npu"),
}
WINDOWS_ML = "Windows ML is not built in yet; onnxruntime with device directml reaches the same graphics cards"


def check(backend: str, device: str) -> None:
    """Raise wfe.Refuse, naming what is known, unless `backend` is one and has a `device` of that name."""
    if backend not in BACKENDS:
        raise Refuse(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if device not in BACKENDS[backend]:
        raise Refuse(f"backend {backend!r} has no device {device!r}; it has {', '.join(BACKENDS[backend])}")


def open_runner(
    model_path: Path, backend: str = "onnxruntime", device: str = "cpu", threads: int = 0, *, streams: int = 1
) -> Runner:
    """Load a model on a device of a backend.

    threads: of one inference on a CPU, 0 for the runtime's choice. streams: how many threads will call `run` at once.
    Raises wfe.Refuse for unknown names, wfe.Skip when the device or the runtime is not here, BackendError when the model
    cannot be opened or would run elsewhere than asked.
    """
    check(backend, device)
    check_share(threads=threads)
    if not model_path.is_file():
        raise Refuse(f"{model_path}: no such model file; give model_path=FILE or let download_model fetch it")
    if backend == "windowsml":
        raise Skip(WINDOWS_ML)
    if backend == "openvino":
        try:
            from nodes.vision.backends import openvino_
        except ModuleNotFoundError as error:
            raise Skip(f"the package {error.name} is not installed") from error
        return openvino_.open_model(model_path, device, threads, streams=streams)
    try:
        from nodes.vision.backends import onnxrt
    except ModuleNotFoundError as error:
        raise Skip(f"the package {error.name} is not installed") from error
    return onnxrt.open_model(model_path, device, threads)


def devices() -> list[Device]:
    """Every device of every backend, available or not, each with its reason; the order of `BACKENDS`."""
    found: list[Device] = []
    try:
        from nodes.vision.backends import onnxrt

        found += onnxrt.devices()
    except ModuleNotFoundError as error:
        found += _none("onnxruntime", f"the package {error.name} is not installed")
    try:
        from nodes.vision.backends import openvino_

        found += openvino_.devices()
    except ModuleNotFoundError as error:
        found += _none("openvino", f"the package {error.name} is not installed")
    return found + _none("windowsml", WINDOWS_ML)


def _none(backend: str, reason: str) -> list[Device]:
    return [Device(backend, device, available=False, reason=reason) for device in BACKENDS[backend]]
