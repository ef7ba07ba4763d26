"""A run as Markdown, for a forge's job page (`$GITHUB_STEP_SUMMARY`) or a comment.

Knows a retold run and GitHub's flavour of Markdown. Does not know where it is written to.
"""

from __future__ import annotations

from html import escape

from wfe.core.outcome import Outcome, StepState
from wfe.report.retold import Retold
from wfe.report.wording import clean, duration, indented, one_line, particulars, tally

_LIMIT = 900_000  # characters; GitHub refuses a job summary of more than 1 MiB
_SHOWN = (StepState.FAILED, StepState.SKIPPED, StepState.RAN, StepState.RESTORED)


def markdown(told: Retold, slowest: int = 20) -> str:
    """A headline, a table of the steps that matter (failed, skipped, the `slowest` that ran), tracebacks folded."""
    lines = [f"### {_cell(told.workflow or 'workflow')} {told.verdict}", ""]
    lines += [f"{tally(told.counts)} in {duration(told.seconds)}", ""]
    rows: list[Outcome] = []
    left_out = 0
    for state in _SHOWN:
        found = sorted(told.of(state), key=lambda outcome: -outcome.seconds)
        most = 200 if state in (StepState.FAILED, StepState.SKIPPED) else max(slowest - len(rows), 0)
        rows += found[:most]
        left_out += len(found[most:])
    if rows:
        lines += ["| step | state | time | why |", "| --- | --- | ---: | --- |"]
        lines += [f"| {_cell(row.step)} | {row.state.value} | {duration(row.seconds)} | {_why(row)} |" for row in rows]
        lines.append("")
    if left_out:
        lines += [f"{left_out:,} more steps ran or were restored.", ""]
    size = sum(map(len, lines))
    for outcome in told.of(StepState.FAILED):
        block = _folded(outcome)
        size += len(block)
        if size > _LIMIT:
            lines.append("More failures are left out: see the job's log.")
            break
        lines.append(block)
    return "\n".join(lines).rstrip() + "\n"


def _folded(outcome: Outcome) -> str:
    text = indented(particulars(outcome), "")
    fence = "```"
    while fence in text:
        fence += "`"
    kind = outcome.failure.kind if outcome.failure else "failed"
    title = f"{escape(one_line(outcome.step))}: {escape(clean(kind))}"
    return f"<details><summary>{title}</summary>\n\n{fence}text\n{text}{fence}\n\n</details>\n"


def _why(outcome: Outcome) -> str:
    if outcome.failure is not None:
        return _cell(f"{outcome.failure.kind}: {one_line(outcome.failure.message, 200)}")
    if outcome.skip:
        return _cell(outcome.skip)
    return ", ".join(_cell(reason.part) for reason in outcome.reasons[:3])


def _cell(text: str) -> str:
    # Everything that Markdown or HTML would take for a mark; a backslash goes first, so none is doubled.
    text = one_line(text, 200)
    for mark in "\\`*_[]|~#":
        text = text.replace(mark, "\\" + mark)
    return escape(text, quote=False).replace("@", "&#64;")
