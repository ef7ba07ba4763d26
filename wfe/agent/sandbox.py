"""Sandboxes: a command line that runs another command line with few rights.

Knows the mechanisms (bubblewrap; Landlock with seccomp), how to find the one that works here, and what a Python program
must be able to read. Does not know nodes, gates or models: whoever starts a worker gives a policy and runs what comes
back.

Both mechanisms give: no network (or, with bubblewrap, the hosts of a gateway), no write outside `writable`, no read of
the home directory or of another program's memory and environment, a clean environment, no new process (so nothing to
outlive a kill), and limits of memory, CPU, open files and file size. Landlock does not hide that a file exists, nor
its size; and what a node does to the mode or times of any file does nothing. macOS, Windows and older kernels have
neither: refusal.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from wfe.agent.jail import landlock, seccomp
from wfe.errors import EnvironmentFailure

LAUNCHER = Path(__file__).parent / "jail" / "launch.py"
PROXY_PORT = 3128
TEMPORARY_BYTES = 256 << 20
REFUSED = 125
"""The exit code of a launcher that could not apply what was asked (see jail/launch.py)."""

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/opt/rocm",
    "/opt/intel",
)
_SETTINGS = (
    *(
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/alternatives",
        "/etc/localtime",
        "/etc/timezone",
    ),
    *(
        "/etc/ssl",
        "/etc/pki",
        "/etc/ca-certificates",
        "/etc/fonts",
        "/etc/mime.types",
        "/etc/nsswitch.conf",
        "/etc/hosts",
    ),
)
_PRIVATE = "/run/wfe"
"""HOME and TMPDIR with bubblewrap. Not /tmp: a staging directory may lie below that, and then a write beside it would
seem to succeed, in memory that nobody sees."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_FACTS = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems", "/proc/loadavg"),
    *(
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/kernel/osrelease",
        "/sys/devices/system/cpu",
        "/sys/devices/system/node",
    ),
)
_OWN = (
    "maps",
    "status",
    "stat",
    "statm",
    "cmdline",
    "cgroup",
    "limits",
    "auxv",
    "comm",
    "environ",
    "mounts",
    "mountinfo",
    "fd",
)
_HELP = (
    "on Linux install bubblewrap (`apt install bubblewrap`, `dnf install bubblewrap`) or use a kernel of 6.2 or later "
    "with Landlock; read the code and `wfe approve NODE`; or run it with your own rights by `--unsafe`"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandboxed program may use. memory: bytes of address space; file_bytes: of one file; cpu_seconds: of all
    threads.
    """

    memory: int = 4 << 30
    cpu_seconds: int = 120
    open_files: int = 256
    file_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Policy:
    """What a sandboxed program may reach.

    writable: directories; the first is where it starts and, unless `environ` says otherwise, holds its HOME and TMPDIR.
    readable: files and trees beside the interpreter's own. listable: directories whose names may be listed, not their
    contents. gateway: the socket of an open `gateway`, or None for no network. descriptors: numbers above 2 it
    inherits. status: the number of a pipe on which "1" is written when the program is about to start with all of this in
    force; the program itself has it no more, so nothing that it does can look like a sandbox that failed. None: nobody asks.
    """

    writable: tuple[Path, ...]
    readable: tuple[Path, ...] = ()
    listable: tuple[Path, ...] = ()
    gateway: Path | None = None
    limits: Limits = field(default_factory=Limits)
    environ: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()
    status: int | None = None


class Sandbox(Protocol):
    """A way to hold a program."""

    @property
    def name(self) -> str: ...

    @property
    def holds_hosts(self) -> bool:
        """Whether it can let a program reach some hosts and no other, through a gateway."""
        ...

    def missing(self) -> str:
        """Why it cannot be used here; empty when it can (found out by using it)."""
        ...

    def command(self, argv: Sequence[str], policy: Policy) -> list[str]:
        """The command line that runs `argv` (argv[0] an absolute path) under `policy`. Kill its process and all is
        gone.
        """
        ...


class Bubblewrap:
    """Namespaces by bubblewrap: what is not allowed is not there."""

    name = "bubblewrap"
    holds_hosts = True

    def missing(self) -> str:
        return _bubblewrap_missing()

    def command(self, argv: Sequence[str], policy: Policy) -> list[str]:
        # bwrap stays in the namespace as process 1, and /proc/1/environ shows what it was started with, --clearenv or
        # not: so it is started with nothing.
        line = [
            "/usr/bin/env",
            "-i",
            shutil.which("bwrap") or "bwrap",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
        ]
        line += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
        for path, size in (("/dev/shm", TEMPORARY_BYTES), (_PRIVATE, TEMPORARY_BYTES)):
            line += ["--size", str(size), "--tmpfs", path]
        for path in _SYSTEM:
            if os.path.islink(path):
                line += ["--symlink", os.readlink(path), path]
            elif os.path.exists(path):
                line += ["--ro-bind", path, path]
        for readable in _with_targets((*map(Path, _SETTINGS), *_interpreter(Path(argv[0])), *policy.readable)):
            line += ["--ro-bind", str(readable), str(readable)]
        for fact in ("/sys/devices/system/cpu", "/sys/devices/system/node"):
            line += ["--ro-bind-try", fact, fact]
        for directory in policy.listable:
            line += ["--dir", str(directory)]
        if policy.gateway is not None:
            line += ["--ro-bind", str(policy.gateway), str(policy.gateway)]
        for writable in policy.writable:
            line += ["--bind", str(writable.resolve()), str(writable)]
        # /proc too: where wfe runs as root, files such as /proc/acpi/wakeup ask for no capability, only for the owner.
        line += ["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]
        line += ["--chdir", str(policy.writable[0])]
        home = {"HOME": _PRIVATE, "TMPDIR": _PRIVATE}
        return [*line, "--", *_launcher(), json.dumps(order(argv, policy, home, landlock_rules=None))]


class Landlock:
    """Access rules on the process itself, by Landlock and seccomp: for machines without bubblewrap."""

    name = "landlock"
    holds_hosts = False

    def missing(self) -> str:
        if not sys.platform.startswith("linux"):
            return f"Landlock is a part of Linux, this is {sys.platform}"
        if not seccomp.supported():
            return f"the system calls of {platform.machine()} are not known to wfe"
        if (version := landlock.abi()) < landlock.LEAST_ABI:
            return f"this kernel has Landlock version {version}; {landlock.LEAST_ABI} (Linux 6.2) is needed"
        return ""

    def command(self, argv: Sequence[str], policy: Policy) -> list[str]:
        if policy.gateway is not None:
            raise EnvironmentFailure(
                "a network permission cannot be held to its hosts by Landlock",
                hint="install bubblewrap, or approve the node",
            )
        temporary = str(policy.writable[0] / ".tmp")
        rules = [(path, "read") for path in (*_SYSTEM, *_SETTINGS, *_FACTS)]
        rules += [(str(path), "read") for path in (*_interpreter(Path(argv[0])), *policy.readable)]
        rules += [(str(path), "list") for path in policy.listable]
        rules += [(str(path), "write") for path in policy.writable]
        rules += [(path, "device") for path in _DEVICES]
        # Resolved when the rule is made: this process, whose id an exec keeps. Not all of it: /proc/self/net shows the
        # connections and the sockets of everybody on the machine.
        rules += [(f"/proc/self/{name}", "read") for name in _OWN]
        home = {"HOME": temporary, "TMPDIR": temporary}
        return [*_launcher(), json.dumps(order(argv, policy, home, landlock_rules=rules))]


KINDS: tuple[Sandbox, ...] = (Bubblewrap(), Landlock())


def choose(name: str = "") -> Sandbox:
    """The best sandbox that works here, or the one called `name`. Raises EnvironmentFailure that says why there is
    none.
    """
    wanted = [kind for kind in KINDS if not name or kind.name == name]
    reasons = []
    for kind in wanted:
        why = kind.missing()
        if not why:
            return kind
        reasons.append(f"{kind.name}: {why}")
    raise EnvironmentFailure("no sandbox for untrusted code on this machine (" + "; ".join(reasons) + ")", hint=_HELP)


def order(
    argv: Sequence[str], policy: Policy, home: Mapping[str, str], landlock_rules: list[tuple[str, str]] | None
) -> dict[str, Any]:
    """What jail/launch.py is told, as JSON values."""
    environ = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        **home,
    }
    if policy.gateway is not None:
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        environ |= {"http_proxy": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    limits = policy.limits
    return {
        "command": list(argv),
        "environ": {**environ, **policy.environ},
        "directory": str(policy.writable[0]),
        "make": [home["TMPDIR"]],
        "descriptors": list(policy.descriptors),
        "status": policy.status,
        "relay": None if policy.gateway is None else {"socket": str(policy.gateway), "port": PROXY_PORT},
        "landlock": landlock_rules,
        "limits": {
            "RLIMIT_AS": limits.memory,
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_NOFILE": limits.open_files,
            "RLIMIT_FSIZE": limits.file_bytes,
            "RLIMIT_CORE": 0,
        },
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a sandboxed process and all in it, and return when nothing of it runs any more.

    bubblewrap's own process may be reaped while those of its namespace still die. So the namespace's first process is
    killed, and waited for: the kernel lets it end last.
    """
    if process.poll() is None:
        inner = _children(process.pid)
        for pid in inner:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if inner:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
    process.kill()
    process.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # a kernel without that file, or it ended meanwhile
        import psutil

        try:
            return [one.pid for one in psutil.Process(pid).children()]
        except psutil.Error:
            return []


def granted(policy: Policy, read: Sequence[str], root: Path) -> Policy:
    """`policy` with the files and trees of a node's `read` permission, relative to the project `root`, readable."""
    return replace(policy, readable=(*policy.readable, *(root / path for path in read)))


def _launcher() -> list[str]:
    return [sys.executable, "-I", "-S", "-B", str(LAUNCHER)]


@cache
def _interpreter(executable: Path) -> tuple[Path, ...]:
    """What the Python `executable` and the launcher's Python read: their prefixes, links on the way to them, and
    wfe.
    """
    found: list[Path] = [Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix)]
    found += [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for python in (executable, Path(sys.executable)):
        hop = python
        for _ in range(16):
            found.append(hop)
            if not hop.is_symlink():
                break
            hop = Path(os.path.normpath(hop.parent / os.readlink(hop)))
        settings = python.parent.parent / "pyvenv.cfg"
        if settings.is_file():
            found.append(settings.parent)
            for line in settings.read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "home":
                    found.append(Path(value.strip()).parent)
    # A prefix that is the root of the file system or the home directory itself would give away everything.
    return tuple(path for path in dict.fromkeys(found) if path.parent != path and path != Path.home())


def _with_targets(paths: Sequence[Path]) -> list[Path]:
    """The existing ones of `paths` and, of links, what they lead to; none twice, none inside another."""
    found = {path for path in paths if path.exists()} | {path.resolve() for path in paths if path.exists()}
    kept: list[Path] = [Path(system) for system in _SYSTEM if os.path.exists(system)]
    start = len(kept)
    for path in sorted(found, key=lambda path: (len(path.parts), str(path))):
        if not any(path.is_relative_to(above) for above in kept):
            kept.append(path)
    return kept[start:]


@cache
def _bubblewrap_missing() -> str:
    if not sys.platform.startswith("linux"):
        return f"bubblewrap is for Linux, this is {sys.platform}"
    program = shutil.which("bwrap")
    if program is None:
        return "`bwrap` is not on PATH"
    if not seccomp.supported():
        return f"the system calls of {platform.machine()} are not known to wfe"
    # Being there is not being allowed: containers and some distributions forbid user namespaces.
    line = [
        program,
        "--unshare-all",
        "--die-with-parent",
        "--size",
        "4096",
        "--tmpfs",
        "/tmp",
        "--ro-bind",
        "/usr",
        "/usr",
    ]
    for path in ("/bin", "/lib", "/lib64"):
        line += ["--ro-bind-try", path, path]
    try:
        done = subprocess.run([*line, "/usr/bin/env", "true"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`bwrap` does not run: {error}"
    return "" if done.returncode == 0 else f"`bwrap` does not work here: {done.stderr.strip()}"
