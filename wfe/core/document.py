"""Text of a workflow document -> plain Python values, and the place (line, column) of each of them.

Knows JSON and YAML as notations. Does not know what a workflow is. Places are computed only when somebody asks, since a
document without an error never needs them: locating the values of 10,000 nodes costs ten times what reading them does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from wfe.errors import Place, Problem, WorkflowError

Path = tuple[str | int, ...]
"""Where in a document a value stands: keys and indexes from the top, `("nodes", 3, "inputs", "image")`."""

MAX_BYTES: Final = 64 * 1024 * 1024  # 100,000 nodes take 14 MB; a file beyond this is not a workflow
MAX_DEPTH: Final = 100


class Document:
    """A parsed document: `value` (dicts, lists, scalars) and `place(path)`.

    A path that does not exist in the document gets the place of its nearest existing ancestor, so that "this key is
    missing" points at the object that lacks it.
    """

    def __init__(self, value: Any, file: str, locate: Callable[[], dict[Path, tuple[int, int]]]) -> None:
        self.value = value
        self.file = file
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

    Raises WorkflowError for text that is not UTF-8, not of the notation, nested deeper than MAX_DEPTH, larger than
    MAX_BYTES, or with a key twice in one object.
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
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise _wrong(
            Place(file, error.lineno, error.colno), f"not valid JSON: {error.msg}", _json_hint(text, error.pos)
        ) from None
    except ValueError as error:  # a number of more than 4,300 digits, which Python refuses to read
        raise _wrong(Place(file, 1, 1), f"not valid JSON: {error}") from None
    except _Duplicate:
        raise WorkflowError(_duplicates(text, file)) from None
    except RecursionError:
        raise _wrong(Place(file, 1, 1), f"nested deeper than {MAX_DEPTH} levels", "flatten the value") from None
    document = Document(value, file, lambda: _json_places(text))
    if _too_deep(text):
        _check_depth(document)
    return document


def _json_hint(text: str, position: int) -> str:
    rest = text[position : position + 2]
    before = text[:position].rstrip()
    if rest[:1] in "}]" and before.endswith(","):
        return "remove the comma before it"
    if rest[:1] == "'":
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


def _duplicates(text: str, file: str) -> list[Problem]:
    at = _lines(text)
    first: dict[tuple[int, Path], int] = {}
    opened: dict[Path, int] = {}  # an object's path -> its own offset: the same path may stand twice after a duplicate
    problems = []
    for path, offset, is_key in _walk_json(text):
        if not is_key:
            opened[path] = offset
            continue
        owner = (opened[path[:-1]], path)
        if owner in first:
            line, column = at(first[owner])
            problems.append(
                Problem(
                    f"key {path[-1]!r} stands twice in one object",
                    Place(file, *at(offset)),
                    f"first at {file}:{line}:{column}",
                )
            )
        else:
            first[owner] = offset
    return problems


# --- YAML


def _at(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)


def _read_yaml(text: str, file: str) -> Document:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
        place = _at(file, mark)
        raise _wrong(place, f"not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _wrong(Place(file, 1, 1), f"not valid YAML: {error}") from None
    places: dict[Path, tuple[int, int]] = {}
    problems: list[Problem] = []
    constructor = yaml.constructor.SafeConstructor()

    def build(node: Any, path: Path) -> Any:
        places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            lines: dict[str, Any] = {}
            for key_node, value_node in node.value:
                mark = key_node.start_mark
                place = Place(file, mark.line + 1, mark.column + 1)
                key = key_node.value
                if not isinstance(key_node, yaml.ScalarNode):
                    problems.append(Problem("a key must be a text", place))
                    continue
                if key in found:
                    problems.append(
                        Problem(
                            f"key {key!r} stands twice in one object",
                            place,
                            f"first at {file}:{lines[key].line + 1}:{lines[key].column + 1}",
                        )
                    )
                    continue
                lines[key] = mark
                found[key] = build(value_node, (*path, key))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [build(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            value = constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
            # PyYAML does not expect `!!int ''`, `!!bool x` or `!!timestamp x`.
            line, column = places[path]
            problems.append(Problem(f"not a JSON value: {error}", Place(file, line, column)))
            return None
        # YAML reads 2024-01-01 as a date; a workflow holds JSON values, so the text is what was meant.
        return value if value is None or isinstance(value, str | int | float | bool) else node.value

    value = build(root, ()) if root is not None else None
    if problems:
        raise WorkflowError(problems)
    return Document(value, file, lambda: places)
