"""What a node asks of the environment that it runs in (`Need`), and what an environment is to hold (`Spec`).

Brings requirements (PEP 508) and Python specifiers (PEP 440) to one canonical text, so that two ways to write one thing
have one digest. Does not know what is installed, uv, or where an environment lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

import xxhash
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from wfe.core.requirement import hint_of, python_specifier, requirement
from wfe.env import variants
from wfe.errors import EnvironmentFailure, Place, Problem, nearest


class Isolation(Enum):
    """Where a node may run."""

    AUTO = "auto"  # in the main environment when that meets the requirements, else in an isolated one
    ALWAYS = "always"  # in an isolated environment, whatever the main one has
    NEVER = "never"  # in the main environment; requirements that it does not meet are an error


@dataclass(frozen=True, slots=True)
class Need:
    """What one node asks for, as its source says it.

    node: its name. requirements: PEP 508 texts. environment: the name of a group of nodes that share one environment.
    python: a PEP 440 specifier (">=3.12") or a bare version ("3.12", which means "==3.12.*"). place: of the source.
    """

    node: str
    requirements: tuple[str, ...] = ()
    environment: str | None = None
    isolation: Isolation = Isolation.AUTO
    python: str | None = None
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class Spec:
    """What an environment is to hold: canonical, sorted texts. Build it with `spec` or `union`, never by hand.

    exclude: distributions that must not come in through the requirements of others, since one that is asked for offers
    all that they do under the same import name (see `variants`).
    """

    requirements: tuple[str, ...] = ()
    python: str = ""
    exclude: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """xxh3-128 of the canonical JSON of the three fields, 32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(json.dumps([self.requirements, self.python, self.exclude]).encode())

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical names of the distributions that are asked for, sorted."""
        return tuple(sorted({canonicalize_name(Requirement(text).name) for text in self.requirements}))

    def __str__(self) -> str:
        asked = ", ".join(self.requirements) or "no packages"
        return asked + (f" (Python {self.python})" if self.python else "")


def isolation(text: str, place: Place | None = None) -> Isolation:
    """The Isolation that `text` names. Raises EnvironmentFailure for any other text."""
    try:
        return Isolation(text)
    except ValueError:
        known = [mode.value for mode in Isolation]
        hint = nearest(text, known)
        raise EnvironmentFailure(Problem(f"unknown isolation_mode {text!r}", place or Place(), hint)) from None


def spec(requirements: Iterable[str], python: str | None = None, exclude: Iterable[str] = ()) -> Spec:
    """The canonical Spec of these requirements. Raises ValueError for a text that is not one."""
    parsed = [requirement(text) for text in requirements]
    names = {one.name for one in parsed}
    served = {other for name in names for other in variants.replaced_by(name)} - names
    return Spec(
        requirements=tuple(sorted({str(one) for one in parsed})),
        python=str(python_specifier(python)) if python else "",
        exclude=tuple(sorted(served | {canonicalize_name(name) for name in exclude})),
    )


def union(specs: Iterable[Spec]) -> Spec:
    """The Spec that asks for all that `specs` ask for."""
    whole = Spec()
    for one in specs:
        both = ",".join(text for text in (whole.python, one.python) if text)
        whole = Spec(
            requirements=tuple(sorted({*whole.requirements, *one.requirements})),
            python=str(SpecifierSet(both)) if both else "",
            exclude=tuple(sorted({*whole.exclude, *one.exclude})),
        )
    asked = set(whole.names)
    return replace(whole, exclude=tuple(name for name in whole.exclude if name not in asked))


def check(needs: Iterable[Need]) -> list[Problem]:
    """All that is wrong with the texts of `needs`, in their order."""
    problems = []
    for need in needs:
        names = []
        for text in need.requirements:
            try:
                names.append(requirement(text).name)
            except ValueError as error:
                problems.append(Problem(f"node {need.node!r}: {error}", need.place, hint_of(error)))
        if need.python:
            try:
                python_specifier(need.python)
            except ValueError as error:
                problems.append(Problem(f"node {need.node!r}: python: {error}", need.place))
    return problems
