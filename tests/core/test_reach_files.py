"""What the catalogue makes of the bytes of files: compiled modules, and texts in other encodings."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from wfe.catalog import Catalogue
from wfe.errors import WorkflowError

NODE = "from wfe import workflow_node\n%s\n@workflow_node\ndef f():\n    return {'v': %s}\n"
SO = EXTENSION_SUFFIXES[0]


def reached(root: Path, files: dict[str, bytes], text: str = NODE % ("", 1)) -> tuple[str, Catalogue]:
    """The digest of what the node reaches, and the catalogue that read it."""
    for name, data in {"nodes/n.py": text.encode(), **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    found = Catalogue(root)
    node = found.find("n.f")
    assert node is not None
    return found.code(node).digest, found


@pytest.mark.parametrize("name", [f"nodes/fast{SO}", f"nodes/fast/__init__{SO}", f"nodes/fast/part{SO}"])
def test_a_compiled_module_counts_by_its_content(tmp_path: Path, name: str) -> None:
    text = NODE % ("import nodes.fast.part", "nodes.fast.part")
    one, _ = reached(tmp_path, {name: b"\x7fELF\x00 one"}, text)
    two, read = reached(tmp_path, {name: b"\x7fELF\x00 two"}, text)
    assert one != two
    assert name in read.read


def test_a_compiled_module_hides_a_source(tmp_path: Path) -> None:
    text = NODE % ("from nodes import fast", "fast.K")
    one, read = reached(tmp_path, {"nodes/fast.py": b"K = 1"}, text)
    assert f"nodes/fast{SO}" in read.absent
    two, read = reached(tmp_path, {f"nodes/fast{SO}": b"\x7fELF"}, text)
    assert one != two
    assert "nodes/fast.py" not in read.read


def test_a_compiled_module_that_is_not_used_does_not_count(tmp_path: Path) -> None:
    assert reached(tmp_path, {})[0] == reached(tmp_path, {f"nodes/fast{SO}": b"\x7fELF"})[0]


def test_a_folder_that_would_hide_a_module_is_looked_for(tmp_path: Path) -> None:
    _, read = reached(tmp_path, {"nodes/h.py": b"K = 1"}, NODE % ("from nodes import h", "h.K"))
    assert {"nodes/h", f"nodes/h{SO}"} <= read.absent


def test_a_text_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    text = "# -*- coding: %s -*-\n" + NODE % ("", "'\u00e9'")
    assert reached(tmp_path, {}, text % "utf-8")[0] != reached(tmp_path, {}, text % "latin1")[0]
    assert reached(tmp_path, {}, text % "utf-8")[0] == reached(tmp_path, {}, "\ufeff" + text % "utf-8")[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"# coding: ascii\nK = '\xe9'", "not ASCII: byte 0xe9"),
        (b"K = '\xe9'", "not UTF-8: byte 0xe9"),
        (b"# coding: klingon\n", "not valid Python: unknown encoding: klingon"),
        (b"# coding: rot13\n", "not valid Python: 'rot13' is not a text encoding"),
    ],
)
def test_a_text_that_cannot_be_read_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        reached(tmp_path, {"nodes/h.py": data}, NODE % ("from nodes import h", "h.K"))
