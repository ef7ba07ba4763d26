"""The commands of the README run as they stand, in a copy of the project, and its examples are what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What needs a model server is run by tests/agent against a server that speaks its protocol; pip would change the
# environment that the tests run in.
ELSEWHERE = ("wfe create", "wfe analyze", "wfe generate", "wfe interactive", "pip ")


def blocks(kind: str) -> list[str]:
    return [text for found, text in FENCE.findall(README) if found == kind]


def commands() -> list[str]:
    lines = [line[2:] for text in blocks("console") for line in text.splitlines() if line.startswith("$ ")]
    # The tests would run themselves.
    return [line for line in lines if not line.startswith(ELSEWHERE) and line != "uv run pytest"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as git has them, or as they lie here where this is no clone, without what runs made."""
    where = tmp_path_factory.mktemp("clone") / "wfe"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        shutil.copytree(ROOT, where, ignore=shutil.ignore_patterns(".*", "cache", "__pycache__"))
        return where
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, where / name)
    return where


@pytest.fixture
def environ() -> dict[str, str]:
    """As a user's, but with the environment that the tests run in instead of one to be made."""
    found = {key: value for key, value in os.environ.items() if key not in ("WFE_CACHE", "PYTHONPATH")}
    prefix = Path(sys.executable).parent
    found |= {"UV_PROJECT_ENVIRONMENT": str(prefix.parent), "UV_NO_SYNC": "1"}
    found["PATH"] = os.pathsep.join([str(prefix), found["PATH"]])
    return found


def test_the_readme_opens_with_the_two_commands() -> None:
    assert blocks("console")[0] == "$ uv run doit run workflow=quickstart\n$ uv run pytest\n"


@pytest.mark.skipif(shutil.which("uv") is None, reason="the README's commands begin with uv")
def test_the_commands_run_as_they_stand(clone: Path, environ: dict[str, str]) -> None:
    found = commands()
    assert len(found) >= 5
    for command in found:
        done = subprocess.run(shlex.split(command), cwd=clone, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (clone / "cache" / "results" / "quickstart" / "shapes.jpg").is_file()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A project of the README's own examples."""
    found = [text for kind in ("json", "yaml", "python") for text in blocks(kind)]
    files = {
        "workflows/hello.json": next(text for text in found if '"name": "hello"' in text),
        "dodo.py": next(text for text in found if "open_project" in text),
        **{text.partition("\n")[0][2:]: text for text in found if re.match(r"# (nodes|workflows)/\w+\.", text)},
    }
    assert len(files) == 5
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(where: Path, environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "doit", "run", *arguments]
    done = subprocess.run(command, cwd=where, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_workflow_runs(example: Path, environ: dict[str, str]) -> None:
    run(example, environ, "workflow=hello", "name=you")
    assert (example / "cache" / "results" / "hello.txt").read_text() == "HELLO YOU HELLO YOU"


def test_the_example_of_shapes_is_what_it_says(example: Path, environ: dict[str, str]) -> None:
    (example / "letters").mkdir()
    for name, text in (("a.txt", "dear all"), ("b.txt", "yours")):
        (example / "letters" / name).write_text(text)
    first = run(example, environ, "workflow=survey")
    assert "4 skipped" in first  # three words
    assert all(f"ran       {step} " in first for step in ("count[a.txt]", "count[b.txt]", "letter__greet"))
    (example / "letters" / "c.txt").write_text("one more")
    second = run(example, environ, "workflow=survey")
    assert "current   count[a.txt]" in second
    assert all(f"ran       {step} " in second for step in ("count[c.txt]", "shout[1,hey]", "shout[3,ho]"))
    assert "4 skipped" in run(example, environ, "workflow=survey", "loud=false")


def test_every_verb_that_the_readme_names_exists() -> None:
    from wfe.cli.verbs import VERBS

    named = set(re.findall(r"`wfe ([a-z]+)", README))
    assert named - set(VERBS) == set()


def test_every_workflow_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"workflow=([a-z_0-9]+)", README)) - {"x", "hello"}
    table = {
        name
        for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", README, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    there = {path.stem for path in (ROOT / "workflows").glob("*.json")}
    assert named <= there
    assert {"quickstart", "detect_image", "parallel_yolov8"} <= table & there
