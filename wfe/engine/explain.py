"""What a run would do, step by step, without doing it: `wfe why`, `wfe run --dry-run`, `wfe list WORKFLOW`.

Asks the run itself (`Run.decide`), so that what is foretold and what is done cannot differ. A step is decided when the
results of all that it needs are known: they stand in the workspace, or the store has them. Behind a step that must run
nothing is known: its result may come out the same (early cutoff) or different, so such a step is UNKNOWN, with the
names of the steps that it waits for. Performs nothing and prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wfe.core.manifest import diff, manifest_of
from wfe.core.outcome import Reason
from wfe.core.rebuild import Verdict
from wfe.core.result import Missing
from wfe.core.step import Step
from wfe.engine import inputs as inputs_
from wfe.engine.decide import code_parts
from wfe.engine.run import EMPTY, Run
from wfe.engine.workspace import result_of
from wfe.errors import NodeFailure
from wfe.store.stamp import UNPROVEN


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of one step. word: "current", "restore", "run", "unknown", "skip" (its condition does not hold,
    or what it needs was skipped) or "fail" (its inputs cannot be put together).

    reasons: what changed. until: of an unknown step, the steps that have to run, or to put their files in place, before
    anything can be said of it.
    note: why it is skipped or fails.
    """

    step: str
    word: str
    reasons: tuple[Reason, ...] = ()
    until: tuple[str, ...] = ()
    note: str = ""

    def because(self) -> str:
        """The reasons, the steps waited for, or the note, as one text."""
        parts = [
            f"until {', '.join(self.until[:4])}" + (f" and {len(self.until) - 4} more" if len(self.until) > 4 else "")
        ]
        if not self.until:
            parts = []
        parts += [str(reason) for reason in self.reasons]
        return "; ".join([*parts, *([self.note] if self.note else [])])

    def to_json(self) -> dict[str, Any]:
        """The forecast as JSON values; empty fields are left out."""
        found: dict[str, Any] = {"step": self.step, "state": self.word}
        if self.reasons:
            found["reasons"] = [{"part": why.part, "old": why.old, "new": why.new} for why in self.reasons]
        if self.until:
            found["until"] = list(self.until)
        if self.note:
            found["note"] = self.note
        return found


def explain(run: Run, force_all: bool = False) -> list[Forecast]:
    """The forecasts of a run that was opened and not started, in the order of the plan, of the steps that were chosen. A fan
    whose items are known is told by its steps.

    The run cannot be performed afterwards: it then holds results that are not in the workspace yet.
    """
    return _Foresight(run, force_all).all()


