"""Writes whole workflows: description -> outline -> document -> the missing nodes, one at a time -> tried end to end.

Knows where documents and outlines lie and what is never overwritten. Does not know doit: `generations` says as plain
data what is to be generated, and whoever schedules makes tasks of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from wfe.agent import approval, header, past, prompt, upstream
from wfe.agent.author import (
    MAX_REPAIRS,
    RUN,
    Desk,
    Written,
    WrittenState,
    current,
    mend_node,
    put,
    request,
    target,
    write_node,
)
from wfe.agent.events import Asked, Judged, Kept, Said
from wfe.agent.model import Message, read
from wfe.agent.outline import (
    Outline,
    Overlay,
    check,
    compiler,
    document_of,
    missing_specs,
    neighbours,
    planned,
    specs_of,
)
from wfe.agent.spec import NodeSpec
from wfe.agent.unnamed import named
from wfe.agent.verdict import Unusable, Verdict
from wfe.agent.words import check_words, record_of
from wfe.catalog import Catalogue
from wfe.core.parse import parse
from wfe.core.signature import Signature
from wfe.core.workflow import Node, Workflow
from wfe.engine.project import Project
from wfe.errors import ExitCode, Problem, WfeError, WorkflowError

OUTLINES = Path(".wfe") / "outlines"
TryRun = Callable[[str], ExitCode]
"""Runs the workflow of this name for real; what `wfe run NAME` would exit with."""


@dataclass(frozen=True, slots=True)
class Created:
    """A workflow that was written. nodes: what became of each missing one; ran: how the trial run ended, None
    without.
    """

    name: str
    path: Path
    document: Mapping[str, Any]
    nodes: tuple[Written, ...] = ()
    ran: ExitCode | None = None

    @property
    def good(self) -> bool:
        return self.ran in (None, ExitCode.OK) and all(one.state is not WrittenState.REJECTED for one in self.nodes)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a document lacks. missing: nodes to be written; problems: what does not fit besides, as texts with
    places; named: the functions that were taken for nodes that name none, id -> function, and text: the document with them.
    """

    workflow: Workflow
    missing: tuple[NodeSpec, ...]
    problems: tuple[str, ...]
    named: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    def put_names(self, path: Path) -> None:
        """Write those functions into the document `path`, if there are any."""
        if self.named:
            put(path, self.text)


def _new(project: Path, name: str) -> Path:
    path = project / "workflows" / f"{name}.json"
    if path.exists():
        raise WorkflowError(f"workflows/{name}.json is there already", hint="give another name: --name NAME")
    return path


def create(
    description: str, desk: Desk, *, name: str = "", agentic: bool = False, try_run: TryRun | None = None
) -> Created:
    """Write `workflows/NAME.json`; with `agentic` every missing node too, and then `try_run` it.

    Asked again with the same words it goes on where it was stopped. Raises WorkflowError when no usable outline came,
    or a document of that name is there that did not come from this description; ModelFailure.
    """
    check_words(description, name)
    asked = sha256(json.dumps([description.strip(), desk.model.name, desk.model.seed, desk.prompts.digest]).encode())
    known = _stored(desk.project, asked.hexdigest(), name)
    if known is None:
        if name:
            _new(desk.project, name)
        outline = dict(_outline(description, desk))
        outline["name"] = name = name or str(outline["name"])
        path = _new(desk.project, name)
        document = document_of(outline, Catalogue(desk.project))
        record = {"description": description.strip(), "asked": asked.hexdigest(), "outline": outline}
        put(desk.project / OUTLINES / f"{name}.json", json.dumps(record, indent=2) + "\n")
        put(path, dump(document))
        desk.tell(Kept(name, path))
    else:
        name = known
        desk.tell(Said(f"workflow {name!r} was planned from these words before; going on with it"))
    path = desk.project / "workflows" / f"{name}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    if not agentic:
        return Created(name, path, document)
    return replace(complete(path, desk, try_run), document=document)


