"""What a step gave: a JSON tree, and artifacts where JSON cannot say it.

Knows how to find an output in it, how to gather a fan, and what its digest is. Does not know where artifacts are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from wfe.core.digest import canonical, digest

if TYPE_CHECKING:
    from wfe.core.document import Path


class Artifact(NamedTuple):
    """A value kept as a file: where in the tree it stands (null there), its codec ("npy", "file", ...), the digest of its
    content, and a note: dtype and shape of an array, the parameter that named a written file, the key under which a pickle
    was made."""

    trail: Path
    codec: str
    digest: str
    note: str = ""

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return self.note if self.codec == "npy" else self.codec


@dataclass(frozen=True, slots=True)
class ArrayOrFile:
    """Stands for an artifact where a condition looks at a value, or a fan at its items: it is there, it is equal to one of the
    same content, and nothing can be read from it. name: of the file that a step wrote."""

    codec: str
    digest: str
    name: str = field(default="", compare=False)


class Missing(LookupError):
    """A trail that a result does not have; the text says how far it went and what is there."""


@dataclass(slots=True)
class Result:
    """The value of a step, or a part of it. Not to be changed: its text, and the parts that were asked for, are kept, since what
    one step gives several often read."""

    value: Any
    artifacts: tuple[Artifact, ...] = ()
    told: str = field(default="", init=False, repr=False, compare=False)  # how a manifest tells it, once one has
    _text: str = field(default="", init=False, repr=False, compare=False)
    _parts: dict[str | int, Result] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def mark(self) -> str:
        """The digest of the whole: equal marks, equal results."""
        return digest(self.text().encode("utf-8", "surrogatepass"))

    def text(self) -> str:
        """The canonical text that stands for the value in a manifest: artifacts by digest."""
        if self._text:
            return self._text
        text = canonical(self.value)
        if self.artifacts:
            # A pickle names classes and functions; what they do is in the code that made it, and not in its bytes.
            text += " + " + canonical(
                [
                    [list(one.trail), one.codec, one.digest, *((one.note,) if one.codec == "pickle" else ())]
                    for one in self.artifacts
                ]
            )
        self._text = text
        return text

    def seen(self, name: Callable[[Artifact], str] = lambda artifact: "") -> Any:
        """The value with an ArrayOrFile in the place of each artifact. name: of the file that one is."""
        found = {one.trail: ArrayOrFile(one.codec, one.digest, name(one)) for one in self.artifacts}

        def put_in(value: Any, trail: Path) -> Any:
            if trail in found:
                return found[trail]
            if isinstance(value, list):
                return [put_in(entry, (*trail, index)) for index, entry in enumerate(value)]
            if isinstance(value, dict):
                return {key: put_in(entry, (*trail, key)) for key, entry in value.items()}
            return value

        return put_in(self.value, ()) if found else self.value

    def dig(self, trail: Path) -> Result:
        """The part at `trail`. Raises Missing.

        A number in a trail is an index of a list and, where the value is an object, a key of digits. A written file is also
        found under the name of its parameter, where the function returned it under another.
        """
        value = self.value
        if len(trail) == 1 and not self.artifacts and isinstance(value, dict) and trail[0] in value:
            if self._parts is None:  # nearly every reference; the rest is four times as long
                self._parts = {}
            found = self._parts.get(trail[0])
            if found is None:
                found = self._parts[trail[0]] = Result(value[trail[0]])
            return found
        path: list[str | int] = []
        for part in trail:
            if isinstance(value, dict):
                key = str(part)
                if key not in value:
                    for one in () if path else self.artifacts:
                        if one.codec == "file" and one.note.rpartition(":")[2] == key:
                            return Result(None, (one._replace(trail=()),)).dig(trail[1:])
                    raise Missing(
                        f"{_shown(path)} has no {key!r}, it has {', '.join(map(repr, list(value)[:12])) or 'nothing'}"
                    )
                value = value[key]
                path.append(key)
            elif isinstance(value, list) and isinstance(part, int):
                if part >= len(value):
                    raise Missing(f"{_shown(path)} has {len(value)} entries, there is none at {part}")
                value = value[part]
                path.append(part)
            else:
                kind = (
                    "an array or a file"
                    if value is None and any(one.trail == tuple(path) for one in self.artifacts)
                    else type(value).__name__
                )
                raise Missing(f"{_shown(path)} is {kind}, it has no {part!r}")
        depth = len(path)
        here = tuple(path)
        return Result(
            value, tuple(one._replace(trail=one.trail[depth:]) for one in self.artifacts if one.trail[:depth] == here)
        )


def _shown(path: Sequence[str | int]) -> str:
    return "." + ".".join(map(str, path)) if path else "the result"


def gather(results: Sequence[Result]) -> Result:
    """The results of a fan's steps as one list, in order."""
    artifacts = tuple(
        one._replace(trail=(index, *one.trail)) for index, result in enumerate(results) for one in result.artifacts
    )
    return Result([result.value for result in results], artifacts)


def dig_fan(results: Sequence[Result], trail: Path) -> Result:
    """`$fan.key`: that output of every step as a list; `$fan.3.key`: of the fourth alone. Raises Missing."""
    if trail and isinstance(trail[0], int):
        if trail[0] >= len(results):
            raise Missing(f"the result has {len(results)} entries, there is none at {trail[0]}")
        return results[trail[0]].dig(trail[1:])
    return gather([result.dig(trail) for result in results])


def put(tree: Any, trail: Path, value: Any) -> Any:
    """A JSON tree with `value` at `trail`; the given tree is left alone."""
    if not trail:
        return value
    head = trail[0]
    if isinstance(tree, list) and isinstance(head, int):
        return [put(entry, trail[1:], value) if index == head else entry for index, entry in enumerate(tree)]
    if isinstance(tree, dict):
        return {**tree, str(head): put(tree[str(head)], trail[1:], value)}
    raise AssertionError(f"BUG: no place {trail} in a {type(tree).__name__}")
