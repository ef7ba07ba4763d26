"""Find the uv executable and run it: nothing inherited that could lead it to another project or environment, nothing
downloaded that was not asked for, its own words kept for the message when it fails.

uv is called as a program, not through a library: it has none, and its command line is its stable interface. Knows
processes and uv's habits; does not know what a lock or a prefix is.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from wfe.errors import EnvironmentFailure, Interrupted, Place, Problem

# Each of these would make uv look at, or install into, something other than what the arguments say.
_INHERITED = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "UV_NO_CACHE",
    "UV_REQUIRE_HASHES",
    "UV_NO_VERIFY_HASHES",
    "UV_EXCLUDE",
    "UV_OVERRIDE",
    "UV_CONSTRAINT",
)
_PATHS = ("UV_CONFIG_FILE", "UV_CACHE_DIR")  # uv runs in another directory, so a relative one must be made absolute
_NETWORK = re.compile(
    r"error sending request|dns error|failed to lookup address|connection refused|could not connect|failed to fetch"
    r"|operation timed out|network (?:connectivity )?(?:was|is) disabled|network is unreachable",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"no space left|not enough space|disk quota|os error (?:28|112|122)\b|file too large|os error 27\b", re.IGNORECASE
)
_DENIED = re.compile(r"read-only file system|permission denied|access is denied|os error (?:5|13|30)\b", re.IGNORECASE)
_NOISE = re.compile(
    r"^\s*$|^warning: Failed to inspect Python|^\s*\[std(?:out|err)\]|^(?:Using|Creating|Resolved|Prepared|Audited) "
)
_LINES = 12  # of uv's words in a message: a resolver's explanation is rarely longer, a build's log always is


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of one uv process: exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """The last relevant lines that uv wrote to its standard error, joined by newlines."""
        kept = []
        skipping = False
        for line in re.sub(r"\x1b\[[0-9;]*m", "", self.stderr).splitlines():
            if line.startswith("warning: "):
                skipping = True  # a warning is followed by indented causes; none of them is why uv failed
            elif line and not line[0].isspace():
                skipping = False
            if not skipping and not _NOISE.match(line):
                kept.append(line.rstrip())
        return "\n".join(kept[-_LINES:]) or f"(nothing; {ending(self.status)})"

    @property
    def network(self) -> bool:
        """Whether it failed because a registry could not be reached."""
        return self.status != 0 and bool(_NETWORK.search(self.stderr))


def find() -> Path:
    """The uv executable: on PATH, in the scripts directory of the running environment, or that of the `uv` package.

    Raises EnvironmentFailure, with the command that mends it, when there is none.
    """
    found = shutil.which("uv") or shutil.which("uv", path=sysconfig.get_path("scripts"))
    if found:
        return Path(found)
    try:
        from uv import find_uv_bin  # type: ignore[import-not-found, unused-ignore]

        return Path(find_uv_bin())
    except (ImportError, FileNotFoundError):
        hint = f"install it: {Path(sys.executable).name} -m pip install uv"
        raise EnvironmentFailure("uv was not found, and isolated environments are made by it", hint) from None


class Uv:
    """Runs uv. Thread-safe: each call is a process of its own.

    offline: never ask a registry, use uv's cache alone. downloads: uv may download a Python that is not here. stop:
    when it is set, running processes are killed and calls raise Interrupted. executable: found by `find()` when it is
    None.
    """

    def __init__(
        self,
        executable: Path | None = None,
        *,
        offline: bool = False,
        downloads: bool = False,
        stop: Event | None = None,
    ) -> None:
        self._executable = executable
        self.offline = offline
        self.downloads = downloads
        self.stop = stop or Event()

    @property
    def executable(self) -> Path:
        """The uv executable, looked for on first use: who needs no environment needs no uv. Raises
        EnvironmentFailure."""
        if self._executable is None:
            self._executable = find()
        return self._executable

    def environ(self) -> dict[str, str]:
        """The environment variables that uv runs with."""
        result = {key: value for key, value in os.environ.items() if key not in _INHERITED}
        for key in _PATHS:
            if result.get(key):
                result[key] = str(Path(result[key]).absolute())
        result |= {
            "UV_PYTHON_DOWNLOADS": "automatic" if self.downloads else "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
        return result

    def run(self, arguments: Sequence[str], *, offline: bool | None = None) -> Ran:
        """Run `uv ARGUMENTS` in an empty directory, where it finds no pyproject.toml or uv.toml of any project.

        (The user's own uv.toml and UV_* settings hold: they are how a private index is named. `--no-config` would drop
        them.) A run that failed for want of a network is tried once more from uv's cache. Raises Interrupted when
        `stop` is set, and EnvironmentFailure when the executable cannot be started.
        """
        alone = self.offline if offline is None else offline
        command = [str(self.executable), *arguments, *(["--offline"] if alone else [])]
        with tempfile.TemporaryDirectory(prefix="wfe-uv-") as nowhere:
            ran = self._wait(command, nowhere)
        if ran.network and not alone:
            again = self.run(arguments, offline=True)
            if again.status == 0:
                return again
        return ran

    def _wait(self, command: list[str], cwd: str) -> Ran:
        return run(command, cwd=cwd, environ=self.environ(), stop=self.stop)

    def remedy(self, ran: Ran) -> str:
        """What to do about a failure that comes of the surroundings, not of what uv was asked for; "" for one of those."""
        if "unexpected argument" in ran.stderr:
            return "this uv is too old; update it: uv self update, or pip install --upgrade uv"
        if _FULL.search(ran.stderr):
            return "free some space (`wfe env gc` removes environments that nothing uses), then run again"
        if _DENIED.search(ran.stderr):
            return "make the cache directory and uv's cache writable, or name others (UV_CACHE_DIR)"
        if ran.network:
            hint = "uv's cache does not have it all; run again with a network, "
            return hint + "or name an index that can be reached (UV_INDEX)"
        return ""

    def failure(self, ran: Ran, doing: str, place: Place | None = None) -> EnvironmentFailure:
        """The error that says what was being done and for whom, uv's own words, and what to do."""
        hint = self.remedy(ran)
        return EnvironmentFailure(
            Problem(f"{doing}; uv says:\n{_indent(ran.words)}", place or Place(), f"\n{hint}" if hint else "")
        )