def complete(path: Path, desk: Desk, try_run: TryRun | None = None) -> Created:
    """Write every node that the document `path` lacks, then try it, and have generated nodes that fail in it mended.

    Raises WorkflowError for what is wrong besides.
    """
    found = analyze(path, desk.project)
    if found.problems:
        raise WorkflowError([Problem(text) for text in found.problems])
    found.put_names(path)
    name = found.workflow.name
    written = []
    for spec in found.missing:
        written.append(generate(spec, desk, path, try_run=try_run))
    ran = None
    if all(one.state is not WrittenState.REJECTED for one in written):
        left = analyze(path, desk.project)
        if left.problems or left.missing:
            raise WorkflowError(
                [Problem(text) for text in (*left.problems, *(f"{one.name} is missing still" for one in left.missing))]
            )
        if try_run is not None:
            desk.tell(Said(f"trying {name} end to end"))
            ran, mended = _try(path, desk, try_run)
            again = {one.spec.name: one for one in mended}
            written = [one for one in written if one.spec.name not in again] + list(again.values())
            if ran is ExitCode.OK:
                for one in (one for one in written if one.state is WrittenState.KEPT):
                    _note_real_run(desk.project, one.path)
    return Created(name, path, found.workflow.document.value, tuple(written), ran)


def _try(path: Path, desk: Desk, try_run: TryRun) -> tuple[ExitCode, list[Written]]:
    """Run the workflow; while generated nodes fail in it, send each back with what happened and run it again.

    At most MAX_REPAIRS times, and not after an error that came back. What was accepted before stays.
    """
    mended: list[Written] = []
    seen: set[tuple[str, Verdict]] = set()
    cache = Project.at(desk.project).cache
    for number in range(MAX_REPAIRS + 1):
        before = past.records(cache)
        ran = try_run(path.stem)
        if ran is not ExitCode.FAILED or number == MAX_REPAIRS:
            return ran, mended
        wrong = _blamed(path, desk, past.failures(cache, before, path.stem))
        if not wrong:
            return ran, mended
        for spec, verdict in wrong:
            if (spec.name, verdict) in seen:
                desk.tell(Said(f"{spec.name}: the same error came back, so no further try"))
                return ran, mended
            seen.add((spec.name, verdict))
            desk.tell(Judged(spec.name, RUN, str(verdict)))
            mended.append(generate(spec, desk, path, wrong=(verdict,), try_run=try_run))
            if mended[-1].state is not WrittenState.KEPT:
                return ran, mended
        desk.tell(Said(f"trying {path.stem} again"))
    raise AssertionError("BUG: the last try returns")


def _blamed(path: Path, desk: Desk, failed: Sequence[past.Failed]) -> list[tuple[NodeSpec, Verdict]]:
    """Of the steps that failed, those whose node was generated and not edited since, each node once."""
    workflow = read_workflow(path, desk.project)
    nodes = {node.id: node for node in workflow.nodes}
    found: dict[str, tuple[NodeSpec, Verdict]] = {}
    for one in failed:
        node = nodes.get(one.step.partition("[")[0])
        spec = _spec_of(node, workflow, desk.project) if node and one.kind != "environment" else None
        if spec is not None:
            given = ", ".join(f"{name}={text}" for name, text in one.inputs)
            hint = "the inputs are real results of the steps before; the traceback ends: " + one.where
            got = f"{one.kind}: {one.message}"
            found.setdefault(spec.name, (spec, Verdict(f"step {one.step}", f"a result for {given}", got, hint)))
    return list(found.values())


def _spec_of(node: Node, workflow: Workflow, project: Path) -> NodeSpec | None:
    """The specification that the node's file was generated from; None for one that a person wrote or edited."""
    catalogue = Catalogue(project)
    known = catalogue.find(node.function) if node.function else None
    if known is None or not known.module.startswith("nodes.custom."):
        return None
    text = project.joinpath(*known.module.split(".")).with_suffix(".py").read_text(encoding="utf-8", errors="replace")
    found = header.read(text)
    if found is None or found.edited:
        return None
    specs = _generated(_outline_of(project, workflow.name), project)
    specs += missing_specs(workflow, Overlay(project, hidden=(known.module,)))
    return next((spec for spec in specs if spec.digest == found.origin.spec), None)


