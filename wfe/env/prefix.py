"""Prefixes: environments on disk, `<root>/<lock digest>/`, each there whole or not at all.

One is made in a staging folder, filled by uv, checked by importing, and renamed into place; the rename is what makes it
exist. `uv venv --relocatable` writes scripts and activation files that find themselves, so that the rename breaks
nothing. What a killed process left in staging is nobody's and goes the next time that anything is made. Knows uv and
the layout; does not know nodes, or what uses a prefix.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from time import monotonic, sleep, time
from uuid import uuid4

from wfe.env import bytecode, imports, lease, whole
from wfe.env.lock import Lock
from wfe.env.proven import proven
from wfe.env.python import Interpreter
from wfe.env.uv import Uv, run
from wfe.errors import EnvironmentFailure, Place, Problem

_RECORD = "wfe-environment.json"
_WINDOWS = os.name == "nt"
_START = 60.0  # seconds that a Python may take to start on a machine that is very busy


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of preparing an environment, for people.

    stage: "resolve", "make", "install", "check" or, of the whole, "ready"; seconds: how long it took, or None when it
    begins. detail: one stage of several, for who times them; a screen is told enough by the others.
    """

    stage: str
    message: str
    seconds: float | None = None
    detail: bool = False


Say = Callable[[Progress], object]


def silent(progress: Progress) -> None:
    """Hears progress and says nothing."""
    del progress


