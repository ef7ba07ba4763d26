"""Tiny wheels written by hand: real installs without a registry. Knows the wheel format (PEP 427), nothing of wfe."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# On import it calls the test (a loopback port) and goes on only when it is told to, so that a test can act while an
# environment is being checked, without sleeping. Without the port it is an ordinary module.
STALL = """
import os, socket
port = os.environ.get("WFE_TEST_PORT")
if port:
    with socket.create_connection(("127.0.0.1", int(port))) as line:
        if line.recv(2) != b"go":
            raise SystemExit("the test went away")
"""


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    python: str = "",
    scripts: str = "",
) -> Path:
    """Write `name-version-tag.whl` into `folder`. files: path in site-packages -> content. scripts:
    entry_points.txt."""
    info = f"{name}-{version}.dist-info"
    extra = f"Requires-Python: {python}\n" if python else ""
    extra += "".join(f"Requires-Dist: {one}\n" for one in requires)
    extra += "".join(f"Provides-Extra: {one}\n" for one in _extras(requires))
    whole: dict[str, bytes] = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    whole[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}".encode()
    whole[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    if scripts:
        whole[f"{info}/entry_points.txt"] = scripts.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in whole.items())
    whole[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in whole.items():
            archive.writestr(zipfile.ZipInfo(inner, (2020, 1, 1, 0, 0, 0)), data)
    return path


def _extras(requires: Sequence[str]) -> list[str]:
    return sorted({one.split("extra == ")[1].strip("'\"") for one in requires if "extra == " in one})


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_all(folder: Path) -> None:
    """Every wheel that the tests of environments use."""
    wheel(folder, "alpha", "1.0", {"alpha/__init__.py": "VERSION = 1\n"})
    wheel(folder, "alpha", "2.0", {"alpha/__init__.py": "VERSION = 2\n"}, ["beta>=1"])
    wheel(folder, "beta", "1.0", {"beta.py": "NAME = 'beta'\n"}, ["epsilon; extra == 'more'"])
    wheel(folder, "epsilon", "1.0", {"epsilon.py": ""})
    wheel(folder, "gamma", "1.0", {"gamma.py": "import alpha\n"}, ["alpha<2"])
    wheel(folder, "delta", "1.0", {"delta.py": "import alpha\n"}, ["alpha>=2"])
    wheel(
        folder,
        "tool",
        "1.0",
        {"tool.py": "import sys\ndef main():\n    print(sys.prefix)\n"},
        scripts="[console_scripts]\ntool = tool:main\n",
    )
    wheel(folder, "onlywin", "1.0", {"onlywin.py": ""}, tag="py3-none-win_amd64")
    wheel(folder, "aborts", "1.0", {"aborts.py": "import os\nos.abort()\n"})
    wheel(folder, "lacking", "1.0", {"lacking.py": "import nowhere_at_all\n"})
    wheel(
        folder,
        "nolibrary",
        "1.0",
        {
            "nolibrary.py": "raise ImportError('libGL.so.1: cannot open shared object file: "
            "No such file or directory')\n"
        },
    )
    wheel(folder, "stalls", "1.0", {"stalls.py": STALL})
    wheel(folder, "future", "1.0", {"future.py": ""}, python=">=3.99")
    wheel(folder, "large", "1.0", {"large/__init__.py": "", "large/data.bin": bytes(range(256)) * 16384})
    wheel(folder, "onnxruntime", "1.0", {"onnxruntime/__init__.py": "WHICH = 'plain'\n"})
    wheel(folder, "onnxruntime_gpu", "1.0", {"onnxruntime/__init__.py": "WHICH = 'gpu'\n"})
    wheel(folder, "opencv_python", "5.0", {"cv2/__init__.py": "WHICH = 'windows'\n"})
    wheel(folder, "opencv_python_headless", "5.0", {"cv2/__init__.py": "WHICH = 'headless'\n"})
    wheel(folder, "wantsort", "1.0", {"wantsort.py": "import onnxruntime\n"}, ["onnxruntime"])
    wheel(folder, "wantscv", "1.0", {"wantscv.py": "import cv2\n"}, ["opencv-python"])