def generate(
    spec: NodeSpec,
    desk: Desk,
    path: Path | None = None,
    *,
    wrong: Sequence[Verdict] = (),
    try_run: TryRun | None = None,
) -> Written:
    """Write one node, for the place that it has in the document `path` if one is given.

    wrong: how the node that is there failed in a run; it is written again then. try_run: runs the steps before it where
    they have no result yet, so that it can be tried on real values; without, those that stand are taken.
    """
    told: Sequence[str] = ()
    if path is not None:
        document = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
        if document is not None:
            specs = analyze(path, desk.project).missing
            told = neighbours(spec, document, specs, Catalogue(desk.project))
            desk = replace(desk, site=replace(desk.site, compiles=compiler(desk.project, document, specs)))
            if wrong or current(spec, desk) is None:
                tell = desk.tell

                def before(name: str) -> ExitCode:
                    assert try_run is not None
                    tell(Said(f"running the steps before {spec.name}, to try it on what they make"))
                    ended = try_run(name)
                    if ended is ExitCode.INTERRUPTED:
                        raise KeyboardInterrupt  # who stops that run does not want the next question asked
                    return ended

                real = upstream.real_inputs(spec, path, specs, desk.project, before if try_run else None)
                desk = replace(desk, bench=replace(desk.bench, real=real))
    granted: list[bool] = []

    def grant(one: NodeSpec, permissions: Any) -> Any:
        given = desk.grant(one, permissions)
        granted.append(given == permissions)
        return given

    at = replace(desk, grant=grant)
    written = mend_node(spec, at, wrong, told) if wrong else write_node(spec, at, told)
    if written.state is WrittenState.KEPT and granted and granted[-1]:
        approval.approve(desk.project, written.path, "permitted")
    return written


def analyze(path: Path, project: Path) -> Analysis:
    """What the document `path` lacks and what does not fit. Raises WorkflowError for one that cannot be read."""
    catalogue = Catalogue(project)
    shown, data = _content(path, project)
    data, names = named(data, shown, catalogue)
    workflow = parse(data, shown, path.stem)
    outline = _outline_of(project, path.stem)
    known = specs_of(outline, Catalogue(project)) if outline else []
    missing = missing_specs(workflow, catalogue, known)
    problems: tuple[str, ...] = ()
    try:
        planned(workflow, Overlay(project, missing))
    except WfeError as error:
        problems = tuple(map(str, error.problems))
    return Analysis(workflow, tuple(missing), problems, names, data.decode("utf-8-sig"))


def read_workflow(path: Path, project: Path) -> Workflow:
    """The document `path`, parsed. Raises WorkflowError."""
    shown, data = _content(path, project)
    return parse(data, shown, path.stem)


def _content(path: Path, project: Path) -> tuple[str, bytes]:
    """The document `path`: as it is named, and its bytes. Raises WorkflowError."""
    shown = (
        path.resolve().relative_to(project.resolve()).as_posix()
        if path.resolve().is_relative_to(project)
        else str(path)
    )
    try:
        return shown, path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"{shown} cannot be read: {error.strerror}", hint="name a file in workflows/") from error


@dataclass(frozen=True, slots=True)
class Generation:
    """One node to be generated, as a scheduler sees it.

    name: "generate:x:NODE". target: relative to the project. key: digest of all that counts; the node is written anew
    only when it changes. pool: taken while it runs, `{"llm": 1}`. current(): whether nothing is to be done, without
    asking the model. act(): does it; raises WfeError when no draft passed.
    """

    name: str
    spec: NodeSpec
    target: str
    key: str
    pool: Mapping[str, float]
    current: Callable[[], bool]
    act: Callable[[], Written]


def generations(
    path: Path, desk: Callable[[], Desk], project: Path, catalogue: Catalogue | None = None
) -> list[Generation]:
    """What is, or once was, to be generated for the document `path`. `desk` is called only when something must be
    known.

    Independent nodes are independent tasks: a specification holds all that one node must know of another.
    """
    catalogue = catalogue or Catalogue(project)
    outline = _outline_of(project, path.stem)
    known = specs_of(outline, catalogue) if outline else []
    lacking = missing_specs(read_workflow(path, project), catalogue, known)
    return [_generation(spec, path, desk) for spec in [*_generated(outline, project), *lacking]]


