"""wfe: declarative, build-system-style pipelines of Python functions.

The names that a node's source may use. This module imports the standard library alone and runs on Python 3.10, since an
isolated environment imports it without having one of our dependencies. `run` and its report live in the engine and are
imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PosixPath, WindowsPath
from typing import TYPE_CHECKING, Any, TypeVar, overload

__version__ = "0.1.0"
__all__ = [
    "Output",
    "Pickled",
    "Refuse",
    "Skip",
    "__version__",
    "device",
    "log",
    "progress",
    "stopping",
    "workflow_node",
]

if TYPE_CHECKING:
    from wfe.api import Report as Report
    from wfe.api import run as run
    from wfe.errors import WfeError as WfeError
    from wfe.wire.codecs import Pickled as Pickled

    Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Base = Path
else:
    _Base = WindowsPath if os.name == "nt" else PosixPath  # before 3.12, Path itself has no flavour to inherit


class Output(_Base):
    """The path of a file that a step writes: annotate a parameter with it.

    The engine passes a staging path in an existing directory; the function must create the file there. When the function
    has returned, the engine publishes the file under the path that the workflow names, atomically.
    """


class Skip(Exception):
    """Raised by a node that cannot run here for a good reason (its device is missing): `raise Skip("no CUDA device")`.

    The step counts as skipped, not failed. Of a dependant, a parameter that allows None gets None, and one with a default
    keeps it; a dependant that can do neither is skipped too.
    """


class Refuse(ValueError):
    """Raised by a node when whoever uses it has to change something: `raise Refuse("cat.txt: is no picture")`.

    The step fails, and its user sees this message alone. Any other exception is shown with its traceback.
    """


@overload
def workflow_node(name: Function) -> Function: ...
@overload
def workflow_node(name: str | None = None, **options: Any) -> Callable[[Function], Function]: ...
def workflow_node(  # type: ignore[misc]  # the second overload leaves the names to the signature below
    name: Any = None,
    *,
    outputs: Mapping[str, Any] | Sequence[str] | None = None,
    cache: str = "auto",
    seed: int | None = None,
    ttl: float | None = None,
    dependencies: Sequence[str] = (),
    environment: str | None = None,
    isolation_mode: str = "auto",
    python: str | None = None,
    device: str | None = None,
    resources: Mapping[str, Any] | None = None,
    retries: int | Mapping[str, Any] = 0,
    timeout: float | None = None,
    description: str | None = None,
    permissions: Mapping[str, Any] | None = None,
) -> Any:
    """Mark a function as a node: `@workflow_node`, `@workflow_node("shown name")` or `@workflow_node(seed=1, ...)`.

    The engine reads these arguments from the source text, so each must be a literal. At run time the decorator returns
    the function unchanged: a node can be called and tested like any function.

    name: a shown name; the function's own name by default.
    outputs: the keys of the returned dict, or a mapping of key to type; checked after each run.
    cache: "auto" (reuse results), "never" (run every time: cameras, clocks).
    seed: given to `random` and NumPy before the call, and part of the action key.
    ttl: seconds after which a result counts as stale.
    dependencies: requirements (PEP 508) of the function beyond those its imports name.
    environment, isolation_mode ("auto" | "always" | "never"), python: where it runs; see wfe/env.
    device: a declared device, part of the action key ("cuda:0", "npu").
    resources: amounts taken from named pools while it runs, `{"gpu": 1, "memory": "4GB"}`.
    retries, timeout: attempts after a failure (or an object, as in a document); seconds until the process tree is killed.
    permissions: what a generated node may reach, `{"network": ["host"], "read": ["path"]}`.
    """
    del outputs, cache, seed, ttl, dependencies, environment, isolation_mode, python, device
    del resources, retries, timeout, description, permissions

    def mark(function: Function) -> Function:
        function.__wfe_node__ = True  # type: ignore[attr-defined]
        return function

    return mark(name) if callable(name) else mark


# The worker replaces this by a function that sends the event to the engine. Outside a worker (a unit test, a notebook)
# the events of a node go nowhere.
_emit: Callable[[str, dict[str, Any]], None] | None = None
_slots: dict[str, list[int]] = {}
_stopping: Callable[[], bool] | None = None


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Tell how far the running step is: `done` of `total` (any unit), with an optional short note."""
    if _emit is not None:
        _emit("progress", {"done": done, "total": total, "note": note})


def log(message: str) -> None:
    """Show one line of text to whoever watches the run. `print` goes to the step's log; this goes to the screen too."""
    if _emit is not None:
        _emit("note", {"message": str(message)})
    else:
        print(message)


def device(pool: str = "gpu") -> int | None:
    """The index of the slot of the pool `pool` that the running step holds, or None when it holds none."""
    held = _slots.get(pool)
    return held[0] if held else None


def stopping() -> bool:
    """Whether the run was asked to end (Ctrl-C, SIGTERM): the step has five seconds then. For one that would go on until it is
    told, as a live source does: what it returns is its result, as ever. To ask takes a microsecond. Not known on Windows, with
    `--inline` and in the sandbox of unapproved code: False there."""
    return _stopping is not None and _stopping()


# `Pickled` is no engine's: it is here, and not imported above, so that a worker starts without it.
_ENGINE = {"run": "wfe.api", "Report": "wfe.api", "WfeError": "wfe.errors", "Pickled": "wfe.wire.codecs"}


def __getattr__(name: str) -> Any:
    """Import the engine's names (`wfe.run`, `wfe.Report`, `wfe.WfeError`) only when they are asked for."""
    import importlib

    if name in _ENGINE:
        return getattr(importlib.import_module(_ENGINE[name]), name)
    raise AttributeError(f"module 'wfe' has no attribute {name!r}")
