"""The gates that only read a draft, cheap to dear. Each is one question with one name; none runs the draft.

Knows Python's syntax, ruff and mypy. Does not know models or sandboxes. A gate returns what is wrong, nothing when it passes.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol

from packaging.utils import canonicalize_name

from wfe.agent import header
from wfe.agent.spec import Draft, NodeSpec, check_host, check_path
from wfe.agent.verdict import Verdict
from wfe.core.signature import decorator_of, signature_of
from wfe.core.source import source_of
from wfe.env import variants
from wfe.errors import EnvironmentFailure

_OPTIONS = ("outputs", "dependencies", "permissions", "description", "cache", "seed")
_FROM_WFE = ("workflow_node", "Output", "Skip", "log", "progress", "device")
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where drafts are judged: the project's root, a directory for tools' caches, what a plan with the draft in it says."""

    project: Path
    cache: Path
    compiles: Callable[[NodeSpec, Draft], Sequence[Verdict]] = field(default=lambda spec, draft: ())


class Gate(Protocol):
    """One question to a draft. `name` is what a header, a report and the corpus of tests call it."""

    @property
    def name(self) -> str: ...

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]: ...


@dataclass(frozen=True, slots=True)
class Parses:
    """Both texts are Python, of a length that a person can read."""

    name: str = "parses"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        for place, text in (("code", draft.code), ("test", draft.test)):
            try:
                ast.parse(text)
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
        tree = ast.parse(draft.code)
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
    wanted = [(one.name, _plain(ast.parse(one.type, mode="eval").body)) for one in spec.inputs]
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
    wanted = [(one.name, _plain(ast.parse(one.type, mode="eval").body)) for one in spec.outputs]
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
class Imports:
    """What is imported is what is declared, and it is installed; nothing of the project, nothing by name at run time."""

    name: str = "imports"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        tree = ast.parse(draft.code)
        node = next(one for one in tree.body if isinstance(one, ast.FunctionDef) and decorator_of(one))
        declared = {
            str(canonicalize_name(name))
            for name in signature_of(node, spec.module, tree).options.get("dependencies", [])
        }
        wrong: list[Verdict] = []
        used: set[str] = set()
        for line, module, names in imported(tree):
            wrong += self.judge(f"code:{line}", module, names, declared, used)
        for line, module, names in imported(ast.parse(draft.test)):
            if module != spec.module and module.partition(".")[0] != "pytest":
                wrong += self.judge(f"test:{line}", module, names, declared, set())
        if idle := declared - used:
            wrong.append(Verdict("code", "only dependencies that are imported", ", ".join(sorted(idle)), "remove them"))
        told = {canonicalize_name(name) for name in draft.dependencies}
        if told != declared and not wrong:
            shown = ", ".join(sorted(declared)) or "none"
            wrong.append(
                Verdict("answer.dependencies", f"those of the decorator: {shown}", ", ".join(sorted(told)) or "none")
            )
        return wrong

    def judge(self, place: str, module: str, names: Sequence[str], declared: set[str], used: set[str]) -> list[Verdict]:
        top = module.partition(".")[0]
        if top == "wfe":
            bad = [name for name in names if name not in _FROM_WFE] if module == "wfe" and names else [module]
            return [Verdict(place, "of wfe only " + ", ".join(_FROM_WFE), ", ".join(bad))] if bad else []
        if top in ("", "nodes"):
            return [
                Verdict(
                    place,
                    "a module that stands alone",
                    f"import of {module or 'a neighbour'}",
                    "write the function here",
                )
            ]
        if top in ("importlib", "runpy", "ctypes", "pickle", "marshal"):
            return [Verdict(place, "plain import statements and plain data", f"import of {module}")]
        if top in sys.stdlib_module_names:
            return []
        offered = distributions().get(top)
        if not offered:
            return [
                Verdict(
                    place,
                    "a module of an installed package",
                    module,
                    "use the standard library or one of: " + ", ".join(installed()),
                )
            ]
        known = {canonicalize_name(name) for name in offered}
        known |= {canonicalize_name(other) for name in known for other in variants.replaced_by(name)}
        if met := known & declared:
            used |= met
            return []
        best = min(offered)
        return [Verdict(place, f"every import declared: dependencies=[{best!r}]", f"import {module}, not declared")]


def imported(tree: ast.Module) -> list[tuple[int, str, tuple[str, ...]]]:
    """(line, module, names taken from it) of every import and every `__import__`; the module of a relative one is empty."""
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, one.name, ()) for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            found.append((node.lineno, "" if node.level else node.module or "", tuple(one.name for one in node.names)))
        elif isinstance(node, ast.Name) and node.id == "__import__":
            found.append((node.lineno, "importlib", ()))
    return sorted(found)


