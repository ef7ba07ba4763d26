"""What must be done for a step whose needs are all settled: gathers the facts that `core.rebuild` decides by.

Does nothing about it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from wfe.core.digest import canonical
from wfe.core.manifest import Manifest, diff, key_of, manifest_of, value_text
from wfe.core.outcome import Failure
from wfe.core.rebuild import Decision, Facts, Verdict, decide
from wfe.core.result import Missing, Result
from wfe.core.step import Step
from wfe.engine import inputs as inputs_
from wfe.engine.inputs import Inputs
from wfe.engine.known import Known
from wfe.errors import NodeFailure
from wfe.store.traces import Row, Trace


@dataclass(slots=True)
class Pending:
    """A step whose turn has come: what was decided, and all that performing it needs. told: the manifest as JSON."""

    decision: Decision
    inputs: Inputs = field(default_factory=Inputs)
    manifest: Manifest = ()
    key: str = ""
    trace: Trace | None = None
    row: Row | None = None
    failure: Failure | None = None
    skip: str = ""
    told: str = ""


def pending_of(known: Known, name: str, forced: bool = False) -> Pending:
    """What must be done for the step `name`. forced: run it whatever is stored."""
    step = known.step(name)
    run = Decision(Verdict.RUN)
    if step.absent:
        return Pending(run, skip=step.absent)
    try:
        skip = _condition(known, step)
        if skip:
            return Pending(run, skip=skip)
        inputs = inputs_.resolve(step, known, known.digest)
    except (NodeFailure, Missing) as error:
        return Pending(run, failure=Failure("input", str(error)))
    if inputs.skip:
        return Pending(run, skip=inputs.skip)
    manifest = manifest_of(step, inputs.texts, known.workflow)
    told = canonical(manifest)
    key = key_of(told)
    row = known.row(name)
    traces = known.workspace.traces
    find = traces.find if forced else traces.known  # what is forced is run beside a result that others may have made
    trace = find(key) if step.options.cache != "never" else None
    stored = trace is not None and traces.whole(trace)
    intact = False
    if row is not None and row.key == key and stored and trace is not None and row.mark == trace.mark:
        row, intact = known.workspace.intact(row)
        intact = intact and _in_place(row, trace, inputs, known.workspace.result_file(known.workflow, name))
    before = traces.find(row.key) if row is not None and row.key != key else None
    facts = Facts(
        key=key,
        manifest=manifest,
        recorded=row.key if row else "",
        before=before.manifest if before else None,
        intact=intact,
        stored=stored,
        age=time.time() - trace.made if trace else 0.0,
        force=forced,
    )
    decision = decide(facts, step.options.cache, step.options.ttl)
    if before is not None and any(reason.part == "code" for reason in decision.reasons):
        decision = Decision(
            decision.verdict, diff(before.manifest, manifest, code_parts(known, before.manifest, manifest))
        )
    return Pending(decision, inputs, manifest, key, trace if stored else None, row, told=told)


def _in_place(row: Row, trace: Trace | None, inputs: Inputs, result: str) -> bool:
    """Whether what the step made stands where it belongs now: the key holds the names of files to write, not their
    directories."""
    made = {one.path: one.digest for one in row.files if one.role == "out" and one.path != result}
    files = [one for one in trace.artifacts if one.codec == "file"] if trace else []
    wanted = {inputs.outputs[one.note]: one.digest for one in files if one.note in inputs.outputs}
    return made == wanted and any(one.path == result for one in row.files)


def code_parts(known: Known, *manifests: Manifest) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for manifest in manifests:
        code = dict(manifest)["code"]
        parts = known.workspace.state.get("memo", code, "code")
        if isinstance(parts, dict):
            found[code] = parts
    return found


def _condition(known: Known, step: Step) -> str:
    """Why a step's `when` keeps it from running, "" when it does not."""
    if step.when is None:
        return ""
    from wfe.core.reference import unescape
    from wfe.core.when import WhenError, evaluate
    from wfe.core.workflow import Ref

    expression, given = step.when.value
    values, told, shown = {}, {}, []
    skipped = ""
    for hole, (name, value) in given.items():
        values[hole], told[hole] = value, name
        shown.append(f"{name} is {value_text(Result(value))}")
    for (hole,), other, trail in step.when.refs:
        part = inputs_.output(known, other, trail)
        skipped = skipped or ("" if part is not None else other)
        values[hole], told[hole] = None if part is None else part.seen(), str(Ref(other, trail))
        shown.append(f"{told[hole]} is {value_text(part) if part is not None else 'skipped'}")
    try:
        holds = evaluate(unescape(expression), values)
    except WhenError as error:
        if skipped:  # as with an input: a condition that can do without what was skipped has None there
            return f"its condition needs step {skipped!r}, which was skipped"
        raise NodeFailure(f"step {step.id!r}: 'when': {error}") from None
    text = re.sub(r"\b_[rp]\d+\b", lambda match: told.get(match[0], match[0]), expression)
    return "" if holds else f"its condition {text!r} does not hold" + (f" ({', '.join(shown)})" if shown else "")
