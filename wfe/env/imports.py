"""Check a fresh prefix by importing what was asked for, with its own interpreter, in a process that may die of it.

A package that installs but cannot be imported (a shared library that is missing, a wheel for another C library) is
found here, where the message can name it, and not in the middle of a run. Knows how to read the report of `probe.py`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from wfe.env import probe
from wfe.env.uv import ending, run
from wfe.errors import EnvironmentFailure, Place, Problem

LIMIT = 600.0
"""Seconds that all imports together may take: the first import of a large package from a cold disk takes tens."""


def check(
    python: Path, distributions: Sequence[str], environ: dict[str, str], stop: Event, place: Place | None = None
) -> None:
    """Import the public modules of `distributions` with `python`. Raises EnvironmentFailure that names what failed and
    how.

    A distribution is good when one of its modules can be imported, or it has none (stubs, bundles), and none failed but
    for want of a module that this environment is not meant to have (a plugin for a program that is not there).
    """
    if not distributions:
        return
    with TemporaryDirectory(prefix="wfe-check-") as folder:
        report = Path(folder, "report")
        report.touch()
        command = [str(python), "-I", "-X", "utf8", str(Path(probe.__file__).resolve()), str(report), *distributions]
        try:
            ran = run(command, cwd=folder, environ=environ, stop=stop, limit=LIMIT)
            ended = ran.status
            words = ran.stderr.strip().splitlines()[-3:]
        except TimeoutError:
            ended, words = None, []
        lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    problem = judge(lines, ended, words)
    if problem:
        raise EnvironmentFailure(Problem(problem[0], place or Place(), problem[1]))


def judge(lines: Sequence[dict[str, object]], status: int | None, words: Iterable[str] = ()) -> tuple[str, str] | None:
    """What a report means: (fact, hint), or None when all is well. `status`: of the process, None when it timed out."""
    if not lines or "end" not in lines[-1]:
        last = next((line for line in reversed(lines) if "importing" in line), None)
        if last is None:
            fact = f"the environment's Python did not start ({_ending(status)})"
        else:
            fact = f"importing {last['importing']!r} (of {last['of']}) {_died(status)}"
        said = "\n".join(f"    {word}" for word in words)
        return (f"{fact}:\n{said}" if said else fact), "\nask for another version or build of it" if said else (
            "ask for another version or build of it"
        )
    good: dict[object, int] = defaultdict(int)
    tops = {str(line["importing"]).split(".")[0] for line in lines if "importing" in line}
    bad: list[dict[str, object]] = []
    for line in lines:
        if "imported" in line:
            good[line["of"]] += 1
        elif "failed" in line:
            bad.append(line)
    for line in bad:
        missing = str(line["missing"] or "").split(".")[0]
        if not (good[line["of"]] and missing and missing not in tops):
            return (f"{line['of']} was installed, but importing {line['failed']!r} fails: {line['error']}", _hint(line))
    return None


def _hint(line: dict[str, object]) -> str:
    error = str(line["error"])
    if "libGL" in error or "libgthread" in error:
        return "install that system library, or ask for opencv-python-headless when the node opens no window"
    if "cannot open shared object file" in error:
        return "install that system library, or ask for another version or build of the package"
    if line["missing"]:
        return f"{line['of']} does not say that it needs it: add it to the node's dependencies"
    return "ask for another version or build of it"


def _ending(status: int | None) -> str:
    return f"no answer within {LIMIT:g} s" if status is None else ending(status)


def _died(status: int | None) -> str:
    if status is None:
        return f"did not end within {LIMIT:g} s"
    return f"ended the process ({_ending(status)})"