@cache
def distributions() -> Mapping[str, list[str]]:
    """Top-level module -> distributions that bring it, in the running environment."""
    return metadata.packages_distributions()


@cache
def installed() -> tuple[str, ...]:
    """The distributions that a generated node may use: those a person asked for by name are not told apart from theirs."""
    tools = {
        "pip",
        "setuptools",
        "wheel",
        "wfe",
        "pytest",
        "mypy",
        "ruff",
        "ollama",
        "pre-commit",
        "coverage",
        "virtualenv",
        "doit",
    }
    names = {canonicalize_name(name) for found in distributions().values() for name in found}
    return tuple(sorted(names - tools))


@dataclass(frozen=True, slots=True)
class Honest:
    """A failure is seen: no broad handler that goes on, no handler that returns a made-up result."""

    name: str = "honest"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        wrong = []
        for node in ast.walk(ast.parse(draft.code)):
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
class Lint:
    """ruff finds no error: undefined names, unused values, comparisons that cannot be, `print`, `eval`."""

    name: str = "lint"
    rules: str = "E9,F,B,PLE,S102,S307,T201"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        found = []
        for place, text, rules in (("code", draft.code, self.rules), ("test", draft.test, "E9,F821")):
            done = _tool(
                [
                    ruff(),
                    "check",
                    "--isolated",
                    "--select",
                    rules,
                    "--output-format",
                    "json",
                    "--stdin-filename",
                    "draft.py",
                    "-",
                ],
                text,
                site,
            )
            if done.returncode not in (0, 1):
                raise EnvironmentFailure(
                    f"ruff failed: {done.stderr.strip()[:500]}", hint="`ruff --version` should work"
                )
            for one in json.loads(done.stdout):
                found.append(
                    Verdict(
                        f"{place}:{one['location']['row']}",
                        "nothing that ruff objects to",
                        f"{one['code']}: {one['message']}",
                    )
                )
        return found


def polish(draft: Draft, site: Site) -> str:
    """The code with unused imports removed, imports sorted, and formatted; as it is when it is no Python."""
    fix = [
        ruff(),
        "check",
        "--isolated",
        "--fix-only",
        "--quiet",
        "--select",
        "F401,I",
        "--stdin-filename",
        "draft.py",
        "-",
    ]
    text = draft.code
    for line in (
        fix,
        [ruff(), "format", "--isolated", "--quiet", "--line-length", "120", "--stdin-filename", "draft.py", "-"],
    ):
        done = _tool(line, text, site)
        text = done.stdout if done.returncode == 0 and done.stdout.strip() else text
    return text


@dataclass(frozen=True, slots=True)
class Types:
    """mypy finds no error where it is installed; otherwise the annotations that `signature` asks for are all that is checked."""

    name: str = "types"

    def look(self, draft: Draft, spec: NodeSpec, site: Site) -> Sequence[Verdict]:
        if not self.checker():
            return []
        folder = site.cache / "types"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{spec.name}.py"
        file.write_text(draft.code, encoding="utf-8")
        line = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file=",
            "--no-site-packages",
            "--ignore-missing-imports",
            "--no-error-summary",
        ]
        line += [
            "--follow-imports=silent",
            "--hide-error-context",
            "--no-color-output",
            "--disable-error-code=var-annotated",
        ]
        line += [f"--cache-dir={folder / 'cache'}", file.name]
        done = _tool(line, "", site, folder)
        if done.returncode == 0:
            return []
        found = []
        for text in done.stdout.splitlines():
            parts = text.split(":", 3)
            if len(parts) == 4 and parts[2].strip() == "error":
                found.append(Verdict(f"code:{parts[1]}", "types that agree", parts[3].strip()))
        if not found:
            raise EnvironmentFailure(
                f"mypy failed: {(done.stderr or done.stdout).strip()[:500]}",
                hint="`python -m mypy --version` should work",
            )
        return found

    def checker(self) -> str:
        """The type checker that looks, "" for none: what a header says."""
        return f"mypy {metadata.version('mypy')}" if "mypy" in distributions() else ""


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


@cache
def ruff() -> str:
    """The path of ruff: beside this Python, or on PATH. Raises EnvironmentFailure."""
    beside = shutil.which("ruff", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("ruff")
    if found is None:
        raise EnvironmentFailure(
            "ruff is not installed, which generated code is checked with", hint="install it: `uv add 'wfe[agent]'`"
        )
    return found


def _tool(line: list[str], text: str, site: Site, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    site.cache.mkdir(parents=True, exist_ok=True)
    try:
        return subprocess.run(
            line,
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
            cwd=folder or site.cache,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailure(f"`{Path(line[0]).name}` does not run: {error}") from error