@dataclass(frozen=True, slots=True)
class Prefix:
    """An environment on disk, whole and checked. seconds: by stage, what making it took. names: what lay in the folder of its
    packages then; odd: the files of them that were never as their package's record says."""

    path: Path
    lock: str
    interpreter: str
    packages: Mapping[str, str]
    asked: tuple[str, ...]
    made: float
    seconds: Mapping[str, float]
    names: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    @property
    def python_minor(self) -> str:
        """Like "3.12"."""
        return ".".join(self.interpreter.split(".")[:2])

    @property
    def pins(self) -> frozenset[str]:
        """What it holds, as "name==version"."""
        return frozenset(f"{name}=={text.rsplit('-', 1)[1]}" for name, text in self.packages.items())

    @property
    def python(self) -> Path:
        """The interpreter to start a worker with."""
        return python_of(self.path)

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` (usually os.environ) as a process in this environment is to have it: its scripts lead PATH, and
        nothing of another Python environment is left."""
        return environ_of(self.path, base)


def python_of(path: Path) -> Path:
    """The interpreter of the environment at `path`."""
    return path / ("Scripts/python.exe" if _WINDOWS else "bin/python")


def environ_of(path: Path, base: Mapping[str, str]) -> dict[str, str]:
    """See `Prefix.environ`."""
    result = {key: value for key, value in base.items() if key not in ("PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX")}
    result["VIRTUAL_ENV"] = str(path)
    result["PATH"] = os.pathsep.join(filter(None, (str(python_of(path).parent), base.get("PATH", ""))))
    result["PYTHONNOUSERSITE"] = "1"  # else what `pip install --user` left would shadow what is locked
    return result


def look(root: Path, digest: str) -> Prefix | None:
    """The prefix of this lock, or None when there is none that can be used; `damage` says why not."""
    found = _read(root, digest)
    return found if isinstance(found, Prefix) else None


def damage(root: Path, digest: str, *, thorough: bool = False) -> str:
    """Why the prefix of this lock cannot be used and will be made anew; "" when it can, or when there is none.

    thorough: look at each file of its packages too; see `whole`.
    """
    found = _read(root, digest)
    if isinstance(found, str):
        return found if (root / digest).exists() else ""
    if thorough and not (found.path / "pyvenv.cfg").is_file():
        return "its pyvenv.cfg is gone"  # without which its Python does not find its packages
    site = site_packages(found.path) if thorough else None
    return whole.told(whole.wrong(site, found.odd)) if site else ""


def _read(root: Path, digest: str) -> Prefix | str:
    """The prefix of this lock, or why there is none that can be used.

    It cannot be when its Python is gone (an upgraded interpreter leaves links to nothing), when the distributions in it
    are no longer the locked ones (somebody ran pip there), for then the lock's digest would say what is not so, or when
    something is gone from the folder of its packages. That is one listing of that folder; what goes on within the packages
    it does not show, and `condemn` was told of it.
    """
    path = root / digest
    try:
        record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
        found = Prefix(
            path,
            record["lock"],
            record["interpreter"],
            record["packages"],
            tuple(record["asked"]),
            record["made"],
            record["seconds"],
            tuple(record.get("names", ())),
            tuple(record.get("odd", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "it has no record that can be read"
    if record.get("damaged"):
        return str(record["damaged"])
    if found.lock != digest:
        return "its record is of another lock"
    if not os.access(found.python, os.X_OK):
        return "its Python is gone, or cannot be run"
    site = site_packages(path)
    held = set(_names(site)) if site else set()
    if _infos(held) != _expected(found.packages):
        return "its packages are not those of its lock"
    gone = [name for name in found.names if name not in held]
    return f"{gone[0]} is gone from its packages" if gone else found


def starts(found: Prefix, stop: Event) -> bool:
    """Whether its Python starts at all. Raises Interrupted."""
    command = [str(found.python), "-I", "-c", ""]
    try:
        return run(command, cwd=str(found.path), environ=found.environ(os.environ), stop=stop, limit=_START).status == 0
    except (TimeoutError, EnvironmentFailure):
        return False


def condemn(root: Path, digest: str, why: str) -> None:
    """Note that the prefix of this lock is damaged: whoever needs it next makes it anew."""
    path = root / digest / _RECORD
    staged = path.with_name(f"{path.name}-{uuid4().hex[:8]}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        staged.write_text(json.dumps({**record, "damaged": why}, indent=1), encoding="utf-8")
        staged.replace(path)
    except (OSError, ValueError, TypeError):
        staged.unlink(missing_ok=True)  # it stays as it is, and is found damaged again


def _names(site: Path) -> list[str]:
    # __pycache__ comes with the first import of a module that lies there by itself, and may be deleted.
    return sorted(name for name in os.listdir(site) if name != "__pycache__")


def _infos(names: Iterable[str]) -> set[str]:
    return {name.removesuffix(".dist-info").lower() for name in names if name.endswith(".dist-info")}


def _expected(packages: Mapping[str, str]) -> set[str]:
    return {text.lower() for text in packages.values()}


def site_packages(path: Path) -> Path | None:
    """Where an environment's packages lie, or None when it has no such folder."""
    if _WINDOWS:
        site = path / "Lib" / "site-packages"
        return site if site.is_dir() else None
    return next(iter(sorted(path.glob("lib/python3*/site-packages"))), None)


def make(
    root: Path, lock: Lock, python: Interpreter, uv: Uv, *, say: Say = silent, place: Place | None = None
) -> Prefix:
    """The prefix of `lock` under `root`, made with `python` as its base if it is not there.

    Two who ask at once, in threads or processes, make it once. place: who asks, for messages. Raises EnvironmentFailure
    (uv's own words, or which import failed) or Interrupted; whatever is raised, nothing half-made is left or used.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        waiting = Progress("make", "Waiting for another run that is making the same environment")
        with lease.holding(root, lock.digest, uv.stop, lambda: say(waiting)):
            found = look(root, lock.digest)
            if found:
                return found
            sweep(root, held=lock.digest)
            return _make(root, lock, python, uv, say, place)
    except OSError as error:
        raise disk(error, f"cannot make an environment under {root}", place) from error


def _make(root: Path, lock: Lock, python: Interpreter, uv: Uv, say: Say, place: Place | None) -> Prefix:
    staging = root / "staging" / f"{lock.digest}-{uuid4().hex[:8]}"
    staging.parent.mkdir(exist_ok=True)
    seconds: dict[str, float] = {}
    site: Path | None = None
    odd: list[str] = []
    donors: list[tuple[Prefix, Path]] = []
    try:
        started = _begin(say, "make", f"Making an environment with Python {python.version}")
        ran = uv.run(
            ["venv", "--quiet", "--no-project", "--relocatable", "--python", str(python.path), str(staging)],
            offline=False,
        )
        if ran.status != 0:
            raise uv.failure(ran, f"cannot make an environment for {lock.spec}", place)
        _end(say, seconds, "make", started)
        if lock.packages:
            started = _begin(say, "install", f"Installing {counted(len(lock.packages), 'package')}")
            odd = _install(staging, lock, uv, say, place)
            site = site_packages(staging)
            donors = _donors(root, lock) if site else []
            if site:
                bytecode.share((folder for _, folder in donors), site)
            _end(say, seconds, "install", started)
        started = _begin(say, "check", f"Importing {', '.join(lock.spec.names)}")
        folders = _folders(staging)
        held = {package.name for package in lock.packages}
        asked = tuple(name for name in lock.spec.names if name in held)
        known = {
            name
            for donor, folder in donors
            if site and donor.interpreter == str(python.version)
            for name in proven(lock, folder, frozenset(donor.asked), site, folders)
        }
        new = [name for name in asked if name not in known]
        imports.check(python_of(staging), new, environ_of(staging, os.environ), uv.stop, place)
        _end(say, seconds, "check", started)
        names = tuple(_names(site)) if site else ()
        prefix = Prefix(
            root / lock.digest, lock.digest, str(python.version), folders, asked, time(), seconds, names, tuple(odd)
        )
        record = {**asdict(prefix), "python": lock.python, "platform": lock.platform}
        del record["path"]
        (staging / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if prefix.path.exists():
            discard(root, prefix.path)
        _rename(staging, prefix.path)
    except BaseException:
        remove_tree(staging)
        raise
    whole = sum(seconds.values())
    holds = lock.spec if lock.spec.requirements else f"Python {python.version}"
    say(Progress("ready", f"Environment of {holds} ready in {whole:.1f} s", whole))
    return prefix


def _install(staging: Path, lock: Lock, uv: Uv, say: Say, place: Place | None) -> list[str]:
    """Install what is locked. Returns the files that are not as their package's record says, though fetched anew.

    The files are links to uv's cache wherever that can be, so that who writes into one in an environment writes into the
    cache, and it would come from there again. What is wrong is thrown out of the cache, once: a wheel may be sloppy itself.
    """
    pins = staging / "requirements.txt"
    pins.write_text(lock.requirements(), encoding="utf-8")
    hashes = ["--require-hashes"] if all(package.hashes for package in lock.packages) else []
    command = ["pip", "sync", str(pins), "--python", str(python_of(staging)), *hashes]
    ran = uv.run(command)
    if ran.status != 0:
        raise uv.failure(ran, f"cannot install {lock.spec}", place)
    if "full copy" in ran.stderr:
        say(Progress("install", "Packages were copied, not linked: uv's cache is on another disk (see UV_CACHE_DIR)"))
    site = site_packages(staging)
    wrong = whole.wrong(site) if site else {}
    if not site or not wrong:
        return []
    names = sorted({name for name, _ in wrong.values()})
    say(Progress("install", f"Fetching {', '.join(names)} anew: {whole.told(wrong)}, as uv's cache has it"))
    uv.run(["cache", "clean", *names])
    ran = uv.run([*command, *(word for name in names for word in ("--reinstall-package", name))])
    if ran.status != 0:
        raise uv.failure(ran, f"cannot install {lock.spec}", place)
    return sorted(whole.wrong(site))


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 package", "2 packages"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _begin(say: Say, stage: str, message: str) -> float:
    say(Progress(stage, message, detail=True))
    return monotonic()


def _end(say: Say, seconds: dict[str, float], stage: str, started: float) -> None:
    seconds[stage] = round(monotonic() - started, 4)
    say(Progress(stage, f"{stage}: {seconds[stage]:.2f} s", seconds[stage], detail=True))


_DONORS = 4  # a new environment mostly shares with the last ones; each more costs a walk over all its files


def _donors(root: Path, lock: Lock) -> list[tuple[Prefix, Path]]:
    """Prefixes of the same Python that hold a package of this lock, the last used first, each with its packages'
    folder."""
    names = {f"{package.name}=={package.version}" for package in lock.packages}
    found = []
    for path in sorted(root.iterdir(), key=lambda one: lease.last_used(root, one.name), reverse=True):
        one = look(root, path.name)
        site = site_packages(path) if one else None
        if one and site and one.python_minor == lock.python and names & set(one.pins):
            found.append((one, site))
    return found[:_DONORS]


def _folders(path: Path) -> dict[str, str]:
    """Distribution name -> `name-version`, as its .dist-info folder has them."""
    result = {}
    site = site_packages(path)
    for text in sorted(_infos(_names(site)) if site else ()):
        result[text.rsplit("-", 1)[0].replace("_", "-")] = text
    return result


def _rename(source: Path, target: Path) -> None:
    for attempt in range(20):
        try:
            source.rename(target)
            return
        except PermissionError:
            # On Windows a virus scanner, or the Python that has just ended, may hold a file for a moment.
            if not _WINDOWS or attempt == 19:
                raise
            sleep(0.1)


def sweep(root: Path, held: str = "", *, dry: bool = False) -> list[Path]:
    """Remove what dead makers and removers left, and return it; dry: only that. `held`: the digest whose lock the caller has;
    others are tried."""
    gone = []
    for path in _entries(root / "trash"):
        if not dry:
            remove_tree(path)
        gone.append(path)
    for path in _entries(root / "staging"):
        digest = path.name.split("-")[0]
        lock = None if digest == held else lease.try_holding(root, digest)
        if digest != held and lock is None:
            continue  # its maker lives
        try:
            if not dry:
                remove_tree(path)
            gone.append(path)
        finally:
            if lock is not None:
                lock.release()
    return gone


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def discard(root: Path, path: Path) -> None:
    """Take a prefix out of sight in one step, then remove it: a kill in between leaves no half of it in place."""
    trash = root / "trash"
    trash.mkdir(exist_ok=True)
    target = trash / uuid4().hex[:8]
    _rename(path, target)
    remove_tree(target)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, as far as that can be done now; what is left is swept the next time."""

    def writable(function: Callable[..., object], name: str, error: object) -> None:
        del error
        try:
            # A read-only folder stops removal on POSIX, a read-only file on Windows. A file's mode is left alone on
            # POSIX: it is a link to uv's cache, and the mode of both is one.
            os.chmod(Path(name).parent, stat.S_IRWXU)
            if _WINDOWS or (Path(name).is_dir() and not Path(name).is_symlink()):
                os.chmod(name, stat.S_IRWXU)
            function(name)
        except OSError:
            return

    shutil.rmtree(path, onerror=writable)


def disk(error: OSError, doing: str, place: Place | None = None) -> EnvironmentFailure:
    """The error that says what could not be done for which reason of the system's, and what to do. doing: "cannot ..."."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC, errno.EFBIG):
        hint = "free some space (`wfe env gc` removes environments that nothing uses), then run again"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "make that directory writable, or name another cache directory"
    else:
        hint = "see that it is a directory that this user can write to"
    return EnvironmentFailure(Problem(f"{doing}: {error.strerror or error}", place or Place(), hint))
