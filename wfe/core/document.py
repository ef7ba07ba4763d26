"""Text of a workflow document -> plain Python values, and the place (line, column) of each of them.

Knows JSON and YAML as notations. Does not know what a workflow is. Places are computed only when somebody asks, since a
document without an error never needs them: locating the values of 10,000 nodes costs ten times what reading them does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from wfe.errors import Place, Problem, WorkflowError

Path = tuple[str | int, ...]
"""Where in a document a value stands: keys and indexes from the top, `("nodes", 3, "inputs", "image")`."""

MAX_BYTES: Final = 64 * 1024 * 1024  # 100,000 nodes take 14 MB; a file beyond this is not a workflow
MAX_DEPTH: Final = 100


class Document:
    """A parsed document: `value` (dicts, lists, scalars) and `place(path)`.

    A path that does not exist in the document gets the place of its nearest existing ancestor, so that "this key is
    missing" points at the object that lacks it. doubts: what cannot be known of a value, such as which of two is meant
    under a key that stands twice, and where; `value` has one of them there.
    """

    def __init__(
        self,
        value: Any,
        file: str,
        locate: Callable[[], dict[Path, tuple[int, int]]],
        doubts: Sequence[tuple[Path, Problem]] = (),
    ) -> None:
        self.value = value
        self.file = file
        self.doubts = doubts
        self._locate = locate
        self._places: dict[Path, tuple[int, int]] | None = None

    def place(self, path: Path) -> Place:
        if self._places is None:
            self._places = self._locate()
        while path and path not in self._places:
            path = path[:-1]
        line, column = self._places.get(path, (1, 1))
        return Place(self.file, line, column)


def read(data: bytes, file: str) -> Document:
    """Parse `data`; YAML when the name of `file` ends in .yaml or .yml, JSON otherwise.

    Raises WorkflowError for text that is not UTF-8, not of the notation, nested deeper than MAX_DEPTH or larger than
    MAX_BYTES. A key that stands twice in one object, half a character, or a YAML value that JSON has not, is one of the
    document's doubts.
    """
    if len(data) > MAX_BYTES:
        raise _wrong(
            Place(file), f"the document has {len(data):,} bytes, the limit is {MAX_BYTES:,}", "split the workflow"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(file, before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        raise _wrong(place, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8") from None
    if not text.strip():
        return Document({}, file, lambda: {})  # to be told as one without nodes
    if file.lower().endswith((".yaml", ".yml")):
        return _read_yaml(text, file)
    return _read_json(text, file)


def _wrong(place: Place, message: str, hint: str = "") -> WorkflowError:
    return WorkflowError(Problem(message, place, hint))


# --- JSON


class _Duplicate(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _read_json(text: str, file: str) -> Document:
    doubts: list[tuple[Path, Problem]] = []
    try:
        try:
            value = json.loads(text, object_pairs_hook=_unique)
        except _Duplicate:
            value = json.loads(text)
            doubts = _duplicates(text, file)
        if _HALF.search(text):
            doubts += _halves(text, file)
    except json.JSONDecodeError as error:
        raise _wrong(
            Place(file, error.lineno, error.colno),
            f"not valid JSON: {error.msg}",
            _json_hint(text, error.pos, error.msg),
        ) from None
    except ValueError as error:  # a number of more than 4,300 digits, which Python refuses to read
        raise _wrong(Place(file, 1, 1), f"not valid JSON: {error}") from None
    except RecursionError:
        raise _wrong(Place(file, 1, 1), f"nested deeper than {MAX_DEPTH} levels", "flatten the value") from None
    document = Document(value, file, lambda: _json_places(text), doubts)
    if _too_deep(text):
        _check_depth(document)
    return document


_OPEN: Final = "the document ends here; close what is open"


def _json_hint(text: str, position: int, said: str) -> str:
    rest = text[position : position + 2]
    before = text[:position].rstrip()
    if not text[position:].strip():
        return _OPEN
    if rest[:1] in "}]" and before.endswith(","):
        return "remove the comma before it"
    if rest[:1] in "}]" and "delimiter" in said:
        return "close what is open before it"
    if rest[:1] == "," and text[position + 1 :].lstrip()[:1] in ("}", "]"):  # how Python 3.13 says the same
        return "remove this comma"
    if re.match(r"(?:None|True|False)\b", text[position:]):
        return "JSON writes null, true and false"
    if rest[:1] == "'" or rest[:1].isalpha():
        return "JSON takes double quotes"
    if rest in ("//", "/*") or rest[:1] == "#":
        return "JSON has no comments; a .yaml file may have them"
    return ""


def _too_deep(text: str) -> bool:
    # A bound that is cheap and never too low: no value nests deeper than there are opening brackets.
    return text.count("[") + text.count("{") > MAX_DEPTH


def _check_depth(document: Document) -> None:
    level: list[Any] = [document.value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _wrong(Place(document.file, 1, 1), f"nested deeper than {MAX_DEPTH} levels", "flatten the value")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def _walk_json(text: str) -> Iterator[tuple[Path, int, bool]]:
    """Yield (path, offset, is_key) of every value and every key of valid JSON text. Iterative: depth costs no stack."""
    path: list[str | int] = []
    stack: list[bool] = []  # True: an object, False: an array
    key: str | None = None
    expect_key = False
    yield_at = tuple
    for match in _TOKEN.finditer(text):
        token, offset = match.group(), match.start()
        first = token[0]
        if first == ":":
            expect_key = False
            continue
        if first == ",":
            if stack[-1]:
                path.pop()
                expect_key = True
            else:
                path[-1] = int(path[-1]) + 1
            continue
        if first in "}]":
            # An empty array has a pending index 0 on the path; an empty object has nothing.
            was_object = stack.pop()
            if not was_object or not expect_key:
                path.pop()
            expect_key = False
            continue
        if expect_key and first == '"':
            key = json.loads(token)
            path.append(key)
            yield yield_at(path), offset, True
            continue
        yield yield_at(path), offset, False
        if first == "{":
            stack.append(True)
            expect_key = True
        elif first == "[":
            stack.append(False)
            path.append(0)


def _lines(text: str) -> Callable[[int], tuple[int, int]]:
    from bisect import bisect_right

    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(offset: int) -> tuple[int, int]:
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    return at


def _json_places(text: str) -> dict[Path, tuple[int, int]]:
    at = _lines(text)
    return {path: at(offset) for path, offset, is_key in _walk_json(text) if not is_key}


def _duplicates(text: str, file: str) -> list[tuple[Path, Problem]]:
    at = _lines(text)
    first: dict[tuple[int, Path], int] = {}
    opened: dict[Path, int] = {}  # an object's path -> its own offset: the same path may stand twice after a duplicate
    doubts = []
    for path, offset, is_key in _walk_json(text):
        if not is_key:
            opened[path] = offset
            continue
        owner = (opened[path[:-1]], path)
        if owner in first:
            line, column = at(first[owner])
            doubts.append((path, _twice(path, Place(file, *at(offset)), Place(file, line, column))))
        else:
            first[owner] = offset
    return doubts


def _twice(path: Path, place: Place, first: Place) -> Problem:
    return Problem(f"key {path[-1]!r} stands twice in one object", place, f"first at {first}")


# Of a character beyond 16 bits, which JSON writes as two; alone it is no text that could be printed or put in a file.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _halves(text: str, file: str) -> list[tuple[Path, Problem]]:
    at = _lines(text)
    doubts = []
    for path, offset, _ in _walk_json(text):
        token = _TOKEN.match(text, offset)
        if token is None or not _HALF.search(token[0]):
            continue
        half = next((one for one in json.loads(token[0]) if "\ud800" <= one <= "\udfff"), "")
        if half:
            hint = "write the character itself, or both halves"
            doubts.append((path, Problem(f"'\\u{ord(half):04x}' is half a character", Place(file, *at(offset)), hint)))
    return doubts


# --- YAML


def _at(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)


# Plain scalars as YAML 1.2 has them (its core schema, 10.3.2), by what they begin with: PyYAML reads those of 1.1, where `on`
# and `no` are truth values, `010` is 8, `1:30` is 90 and `1e3` a text.
_SCALARS: Final = (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", list("-+.0123456789")),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z", list("-+.")),
)


@cache
def _loader() -> Any:
    import yaml

    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}})
    for kind, form, first in _SCALARS:
        loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(form), first)
    return loader


def _yaml_hint(text: str, mark: Any, said: str) -> str:
    lines = text.rstrip().split("\n")
    if mark is None or mark.line >= len(lines):
        return _OPEN
    line = lines[mark.line]
    if "cannot start any token" in said:
        return "indent with blanks, not with tabs" if line[mark.column :][:1] == "\t" else "put the text in quotes"
    if re.search(r"[^'\"]\$\{", line):
        return "between { } and [ ] a text with ${...} needs quotes"
    if "mapping values" in said:
        return "a colon needs a blank after it, and a text with such a colon needs quotes"
    return "look at the indentation" if "did not find expected" in said else ""


def _read_yaml(text: str, file: str) -> Document:
    import yaml

    loader = _loader()
    try:
        # Events first: they come without recursion, so that a hostile depth is met before anything recurses on it.
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _wrong(
                        _at(file, event.start_mark),
                        f"nested deeper than {MAX_DEPTH} levels",
                        "flatten the value",
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.AliasEvent):
                raise _wrong(_at(file, event.start_mark), "YAML aliases are not supported", "write the value out")
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = str(error.problem or error.context)
        if "another document" in said:
            raise _wrong(_at(file, mark), "a second document begins here", "write a workflow into each file") from None
        raise _wrong(_at(file, mark), f"not valid YAML: {said}", _yaml_hint(text, mark, said)) from None
    except yaml.YAMLError as error:
        raise _wrong(Place(file, 1, 1), f"not valid YAML: {error}") from None
    places: dict[Path, tuple[int, int]] = {}
    doubts: list[tuple[Path, Problem]] = []
    constructor = yaml.constructor.SafeConstructor()

    def build(node: Any, path: Path) -> Any:
        places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            first: dict[str, Place] = {}
            for key_node, value_node in node.value:
                place = _at(file, key_node.start_mark)
                key = key_node.value
                if not isinstance(key_node, yaml.ScalarNode):
                    doubts.append((path, Problem("a key must be a text", place)))
                    continue
                if key in found:
                    doubts.append(((*path, key), _twice((*path, key), place, first[key])))
                    continue
                first[key] = place
                found[key] = build(value_node, (*path, key))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [build(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            if node.tag == "tag:yaml.org,2002:int":
                return int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)
            value = constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError):
            # PyYAML does not expect `!!int ''`, `!!bool x` or `!!timestamp x`.
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            doubts.append(
                (path, Problem(f"{node.value!r} is no {kind}", _at(file, node.start_mark), "write it without the tag"))
            )
            return None
        # A tag may ask for a date or for bytes; a workflow holds JSON values, so the text is what was meant.
        return value if value is None or isinstance(value, str | int | float | bool) else node.value

    value = build(root, ()) if root is not None else {}  # comments alone: a document without nodes
    return Document(value, file, lambda: places, doubts)
