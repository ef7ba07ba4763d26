"""The marks that a forge's job log understands: folded groups and errors at a place in a file.

Knows GitHub Actions' workflow commands and GitLab CI's sections, and how to keep text from a node from being taken for
one. Does not know steps or streams.
Sources: docs.github.com "Workflow commands for GitHub Actions"; docs.gitlab.com "Custom collapsible sections".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wfe.errors import Place


class Forge:
    """No forge: every mark is an empty text."""

    name = ""

    def opening(self, title: str) -> str:
        """The line that opens a folded group."""
        return ""

    def closing(self) -> str:
        """The line that closes it."""
        return ""

    def error(self, title: str, message: str, place: Place) -> str:
        """A line that the forge shows beside the file at `place`."""
        return ""

    def quoted(self, text: str) -> str:
        """`text` (one line, written by a node) so that the forge does not obey it."""
        return text


class GitHub(Forge):
    """GitHub Actions; Gitea and Forgejo run the same commands."""

    name = "github"

    def opening(self, title: str) -> str:
        return f"::group::{_escaped(title)}\n"

    def closing(self) -> str:
        return "::endgroup::\n"

    def error(self, title: str, message: str, place: Place) -> str:
        properties = [f"title={_property(title)}"]
        if place.file:
            properties.insert(0, f"file={_property(place.file)}")
            if place.line:
                properties.insert(1, f"line={place.line}")
        return f"::error {','.join(properties)}::{_escaped(message)}".replace("##[", "## [") + "\n"

    def quoted(self, text: str) -> str:
        # The runner trims a line before it looks for `::`, and finds the older `##[` anywhere in it.
        text = text.replace("##[", "## [")
        bare = text.lstrip()
        return text[: len(text) - len(bare)] + ": :" + bare[2:] if bare.startswith("::") else text


class GitLab(Forge):
    """GitLab CI."""

    name = "gitlab"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sections = 0

    def opening(self, title: str) -> str:
        self._sections += 1
        return f"\x1b[0Ksection_start:{int(self._clock())}:wfe_{self._sections}[collapsed=true]\r\x1b[0K{title}\n"

    def closing(self) -> str:
        return f"\x1b[0Ksection_end:{int(self._clock())}:wfe_{self._sections}\r\x1b[0K\n"


def forge_of(environ: Mapping[str, str], clock: Callable[[], float]) -> Forge:
    """The forge whose job runs this process, from the variables that it sets; `Forge()` for none."""
    if environ.get("GITHUB_ACTIONS") == "true":
        return GitHub()
    if environ.get("GITLAB_CI") == "true":
        return GitLab(clock)
    return Forge()


def place_of(traceback: str) -> Place:
    """The file and line of the innermost frame of a formatted traceback, or an empty Place."""
    import re

    found = re.findall(r'^\s*File "([^"\n]+)", line (\d+)', traceback, re.MULTILINE)
    return Place(found[-1][0], int(found[-1][1])) if found else Place()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
