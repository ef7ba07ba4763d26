"""What a fresh environment is asked to import, what its report means, and which Python it gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from wfe.env import imports, probe, python
from wfe.env.python import Interpreter


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        (["six.py", "six-1.0.dist-info/RECORD"], ["six"]),
        (["yaml/__init__.py", "yaml/loader.py", "_yaml/__init__.py"], ["yaml"]),
        (["cv2/__init__.py", "cv2/cv2.abi3.so", "opencv.libs/libx.so"], ["cv2"]),
        (["google/protobuf/__init__.py", "google/_upb/_message.abi3.so"], ["google.protobuf"]),
        (["azure/storage/blob/__init__.py", "azure/storage/blob/_x.py"], ["azure.storage.blob"]),
        (["_cffi_backend.cpython-311-x86_64-linux-gnu.so"], []),
        (["lxml/etree.cpython-311-x86_64-linux-gnu.so", "lxml/__init__.py"], ["lxml"]),
        (["fast.cp311-win_amd64.pyd"], ["fast"]),
        (["tests/__init__.py", "docs/conf.py", "thing/__init__.py"], ["thing"]),
        (["../../../bin/tool", "share/data.json", "types-x.pyi"], []),
    ],
)
def test_what_a_distribution_provides(files: list[str], modules: list[str]) -> None:
    assert probe.modules(files) == modules


@given(st.lists(st.from_regex(r"([a-z_]{1,3}/){0,4}(__init__|[a-z]{1,3})\.(py|so|txt)", fullmatch=True), max_size=8))
def test_names_can_be_imported_and_are_public(files: list[str]) -> None:
    for name in probe.modules(files):
        assert all(part.isidentifier() and not part.startswith("_") for part in name.split("."))


def started(name: str, of: str = "") -> dict[str, object]:
    return {"importing": name, "of": of or name}


def failed(name: str, missing: str | None, of: str = "") -> dict[str, object]:
    return {"failed": name, "of": of or name, "error": "ModuleNotFoundError: x", "missing": missing}


END: dict[str, object] = {"end": True}


def test_a_report_is_judged() -> None:
    good = [started("a"), {"imported": "a", "of": "a"}]
    assert imports.judge([*good, END], 0) is None
    assert imports.judge([END], 0) is None
    # A plugin for a program that is not asked for is no fault, as long as something of the distribution works.
    assert imports.judge([*good, started("p", "a"), failed("p", "pytest", "a"), END], 0) is None
    assert imports.judge([started("p", "a"), failed("p", "pytest", "a"), END], 0) is not None
    assert imports.judge([*good, started("b", "a"), failed("b", "a.gone", "a"), END], 0) is not None
    assert imports.judge([*good, started("b", "a"), failed("b", None, "a"), END], 0) is not None


def test_an_unfinished_report_is_never_good() -> None:
    assert imports.judge([], 0) == (
        "the environment's Python did not start (exit status 0)",
        "ask for another version or build of it",
    )
    for status, how in ((-6, "killed by SIGABRT"), (-11, "killed by SIGSEGV"), (3, "exit status 3")):
        found = imports.judge([started("a")], status)
        assert found is not None
        assert found[0] == f"importing 'a' (of a) ended the process ({how})"
    found = imports.judge([started("a")], None)
    assert found is not None
    assert found[0] == "importing 'a' (of a) did not end within 600 s"


def here(*versions: str, own: str = "3.11.7") -> list[Interpreter]:
    return [Interpreter(Version(one), Path(f"/pythons/{one}"), own=one == own) for one in versions]


@pytest.mark.parametrize(
    ("asked", "prefer", "chosen"),
    [
        ("", "", "3.11.7"),
        (">=3.12", "", "3.13.0"),
        (">=3.12", "3.12", "3.12.1"),
        ("==3.10.*", "", "3.10.13"),
        ("<3.10", "", None),
        (">=3.14", "", None),
        (">=3.14.0rc1", "", "3.14.0rc1"),
        (">=3.15", "", None),
    ],
)
def test_which_python(asked: str, prefer: str, chosen: str | None) -> None:
    known = here("3.9.18", "3.10.13", "3.11.7", "3.12.1", "3.13.0", "3.14.0rc1")
    found = python.choose(asked, known, prefer=prefer)
    assert (str(found.version) if found else None) == chosen


def test_a_missing_python_says_what_there_is() -> None:
    assert str(python.missing(">=3.15", here("3.9.18", "3.11.7"))) == (
        "no Python >=3.15 was found (found: 3.9.18, 3.11.7; an isolated environment needs 3.10 or newer); uv python "
        "install 3.15"
    )
