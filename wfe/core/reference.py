"""The two things a text in a workflow can stand for: `$step.key` (another step's output) and `${param}` (a parameter).

`$$` stands for a plain `$`, so `$${HOME}` for the text `${HOME}`: it is left as it is until all is put in, and what is put
in as data is given it too, that nobody takes a value for notation. Knows notation only; whether a step or a parameter
exists is for `plan` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from wfe.core.document import Path
from wfe.core.workflow import Ref

_REF: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_-]*)((?:\.[^.\s$]+)*)\Z")
# Of a trail. As Python writes it, so that a key of digits is found again by the same text: no 007, no superscripts.
INDEX: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z")
_PARAM: Final = re.compile(r"\$\$|\$\{([^{}]*)\}")


class NotAReference(ValueError):
    """A text starts with `$` but is neither a reference nor escaped. path: where it stands in what was looked through."""

    path: Path = ()


def ref_of(text: str) -> Ref | None:
    """The reference that `text` is; None for a text that does not start with `$`, or starts with `$$` or `${name}`, which is
    put in later where it is still there.

    A part of digits is an index: `$a.boxes.0.name` is ("boxes", 0, "name"); it serves as a key too where the value is an
    object. Raises NotAReference for anything else that starts with `$`.
    """
    if not text.startswith("$") or text.startswith("$$"):
        return None
    if text.startswith("${") and _PARAM.match(text):
        return None
    match = _REF.match(text)
    if not match:
        raise NotAReference(text)
    step, rest = match.groups()
    return Ref(step, _trail(rest))


@lru_cache(maxsize=1024)
def _trail(text: str) -> Path:
    return tuple(int(part) if INDEX.match(part) else part for part in text.split(".")[1:])


def may_stand(value: Any) -> bool:
    """Whether something in a value of the document may stand for something else."""
    return isinstance(value, list | dict) or (isinstance(value, str) and "$" in value)


def substitute(value: Any, params: Mapping[str, Any], unknown: Callable[[Path, str], None], path: Path = ()) -> Any:
    """`value` with every `${name}` replaced.

    The values of `params` are in notation themselves: see `escape`.

    A text that is nothing but `${name}` becomes the parameter's value with its type; inside a longer text it becomes
    text (numbers as JSON writes them). `unknown(path, name)` hears of names that `params` does not have.
    """
    if isinstance(value, str):
        if "${" not in value:
            return value
        whole = _PARAM.fullmatch(value)
        if whole and whole[1] is not None:
            if whole[1] in params:
                return params[whole[1]]
            unknown(path, whole[1])
            return value
        return _PARAM.sub(lambda match: _text(match, params, unknown, path), value)
    if isinstance(value, list):
        return [substitute(entry, params, unknown, (*path, index)) for index, entry in enumerate(value)]
    if isinstance(value, dict):
        return {key: substitute(entry, params, unknown, (*path, key)) for key, entry in value.items()}
    return value


def _text(match: re.Match[str], params: Mapping[str, Any], unknown: Callable[[Path, str], None], path: Path) -> str:
    name = match[1]
    if name is None:
        return match[0]  # a plain dollar, and no part of what follows
    if name not in params:
        unknown(path, name)
        return match[0]
    value = params[name]
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value)


def names_in(value: Any, spliced: bool = False) -> Iterator[str]:
    """The name of every `${name}` inside `value`; with `spliced` of those that are a part of a longer text."""
    if isinstance(value, str) and "${" in value and not (spliced and _PARAM.fullmatch(value)):
        yield from (match[1] for match in _PARAM.finditer(value) if match[1])
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from names_in(entry, spliced)


def refs_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, Ref]]:
    """Every reference inside `value` with where it stands. Raises NotAReference like `ref_of`."""
    if isinstance(value, str):
        if value[:1] == "$":
            try:
                ref = ref_of(value)
            except NotAReference as error:
                error.path = path
                raise
            if ref is not None:
                yield path, ref
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from refs_in(entry, (*path, index))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from refs_in(entry, (*path, key))


def escape(value: Any) -> Any:
    """`value`, which is data, as a document writes it: `unescape` gives it back."""
    return _replaced(value, "$", "$$")


def unescape(value: Any) -> Any:
    """`value` with each `$$` turned into `$`."""
    return _replaced(value, "$$", "$")


def _replaced(value: Any, old: str, new: str) -> Any:
    """`value` with a replacement in each of its texts."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [_replaced(entry, old, new) for entry in value]
    if isinstance(value, dict):
        return {key: _replaced(entry, old, new) for key, entry in value.items()}
    return value
