"""What an environment holds, and whether that meets a requirement: versions, extras, markers, variants.

`Installed` is plain data, so that decisions about it are pure. `running()` alone looks at the environment of this
process.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, distributions

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wfe.env import variants


@dataclass(frozen=True, slots=True)
class Held:
    """One installed distribution: its version, and the `Requires-Dist` texts of its metadata."""

    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment's distributions by canonical name, its Python version, and the values of its markers (PEP 508)."""

    held: Mapping[str, Held]
    python: str
    markers: Mapping[str, str] = field(default_factory=dict)

    def applies(self, requirement: Requirement, extra: str = "") -> bool:
        """Whether the requirement's marker holds here, with the extra `extra` asked for."""
        return requirement.marker is None or requirement.marker.evaluate({**self.markers, "extra": extra})

    def unmet(self, requirement: Requirement) -> str:
        """Why this environment does not meet the requirement, as a clause ("the main environment has ..."); empty: it
        does."""
        return self._unmet(requirement, frozenset())

    def _unmet(self, requirement: Requirement, seen: frozenset[tuple[str, str]]) -> str:
        if not self.applies(requirement):
            return ""
        name = canonicalize_name(requirement.name)
        held = self.held.get(name)
        if held is None:
            return self._stand_in(requirement, name)
        if not _admits(requirement, held.version):
            return f"the main environment has {name} {held.version}, but the node asks for {_asked(requirement)}"
        for extra in sorted(requirement.extras):
            if (name, extra) in seen:
                continue
            for inner in self._of_extra(held, extra):
                why = self._unmet(inner, seen | {(name, extra)})
                if why:
                    return f"the main environment has {name} {held.version} without its extra {extra!r} ({inner.name})"
        return ""

    def _stand_in(self, requirement: Requirement, name: str) -> str:
        rival = ""
        family = variants.family(name)
        for other in sorted(family.members if family else ()):
            if other == name or other not in self.held:
                continue
            version = self.held[other].version
            if name in variants.replaced_by(other) and not requirement.extras and _admits(requirement, version):
                return ""
            lack = variants.lack(other)
            rival = (
                f"the main environment has {other} {version}, but the node asks for {_asked(requirement)}, "
                f"which takes the same import name{f'; {other} {lack}' if lack else ''}"
            )
        return rival or f"the main environment does not have {_asked(requirement)}"

    def _of_extra(self, held: Held, extra: str) -> list[Requirement]:
        found = []
        for text in held.requires:
            try:
                inner = Requirement(text)
            except InvalidRequirement:
                continue  # legacy metadata; what the installer could not read either cannot be asked for
            if inner.marker is not None and self.applies(inner, extra) and not self.applies(inner):
                inner.marker = None
                found.append(inner)
        return found


def _admits(requirement: Requirement, version: str) -> bool:
    # A pre-release that someone has installed on purpose counts, as it does for pip and uv.
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _asked(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


class Running(Mapping[str, Held]):
    """The distributions of this process's environment, each looked up when it is asked for: reading the metadata of all
    takes 0.1 s and more, which a run in which nothing is to be done would pay."""

    def __init__(self) -> None:
        self._known: dict[str, Held | None] = {}

    def __getitem__(self, name: str) -> Held:
        if name not in self._known:
            try:
                found = distribution(name)
                self._known[name] = Held(found.version, tuple(found.requires or ()))
            except PackageNotFoundError:
                self._known[name] = None
        held = self._known[name]
        if held is None:
            raise KeyError(name)
        return held

    def __iter__(self) -> Iterator[str]:
        return iter(
            sorted({canonicalize_name(one.metadata["Name"]) for one in distributions() if one.metadata["Name"]})
        )

    def __len__(self) -> int:
        return len(list(iter(self)))


def running() -> Installed:
    """What the environment of this process holds. Of two distributions of one name the first on the path counts."""
    markers = {key: str(value) for key, value in default_environment().items()}
    return Installed(Running(), platform.python_version(), markers)
