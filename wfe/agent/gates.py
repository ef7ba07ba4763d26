"""The gates that only read a draft, cheap to dear. Each is one question with one name; none runs the draft.

Knows Python's syntax and the form of a node. Does not know models or sandboxes. A gate returns what is wrong, nothing
when it passes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from wfe.agent import header
from wfe.agent.gate import Gate, Site
from wfe.agent.imports import Imports
from wfe.agent.lint import Lint, Types
from wfe.agent.spec import Draft, NodeSpec, check_host, check_path
from wfe.agent.verdict import Verdict
from wfe.core import syntax
from wfe.core.signature import decorator_of, signature_of
from wfe.core.source import source_of

_OPTIONS = ("outputs", "dependencies", "permissions", "description", "cache", "seed")


@dataclass(frozen=True, slots=True)
class Parses:
    """Both texts are Python, of a length that a person can read."""

    name: str = "parses"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        for place, text in (("code", draft.code), ("test", draft.test)):
            try:
                syntax.module(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None) or 1
                shown = (getattr(error, "text", None) or "").strip()[:120]
                hint = "write plain Python, without ``` fences and prose" if "```" in text else ""
                return [Verdict(f"{place}:{line}", "valid Python", f"{getattr(error, 'msg', error)}: {shown!r}", hint)]
            if header.MARK in text:
                return [
                    Verdict(place, "no line that starts with " + header.MARK.strip(), "one", "leave the header to wfe")
                ]
        return []


@dataclass(frozen=True, slots=True)
class Signature:
    """One decorated function of the agreed name, parameters, types and outputs; nothing happens at import."""

    name: str = "signature"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        tree = syntax.module(draft.code)
        nodes = [
            one
            for one in ast.walk(tree)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and decorator_of(one)
        ]
        if len(nodes) != 1 or nodes[0].name != spec.name or nodes[0] not in tree.body:
            found = ", ".join(f"{one.name} (line {one.lineno})" for one in nodes) or "none"
            return [
                Verdict("code", f"exactly one function with @workflow_node, at top level, named {spec.name}", found)
            ]
        node = nodes[0]
        wrong = [
            Verdict(f"code:{line}", "a node that the engine can read", text)
            for line, _, text in signature_of(node, spec.module, tree).problems
        ]
        wrong += _parameters(node, spec) + _outputs(node, spec) + _at_import(tree)
        return wrong


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, spec: NodeSpec) -> list[Verdict]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    found = [(one.arg, _plain(one.annotation)) for one in given]
    wanted = [(one.name, _plain(syntax.expression(one.type))) for one in spec.inputs]
    place = f"code:{node.lineno}"
    if found != wanted or node.args.vararg or node.args.kwarg or node.args.defaults or any(node.args.kw_defaults):
        got = ast.unparse(node.args)
        return [
            Verdict(
                place,
                "the parameters (" + ", ".join(f"{one.name}: {one.type}" for one in spec.inputs) + ")",
                f"({got})",
            )
        ]
    if node.returns is None or not _plain(node.returns).startswith(("dict", "Dict", "Mapping")):
        return [Verdict(place, "-> dict[str, Any]", f"-> {ast.unparse(node.returns) if node.returns else '(nothing)'}")]
    return []


def _outputs(node: ast.FunctionDef | ast.AsyncFunctionDef, spec: NodeSpec) -> list[Verdict]:
    decorator = decorator_of(node)
    place = f"code:{decorator.lineno if decorator else node.lineno}"
    wanted = [(one.name, _plain(syntax.expression(one.type))) for one in spec.outputs]
    expected = "outputs={" + ", ".join(f'"{one.name}": {one.type}' for one in spec.outputs) + "}"
    if not isinstance(decorator, ast.Call):
        return [Verdict(place, f"@workflow_node({expected})", "@workflow_node without arguments")]
    found: list[tuple[object, str]] = []
    for keyword in decorator.keywords:
        if keyword.arg not in _OPTIONS:
            return [Verdict(place, "only the arguments " + ", ".join(_OPTIONS), f"{keyword.arg or '**'}=...")]
        if keyword.arg == "outputs" and isinstance(keyword.value, ast.Dict):
            pairs = zip(keyword.value.keys, keyword.value.values, strict=True)
            found = [(key.value if isinstance(key, ast.Constant) else None, _plain(value)) for key, value in pairs]
    if decorator.args or found != wanted:
        return [Verdict(place, expected, ast.unparse(decorator)[:200])]
    return []


def _at_import(tree: ast.Module) -> list[Verdict]:
    for statement in tree.body:
        quiet = isinstance(
            statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
        )
        if not quiet and not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            return [
                Verdict(
                    f"code:{statement.lineno}",
                    "no work at import: imports, definitions and constants",
                    ast.unparse(statement)[:120],
                )
            ]
    return []


def _plain(annotation: ast.expr | None) -> str:
    """An annotation as text, with `numpy.ndarray` and `pathlib.Path` under their usual names."""
    if annotation is None:
        return ""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.replace(" ", "")
    text = ast.unparse(annotation)
    for long, short in (
        ("numpy.ndarray", "np.ndarray"),
        ("pathlib.Path", "Path"),
        ("wfe.Output", "Output"),
        ("typing.Any", "Any"),
    ):
        text = text.replace(long, short)
    return text.replace(" ", "")


@dataclass(frozen=True, slots=True)
class Honest:
    """A failure is seen: no broad handler that goes on, no handler that returns a made-up result."""

    name: str = "honest"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        wrong = []
        for node in ast.walk(syntax.module(draft.code)):
            if isinstance(node, ast.ExceptHandler):
                inside = [one for statement in node.body for one in ast.walk(statement)]
                raises = any(isinstance(one, ast.Raise) for one in inside)
                if not raises and (
                    _broad(node.type) or (all(isinstance(one, ast.Pass) for one in node.body) and node.type is None)
                ):
                    wrong.append(
                        self.hidden(node.lineno, f"except {ast.unparse(node.type) if node.type else ''}".strip())
                    )
                elif not raises and any(
                    isinstance(one, ast.Return) and isinstance(one.value, ast.Dict) for one in inside
                ):
                    wrong.append(
                        self.hidden(node.lineno, "a handler that returns a result in the place of the failed one")
                    )
            elif isinstance(node, ast.Call) and _suppresses(node):
                wrong.append(self.hidden(node.lineno, ast.unparse(node)))
        return wrong

    def hidden(self, line: int, got: str) -> Verdict:
        return Verdict(
            f"code:{line}",
            "failures that reach the engine",
            got,
            "let the exception go, or catch the one type that you can mend",
        )


def _suppresses(node: ast.Call) -> bool:
    return ast.unparse(node.func).rpartition(".")[2] == "suppress" and any(_broad(one) for one in node.args)


def _broad(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    if isinstance(kind, ast.Tuple):
        return any(_broad(one) for one in kind.elts)
    return ast.unparse(kind).rpartition(".")[2] in ("Exception", "BaseException")


@dataclass(frozen=True, slots=True)
class Asks:
    """Permissions are plain and narrow: named hosts, paths inside the project."""

    name: str = "permissions"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        wrong = []
        for host in draft.permissions.network:
            if not check_host(host):
                wrong.append(
                    Verdict(
                        "code", "named hosts in permissions", repr(host), 'such as "example.org" or "*.example.org"'
                    )
                )
        for path in draft.permissions.read:
            if not check_path(path):
                wrong.append(Verdict("code", "relative paths inside the project in permissions", repr(path)))
        for number, example in enumerate(draft.examples):
            for name, value in example.items():
                stated = value.get("file", value.get("output")) if isinstance(value, dict) else None
                if stated is not None and (
                    not isinstance(stated, str) or not check_path(stated) or "/" in stated or "\\" in stated
                ):
                    wrong.append(Verdict(f"answer.examples[{number}].{name}", "a plain file name", repr(stated)))
        return wrong


@dataclass(frozen=True, slots=True)
class Compiles:
    """The catalogue reads the finished file, and the workflow around it still makes a plan."""

    name: str = "plan"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        source = source_of(draft.code, spec.module)
        if spec.name not in source.signatures:
            return [
                Verdict(
                    "code", f"a node {spec.name!r} that the catalogue finds", ", ".join(source.signatures) or "none"
                )
            ]
        return list(site.compiles(spec, draft))


STATIC: tuple[Gate, ...] = (Parses(), Signature(), Imports(), Honest(), Asks(), Lint(), Types(), Compiles())