def _generation(spec: NodeSpec, path: Path, desk: Callable[[], Desk]) -> Generation:
    def act() -> Written:
        written = generate(spec, desk(), path)
        if written.state is WrittenState.REJECTED:
            where = written.path.name
            raise WorkflowError(f"node {spec.name!r}: no draft passed {written.gate!r}", hint=f"the best is in {where}")
        return written

    origin = request(spec, desk())
    key = sha256(
        json.dumps([origin.model, origin.weights, origin.spec, origin.prompts, origin.seed]).encode()
    ).hexdigest()
    return Generation(
        name=f"generate:{path.stem}:{spec.name}",
        spec=spec,
        target=spec.path,
        key=key,
        pool={"llm": 1},
        current=lambda: current(spec, desk()) is not None,
        act=act,
    )


def _generated(outline: Outline | None, project: Path) -> list[NodeSpec]:
    """The nodes of an outline that are written."""
    if outline is None:
        return []
    # Against an empty catalogue, so that what is written counts as to be written.
    every = [one for one in outline["nodes"] if one["function"] == one["id"]]
    specs = specs_of({**outline, "nodes": every}, Catalogue(project / OUTLINES))
    return [spec for spec in specs if target(project, spec).is_file()]


def signatures(project: Path) -> list[Signature]:
    """The nodes that a model may use: generated ones first, since they are the project's own words."""
    found, _ = Catalogue(project).all()
    return sorted(found, key=lambda one: (not one.module.startswith("nodes.custom"), one.function))


def dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def outline_by_model(messages: Sequence[Message], subject: str, desk: Desk) -> Outline:
    """Ask for an outline until it fits, with the repairs that a node gets. Raises WorkflowError when none did."""
    schema = prompt.outline_schema()
    asked = list(messages)
    seen: list[tuple[Verdict, ...]] = []
    for number in range(1, MAX_REPAIRS + 2):
        desk.tell(Asked(subject, number))
        text = ""
        try:
            text = desk.ask(subject, messages, schema)
            outline: Outline = read(text, schema)
            wrong = tuple(check(outline, desk.project))
            gate = "plan"
        except Unusable as unusable:
            wrong, gate, text = unusable.verdicts, "answer", unusable.text or text
            outline = {}
        desk.tell(Judged(subject, gate, str(wrong[0]) if wrong else ""))
        if not wrong:
            return outline
        if wrong in seen:
            break
        seen.append(wrong)
        messages = prompt.repair_messages(asked, text, gate, wrong, desk.prompts.texts["workflow_repair"])
    raise WorkflowError(
        f"{desk.model.name} gave no usable outline: " + "; ".join(map(str, seen[-1][:3])),
        hint="say it in other words, or in smaller steps",
    )


def _outline(description: str, desk: Desk) -> Outline:
    messages = prompt.outline_messages(desk.prompts, description, signatures(desk.project))
    return outline_by_model(messages, "outline", desk)


def _stored(project: Path, asked: str, name: str) -> str | None:
    """The workflow that the same words made before and whose document is there still."""
    for path in sorted((project / OUTLINES).glob("*.json")):
        same = record_of(path).get("asked") == asked and (not name or path.stem == name)
        if same and (project / "workflows" / path.name).is_file():
            return path.stem
    return None


def _outline_of(project: Path, name: str) -> Outline | None:
    """The stored outline of a workflow. It is data from a file: what does not fit the schema is not used."""
    if not re.fullmatch(r"[\w-]+", name):
        return None
    outline = record_of(project / OUTLINES / f"{name}.json").get("outline")
    if outline is None:
        return None
    import jsonschema  # 350 ms that a project without outlines does not pay

    if not jsonschema.Draft202012Validator(prompt.outline_schema()).is_valid(outline):
        return None
    return outline if isinstance(outline, Mapping) else None


def _note_real_run(project: Path, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    new = header.passed(text, "runs (real input)")
    if new != text:
        kinds = [kind for kind in approval.KINDS if approval.holds(project, path, kind)]
        put(path, new)
        for kind in kinds:  # the code is the same; only what the header says of it is more
            approval.approve(project, path, kind)
