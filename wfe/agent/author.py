"""Writes one node: draft -> check -> try -> repair, until a draft passes every gate or going on is useless.

Knows the order of the gates, what is kept and what is never overwritten. Does not know providers, workflows or doit. A
stop at any moment leaves either the old file or the whole new one.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from wfe.agent import example, gates, header, prompt, weights
from wfe.agent.events import Answered, Asked, GivenUp, Judged, Kept, Said, Tell, silent
from wfe.agent.gate import Site
from wfe.agent.imports import installed
from wfe.agent.lint import Types, polish
from wfe.agent.model import Message, Model, read
from wfe.agent.prompt import Prompts
from wfe.agent.spec import Draft, NodeSpec, Permissions
from wfe.agent.tries import Bench, attempt
from wfe.agent.verdict import Unusable, Verdict
from wfe.core import syntax
from wfe.core.signature import decorator_of, signature_of
from wfe.errors import WorkflowError

MAX_REPAIRS = 3
RUN = "the run of the whole workflow"
TRIED_GATES = ("runs", "tested", "proof")
ORDER = ("answer", *(gate.name for gate in gates.STATIC), *TRIED_GATES)
Grant = Callable[[NodeSpec, Permissions], Permissions]
"""Asks a person what of the permissions that a draft asks for it gets while it is tried."""


class WrittenState(Enum):
    """What became of the wish for a node."""

    CURRENT = "current"  # the file answers this very request, or a person wrote it; the model was not asked
    KEPT = "kept"  # a draft passed every gate and is the node now
    BESIDE = "beside"  # it passed, but a person has edited the node: the draft lies beside it
    REJECTED = "rejected"  # no draft passed; the best one lies beside the node's place with its report


@dataclass(frozen=True, slots=True)
class Written:
    """The end of one wish. path: of the node, the draft beside it, or the rejected one. asked: how often the model
    was.
    """

    spec: NodeSpec
    state: WrittenState
    path: Path
    asked: int = 0
    gate: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Desk:
    """What writing needs: a model, the prompts, where drafts are judged and tried, who is told and who is asked."""

    model: Model
    prompts: Prompts
    site: Site
    bench: Bench
    tell: Tell = silent
    grant: Grant = field(default=lambda spec, permissions: Permissions())

    @property
    def project(self) -> Path:
        return self.site.project

    def ask(self, subject: str, messages: Sequence[Message], schema: Mapping[str, Any]) -> str:
        """As Model.ask; what the server says of the model's weights is noted on the way."""
        record = weights.changed(self.project, self.model.name, self.model.digest())
        if record is not None:
            put(self.project / weights.RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")
        try:
            return self.model.ask(subject, messages, schema, self.tell)
        finally:
            self.tell(Answered(subject))


def request(spec: NodeSpec, desk: Desk, shown: example.Example | None = None) -> header.Origin:
    """What a file for `spec` would say of its origin, as far as it is known without asking the model.

    shown: the example in the question, None for the nearest one.
    """
    shown = shown or example.nearest(spec, desk.project, desk.prompts.texts["example.py"])
    return header.Origin(
        model=desk.model.name,
        weights=weights.last(desk.project, desk.model.name),
        spec=spec.digest,
        prompts=example.prompts_digest(desk.prompts.digest, shown),
        seed=desk.model.seed,
        example=shown.module,
    )


def current(spec: NodeSpec, desk: Desk) -> Path | None:
    """The file that answers this request already, None when there is none. Never asks the model."""
    path = target(desk.project, spec)
    packaged = desk.prompts.texts["example.py"]
    for candidate in (path, _with(path, ".draft")):
        if candidate.is_file():
            found = header.read(candidate.read_text(encoding="utf-8", errors="replace"))
            if found is None:
                return candidate
            # The one that it was shown, while that is there: a nearer one that came later is no reason to ask again.
            shown = example.named(found.origin.example, desk.project, packaged)
            if found.origin.same_request(request(spec, desk, shown)):
                return candidate
    return None


def target(project: Path, spec: NodeSpec) -> Path:
    """Where the node goes. Raises WorkflowError when a link would lead that out of the project's nodes."""
    path = project / spec.path
    home = project.resolve() / "nodes"
    if not path.resolve().is_relative_to(home):
        raise WorkflowError(f"{spec.path} leads out of {home}", hint="replace the link by a directory")
    return path


def write_node(spec: NodeSpec, desk: Desk, neighbours: Sequence[str] = ()) -> Written:
    """Write the node `spec` unless it is there. Raises ModelFailure, EnvironmentFailure; a bad draft is no
    exception.
    """
    if (path := current(spec, desk)) is not None:
        return Written(spec, WrittenState.CURRENT, path)
    return _write(spec, desk, neighbours)


def mend_node(spec: NodeSpec, desk: Desk, wrong: Sequence[Verdict], neighbours: Sequence[str] = ()) -> Written:
    """Write the node `spec` again, which is there and failed in a run as `wrong` says. It stays unless a draft passes
    every gate. Raises as `write_node`; WorkflowError for a node that a person wrote or edited.
    """
    path = target(desk.project, spec)
    found = header.read(path.read_text(encoding="utf-8", errors="replace"))
    if found is None or found.edited:
        raise WorkflowError(f"{spec.path} is a person's own", hint="mend it by hand")
    test = _with(path, ".test")
    told = {"name": spec.name, "code": found.body, "test": test.read_text(encoding="utf-8") if test.is_file() else ""}
    return _write(spec, desk, neighbours, (json.dumps(told), tuple(wrong)))


def _write(
    spec: NodeSpec, desk: Desk, neighbours: Sequence[str], failed: tuple[str, tuple[Verdict, ...]] | None = None
) -> Written:
    """Ask until a draft passes. failed: the answer that passed before, and what went wrong with it in a run."""
    schema = prompt.node_schema(spec)
    shown = example.nearest(spec, desk.project, desk.prompts.texts["example.py"])
    asked = prompt.node_messages(desk.prompts, spec, installed(), neighbours, shown.text)
    messages: Sequence[Message] = asked
    best: tuple[int, Draft | None, str, tuple[Verdict, ...]] = (-1, None, "answer", ())
    seen: set[tuple[str, tuple[Verdict, ...]]] = set()
    number = 0
    if failed is not None:
        messages = prompt.repair_messages(asked, failed[0], RUN, failed[1], desk.prompts.texts["repair"])
    for number in range(1, MAX_REPAIRS + (2 if failed is None else 1)):
        desk.tell(Asked(spec.name, number))
        text = ""
        draft: Draft | None = None
        try:
            text = desk.ask(spec.name, messages, schema)
            draft = draft_of(read(text, schema), desk.site)
            gate, verdicts, passed = judge(draft, spec, desk)
        except Unusable as unusable:
            gate, verdicts, passed, text = "answer", unusable.verdicts, (), unusable.text or text
            desk.tell(Judged(spec.name, gate, str(verdicts[0]) if verdicts else "unusable"))
        if draft is not None and not gate:
            return _keep(spec, draft, passed, desk, number, shown)
        if ORDER.index(gate) >= best[0]:
            best = (ORDER.index(gate), draft or best[1], gate, verdicts)
        if (gate, verdicts) in seen:
            desk.tell(Said(f"{spec.name}: the same error came back, so no further try"))
            break
        seen.add((gate, verdicts))
        messages = prompt.repair_messages(asked, text, gate, verdicts, desk.prompts.texts["repair"])
    return _reject(spec, best[1], best[2], best[3], desk, number)


def draft_of(value: dict[str, Any], site: Site) -> Draft:
    """A draft from a valid answer: its code polished, its permissions read from its decorator."""
    draft = Draft(
        code=value["code"].replace("\r\n", "\n"),
        test=value["test"].replace("\r\n", "\n"),
        examples=tuple(value["examples"]),
        dependencies=tuple(value["dependencies"]),
    )
    draft = replace(draft, code=polish(draft, site))
    return replace(draft, permissions=permissions_of(draft.code))


def permissions_of(code: str) -> Permissions:
    """What the decorator in `code` asks for; nothing for code that cannot be read. Anything odd stays, for a gate to
    refuse.
    """
    try:
        tree = syntax.module(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Permissions()
    for one in tree.body:
        if isinstance(one, ast.FunctionDef) and decorator_of(one):
            told = signature_of(one, "draft", tree).options.get("permissions", {})
            lists = {key: value if isinstance(value, list | tuple) else [value] for key, value in told.items()}
            extra = [f"{key}: {value}" for key, value in told.items() if key not in ("network", "read")]
            network = [*lists.get("network", []), *extra]
            return Permissions(tuple(map(str, network)), tuple(map(str, lists.get("read", []))))
    return Permissions()


def judge(draft: Draft, spec: NodeSpec, desk: Desk) -> tuple[str, tuple[Verdict, ...], tuple[str, ...]]:
    """(the gate that refuses, what is wrong, the gates passed so far); the gate is empty when all pass."""
    passed: list[str] = []
    for gate in gates.STATIC:
        start = time.monotonic()
        wrong = tuple(gate.look(draft, spec, desk.site))
        desk.tell(Judged(spec.name, gate.name, str(wrong[0]) if wrong else "", time.monotonic() - start))
        if wrong:
            return gate.name, wrong[:8], tuple(passed)
        passed.append(f"types ({gate.checker() or 'annotations'})" if isinstance(gate, Types) else gate.name)
    start = time.monotonic()
    bench = replace(desk.bench, allowed=_allowed(draft, spec, desk))
    tried = attempt(draft, spec, bench)
    desk.tell(
        Judged(
            spec.name,
            tried.gate or TRIED_GATES[-1],
            str(tried.verdicts[0]) if tried.verdicts else "",
            time.monotonic() - start,
        )
    )
    if not tried.passed:
        return tried.gate, tried.verdicts, tuple(passed)
    if len(tried.results) > len(draft.examples):
        passed.append("runs (proposed input)")
        passed.append("runs (real input)")
    elif tried.results:
        passed.append("runs (proposed input)")
    return "", (), (*passed, "tested", "proof")


def _allowed(draft: Draft, spec: NodeSpec, desk: Desk) -> Permissions:
    wanted = draft.permissions
    if wanted.network and desk.bench.sandbox and not desk.bench.sandbox.holds_hosts:
        desk.tell(Said(f"{spec.name}: asks for {wanted}; without bubblewrap it is only tested without the network"))
        wanted = replace(wanted, network=())
    if not wanted:
        return Permissions()
    given = desk.grant(spec, wanted)
    # What was given can only be a part of what was asked for, whoever answers.
    return Permissions(
        tuple(one for one in given.network if one in wanted.network),
        tuple(one for one in given.read if one in wanted.read),
    )


def _keep(
    spec: NodeSpec, draft: Draft, passed: tuple[str, ...], desk: Desk, asked: int, shown: example.Example
) -> Written:
    asks = json.dumps(draft.permissions.plain()) if draft.permissions else ""
    origin = replace(request(spec, desk, shown), weights=desk.model.digest(), gates=passed, permissions=asks)
    text = header.write(origin, draft.code)
    path = target(desk.project, spec)
    state, diff = WrittenState.KEPT, ""
    if path.is_file():
        old = path.read_text(encoding="utf-8", errors="replace")
        found = header.read(old)
        if found is None or found.edited:
            state, diff = WrittenState.BESIDE, _diff(old, text, spec.path)
            path = _with(path, ".draft")
    put(path, text)
    put(
        _with(target(desk.project, spec), ".test" if state is WrittenState.KEPT else ".draft.test"),
        draft.test.strip("\n") + "\n",
    )
    _with(target(desk.project, spec), ".rejected").unlink(missing_ok=True)
    desk.tell(Kept(spec.name, path, diff))
    return Written(spec, state, path, asked)


def _reject(
    spec: NodeSpec, draft: Draft | None, gate: str, verdicts: tuple[Verdict, ...], desk: Desk, asked: int
) -> Written:
    lines = [f"Rejected by {gate} after {asked} drafts of {desk.model.name}. This is no node.", *map(str, verdicts)]
    report = "\n".join(lines)
    comment = "\n".join(f"# {line}" for part in lines for line in part.splitlines())
    path = _with(target(desk.project, spec), ".rejected")
    put(path, comment + "\n\n" + (draft.code if draft else "# (no answer could be read)\n"))
    desk.tell(GivenUp(spec.name, path, report))
    return Written(spec, WrittenState.REJECTED, path, asked, gate, verdicts)


def put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".wfe-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o644)  # mkstemp makes it 0600; a source file is for whoever reads the project
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _diff(old: str, new: str, name: str) -> str:
    return "".join(
        difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"{name} (yours)", f"{name}.draft (new)")
    )
