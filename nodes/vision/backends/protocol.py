"""What a backend is: something that opens a model on a device and runs tensors through it.

Knows the form alone. Knows no runtime (each has a module of its own, imported only when it is asked for), no image and
no detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wfe import Refuse

Tensor = NDArray[Any]


class BackendError(Refuse):
    """A runtime could not open the model, or runs it elsewhere than asked. The message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a model: name, shape (None where the model leaves a length open) and NumPy dtype name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Device:
    """One device that a backend can use here, or cannot, and then why."""

    backend: str  # "onnxruntime" or "openvino" or "windowsml"
    device: str  # "cpu", "cuda", "directml", "gpu", "npu"
    name: str = ""  # the makers' name of it, where the runtime tells
    available: bool = True
    reason: str = ""  # why it is not available
    details: Mapping[str, str] = field(default_factory=dict)


class Runner(Protocol):
    """A model that is loaded on a device. `run` may be called from several threads at once.

    where: the device that really does the work, in the runtime's own words ("CPUExecutionProvider", "GPU.0").
    threads: how many threads one call of `run` uses (0: the runtime's own choice).
    """

    where: str
    threads: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def run(self, batch: Tensor, shared: bool = False) -> list[Tensor]:
        """The outputs, in the model's order, for the first input `batch`; cast to the input's dtype where it differs.

        shared: the outputs may lie in memory that the next call from this thread overwrites, which saves a copy.
        """
        ...

    def close(self) -> None:
        """Free the model. Idempotent; `run` must not be called after it."""
        ...


def fit(batch: Tensor, port: Port) -> Tensor:
    """`batch` as the input `port` wants it: its dtype (a float16 model gets float16), contiguous in memory."""
    return np.ascontiguousarray(batch, dtype=np.dtype(port.dtype))
