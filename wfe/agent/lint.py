"""The gates that other tools hold: ruff for errors that can be seen, mypy for types that do not agree.

Knows how to run them and how to read what they say. Both only read the draft.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from wfe.agent.gate import Site
from wfe.agent.spec import Draft, NodeSpec
from wfe.agent.verdict import Verdict
from wfe.env.lease import holding
from wfe.errors import EnvironmentFailure

_SECONDS = 60.0
_PATIENCE = 300.0  # seconds: some others may be before this one


@dataclass(frozen=True, slots=True)
class Lint:
    """ruff finds no error: undefined names, unused values, comparisons that cannot be, `print`, `eval`."""

    name: str = "lint"
    rules: str = "E9,F,B,PLE,S102,S307,T201"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        found = []
        for place, text, rules in (("code", draft.code, self.rules), ("test", draft.test, "E9,F821")):
            done = _tool(
                [
                    ruff(),
                    "check",
                    "--isolated",
                    "--select",
                    rules,
                    "--output-format",
                    "json",
                    "--stdin-filename",
                    "draft.py",
                    "-",
                ],
                text,
                site,
            )
            if done.returncode not in (0, 1):
                raise EnvironmentFailure(
                    f"ruff failed: {done.stderr.strip()[:500]}", hint="`ruff --version` should work"
                )
            for one in json.loads(done.stdout):
                found.append(
                    Verdict(
                        f"{place}:{one['location']['row']}",
                        "nothing that ruff objects to",
                        f"{one['code']}: {one['message']}",
                    )
                )
        return found


def polish(draft: Draft, site: Site) -> str:
    """The code with unused imports removed, imports sorted, and formatted; as it is when it is no Python."""
    fix = [
        ruff(),
        "check",
        "--isolated",
        "--fix-only",
        "--quiet",
        "--select",
        "F401,I",
        "--stdin-filename",
        "draft.py",
        "-",
    ]
    text = draft.code
    for line in (
        fix,
        [ruff(), "format", "--isolated", "--quiet", "--line-length", "120", "--stdin-filename", "draft.py", "-"],
    ):
        done = _tool(line, text, site)
        text = done.stdout if done.returncode == 0 and done.stdout.strip() else text
    return text


@dataclass(frozen=True, slots=True)
class Types:
    """mypy finds no error where it is installed; otherwise the annotations that `signature` asks for are all that is
    checked.
    """

    name: str = "types"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        if not self.checker():
            return []
        folder = site.cache / "types"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{spec.name}.py"
        file.write_text(draft.code, encoding="utf-8")
        line = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file=",
            "--no-site-packages",
            "--ignore-missing-imports",
            "--no-error-summary",
        ]
        line += [
            "--follow-imports=silent",
            "--hide-error-context",
            "--no-color-output",
            "--disable-error-code=var-annotated",
        ]
        line += [f"--cache-dir={folder / 'cache'}", file.name]
        with _alone(folder):
            done = _tool(line, "", site, folder)
        if done.returncode == 0:
            return []
        found = []
        for text in done.stdout.splitlines():
            parts = text.split(":", 3)
            if len(parts) == 4 and parts[2].strip() == "error":
                found.append(Verdict(f"code:{parts[1]}", "types that agree", parts[3].strip()))
        if not found:
            raise EnvironmentFailure(
                f"mypy failed: {(done.stderr or done.stdout).strip()[:500]}",
                hint="`python -m mypy --version` should work",
            )
        return found

    def checker(self) -> str:
        """The type checker that looks, "" for none: what a header says."""
        return f"mypy {metadata.version('mypy')}" if util.find_spec("mypy") else ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While open, no other mypy uses the cache in `folder`: of two at once one may end with an error of its own. A cache for
    each would be read through all of builtins each time, which takes 4 s. Raises EnvironmentFailure."""
    try:
        with holding(folder, "cache", patience=_PATIENCE):
            yield
    except TimeoutError as error:
        text = f"another mypy has held {folder} for {_PATIENCE:g} s"
        raise EnvironmentFailure(text, hint="wait for the other generation, or end it") from error


@cache
def ruff() -> str:
    """The path of ruff: beside this Python, or on PATH. Raises EnvironmentFailure."""
    beside = shutil.which("ruff", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("ruff")
    if found is None:
        raise EnvironmentFailure(
            "ruff is not installed, which generated code is checked with", hint="install it: `uv add 'wfe[agent]'`"
        )
    return found


def _tool(line: list[str], text: str, site: Site, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    site.cache.mkdir(parents=True, exist_ok=True)
    try:
        return subprocess.run(
            line,
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
            cwd=folder or site.cache,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailure(f"`{Path(line[0]).name}` does not run: {error}") from error
