"""How steps are run. The package can be called: `wfe.run("x")` runs a workflow (see `wfe.api`).

`wfe.run` is a public function and this package has its name, and Python puts a package into its parent under its own
name as soon as anything of it is imported. So that the call works before and after that, the module is callable.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *words: Any, **named: Any) -> Any:
        return _function()(*words, **named)

    @property
    def __signature__(self) -> Any:
        import inspect  # 10 ms, and nobody asks in a run

        return inspect.signature(_function())


def _function() -> Any:
    # By name: the layer above must not be an import of this one.
    return importlib.import_module("wfe.api").run


sys.modules[__name__].__class__ = _Callable
