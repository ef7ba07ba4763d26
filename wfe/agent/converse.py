"""A conversation that drafts a workflow, shows what changed, runs, mends and undoes.

Knows the turns. Does not know terminals: whoever holds it gives the lines that were typed and writes those that come
back.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wfe.agent import prompt
from wfe.agent.author import Desk, WrittenState, put
from wfe.agent.flow import OUTLINES, Created, TryRun, complete, dump, outline_by_model, signatures
from wfe.agent.outline import Outline, document_of
from wfe.catalog import Catalogue
from wfe.errors import ExitCode, WfeError

HELP = """Say what the workflow should do, or how it should change. Or:
  /show    the document           /graph  what depends on what     /diff   the last change
  /run     write what is missing, and run it                       /mend   try again what failed
  /undo    back to the one before /name NAME  give it a name       /quit"""


@dataclass
class Conversation:
    """The state between two lines: the outlines so far, the last one current. ended: after /quit."""

    desk: Desk
    try_run: TryRun
    auto_run: bool = False
    name: str = ""
    outlines: list[Outline] = field(default_factory=list)
    last: Created | None = None
    ended: bool = False
    mine: str = ""

    def hear(self, line: str) -> Iterator[str]:
        """Answer one line that the user typed, as lines of text. An error ends the turn, not the conversation."""
        line = line.strip()
        word, _, rest = line.partition(" ")
        verbs: Mapping[str, Callable[[str], Iterator[str]]] = {
            "/help": lambda _: iter([HELP]),
            "/show": self._show,
            "/graph": self._graph,
            "/diff": self._diff,
            "/run": self._run,
            "/mend": self._run,
            "/undo": self._undo,
            "/name": self._rename,
            "/quit": self._quit,
        }
        try:
            if not line:
                return
            if word in verbs:
                yield from verbs[word](rest.strip())
            elif word.startswith("/"):
                yield f"there is no {word}; /help lists what there is"
            else:
                yield from self._say(line)
        except WfeError as error:
            yield from map(str, error.problems)

    def _say(self, words: str) -> Iterator[str]:
        known = signatures(self.desk.project)
        if self.outlines:
            messages = prompt.change_messages(self.desk.prompts, self.outlines[-1], words, known)
        else:
            messages = prompt.outline_messages(self.desk.prompts, words, known)
        outline = outline_by_model(messages, "outline", self.desk)
        name = self.name
        self.name = name or self._free(str(outline["name"]))
        self.outlines.append(outline)
        try:
            self._write(words)
        except WfeError:
            self.outlines.pop()
            self.name = name
            raise
        if len(self.outlines) > 1:
            yield from self._diff("")
        else:
            yield f"drafted workflows/{self.name}.json"
        yield from self._graph("")
        if self.auto_run:
            yield from self._run("")

    def _free(self, name: str) -> str:
        """`name`, with a number when a workflow has it: an answer must not be lost to a name that the model chose."""
        names = [name, *(f"{name[:44]}_{number}" for number in range(2, 1000))]
        return next(one for one in names if not (self.desk.project / "workflows" / f"{one}.json").exists())

    def _write(self, words: str) -> None:
        """The document and its outline. Raises WfeError when another's file, or an edit of a person, is in the way."""
        path = self._path()
        text = dump(self._document())
        if path.is_file() and path.read_text(encoding="utf-8") != self.mine:
            raise WfeError(f"workflows/{path.name} is there and not of this conversation", hint="say /name OTHER first")
        put(path, text)
        self.mine = text
        record = {"description": words, "asked": "", "outline": self.outlines[-1]}
        put(self.desk.project / OUTLINES / f"{self.name}.json", json.dumps(record, indent=2) + "\n")

    def _document(self, back: int = 1) -> dict[str, Any]:
        if len(self.outlines) < back:
            return {}
        return document_of(self.outlines[-back], Catalogue(self.desk.project))

    def _path(self) -> Path:
        return self.desk.project / "workflows" / f"{self.name}.json"

    def _show(self, _: str) -> Iterator[str]:
        yield dump(self._document()).rstrip() if self.outlines else "nothing is drafted yet"

    def _diff(self, _: str) -> Iterator[str]:
        old, new = (dump(document).splitlines() if (document := self._document(back)) else [] for back in (2, 1))
        found = list(difflib.unified_diff(old, new, "before", "now", lineterm="", n=1))
        yield from found or ["nothing has changed"]

    def _graph(self, _: str) -> Iterator[str]:
        if not self.outlines:
            yield "nothing is drafted yet"
        catalogue = Catalogue(self.desk.project)
        for node in self._document().get("nodes", []):
            state = "" if catalogue.find(node["function"]) else "  (to be written)"
            needs = f"  <- {', '.join(node['depends_on'])}" if node["depends_on"] else ""
            yield f"  {node['id']}{needs}{state}"

    def _run(self, _: str) -> Iterator[str]:
        if not self.outlines:
            yield "nothing is drafted yet"
            return
        self.last = made = complete(self._path(), self.desk, self.try_run)
        for one in made.nodes:
            if one.state is WrittenState.REJECTED:
                yield f"  {one.spec.name}: rejected by {one.gate}; /mend tries again, or say it in other words"
        if made.ran is not None:
            told = {
                ExitCode.OK: "it ran",
                ExitCode.INTERRUPTED: "the run was stopped",
                ExitCode.FAILED: "the run failed",
            }
            yield told.get(made.ran, f"the run ended with exit code {int(made.ran)}")

    def _undo(self, _: str) -> Iterator[str]:
        if len(self.outlines) < 2:
            yield "there is nothing to go back to"
            return
        last = self.outlines.pop()
        try:
            self._write("(undone)")
        except WfeError:
            self.outlines.append(last)
            raise
        yield from self._graph("")

    def _rename(self, name: str) -> Iterator[str]:
        from wfe.agent.spec import check_name

        before = self.name, self.mine
        self.name, self.mine = check_name(name, "the name of a workflow"), ""
        try:
            if self.outlines:
                self._write("(renamed)")
        except WfeError:
            self.name, self.mine = before
            raise
        yield f"the workflow is {name} now"

    def _quit(self, _: str) -> Iterator[str]:
        self.ended = True
        yield f"workflows/{self.name}.json stays" if self.outlines else "nothing was written"
