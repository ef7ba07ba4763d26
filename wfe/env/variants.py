"""Distributions that take each other's import name without saying so, and which of them can stand in for which.

No resolver knows this: installed together they overwrite each other's files, and what an import yields then depends on
the order of installation. So two of one family never share an environment. Knows names alone; imports nothing.

A variant *serves* another when it offers all that the other one does under the same import name: a GPU build with a CPU
provider serves the CPU build; opencv-python, which has windows, serves opencv-python-headless. The reverse does not
hold (imshow of a headless build raises), and then a node that asks for the one is not content with the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, slots=True)
class Family:
    """Variants of one thing. `serves` maps a variant to those it can stand in for; `lacks`: what a variant is
    without."""

    module: str
    members: tuple[str, ...]
    serves: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)


_RUNTIMES = ("directml", "gpu", "migraphx", "openvino", "qnn", "rocm", "vitisai", "cann", "silicon")
_NO_WINDOWS = "has no windows (imshow)"

FAMILIES: tuple[Family, ...] = (
    # Every build of ONNX Runtime has the CPU provider, and since 1.9 a session must name its providers, so that a build
    # with more of them does not change what a node of the plain one computes.
    Family(
        "onnxruntime",
        (
            "onnxruntime",
            *(f"onnxruntime-{name}" for name in _RUNTIMES),
            "onnxruntime-training",
            "ort-nightly",
            "ort-nightly-gpu",
            "ort-nightly-directml",
        ),
        {f"onnxruntime-{name}": ("onnxruntime",) for name in _RUNTIMES},
    ),
    Family("onnxruntime_genai", ("onnxruntime-genai", "onnxruntime-genai-cuda", "onnxruntime-genai-directml")),
    Family(
        "cv2",
        ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
        {
            "opencv-python": ("opencv-python-headless",),
            "opencv-contrib-python": ("opencv-python", "opencv-python-headless", "opencv-contrib-python-headless"),
            "opencv-contrib-python-headless": ("opencv-python-headless",),
        },
        {"opencv-python-headless": _NO_WINDOWS, "opencv-contrib-python-headless": _NO_WINDOWS},
    ),
    # tensorflow-intel and tensorflow-macos are missing on purpose: tensorflow itself requires them on their platforms.
    Family(
        "tensorflow",
        (
            "tensorflow",
            "tensorflow-cpu",
            "tensorflow-gpu",
            "tensorflow-rocm",
            "intel-tensorflow",
            "tf-nightly",
            "tf-nightly-cpu",
        ),
        {"tensorflow": ("tensorflow-cpu",), "tf-nightly": ("tf-nightly-cpu",)},
        {"tensorflow-cpu": "has no GPU kernels"},
    ),
    Family("tflite_runtime", ("tflite-runtime", "tflite-runtime-nightly")),
    Family(
        "psycopg2",
        ("psycopg2", "psycopg2-binary"),
        {"psycopg2": ("psycopg2-binary",), "psycopg2-binary": ("psycopg2",)},
    ),
    Family(
        "faiss",
        ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"),
        dict.fromkeys(("faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"), ("faiss-cpu",)),
    ),
    Family(
        "cupy",
        ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-4-3", "cupy-rocm-5-0", "cupy-rocm-7-0"),
    ),
    Family("PIL", ("pillow", "pillow-simd")),
    Family("Crypto", ("pycrypto", "pycryptodome")),
    Family("paddle", ("paddlepaddle", "paddlepaddle-gpu"), {"paddlepaddle-gpu": ("paddlepaddle",)}),
    Family("openvino", ("openvino", "openvino-nightly")),
    Family("xgboost", ("xgboost", "xgboost-cpu"), {"xgboost": ("xgboost-cpu",)}, {"xgboost-cpu": "has no GPU kernels"}),
    Family("triton", ("triton", "triton-windows", "pytorch-triton", "pytorch-triton-rocm")),
    Family("decord", ("decord", "eva-decord")),
    Family("magic", ("python-magic", "python-magic-bin", "file-magic")),
    Family("docx", ("docx", "python-docx")),
    Family("dotenv", ("dotenv", "python-dotenv")),
    Family("serial", ("serial", "pyserial")),
    Family("jwt", ("jwt", "pyjwt")),
    Family("fitz", ("fitz", "pymupdf")),
    Family("slugify", ("slugify", "python-slugify", "unicode-slugify")),
    Family("ffmpeg", ("ffmpeg", "ffmpeg-python", "python-ffmpeg")),
    Family("dlib", ("dlib", "dlib-bin"), {"dlib": ("dlib-bin",), "dlib-bin": ("dlib",)}),
)

# Wheels of these exist for one `sys_platform` alone and there is no source to build. Known ahead, so that the message
# says what is the matter without asking a registry.
PLATFORM_ONLY: dict[str, str] = {
    "onnxruntime-directml": "win32",
    "onnxruntime-genai-directml": "win32",
    "ort-nightly-directml": "win32",
    "onnxruntime-silicon": "darwin",
    "triton-windows": "win32",
    "pywin32": "win32",
    "pyobjc-core": "darwin",
}

PLATFORM_NAMES = {"win32": "Windows", "darwin": "macOS", "linux": "Linux"}


@cache
def _by_name() -> dict[str, Family]:
    return {name: family for family in FAMILIES for name in family.members}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def family(name: str) -> Family | None:
    """The family that the distribution `name` belongs to, or None."""
    return _by_name().get(_canonical(name))


def replaced_by(name: str) -> tuple[str, ...]:
    """The distributions for which `name` can stand in: those whose every name and ability it has too."""
    found = family(name)
    return found.serves.get(_canonical(name), ()) if found else ()


def clash(first: str, second: str) -> Family | None:
    """The family of two *different* distributions that take one import name, or None when they can stand side by
    side."""
    one, other = family(first), family(second)
    return one if one is not None and one is other and _canonical(first) != _canonical(second) else None


def lack(name: str) -> str:
    """What the variant `name` does without ("has no windows (imshow)"), or an empty text."""
    found = family(name)
    return found.lacks.get(_canonical(name), "") if found else ""
