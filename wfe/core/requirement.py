"""What a node asks of its environment, as texts: requirements (PEP 508) and Python versions (PEP 440), and what is wrong with
one.

Knows their form. Does not know what is installed, nor whether there is such a package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wfe.core.kind import Wrong, describe

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

# packaging is imported where it is used: most nodes ask for nothing.


def requirement(text: str) -> Requirement:
    """Parse one PEP 508 requirement, its name made canonical (PEP 503).

    Raises ValueError, with a sentence, for bad syntax and for a direct reference: `name @ address` would put an address
    into the lock, which is made to be committed and shared; an index or uv's find-links setting serves the same end.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is not a requirement: {str(error).splitlines()[0]}") from None
    if parsed.url:
        raise ValueError(f"{parsed.name!r} names an address, which a lock must not hold")
    parsed.name = canonicalize_name(parsed.name)
    return parsed


def python_specifier(text: str) -> SpecifierSet:
    """Parse ">=3.12", "==3.12.*" or a bare "3.12" (any patch release of it). Raises ValueError with a sentence."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        pass
    try:
        version = Version(text)
    except InvalidVersion:
        raise ValueError(f"{text!r} is not a Python version or specifier, such as '>=3.12' or '3.12'") from None
    return SpecifierSet(f"=={text}" if len(version.release) > 2 else f"=={text}.*")


def wrong_requirements(key: str, value: Any, what: str) -> Iterator[Wrong]:
    """What is wrong with the `dependencies` or the `python` of a node; nothing with any other key. what: whose it is."""
    if key == "python":
        try:
            python_specifier(value)
        except ValueError as error:
            yield Wrong((), f"{what}: 'python': {error}")
    for at, text in enumerate(value) if key == "dependencies" else ():
        if not isinstance(text, str):
            yield Wrong((at,), f"{what}: 'dependencies' takes requirements as texts, found {describe(text)}")
            continue
        try:
            requirement(text)
        except ValueError as error:
            yield Wrong((at,), f"{what}: {error}", hint_of(error))


def hint_of(error: ValueError) -> str:
    """What to do about an error of `requirement`."""
    if "address" in str(error):
        return "ask for it by name and version, and let uv find it (UV_FIND_LINKS, UV_INDEX or uv.toml)"
    return "write it like 'numpy>=2' or 'foo[bar]; sys_platform == \"linux\"'"
