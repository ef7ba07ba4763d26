"""Resolve a spec to a lock through `uv pip compile`.

The one place that knows what uv's resolver prints. A spec without a solution is an answer (`Unsolved`), for splitting
asks on purpose; a registry that cannot be reached is not, and raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.version import InvalidVersion, Version

from wfe.env import variants
from wfe.env.lock import Lock, Package, this_platform
from wfe.env.need import Spec
from wfe.env.python import Interpreter
from wfe.env.uv import Ran, Uv
from wfe.errors import EnvironmentFailure, Place, Problem

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+?)\s*\\?$")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+")
_NO_WHEEL = re.compile(r"Because (?:only )?(\S+?)(?:==\S+)? has no wheels with a matching")


@dataclass(frozen=True, slots=True)
class Unsolved:
    """No lock came out. why: uv's explanation in one line. no_wheel: it is that nothing exists for this platform.

    lasting: it follows from the requirements alone, so it may be written down; a failed build may go well tomorrow.
    """

    why: str
    no_wheel: bool = False
    lasting: bool = True


def resolve(uv: Uv, spec: Spec, python: Interpreter, place: Place | None = None) -> Lock | Unsolved:
    """The newest packages that meet the spec under `python`, with the hashes of their files.

    Raises EnvironmentFailure when uv fails for a reason that has nothing to do with the spec: a registry that cannot be
    reached, a full disk.
    """
    if not spec.requirements:
        return Lock(spec, this_platform(), python.minor)
    with TemporaryDirectory(prefix="wfe-lock-") as folder:
        asked = Path(folder, "requirements.in")
        asked.write_text("\n".join(spec.requirements) + "\n", encoding="utf-8")
        arguments = [
            "pip",
            "compile",
            str(asked),
            "--quiet",
            "--no-header",
            "--generate-hashes",
            "--annotation-style",
            "split",
            "--python",
            str(python.path),
        ]
        if spec.exclude:
            excluded = Path(folder, "exclude.txt")
            excluded.write_text("\n".join(spec.exclude) + "\n", encoding="utf-8")
            arguments += ["--excludes", str(excluded)]
        ran = uv.run(arguments)
    if ran.status != 0:
        return _unsolved(uv, ran, spec, place)
    lock = Lock(spec, this_platform(), python.minor, parse(ran.stdout, place))
    rivals = _rivals(lock)
    return Unsolved(rivals) if rivals else lock


def remedy(why: str) -> str:
    """What to do about an explanation of uv's, or an empty text."""
    if "requires Python" in why or "Python version" in why:
        return 'another Python can be asked for: @workflow_node(python=">=3.12")'
    if "was not found in the" in why:
        return "look at the spelling, and at uv's settings for a private index (UV_INDEX, uv.toml)"
    if "there is no version of" in why or re.search(r"only \S+ (?:is|are) available", why):
        return "ask for a version that there is"
    return ""


def parse(text: str, place: Place | None = None) -> tuple[Package, ...]:
    """The packages of uv's output: `name==version`, its `--hash=` lines, and `# via` comments, sorted by name.

    Raises EnvironmentFailure for a line that is neither, such as a package that a requirement takes from an address.
    """
    packages: list[Package] = []
    for line in text.splitlines():
        bare = line.strip()
        if not bare:
            continue
        pin = _PIN.match(line)
        if pin:
            packages.append(Package(pin[1], pin[2]))
        elif bare.startswith("--hash=") and packages:
            last = packages[-1]
            digest = bare.removeprefix("--hash=").removesuffix("\\").strip()
            packages[-1] = Package(last.name, last.version, (*last.hashes, digest), last.via)
        elif bare.startswith("#") and packages:
            last = packages[-1]
            who = bare.lstrip("# ").removeprefix("via").strip()
            if who and not who.startswith("-r"):
                packages[-1] = Package(last.name, last.version, last.hashes, tuple(sorted({*last.via, who})))
        else:
            fact = f"the resolver answered {_ADDRESS.sub('an address', bare)!r}, which has no place in a lock"
            raise EnvironmentFailure(Problem(fact, place or Place(), "ask for packages by name and version only"))
    return tuple(sorted(packages, key=lambda one: one.name))


def _unsolved(uv: Uv, ran: Ran, spec: Spec, place: Place | None) -> Unsolved:
    if uv.remedy(ran):
        raise uv.failure(ran, f"cannot resolve {spec}", place)
    # Addresses are taken out since this text may be written to the lock file.
    words = _ADDRESS.sub("(an address)", " ".join(ran.words.split()))
    if "No solution found" in ran.stderr:
        why = words.split(" hint: ")[0].split("cause: ", 1)[-1].rstrip(".")
        found = _NO_WHEEL.search(why)
        if found and found[1] in spec.names:
            hint = re.search(r"on the following platforms?: (.+)", words)
            only = f" (there is one for {hint[1].split(' hint: ')[0].replace('`', '')})" if hint else ""
            return Unsolved(f"{found[1]} has no wheel for {this_platform()}{only}", no_wheel=True)
        return Unsolved(why)
    return Unsolved(words, lasting=False)  # a build that failed, metadata that cannot be read, an index that says no


def _rivals(lock: Lock) -> str:
    for at, one in enumerate(lock.packages):
        for other in lock.packages[:at]:
            if variants.clash(one.name, other.name):
                both = f"{_who(other)} and {_who(one)} take the same import name"
                return f"{both}; exclude one of them in an environments file"
    return ""


def _who(package: Package) -> str:
    return f"{package.name} (asked for by {', '.join(package.via)})" if package.via else package.name


def newer(lock: Lock, other: Lock) -> list[str]:
    """What changed from `lock` to `other`, a line a package: "numpy 2.1 -> 2.2", "six 1.17 (new)", "six 1.17
    (gone)"."""
    before = {one.name: one.version for one in lock.packages}
    after = {one.name: one.version for one in other.packages}
    lines = []
    for name in sorted({*before, *after}):
        if name not in after:
            lines.append(f"{name} {before[name]} (gone)")
        elif name not in before:
            lines.append(f"{name} {after[name]} (new)")
        elif before[name] != after[name]:
            arrow = "->" if _not_older(before[name], after[name]) else "-> (older)"
            lines.append(f"{name} {before[name]} {arrow} {after[name]}")
    return lines


def _not_older(before: str, after: str) -> bool:
    try:
        return Version(after) >= Version(before)
    except InvalidVersion:
        return True