class _Foresight:
    def __init__(self, run: Run, force_all: bool) -> None:
        self.run = run
        self.force_all = force_all
        # step -> the steps that must run before its result is known; no entry: it is known
        self.waits: dict[str, tuple[str, ...]] = {}
        self.placed: dict[
            str, str
        ] = {}  # real path of a file that would be put in place, and is not there now -> its step

    def all(self) -> list[Forecast]:
        found: list[Forecast] = []
        wanted = set(self.run.wanted)
        for name in self.run.index.ids:
            if name not in wanted:
                continue
            if name in self.run.marks and not self.force_all:
                members = self.run.members.get(name, [name])
                found.extend(Forecast(one, "current") for one in members if self.asked(name, one))
                if not members:
                    found.append(Forecast(name, "current", note=EMPTY))
                continue
            step = self.run.steps[name]
            if step.fan is None:
                found.append(self.one(step))
            else:
                found.extend(self.fan(step))
        return found

    def asked(self, fan: str, member: str) -> bool:
        """Whether a step of a fan was asked for, with the fan or by its own name."""
        return fan not in self.run.only or member in self.run.only[fan]

    def until(self, step: Step) -> tuple[str, ...]:
        waits = (other for need in step.needs for other in self.waits.get(need, ()))
        return tuple(dict.fromkeys((*waits, *self.stirred(step))))

    def stirred(self, step: Step) -> Iterator[str]:
        """The steps that would put a file into a directory that this one reads: what is in it then, only they can tell."""
        for text in step.files() if self.placed else ():
            folder = os.path.realpath(self.run.workspace.absolute(text)) + os.sep
            yield from (name for path, name in self.placed.items() if path.startswith(folder))

    def fan(self, step: Step) -> list[Forecast]:
        assert step.fan is not None
        until = self.until(step)
        if until and not step.fan.constant:
            self.waits[step.id] = until
            return [Forecast(step.id, "unknown", until=until, note="its items are not known yet")]
        try:
            members = self.run.expand(step.id)
            if step.id not in self.run.skipped:
                self.run.has_all(step.id)
        except NodeFailure as error:
            self.waits[step.id] = (step.id,)
            return [Forecast(step.id, "fail", note=str(error))]
        if step.id in self.run.skipped:
            return [Forecast(step.id, "skip", note="what it goes through was skipped")]
        members = [member for member in members if self.asked(step.id, member.id)]
        found = [self.one(member) for member in members]
        waits = tuple(dict.fromkeys(other for member in members for other in self.waits.get(member.id, ())))
        if waits:
            self.waits[step.id] = waits
        else:
            self.run.marks[step.id] = "foretold"
        return found or [Forecast(step.id, "current", note=EMPTY)]

    def one(self, step: Step) -> Forecast:
        run, name = self.run, step.id
        until = self.until(step)
        if until:
            self.waits[name] = until
            return Forecast(name, "unknown", self.already(step), until)
        pending = run.decide(name)
        if pending.failure is not None:
            self.waits[name] = (name,)
            return Forecast(name, "fail", note=pending.failure.message)
        if pending.skip:
            run.skip(name)
            return Forecast(name, "skip", note=pending.skip)
        verdict, reasons = pending.decision.verdict, pending.decision.reasons
        if self.force_all and verdict is not Verdict.RUN:
            verdict, reasons = Verdict.RUN, (Reason("you asked for it"),)
        if verdict is Verdict.RUN:
            self.waits[name] = (name,)
            return Forecast(name, "run", reasons)
        assert pending.trace is not None
        result = result_of(run.workspace, pending.trace, name)
        run.keep(name, result)
        run.marks[name] = pending.trace.mark
        if verdict is Verdict.RESTORE:
            # Its files would be put in place before anything reads them, so they count with the content to come.
            for one in result.artifacts:
                if one.codec == "file":
                    parameter = one.note.partition(":")[2]
                    path = step.targets().get(parameter)
                    if path is not None:
                        if self.differs(path, one.digest):
                            self.placed[os.path.realpath(run.workspace.absolute(path))] = name
                        run.foreseen[path] = (UNPROVEN, one.digest)
        return Forecast(name, verdict.value, reasons)

    def differs(self, path: str, digest: str) -> bool:
        try:
            return self.run.digest(path)[1] != digest
        except OSError:
            return True

    def already(self, step: Step) -> tuple[Reason, ...]:
        """What has changed for certain about a step of which not everything is known."""
        run = self.run
        row = run.row(step.id)
        before = run.workspace.traces.find(row.key) if row is not None else None
        if before is None:
            return ()
        known = {
            name: binding
            for name, binding in step.inputs.items()
            if not any(other in self.waits for _, other, _ in binding.refs)
        }
        try:
            found = inputs_.resolve(step._replace(inputs=known), run, run.digest)
        except (NodeFailure, Missing):
            return ()
        if found.skip:
            return ()
        now = manifest_of(step, found.texts, run.workflow)
        parts = {part for part, _ in now}
        unknown = {f"input '{name}'" for name in step.inputs.keys() - known.keys()}
        old = tuple((part, text) for part, text in before.manifest if part in parts or part not in unknown)
        return diff(old, now, code_parts(run, before.manifest, now))
