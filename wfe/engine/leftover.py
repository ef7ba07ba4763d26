"""What lies where a run should have written, and is not of this run: said at its end, lest it be taken for new.

It is not deleted: it is still the result of an earlier run, perhaps of other parameters, and of use to whoever made it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wfe.engine.run import Run

_NAMED: Final = 3


def tell(run: Run, names: Iterable[str]) -> None:
    """Tell which files of these steps, which failed or had no turn, are there from an earlier run."""
    paths = sorted({path for name in names if run.has(name) for path in run.step(name).targets().values()})
    old = [path for path in paths if os.path.exists(run.workspace.absolute(path))]
    if old:
        more = f" and {len(old) - _NAMED:,} more" if len(old) > _NAMED else ""
        run.note(f"not written by this run, but there from before: {', '.join(old[:_NAMED])}{more}")
