"""The recording of each run: `cache/runs/<run id>.ndjson`, written as the run goes, kept for the last runs.

Knows the folder, how a recording survives a kill, and which recordings are dropped. Does not know what they are read
for. What steps print and how far they are is not in it: the step's own log has the one, nobody asks for the other.
"""

from __future__ import annotations

from io import RawIOBase
from pathlib import Path

from wfe.core.outcome import (
    Event,
    RunFinished,
    RunStarted,
    StepFinished,
    StepLine,
    StepProgress,
    StepState,
)
from wfe.report.ndjson import line

SUFFIX = ".ndjson"
_MOST_HELD = 200  # lines: those of some 30 ms of trivial steps


class Recording:
    """A listener that records one run in `folder`, which is made when missing; then drops the oldest beyond `keep`.

    What was heard is in the kernel's hands before the run waits for anything, so what a killed run did can be read. Steps
    that are current are written with the first event of another kind, and not at all when a run found every step current,
    whose recording has its first and last line only (10,000 such lines would cost a run with nothing to do 12 ms and
    900 kB). A folder that cannot be written to ends the recording, not the run: see `error`.
    """

    def __init__(self, folder: Path, keep: int = 100) -> None:
        self._folder = folder
        self._keep = keep
        self._file: RawIOBase | None = None
        self._current: list[StepFinished] = []
        self._held: list[str] = []  # lines that are not written yet: a write for each took a tenth of a trivial step
        self.path: Path | None = None
        self.error: OSError | None = None

    def hear(self, event: Event) -> None:
        """Record the event."""
        kind = type(event)
        if kind is StepLine or kind is StepProgress:
            return
        if kind is StepFinished and event.outcome.state is StepState.CURRENT:  # type: ignore[union-attr]
            self._current.append(event)  # type: ignore[arg-type]
            return
        if isinstance(event, RunStarted):
            self._begin(event)
        if self._file is None:
            return
        if self._current:
            idle = isinstance(event, RunFinished) and len(self._current) == sum(event.counts.values())
            if not idle:
                self._held.extend(map(line, self._current))
            self._current.clear()
        self._held.append(line(event))
        if len(self._held) >= _MOST_HELD:
            self.rest()
        if isinstance(event, RunFinished):
            self.close()

    def rest(self) -> None:
        """Write what is held back."""
        if self._held and self._file is not None:
            left = memoryview("".join(self._held).encode("ascii"))
            self._held.clear()
            try:
                while left:
                    left = left[self._file.write(left) or 0 :]
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self.rest()
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.error = self.error or error

    def _begin(self, event: RunStarted) -> None:
        self.close()
        self._current.clear()
        self._held.clear()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.path = self._folder / (event.run + SUFFIX)
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            self._give_up(error)
            return
        drop(self._folder, self._keep)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        self._held.clear()
        self.close()


def recordings(folder: Path) -> list[Path]:
    """The recordings in `folder`, newest first (by time of change, then name); none when there is no folder."""
    found: list[tuple[float, str, Path]] = []
    try:
        for path in folder.iterdir():
            if path.suffix == SUFFIX:
                try:
                    found.append((path.stat().st_mtime, path.name, path))
                except FileNotFoundError:
                    continue  # another run dropped it meanwhile
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for _, _, path in sorted(found, reverse=True)]


def drop(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` recordings (at least one); returns those deleted."""
    dropped: list[Path] = []
    for path in recordings(folder)[max(keep, 1) :]:
        try:
            path.unlink()
        except OSError:
            continue  # on Windows a recording that is being read cannot go; the next run drops it
        dropped.append(path)
    return dropped
