"""A step's bindings -> the inputs of one call: what the function gets, and what the manifest says of it.

One walk makes both. Knows results and files; does not run anything and does not decide anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from wfe.core.digest import canonical
from wfe.core.digest import digest as hash_of
from wfe.core.manifest import value_text
from wfe.core.outcome import NOTHING
from wfe.core.result import Artifact, Missing, Result, dig_fan, gather, put
from wfe.core.step import Binding, Step
from wfe.engine.hole import Hole
from wfe.errors import NodeFailure
from wfe.store.stamp import Stamp

if TYPE_CHECKING:
    from wfe.core.document import Path


class Upstream(Protocol):
    """The results of the steps before."""

    def result(self, step: str) -> Result | None:
        """The result of a step, None when it was skipped. The note of a written file is "step:parameter"."""
        ...

    def fan(self, step: str) -> Sequence[str] | None:
        """The ids of a fan's steps in order, None for a step that is no fan."""
        ...

    def target(self, step: str, parameter: str) -> str:
        """The path of the file that a step wrote under the parameter."""
        ...

    def stamp(self, step: str, path: str, digest: str) -> Stamp:
        """The stamp that the file had when the step's result was put there; one that proves nothing if nobody knows."""
        ...

    def blob(self, digest: str) -> str: ...


@dataclass(slots=True)
class Inputs:
    """The inputs of a call. tree, holes: as in `Call`. texts: (parameter, text) for the manifest. files: path -> (stamp,
    digest) of every input file. published: those of them that steps before wrote; what stands there by now, nobody has looked
    at yet. skip: why the step cannot be run since something before it was skipped. said: the canonical text of plain entries of
    `tree`."""

    tree: dict[str, Any] = field(default_factory=dict)
    holes: list[Hole] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, tuple[Stamp, str]] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    skip: str = ""
    said: dict[str, str] = field(default_factory=dict)

    def reads(self, path: str, taken: tuple[Stamp, str]) -> None:
        """Count the file as read, with this stamp and digest. Raises NodeFailure for one that was counted with another content:
        as what a step wrote, and by its name alone when it was something else by then."""
        if self.files.setdefault(path, taken)[1] != taken[1]:
            raise NodeFailure(f"its input {path} was changed by somebody while this ran: run again")


Digest = Callable[[str], tuple[Stamp, str]]
"""A path -> the stamp and digest of the file. Raises OSError."""


def resolve(step: Step, upstream: Upstream, digest: Digest) -> Inputs:
    """The inputs of a step. Raises NodeFailure when an output that it refers to does not exist or a file is missing."""
    found = Inputs()
    for name, binding in sorted(step.inputs.items()):
        if binding.kind == "output":
            found.outputs[name] = binding.value
            # The function sees the name (an image writer goes by its suffix), and the directory is no business of its.
            found.texts.append((name, f"output {os.path.basename(binding.value)}"))
            found.tree[name] = None
            continue
        found_part = part(step, name, binding, upstream)
        if found_part is _LEFT_OUT:
            found.texts.append((name, "left out"))
        elif isinstance(found_part, Skipped):
            if binding.nullable:
                found.tree[name] = None
                found.texts.append((name, "null"))
            elif binding.spare:
                found.texts.append((name, "left out"))
            else:
                found.skip = f"it needs {found_part.what}, which was skipped"
                return found
        else:
            assert isinstance(found_part, Result)
            if binding.kind == "file" and not (binding.mixed and not _is_path(found_part)):
                _files(step, name, found_part, upstream, digest, found, binding.mixing or not binding.refs)
            else:
                _value(name, found_part, upstream, found)
    return found


class Skipped:
    """What a binding refers to was skipped."""

    def __init__(self, what: str) -> None:
        self.what = what


_LEFT_OUT = object()


def part(step: Step, name: str, binding: Binding, upstream: Upstream) -> Any:
    """The value of a binding as a Result; Skipped when a step it needs was; _LEFT_OUT for a late one that found nothing."""
    if not binding.refs:
        return Result(binding.value)
    if binding.late:
        return _late(step, name, binding, upstream)
    tree = binding.value
    artifacts: list[Artifact] = []
    for path, other, trail in binding.refs:
        try:
            one = output(upstream, other, trail)
        except Missing as error:
            from wfe.core.workflow import Ref

            text = f"step {step.id!r}: input {name!r} refers to {Ref(other, trail)}, but {error}"
            raise NodeFailure(text) from None
        if one is None:
            return Skipped(f"step {other!r}")
        if len(binding.refs) == 1 and not path:
            return one
        tree = put(tree, path, one.value)
        artifacts += [artifact._replace(trail=(*path, *artifact.trail)) for artifact in one.artifacts]
    return Result(tree, tuple(artifacts))


def output(upstream: Upstream, step: str, trail: Path) -> Result | None:
    """`$step.trail`, None when the step was skipped. Of a fan: that output of each of its steps. Raises Missing.

    The steps of a fan that were skipped are null in the list.
    """
    members = upstream.fan(step)
    if members is None:
        whole = upstream.result(step)
        return None if whole is None else whole.dig(trail)
    if trail and isinstance(trail[0], int):
        if trail[0] >= len(members):
            raise Missing(f"it has {len(members)} steps, there is none at {trail[0]}")
        one = upstream.result(members[trail[0]])
        return None if one is None else one.dig(trail[1:])
    results = [upstream.result(member) for member in members]
    if all(one is not None for one in results):
        return dig_fan([one for one in results if one is not None], trail)
    return gather([Result(None) if one is None else one.dig(trail) for one in results])


