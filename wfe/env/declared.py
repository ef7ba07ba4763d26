"""Environments that a project declares in a file of its own, which a workflow names (`"environments":
"environments.json"`).

The form is `environments.schema.json` beside this module:

    {"directml-env": {"requirements": ["onnxruntime-directml"], "python": ">=3.12", "isolation_mode": "always"}}

Knows this form and finds all that is wrong in a file at once. Does not know which nodes there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from wfe.core.requirement import python_specifier, requirement
from wfe.env.need import Isolation, Need
from wfe.errors import EnvironmentFailure, Place, Problem, WorkflowError, nearest

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared environment. `isolation` is None where the file leaves it to the nodes."""

    name: str
    requirements: tuple[str, ...] = ()
    python: str | None = None
    isolation: Isolation | None = None
    exclude: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    description: str = ""
    place: Place = field(default_factory=Place)


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file."""
    text = files("wfe.env").joinpath("environments.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def read(path: Path, shown: str | None = None) -> dict[str, Declared]:
    """Read and check an environments file. `shown`: its name in messages, as the user wrote it.

    Raises EnvironmentFailure when it cannot be read and WorkflowError, with every problem, when its content is wrong.
    """
    name = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = 'create it, or take "environments" out of the workflow'
        raise WorkflowError(Problem("there is no such environments file", Place(name), hint)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFailure(Problem(f"cannot read the environments file: {error}", Place(name))) from error
    return parse(text, name)


def parse(text: str, name: str) -> dict[str, Declared]:
    """Parse the text of an environments file called `name`. Raises WorkflowError with every problem."""
    from jsonschema import Draft202012Validator  # costs 0.14 s, and most projects have no such file

    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return dict(pairs)

    try:
        document = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise WorkflowError(Problem(f"not JSON: {error.msg}", Place(name, error.lineno, error.colno))) from None
    problems = [Problem(f"the key {key!r} stands twice in one object", Place(name)) for key in twice]
    found = sorted(Draft202012Validator(schema()).iter_errors(document), key=lambda error: error.json_path)
    problems += [one for error in found for one in _tell(error, name)]
    if not problems:
        problems = _semantic(document, name)
    if problems:
        raise WorkflowError(problems)
    return {key: _declared(key, value, name) for key, value in document.items() if key != "$schema"}


def apply(needs: Iterable[Need], declared: Mapping[str, Declared]) -> list[Need]:
    """The needs, with each node that a declared environment lists made a member of it.

    Raises WorkflowError where a node's source names one environment and the file another, or two list one node.
    """
    homes: dict[str, str] = {}
    problems = []
    for one in declared.values():
        for node in one.nodes:
            if node in homes:
                fact = f"node {node!r} is listed under {homes[node]!r} and under {one.name!r}"
                problems.append(Problem(fact, one.place, "list it once"))
            homes.setdefault(node, one.name)
    result = []
    for need in needs:
        home = homes.get(need.node)
        if home and need.environment and need.environment != home:
            fact = f"node {need.node!r} says environment={need.environment!r}, "
            fact += f"but {declared[home].place} lists it under {home!r}"
            problems.append(Problem(fact, need.place, "take one of the two away"))
        result.append(replace(need, environment=home) if home and not need.environment else need)
    if problems:
        raise WorkflowError(problems)
    return result


def _tell(error: ValidationError, name: str) -> list[Problem]:
    where = error.json_path
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        if not error.absolute_path:
            allowed = "a name starts with a letter or a digit and goes on with letters, digits, '.', '_' or '-'"
            bad = [key for key in error.instance if f"{key!r}" in error.message]
            return [Problem(f"$: {key!r} is not a name for an environment", Place(name), allowed) for key in bad]
        known = sorted(error.schema["properties"]) if isinstance(error.schema, Mapping) else []
        extra = [key for key in error.instance if key not in known]
        return [Problem(f"{where}: unknown key {key!r}", Place(name), nearest(key, known)) for key in extra]
    return [Problem(f"{where}: {error.message}", Place(name))]


def _semantic(document: Mapping[str, Any], name: str) -> list[Problem]:
    problems = []
    for key, value in document.items():
        if key == "$schema":
            continue
        for field_ in ("requirements", "dependencies"):
            for at, text in enumerate(value.get(field_, ())):
                try:
                    requirement(text)
                except ValueError as error:
                    problems.append(Problem(f"$.{key}.{field_}[{at}]: {error}", Place(name)))
        for at, text in enumerate(value.get("exclude", ())):
            try:
                plain = str(Requirement(text)) == Requirement(text).name
            except InvalidRequirement:
                plain = False
            if not plain:
                problems.append(
                    Problem(f"$.{key}.exclude[{at}]: {text!r} is not the bare name of a distribution", Place(name))
                )
        if "python" in value:
            try:
                python_specifier(value["python"])
            except ValueError as error:
                problems.append(Problem(f"$.{key}.python: {error}", Place(name)))
    return problems


def _declared(key: str, value: Mapping[str, Any], name: str) -> Declared:
    mode = value.get("isolation_mode")
    return Declared(
        name=key,
        requirements=(*value.get("requirements", ()), *value.get("dependencies", ())),
        python=value.get("python"),
        isolation=Isolation(mode) if mode else None,
        exclude=tuple(value.get("exclude", ())),
        nodes=tuple(value.get("nodes", ())),
        description=value.get("description", ""),
        place=Place(name),
    )
