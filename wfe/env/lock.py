"""A lock: what an environment spec was resolved to, once; and the file that keeps a project's locks for all who share
it.

The file is JSON, in a fixed order, without one address, so that it can be read, compared and committed. An entry is for
one spec, one platform and one minor version of Python. Beside the locks it keeps which unions of specs had a solution
and which had none: else how nodes are split into environments, and with it their action keys, could change from one run
to the next because somebody published a package. Knows nothing of uv.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash
from packaging.specifiers import SpecifierSet

from wfe.env.need import Spec
from wfe.errors import EnvironmentFailure, Place, Problem

FORMAT = 1
_REMEDY = "`wfe env lock` makes it anew"


def this_platform() -> str:
    """The platform a lock is for, `linux-x86_64`, `darwin-arm64`, `win32-amd64`; `-musl` where libc is not glibc."""
    machine = platform.machine().lower() or "unknown"
    musl = sys.platform == "linux" and platform.libc_ver()[0] != "glibc"
    return f"{sys.platform}-{machine}" + ("-musl" if musl else "")


@dataclass(frozen=True, slots=True)
class Package:
    """One resolved distribution. hashes: of every file of that release, any of which is good. via: who asked for it."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """A spec resolved for one platform and one minor version of CPython ("3.12"); packages sorted by name."""

    spec: Spec
    platform: str
    python: str
    packages: tuple[Package, ...] = ()

    @property
    def digest(self) -> str:
        """xxh3-128 over all that decides what the environment holds: for action keys, and the prefix's name.

        The spec is not part of it, nor who asked for what: two specs that resolve to the same have one environment.
        """
        pins = [[one.name, one.version, sorted(one.hashes)] for one in self.packages]
        return xxhash.xxh3_128_hexdigest(json.dumps([FORMAT, self.platform, self.python, pins]).encode())

    def requirements(self) -> str:
        """The pins as a requirements file, with hashes."""
        lines = []
        for one in self.packages:
            lines.append(" \\\n    ".join([f"{one.name}=={one.version}", *(f"--hash={text}" for text in one.hashes)]))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Clash:
    """A union of specs that has no solution, and why, in one line."""

    spec: Spec
    platform: str
    why: str


@dataclass(frozen=True, slots=True)
class Fit:
    """A spec that has a solution, found out while nodes were split, but that is no environment of any node."""

    spec: Spec
    platform: str


@dataclass(frozen=True, slots=True)
class Locks:
    """All locks and verdicts of a project: an immutable set, from which changed ones are made."""

    locks: tuple[Lock, ...] = ()
    clashes: tuple[Clash, ...] = ()
    fits: tuple[Fit, ...] = ()

    def of(self, spec: Spec, here: str) -> tuple[Lock, ...]:
        """The locks of a spec for the platform `here`, newest Python first."""
        found = [one for one in self.locks if one.spec == spec and one.platform == here]
        return tuple(sorted(found, key=lambda one: _minor(one.python), reverse=True))

    def clash(self, spec: Spec, here: str) -> str:
        """Why this union is known to have no solution here, or an empty text."""
        return next((one.why for one in self.clashes if one.spec == spec and one.platform == here), "")

    def fit(self, spec: Spec, here: str) -> bool:
        """Whether this spec is known to have a solution here."""
        return bool(self.of(spec, here)) or Fit(spec, here) in self.fits

    def plus(self, *news: Lock | Clash | Fit) -> Locks:
        """With these in the place of what was known of the same spec and platform (and Python, for a lock)."""
        locks, clashes, fits = list(self.locks), list(self.clashes), list(self.fits)
        for new in news:
            about = (new.spec, new.platform)
            clashes = [one for one in clashes if (one.spec, one.platform) != about]
            fits = [one for one in fits if (one.spec, one.platform) != about]
            if isinstance(new, Lock):
                locks = [one for one in locks if (one.spec, one.platform, one.python) != (*about, new.python)]
                locks.append(new)
            elif isinstance(new, Clash):
                clashes.append(new)
            elif not self.of(*about):
                fits.append(new)
        return Locks(tuple(locks), tuple(clashes), tuple(fits))

    def merged(self, other: Locks) -> Locks:
        """With all of `other` about which nothing is known here."""
        mine: list[Lock | Clash | Fit] = [*self.locks, *self.clashes, *self.fits]
        theirs: list[Lock | Clash | Fit] = [*other.locks, *other.clashes, *other.fits]
        known = {(one.spec, one.platform) for one in mine}
        return self.plus(*(one for one in theirs if (one.spec, one.platform) not in known))

    def only(self, specs: Iterable[Spec]) -> Locks:
        """Without the locks of other specs than these, on any platform, and without verdicts on what none asks for."""
        wanted = set(specs)
        asked = {text for spec in wanted for text in spec.requirements}
        return Locks(
            tuple(one for one in self.locks if one.spec in wanted),
            tuple(one for one in self.clashes if asked.issuperset(one.spec.requirements)),
            tuple(one for one in self.fits if asked.issuperset(one.spec.requirements)),
        )

    def without(self, here: str) -> Locks:
        """Without all that was found out on the platform `here`: what an upgrade starts from."""
        return Locks(
            tuple(one for one in self.locks if one.platform != here),
            tuple(one for one in self.clashes if one.platform != here),
            tuple(one for one in self.fits if one.platform != here),
        )

    def text(self) -> str:
        """The content of the file: the same for the same locks, whatever the order in which they were made."""
        locks = sorted(self.locks, key=lambda one: (_order(one.spec), one.platform, _minor(one.python)))
        clashes = sorted(self.clashes, key=lambda one: (_order(one.spec), one.platform))
        fits = sorted(self.fits, key=lambda one: (_order(one.spec), one.platform))
        document = {
            "format": FORMAT,
            "environments": [
                {
                    **_spec(one.spec),
                    "platform": one.platform,
                    "interpreter": one.python,
                    "lock": one.digest,
                    "packages": [_package(package) for package in one.packages],
                }
                for one in locks
            ],
            "together": [{**_spec(one.spec), "platform": one.platform} for one in fits],
            "apart": [{**_spec(one.spec), "platform": one.platform, "why": one.why} for one in clashes],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _minor(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _order(spec: Spec) -> tuple[Any, ...]:
    return spec.requirements, spec.python, spec.exclude


def _spec(spec: Spec) -> dict[str, Any]:
    result: dict[str, Any] = {"requirements": list(spec.requirements)}
    if spec.python:
        result["python"] = spec.python
    if spec.exclude:
        result["exclude"] = list(spec.exclude)
    return result


def _package(package: Package) -> dict[str, Any]:
    result: dict[str, Any] = {"name": package.name, "version": package.version}
    if package.via:
        result["via"] = list(package.via)
    result["hashes"] = list(package.hashes)
    return result


@dataclass(frozen=True, slots=True)
class LockFile:
    """The file on disk. `shown`: its name in messages."""

    path: Path
    shown: str = field(default="")

    def read(self) -> Locks:
        """The locks in the file; none when there is no file. Raises EnvironmentFailure when it cannot be believed."""
        place = Place(self.shown or str(self.path))
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Locks()
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentFailure(Problem(f"cannot read the lock file: {error}", place)) from error
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            at = Place(place.file, error.lineno, error.colno)
            hint = f"resolve the merge conflict, or delete it: {_REMEDY}"
            raise EnvironmentFailure(Problem(f"not JSON: {error.msg}", at, hint)) from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            have = document.get("format") if isinstance(document, dict) else None
            fact = f"a lock file of format {have!r}, while this wfe reads {FORMAT}"
            raise EnvironmentFailure(Problem(fact, place, f"update wfe, or delete it: {_REMEDY}"))
        try:
            locks = tuple(_read_lock(entry) for entry in document["environments"])
            clashes = tuple(
                Clash(_read_spec(entry), entry["platform"], entry["why"]) for entry in document.get("apart", ())
            )
            fits = tuple(Fit(_read_spec(entry), entry["platform"]) for entry in document.get("together", ()))
        except (KeyError, TypeError, ValueError) as error:
            raise EnvironmentFailure(
                Problem(f"damaged lock file: {error!r}", place, f"delete it: {_REMEDY}")
            ) from error
        for lock, entry in zip(locks, document["environments"], strict=True):
            if entry.get("lock") != lock.digest:
                fact = f"the entry for {lock.spec} was changed by hand: its digest is not that of its packages"
                raise EnvironmentFailure(Problem(fact, place, f"delete the entry; {_REMEDY}"))
        return Locks(locks, clashes, fits)

    def write(self, locks: Locks) -> bool:
        """Write the file, atomically; say whether its content changed. Raises EnvironmentFailure when it cannot be."""
        text = locks.text()
        staging = ""
        try:
            if self.path.exists() and self.path.read_text(encoding="utf-8") == text:
                return False
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, staging = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if os.name != "nt":
                os.chmod(staging, 0o644)  # mkstemp makes it private; a committed file is not
            os.replace(staging, self.path)
        except OSError as error:
            if staging:
                Path(staging).unlink(missing_ok=True)
            place = Place(self.shown or str(self.path))
            raise EnvironmentFailure(Problem(f"cannot write the lock file: {error.strerror}", place)) from error
        return True


def _read_spec(entry: Mapping[str, Any]) -> Spec:
    found = Spec(_texts(entry["requirements"]), str(entry.get("python", "")), _texts(entry.get("exclude", ())))
    SpecifierSet(found.python)
    return found


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{value!r} is not a list of texts")
    return tuple(value)


def _read_lock(entry: Mapping[str, Any]) -> Lock:
    packages = tuple(
        Package(str(one["name"]), str(one["version"]), _texts(one["hashes"]), _texts(one.get("via", ())))
        for one in entry["packages"]
    )
    _minor(entry["interpreter"])
    return Lock(_read_spec(entry), str(entry["platform"]), str(entry["interpreter"]), packages)