def ending(status: int) -> str:
    """How a process ended, in words: "exit status 1", "killed by SIGKILL"."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def run(
    command: Sequence[str],
    *,
    cwd: str,
    environ: dict[str, str],
    stop: Event,
    limit: float | None = None,
) -> Ran:
    """Run a command to its end, killing it with all its children when `stop` is set or `limit` seconds have passed.

    Its standard input is a pipe that ends when this process does, however that happens, and never holds anything: a
    child that reads it knows when to go. Raises Interrupted, TimeoutError or EnvironmentFailure (it cannot be started).
    """
    if stop.is_set():
        raise Interrupted("interrupted while an environment was being prepared")
    theirs, ours = os.pipe()
    try:
        return _run(command, cwd, environ, stop, limit, theirs)
    finally:
        os.close(theirs)
        os.close(ours)


def _run(
    command: Sequence[str], cwd: str, environ: dict[str, str], stop: Event, limit: float | None, stdin: int
) -> Ran:
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        fact = f"cannot start {command[0]}: {error.strerror}"
        raise EnvironmentFailure(fact, "check that the file is there and executable") from error
    waited = 0.0
    try:
        while True:
            try:
                # A tenth of a second is how late a Ctrl-C can be noticed by a thread that is not the main one.
                out, err = process.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                waited += 0.1
                if stop.is_set():
                    raise Interrupted("interrupted while an environment was being prepared") from None
                if limit is not None and waited >= limit:
                    raise TimeoutError(f"{command[0]} did not end within {limit:g} s") from None
    except BaseException:
        _kill_tree(process)
        raise
    if process.returncode < 0 and stop.is_set():
        raise Interrupted("interrupted while an environment was being prepared")
    return Ran(process.returncode, out, err)


def _kill_tree(process: subprocess.Popen[str]) -> None:
    import psutil

    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.communicate()
