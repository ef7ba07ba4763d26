"""A pytest fixture for projects that use wfe: write nodes and workflows, run them for real, look at what ran.

Installing wfe makes the fixture `wfe_project` known to pytest:

    def test_blur_runs_again_when_its_size_changes(wfe_project):
        wfe_project.node("blur", '''
            from wfe import workflow_node

            @workflow_node()
            def blur(size: int) -> dict:
                return {"blurred": [0] * size}
        ''')
        wfe_project.workflow("x", nodes=[
            {"id": "blur", "function": "blur.blur", "inputs": {"size": "${size}"}},
        ], params={"size": 3})

        assert wfe_project.run("x")["blur"] == {"blurred": [0, 0, 0]}
        wfe_project.run("x")
        assert wfe_project.nothing_ran
        wfe_project.run("x", size=5)
        assert wfe_project.ran("blur")

The nodes and workflows of your own project are tested with `wfe_project.copy(root)`, which copies `nodes/` and
`workflows/` beside each other into the temporary project, so that a test leaves your cache alone:

        wfe_project.copy(Path(__file__).parent.parent)
        report = wfe_project.run("detect", image_path=picture)
        assert report["detect"]["boxes"].shape == (3, 4)

A node is also just a function: `from nodes.blur import blur; assert blur(3) == ...` needs no fixture at all.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wfe.api import Report


class ProjectUnderTest:
    """A project in a temporary directory. `root`: the directory; `report`: of the last run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.report: Report | None = None
        (root / "workflows").mkdir(parents=True)
        (root / "nodes").mkdir()

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file under the root, its directories made; a text loses common indentation. Returns its path."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        else:
            place.write_text(textwrap.dedent(content).lstrip("\n"), encoding="utf-8", newline="\n")
        return place

    def node(self, module: str, source: str) -> Path:
        """Write `nodes/<module>.py`; dots in the module's name are directories."""
        return self.write(f"nodes/{module.replace('.', '/')}.py", source)

    def workflow(
        self,
        name: str,
        nodes: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **head: Any,
    ) -> Path:
        """Write `workflows/<name>.json`."""
        more = {key: value for key, value in (("params", params), ("settings", settings)) if value is not None}
        document = {"workflow": {"name": name, **head, **more}, "nodes": list(nodes)}
        return self.write(f"workflows/{name}.json", json.dumps(document, indent=2) + "\n")

    def copy(self, project: str | Path, *names: str) -> None:
        """Copy `nodes/` and `workflows/` (or the named files and directories) of a project into this one."""
        source = Path(project)
        for name in names or ("nodes", "workflows"):
            found = source / name
            if found.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(found, self.root / name, dirs_exist_ok=True, ignore=ignored)
            else:
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, self.root / name)

    def run(self, workflow: str, /, **options: Any) -> Report:
        """Run a workflow; see `wfe.run` for the options. Raises WfeError when it did not go well, unless check=False."""
        from wfe.api import run
        from wfe.errors import WfeError

        try:
            self.report = run(workflow, project=self.root, **options)
        except WfeError as error:
            self.report = error.report  # type: ignore[assignment]
            raise
        return self.report

    def ran(self, *steps: str) -> bool:
        """Whether in the last run exactly these steps ran, and no other."""
        return sorted(self._last().ran) == sorted(steps)

    @property
    def nothing_ran(self) -> bool:
        """Whether no step ran in the last run; restored ones may be among them."""
        return not self._last().ran

    def _last(self) -> Report:
        if self.report is None:
            raise AssertionError("no run has begun yet: call wfe_project.run(...) first")
        return self.report


@pytest.fixture
def wfe_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProjectUnderTest]:
    """An empty wfe project in a temporary directory; see `wfe.testing`."""
    monkeypatch.delenv("WFE_CACHE", raising=False)
    yield ProjectUnderTest(tmp_path / "project")
