"""The layers of the house: a module imports from lower ones only, core is pure, doit has one place, workers stand alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINT], cwd=root, capture_output=True, text=True, timeout=120)


def test_the_contracts_hold() -> None:
    found = lint(REPOSITORY)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


@pytest.mark.slow
def test_each_contract_can_be_broken(tmp_path: Path) -> None:
    """A contract that nothing can break holds nothing."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "wfe", tmp_path / "wfe", ignore=shutil.ignore_patterns("__pycache__"))
    for module, line in [
        ("store/stamp.py", "import wfe.report.lines"),
        ("core/graph.py", "def now():\n    import time\n    return time.time()"),
        ("engine/hole.py", "import doit"),
        ("wire/frames.py", "import yaml"),
        ("store/stray.py", ""),
    ]:
        with (tmp_path / "wfe" / module).open("a") as file:
            file.write(f"\n{line}\n")
    (tmp_path / "wfe/stray.py").write_text("")
    found = lint(tmp_path)
    assert found.returncode != 0
    assert "4 broken" in found.stdout, found.stdout
    (tmp_path / "wfe/stray.py").unlink()
    assert "wfe.store.stamp -> wfe.report.lines" in lint(tmp_path).stdout
