"""The files that a run writes about itself when asked to: JUnit, Markdown, HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wfe.core.outcome import Event, StepLine, StepProgress
from wfe.errors import EnvironmentFailure
from wfe.report.retold import Retold, retell


class Kept:
    """A listener that keeps what a report at the end needs."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def hear(self, event: Event) -> None:
        """Keep the event, unless it is one of the many that no report tells of."""
        if not isinstance(event, StepLine | StepProgress):
            self._events.append(event)

    def rest(self) -> None:
        """All is kept until the end."""

    def write(self, files: Mapping[Path, str], needs: Mapping[str, Sequence[str]]) -> None:
        """Write each file, path -> "junit", "markdown" or "page". Raises EnvironmentFailure."""
        told = retell(self._events)
        for path, kind in files.items():
            text = form(told, kind, needs)
            try:
                # A forge's summary file is shared by the steps of a job, so it is added to.
                with path.open("a" if kind == "markdown" else "w", encoding="utf-8", newline="\n") as file:
                    file.write(text)
            except OSError as error:
                raise EnvironmentFailure(f"{path} cannot be written: {error.strerror}") from error


def form(told: Retold, kind: str, needs: Mapping[str, Sequence[str]]) -> str:
    """A run as a text of the kind "junit", "markdown", "page" or "timeline"."""
    if kind == "junit":
        from wfe.report.junit import junit

        return junit(told)
    if kind == "markdown":
        from wfe.report.markdown import markdown

        return markdown(told)
    if kind == "timeline":
        from wfe.report.timeline import timeline

        return timeline(told)
    from wfe.report.page import page

    return page(told, needs)