def _late(step: Step, name: str, binding: Binding, upstream: Upstream) -> Any:
    found: list[tuple[str, Result]] = []
    for _, other, trail in binding.refs:
        try:
            one = output(upstream, other, trail)
        except Missing:
            continue
        if one is not None:
            found.append((other, one))
    if len(found) > 1:
        both = " and ".join(f"${other}.{name}" for other, _ in found)
        raise NodeFailure(
            f"step {step.id!r}: input {name!r} could come from {both}", "bind it explicitly under 'inputs'"
        )
    if found:
        return found[0][1]
    if binding.spare:
        return _LEFT_OUT
    others = ", ".join(repr(other) for _, other, _ in binding.refs)
    raise NodeFailure(
        f"step {step.id!r}: input {name!r} is missing: none of {others} returned an output of that name",
        "bind it under 'inputs'",
    )


def _is_path(part: Result) -> bool:
    return isinstance(part.value, str) or any(one.codec == "file" and not one.trail for one in part.artifacts)


def _value(name: str, part: Result, upstream: Upstream, found: Inputs) -> None:
    """A plain value; arrays are mapped from their blobs, a written file is passed as its path."""
    tree = part.value
    paths: list[str] = []
    for one in part.artifacts:
        if one.codec == "file":
            path = _published(one, upstream, found)
            tree = put(tree, one.trail, path)
            paths.append(path)
        else:
            found.holes.append(Hole((name, *one.trail), one.codec, upstream.blob(one.digest)))
    found.tree[name] = tree
    if not part.artifacts:
        found.said[name] = part.text()
    # The function is told the path of a written file as a text, so here the name counts too.
    found.texts.append((name, " ".join([value_text(part), *map(canonical, paths)])))


def _published(one: Artifact, upstream: Upstream, found: Inputs) -> str:
    """The path of a file that a step before wrote. Its content is the one that the step gave in this run, whatever another
    run, or a person, has put there since."""
    step, _, parameter = one.note.partition(":")
    path = upstream.target(step, parameter)
    found.reads(path, (upstream.stamp(step, path, one.digest), one.digest))
    found.published.append(path)
    return path


def _files(
    step: Step, name: str, part: Result, upstream: Upstream, digest: Digest, found: Inputs, others: bool
) -> None:
    """A parameter that takes a path, or lists and dicts of them: the content counts. others: whether what is no path may be
    there: its type allows it, or the plan has checked the value."""
    written = {one.trail: one for one in part.artifacts}
    texts: list[str] = []

    def one(value: Any, trail: Path) -> Any:
        artifact = written.get(trail)
        if artifact is not None and artifact.codec == "file":
            value = _published(artifact, upstream, found)
        elif artifact is not None and others:
            found.holes.append(Hole((name, *trail), artifact.codec, upstream.blob(artifact.digest)))
            texts.append(value_text(Result(None, (artifact._replace(trail=()),))))
            return None
        elif artifact is not None:
            raise NodeFailure(f"step {step.id!r}: input {name!r} takes a path, found {artifact.kind}")
        if value is None:
            texts.append("null")
            return None
        if isinstance(value, list):
            texts.append(f"list of {len(value)}")
            return [one(entry, (*trail, index)) for index, entry in enumerate(value)]
        if isinstance(value, dict):
            texts.append(f"object with {canonical(list(value))}")
            return {key: one(entry, (*trail, key)) for key, entry in value.items()}
        if not isinstance(value, str) and others:
            texts.append(canonical(value))
            return value
        if not isinstance(value, str):
            raise NodeFailure(f"step {step.id!r}: input {name!r} takes a path, found {type(value).__name__}")
        if artifact is None:
            try:
                found.reads(value, digest(value))
            except OSError as error:
                where = error.filename if error.filename and os.path.isdir(value) else value
                raise NodeFailure(f"step {step.id!r}: input {name!r}: {where}: {error.strerror or error}") from None
        texts.append(f"file{canonical(_suffixes(value))[1:-1]} #{found.files[value][1]}")
        found.holes.append(Hole((name, *trail), "path", value))
        return None

    found.tree[name] = one(part.value, ())
    text = " ".join(texts)
    if len(texts) > 8:
        text = f"#{hash_of(text.encode('utf-8', 'surrogatepass'))} ({len(found.files)} files)"
    found.texts.append((name, text))


def _suffixes(path: str) -> str:
    """What counts of a file's name, since a reader may go by it: `.tar.gz` is not read as `.gz` is. Of a name with a dot in
    another place it is more than need be, and another result is made, but no wrong one."""
    _, dot, rest = os.path.basename(path).lstrip(".").partition(".")
    return dot + rest


def said_of(inputs: Inputs) -> str:
    """The tree of the inputs as JSON in ASCII, put together of what was written for the manifest; "" where some of it was not."""
    said = inputs.said
    if len(said) != len(inputs.tree):
        return ""
    text = ",".join(
        [f'"{name}":{value}' if name.isidentifier() else f"{canonical(name)}:{value}" for name, value in said.items()]
    )
    return f"{{{text}}}" if text.isascii() else ""


def holes_of(inputs: Inputs, staging: str, absolute: Callable[[str], str]) -> tuple[Hole, ...]:
    """The holes of a call: paths made absolute, and a place in `staging` for each file that the step is to write."""
    if not inputs.holes and not inputs.outputs:
        return ()
    holes = [hole if hole.codec != "path" else Hole(hole.trail, "path", absolute(hole.path)) for hole in inputs.holes]
    holes += [Hole((name,), "output", place) for name, place in staged(inputs, staging).items()]
    return tuple(holes)


def staged(inputs: Inputs, staging: str) -> Mapping[str, str]:
    """Parameter -> the path in `staging` where the step writes that file: a directory each, under the file's own name."""
    if not inputs.outputs:
        return NOTHING
    return {name: os.path.join(staging, name, os.path.basename(path)) for name, path in inputs.outputs.items()}
