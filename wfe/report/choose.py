"""Which listeners tell a run, given what the user asked for and where the output goes.

Knows modes, terminals and the variables that speak about them. Does not know runs. A run's listeners are closed with
`close` when it is over, however it ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from wfe.core.outcome import Listener
from wfe.errors import ExitCode, WfeError, nearest
from wfe.report.forge import forge_of
from wfe.report.lines import Lines
from wfe.report.outlet import Outlet

MODES = ("auto", "plain", "live", "json", "quiet")
AGAIN = "wfe run {workflow} {step} --inline --pdb"


def again(given: Mapping[str, str]) -> str:
    """The command shown under a failure of a run with these parameters."""
    if not given:
        return AGAIN
    import shlex  # 1 ms that few runs need

    sets = [f" --set {shlex.quote(f'{name}={value}')}" for name, value in given.items()]
    return AGAIN + "".join(sets).replace("{", "{{").replace("}", "}}")


def listeners(
    mode: str,
    stream: TextIO | None,
    environ: Mapping[str, str],
    *,
    verbose: bool = False,
    tails: bool = False,
    again: str = AGAIN,
    record: Path | None = None,
    size: Callable[[], tuple[int, int]] | None = None,
    keys: TextIO | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Listener]:
    """The listeners for a run whose output goes to `stream` (None: the process has none).

    mode: "auto" (live on a terminal that can, else plain), "plain", "live", "json" (ndjson.py) or "quiet" (failures
    only). verbose: what steps print is shown too. tails: the live display shows running steps' last lines.
    again: command shown under a failure, with `{workflow}` and `{step}`. record: folder for recordings, None for none.
    size: columns and rows of the terminal; asked from `stream` by default. keys: where the live display listens for keys.
    Raises WfeError for an unknown mode, and for "live" where it cannot be shown.
    """
    if mode not in MODES:
        raise WfeError(f"unknown output mode {mode!r}", nearest(mode, MODES), ExitCode.USAGE)
    chosen: list[Listener] = []
    if record is not None:
        # First, so that a listener after it that fails does not cost the record.
        from wfe.report.recording import Recording

        chosen.append(Recording(record))
    missing = _missing(stream, environ)
    if mode == "live" and missing:
        raise WfeError(
            f"the live display is not possible here: {missing}",
            "use --plain",
            ExitCode.USAGE,
        )
    if mode == "json":
        from wfe.report.ndjson import Json

        chosen.append(Json(Outlet(stream)))
    elif stream is not None and (mode == "live" or (mode == "auto" and not missing)):
        from wfe.report.live import Live

        options: dict[str, Any] = {"verbose": verbose, "again": again}
        colour = not environ.get("NO_COLOR")
        chosen.append(
            Live(
                stream,
                size or _size_of(stream),
                colour=colour,
                tails=tails,
                keys=keys,
                clock=clock,
                options=options,
            )
        )
    else:
        forge = forge_of(environ, clock)
        chosen.append(
            Lines(
                Outlet(stream),
                forge=forge,
                quiet=mode == "quiet",
                verbose=verbose,
                again=again,
            )
        )
    return chosen


def close(heard: Iterable[Listener]) -> None:
    """End every listener that has something to end: the region of a live display, a file, a group. Idempotent."""
    for listener in heard:
        ending = getattr(listener, "close", None)
        if ending is not None:
            ending()


def _missing(stream: TextIO | None, environ: Mapping[str, str]) -> str:
    """Why a live display cannot be shown on the stream; "" when it can."""
    if stream is None or stream.closed or not stream.isatty():
        return "the output is no terminal"
    if environ.get("TERM", "") in ("dumb", "unknown"):
        return f"TERM is {environ['TERM']}"
    if environ.get("CI"):
        return "CI is set"
    if os.name == "nt" and not _understands_sequences():
        return "this console takes no control sequences"
    if os.name != "nt" and not environ.get("TERM"):
        return "TERM is not set"
    return ""


def _size_of(stream: TextIO) -> Callable[[], tuple[int, int]]:
    def size() -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(stream.fileno())
        except OSError:
            return 80, 24
        # A pseudo-terminal that nobody sized says 0 by 0.
        return columns or 80, rows or 24

    return size


def _understands_sequences() -> bool:
    """Whether the Windows console obeys ANSI sequences; asks it to. Consoles before Windows 10 1511 do not."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - no such name on other systems, so mypy would object
    handle = kernel.GetStdHandle(-11)  # STD_OUTPUT_HANDLE
    console = ctypes.c_uint32()
    if not kernel.GetConsoleMode(handle, ctypes.byref(console)):
        return False
    return bool(kernel.SetConsoleMode(handle, console.value | 0x0004))  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
