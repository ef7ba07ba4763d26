"""The node functions of a project, read from `nodes/**/*.py` as text.

Never imports a node: a broken or heavy file that a workflow does not use costs nothing and breaks nothing. Knows which
files it read and which names it looked for in vain, so that a plan made from them can be recognised as still good.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wfe.core.change import Touched
from wfe.core.digest import digest
from wfe.core.planner import Code
from wfe.core.reach import reach
from wfe.core.signature import Signature
from wfe.core.source import Source, Symbol, alias_of, source_of
from wfe.core.walk import Reach
from wfe.errors import Place, Problem, WorkflowError

NODES: Final = "nodes"
_SUFFIXES: Final = (*importlib.machinery.EXTENSION_SUFFIXES, ".py")
# `wfe` is the engine, even in a project that has a folder of that name (the engine's own).
_NOT_LOCAL: Final = frozenset({"wfe", "doit", *sys.builtin_module_names})


class Catalogue:
    """The nodes under `root`/nodes, and the project's own modules that they reach."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read: dict[str, bytes] = {}  # path relative to the root -> content
        self.absent: set[str] = set()  # paths looked for in vain: a file there would change what a name means
        self.spaces: set[str] = set()  # folders that are packages without an __init__.py; nothing in them need be read
        self.listed = False  # whether the whole of nodes/ was listed
        self._sources: dict[str, Source | None] = {}
        self._elsewhere: dict[str, bool] = {}
        self._parsing: set[str] = set()
        self._asked: set[tuple[str, str]] = set()
        self._reaches: dict[str, Reach] = {}
        self._touched: Touched = {}

    # --- modules

    def load(self, module: str) -> Source | None:
        """The source of a module of the project, None for one that is not its own. Raises WorkflowError for bad text."""
        if module not in self._sources:
            self._sources[module] = self._load(module)
        return self._sources[module]

    def _load(self, module: str) -> Source | None:
        top = module.partition(".")[0]
        if not module or top in _NOT_LOCAL or not all(part.isidentifier() for part in module.split(".")):
            return None
        base = self.root.joinpath(*module.split("."))
        folder = base.is_dir()
        if not folder:
            self.absent.add(base.relative_to(self.root).as_posix())
        # In the order in which Python looks: a compiled module hides the source beside it.
        names = [f"{base}/__init__{suffix}" for suffix in _SUFFIXES] if folder else []
        for name in (*names, *(f"{base}{suffix}" for suffix in _SUFFIXES)):
            path = Path(name)
            if path.is_file():
                return self.parse(path, module, path.name.startswith("__init__."))
            self.absent.add(path.relative_to(self.root).as_posix())
        # A folder without __init__.py is a namespace package, but only where no installed package has its name.
        if base.is_dir() and (top == NODES or "." in module or not _installed(top)):
            self.spaces.add(base.relative_to(self.root).as_posix())
            return Source(module)
        return None

    def parse(self, path: Path, module: str, package: bool = False) -> Source:
        relative = path.relative_to(self.root).as_posix()
        try:
            data = path.read_bytes()
            self.read[relative] = data
            if path.suffix != ".py":
                return Source(module, effects=Symbol(digest(data)))
            self._parsing.add(module)
            return source_of(_text(data), module, package, self.alias)
        except SyntaxError as error:
            place = Place(relative, error.lineno or 1, error.offset or 1)
            raise WorkflowError(Problem(f"not valid Python: {error.msg}", place)) from None
        except UnicodeDecodeError as error:
            raise WorkflowError(
                Problem(f"not {error.encoding.upper()}: byte 0x{error.object[error.start]:02x}", Place(relative, 1, 1))
            ) from None
        except RecursionError:
            raise WorkflowError(Problem("nested too deeply to be read", Place(relative, 1, 1))) from None
        except (ValueError, LookupError) as error:
            raise WorkflowError(Problem(f"not valid Python: {error}", Place(relative, 1, 1))) from None
        except OSError as error:
            raise WorkflowError(Problem(f"cannot be read: {error.strerror}", Place(relative))) from None
        finally:
            self._parsing.discard(module)

    def alias(self, module: str, name: str) -> ast.expr | None:
        """The annotation that a name of one of the project's modules stands for; None when it is none, or its module cannot
        be read (that is told when it is needed) or asks for this very name."""
        if module in self._parsing or (module, name) in self._asked:
            return None
        self._asked.add((module, name))
        try:
            source = self.load(module)
            return None if source is None else alias_of(source, name, self.alias)
        except WorkflowError:
            return None
        finally:
            self._asked.discard((module, name))

    def modules(self) -> list[str]:
        """The dotted names of all files under nodes/."""
        self.listed = True
        found = []
        for path in sorted((self.root / NODES).rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            if all(part.isidentifier() for part in parts) and "__pycache__" not in parts:
                found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        return found

    # --- nodes

    def find(self, function: str) -> Signature | None:
        """The node that a document names: `vision.detect.detect`, or the end of such a name where only one node has it.

        Raises WorkflowError for a file that cannot be read as Python, and for an ambiguous name.
        """
        name = function.removeprefix(f"{NODES}.")
        module, _, last = name.rpartition(".")
        if module:
            source = self.load(f"{NODES}.{module}")
            if source is not None and last in source.signatures:
                return source.signatures[last]
        matches = [one for one in self.names() if one == name or one.endswith(f".{name}")]
        if len(matches) > 1:
            raise WorkflowError(f"function {function!r} is ambiguous: {', '.join(matches)}", "name its module too")
        if not matches:
            return None
        module, _, last = matches[0].rpartition(".")
        source = self.load(f"{NODES}.{module}")
        return source.signatures[last] if source else None

    def names(self) -> Sequence[str]:
        """The names of all nodes, without `nodes.`. A file that is not valid Python has none (`all` says so)."""
        return [signature.function.removeprefix(f"{NODES}.") for signature in self.all()[0]]

    def all(self) -> tuple[list[Signature], list[Problem]]:
        """Every node of the project, and what keeps files from being read."""
        found: list[Signature] = []
        problems: list[Problem] = []
        for module in self.modules():
            try:
                source = self.load(module)
            except WorkflowError as error:
                problems.extend(error.problems)
                continue
            if source is not None:
                found.extend(source.signatures.values())
        return found, problems

    def code(self, signature: Signature) -> Code:
        """What the function reaches."""
        found = self.reach(signature)
        files = [path for path in self.read if _module(path) in found.modules]
        packages = frozenset(found.packages - sys.stdlib_module_names - _NOT_LOCAL)
        lacking = sorted(path for module in found.lacking if self._nowhere(module) for path in _places(module))
        return Code(found.digest, tuple(sorted(files)), packages, frozenset(self.absent), tuple(lacking))

    def _nowhere(self, module: str) -> bool:
        """Whether a module that the project does not have is not a third party's either."""
        top = module.partition(".")[0]
        if top not in self._elsewhere:
            known = top in sys.stdlib_module_names or top in _NOT_LOCAL
            self._elsewhere[top] = known or (self.load(top) is None and _installed(top))
        return not self._elsewhere[top]

    def reach(self, signature: Signature) -> Reach:
        if signature.function not in self._reaches:
            self._reaches[signature.function] = reach(signature.module, signature.name, self.load, self._touched)
        return self._reaches[signature.function]

    def place(self, signature: Signature) -> Place:
        base = self.root.joinpath(*signature.module.split("."))
        path = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        return Place(path.relative_to(self.root).as_posix(), signature.line, signature.column)


def _module(path: str) -> str:
    return path.partition(".")[0].removesuffix("/__init__").replace("/", ".")


def _places(module: str) -> tuple[str, ...]:
    """Where a module of this name would be."""
    base = module.replace(".", "/")
    return (base, *(f"{base}{suffix}" for suffix in _SUFFIXES))


def _text(data: bytes) -> str:
    """The text of a Python file, in the encoding that its first two lines may name. Raises SyntaxError for an unknown one."""
    lines = data.split(b"\n", 2)[:2]
    named = any(b"coding" in line for line in lines)
    return data.decode(tokenize.detect_encoding(iter(lines).__next__)[0] if named else "utf-8-sig")


def _installed(top: str) -> bool:
    try:
        spec = importlib.machinery.PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
