"""Nodes that measure one backend each on the tensors that they are given; the same for all, so that times compare.

Knows runners and clocks. Each kind of runtime has a node of its own, since each may need an environment of its own.
Never cached: a time is of this moment, not of its inputs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.backends import onnxrt
from nodes.vision.backends.opening import open_runner
from nodes.vision.backends.protocol import BackendError, Runner
from nodes.vision.preprocess import filled
from wfe import Refuse, progress, workflow_node


@workflow_node(outputs={"measurement": dict, "raw": np.ndarray}, cache="never", resources={"benchmark": 1})
def measure_backend(
    model_path: Path,
    tensor: np.ndarray,
    backend: str = "onnxruntime",
    device: str = "cpu",
    iterations: int = 50,
    warmup: int = 3,
    threads: int = 0,
    detector: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Time `iterations` inferences of `tensor` after `warmup` ones; `raw` is the output that the detector reads.

    detector: of `inspect_model`; without it the tensor must have the model's batch, and `raw` is its first output. Raises
    Skip when the device is missing, BackendError when the runtime would use another one.
    """
    tensor = filled(tensor, detector["batch"] if detector else 0)
    began = time.perf_counter()
    runner = open_runner(model_path, backend, device, threads)
    opening = time.perf_counter() - began
    measurement, raw = measure(runner, tensor, iterations, warmup, place(runner, detector))
    if backend == "onnxruntime":
        measurement["shares"] = onnxrt.shares(model_path, device, tensor)
    runner.close()
    return {"measurement": {"backend": backend, "device": device, "open_ms": _ms(opening), **measurement}, "raw": raw}


@workflow_node(
    outputs={"measurement": dict, "raw": np.ndarray},
    cache="never",
    resources={"benchmark": 1},
    environment="directml-env",
    dependencies=["numpy", "onnxruntime-directml; sys_platform == 'win32'", "onnxruntime; sys_platform != 'win32'"],
)
def measure_directml(
    model_path: Path,
    tensor: np.ndarray,
    iterations: int = 50,
    warmup: int = 3,
    detector: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`measure_backend` for DirectML, whose package shares its folder with onnxruntime and so needs its own environment."""
    tensor = filled(tensor, detector["batch"] if detector else 0)
    began = time.perf_counter()
    runner = onnxrt.open_model(model_path, "directml")
    opening = time.perf_counter() - began
    measurement, raw = measure(runner, tensor, iterations, warmup, place(runner, detector))
    measurement["shares"] = onnxrt.shares(model_path, "directml", tensor)
    runner.close()
    named = {"backend": "onnxruntime", "device": "directml", "open_ms": _ms(opening)}
    return {"measurement": {**named, **measurement}, "raw": raw}


def place(runner: Runner, detector: dict[str, Any] | None) -> int:
    """Which of the model's outputs the detector reads. Raises BackendError when this runtime has none of its name."""
    names = [port.name for port in runner.outputs]
    if detector is None or len(names) == 1:
        return 0
    if detector["output"] not in names:
        raise BackendError(f"the model has no output {detector['output']!r} on {runner.where}, only {', '.join(names)}")
    return names.index(detector["output"])


def measure(runner: Runner, tensor: Any, iterations: int, warmup: int, output: int = 0) -> tuple[dict[str, Any], Any]:
    """Times in milliseconds: first_ms (the first inference), p50_ms, p95_ms, mean_ms; throughput in pictures a second.

    The warm-up is apart from the times. Also where the runtime says that it ran, and the output of that number.
    """
    if iterations < 1 or warmup < 1:
        raise Refuse(f"'iterations' is {iterations} and 'warmup' is {warmup}; both must be 1 or more")
    began = time.perf_counter()
    raw = runner.run(tensor)[output]
    first = time.perf_counter() - began
    for _ in range(warmup - 1):
        runner.run(tensor)
    times = []
    for number in range(iterations):
        began = time.perf_counter()
        runner.run(tensor)
        times.append(time.perf_counter() - began)
        progress(number + 1, iterations, runner.where)
    return {
        "where": runner.where,
        "threads": runner.threads,
        "iterations": iterations,
        "warmup": warmup,
        "first_ms": _ms(first),
        "p50_ms": _ms(float(np.percentile(times, 50))),
        "p95_ms": _ms(float(np.percentile(times, 95))),
        "mean_ms": _ms(float(np.mean(times))),
        "throughput": round(iterations * len(tensor) / sum(times), 2),
    }, np.asarray(raw)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
