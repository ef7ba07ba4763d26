"""The parameters of a workflow: defaults, overrides typed on a command line, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from wfe.core.document import Path
from wfe.core.reference import substitute
from wfe.core.workflow import Param, Workflow
from wfe.errors import Place, Problem, nearest

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def kind_of(param: Param) -> str:
    """The type name that a parameter's values must have; "" when anything goes (null by default, no type said)."""
    if param.type:
        return param.type
    value = param.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    # 0.25 may become 1, and a threshold of 1 may become 0.5: numbers are one type unless the document says more.
    return (
        "number"
        if isinstance(value, int | float)
        else next(name for name, kinds in _TYPES.items() if isinstance(value, kinds))
    )


def taken(workflow: Workflow, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values that were given for parameters, and what is wrong with those. Texts are read by the parameter's type; other
    values must have it."""
    problems = []
    values = {}
    for name in sorted(overrides.keys() - workflow.params.keys()):
        hint = nearest(name, list(workflow.params)) or "it has no parameters"
        problems.append(
            Problem(f"workflow {workflow.name!r} has no parameter {name!r}", Place(workflow.document.file), hint)
        )
    for name, param in workflow.params.items():
        if name in overrides:
            try:
                values[name] = convert(param, overrides[name])
            except ValueError as error:
                problems.append(Problem(f"parameter {name!r}: {error}", Place("command line")))
                values[name] = param.default  # what goes by the name is not unknown
    return values, problems


def settle(workflow: Workflow, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The value of every parameter, given (`taken`) or by default, and all that is wrong with them."""
    given, problems = taken(workflow, overrides)
    values = {}
    for name, param in workflow.params.items():
        if name in given:
            values[name] = given[name]
        elif param.required:
            place = workflow.place(("workflow", "params", name))
            problems.append(Problem(f"parameter {name!r} has no value", place, f"give one: {name}=..."))
        else:
            values[name] = param.default
            if not _is(param.default, kind_of(param)) and param.default is not None:
                place = workflow.place(("workflow", "params", name, "default"))
                problems.append(Problem(f"parameter {name!r}: the default {param.default!r} is no {param.type}", place))
    return values, problems


_STAND_INS: Final[Mapping[str, Any]] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


def stand_in(param: Param) -> Any:
    """Some value of the type of a parameter that has none, so that what does not depend on it can be planned."""
    return _STAND_INS.get(param.type, "?")


def uncertain(workflow: Workflow, left: Collection[str]) -> set[Place]:
    """The places of values that hold a parameter without a value: what is said of a stand-in is said of nothing."""
    others = {name: None for name in workflow.params if name not in left}
    found: set[Place] = set()
    for node in workflow.nodes:
        values: dict[tuple[str, ...], Any] = {("inputs", name): value for name, value in node.inputs.items()}
        values.update({("foreach",): node.foreach, ("matrix",): node.matrix, ("when",): node.when})
        for path, value in values.items():
            touched: list[tuple[Path, str]] = []
            substitute(value, others, _into(touched))
            for inner, name in touched:
                if name in left:  # what is wrong is told of the whole value, or of a part of it
                    found.update(workflow.place((*node.at, *path, *inner[:depth])) for depth in range(len(inner) + 1))
    return found


def _into(touched: list[tuple[Path, str]]) -> Callable[[Path, str], None]:
    return lambda path, name: touched.append((path, name))


def convert(param: Param, given: Any) -> Any:
    """`given` as a value of the parameter. Raises ValueError with what was expected."""
    kind = kind_of(param)
    if not isinstance(given, str):
        if _is(given, kind):
            return given
        raise ValueError(f"expected {kind}, found {given!r}")
    if kind == "string":
        return given
    if kind == "boolean":
        if given.lower() in _WORDS:
            return _WORDS[given.lower()]
        raise ValueError(f"expected true or false, found {given!r}")
    try:
        value = json.loads(given)
    except ValueError:
        if not kind:
            return given
        raise ValueError(f"expected {kind}, found {given!r}") from None
    if _is(value, kind):
        return value
    raise ValueError(f"expected {kind}, found {given!r}")


def _is(value: Any, kind: str) -> bool:
    if not kind:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
