"""A run as one HTML page that needs nothing else: no script, no font, no picture from outside.

Knows a retold run, and the edges between its steps where the caller gives them. Does not know plans or files. Every
text from a run goes through `_text`; the page's own policy (CSP) forbids scripts and any load, should one slip through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from wfe.core.outcome import Outcome, StepState
from wfe.report.page_style import STYLE
from wfe.report.retold import Retold, Stay
from wfe.report.wording import ORDER, clean, duration, one_line, particulars, tally

_MOST_ROWS = 3000  # a browser lays out this many in under a second; the slowest are kept, the rest is counted


def page(told: Retold, needs: Mapping[str, Sequence[str]] | None = None) -> str:
    """The run as an HTML document.

    needs: step -> the steps that it depends on; without it the page does not tell.
    """
    shown, left_out = _chosen(told)
    name = _text(told.workflow or "workflow")
    title = f"{name} {told.verdict}"
    when = datetime.fromtimestamp(told.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    body = [
        f'<header><p class="what">wfe run {_text(told.run)}</p>',
        f'<h1>{name} <span class="verdict {"good" if told.well else "bad"}">{told.verdict}</span></h1>',
        f"<p>{escape(tally(told.counts))} in <b>{duration(told.seconds)}</b>, started {when}.</p></header>",
        _proportions(told),
        _failures(told.of(StepState.FAILED)),
        _chart(shown, told, left_out),
        _steps(shown, needs),
        _unchanged([stay for stay in told.stays.values() if stay.state == "current"], told),
        _notes(told),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _chosen(told: Retold) -> tuple[list[Stay], int]:
    """The steps that get a row, in the order in which they began, and how many others there were."""
    stays = [stay for stay in told.stays.values() if stay.state != "current"]
    left_out = max(len(stays) - _MOST_ROWS, 0)
    if left_out:
        stays = sorted(stays, key=lambda stay: (stay.state == "ran", -_length(stay, told)))[:_MOST_ROWS]
    return sorted(stays, key=lambda stay: stay.began or stay.ended or told.time), left_out


def _length(stay: Stay, told: Retold) -> float:
    if stay.began is None:
        return 0.0
    return max(
        (stay.ended if stay.ended is not None else told.time + told.seconds) - stay.began,
        0.0,
    )


def _proportions(told: Retold) -> str:
    parts = [
        f'<span class="part {state.value}" style="flex-grow:{told.counts[state.value]}"></span>'
        for state in ORDER
        if told.counts.get(state.value)
    ]
    # The headline says the same in words.
    return f'<div class="parts" aria-hidden="true">{"".join(parts)}</div>' if parts else ""


def _failures(outcomes: Iterable[Outcome]) -> str:
    blocks: list[str] = []
    for outcome in outcomes:
        kind = outcome.failure.kind if outcome.failure else "failed"
        message = one_line(outcome.failure.message) if outcome.failure else ""
        text = _text("\n".join(particulars(outcome)))
        blocks.append(
            f'<details open id="{_id(outcome.step)}"><summary><b>{_text(outcome.step)}</b> '
            f"{_text(kind)}{': ' if message else ''}{_text(message)}</summary>"
            f'<pre tabindex="0" aria-label="traceback of {_text(outcome.step)}">{text}</pre></details>'
        )
    return f'<section class="failures"><h2>Failures</h2>{"".join(blocks)}</section>' if blocks else ""


def _chart(stays: Sequence[Stay], told: Retold, left_out: int) -> str:
    ran = [stay for stay in stays if stay.began is not None]
    if not ran:
        return ""
    whole = max(told.seconds, *(_length(stay, told) for stay in ran), 1e-9)
    rows: list[str] = []
    for stay in ran:
        start = min(max((stay.began or told.time) - told.time, 0.0) / whole, 1.0) * 100
        length = min(_length(stay, told) / whole * 100, 100 - start)
        rows.append(
            f'<div class="row" title="{_text(stay.step)}: {stay.state}, slot {stay.worker}">'
            f'<span class="name">{_text(stay.step)}</span><span class="lane">'
            f'<i class="bar {stay.state}" style="left:{start:.3f}%;width:{length:.3f}%"></i></span>'
            f'<span class="took">{duration(_length(stay, told))}</span></div>'
        )
    ticks = "".join(f'<span style="left:{tick * 25}%">{duration(whole * tick / 4)}</span>' for tick in range(5))
    more = f"<p>{left_out:,} more steps are not shown.</p>" if left_out else ""
    folded = "" if len(ran) > 60 else " open"
    return (
        f"<section><details{folded}><summary><h2>When each step ran</h2></summary>"
        # The table below holds the same numbers in a form that can be read aloud.
        f'<div class="chart" aria-hidden="true"><div class="row axis"><span class="name"></span>'
        f'<span class="lane">{ticks}</span><span class="took"></span></div>{"".join(rows)}</div>'
        f"{more}</details></section>"
    )


def _steps(stays: Sequence[Stay], needs: Mapping[str, Sequence[str]] | None) -> str:
    if not stays:
        return ""
    rows: list[str] = []
    for stay in stays:
        outcome = stay.outcome
        seconds = duration(outcome.seconds) if outcome and outcome.seconds else ""
        name = _text(stay.step)
        if stay.state == "failed":
            name = f'<a href="#{_id(stay.step)}">{name}</a>'
        before = f"<td>{', '.join(map(_text, needs.get(stay.step, ())))}</td>" if needs is not None else ""
        rows.append(
            f'<tr><th scope="row">{name}</th><td><span class="state {stay.state}">{stay.state}</span></td>'
            f'<td class="number">{seconds}</td>{before}<td>{_why(outcome)}</td></tr>'
        )
    before = '<th scope="col">Needs</th>' if needs is not None else ""
    return (
        '<section><h2>Steps</h2><div class="wide" tabindex="0" role="region" aria-label="Steps"><table><thead><tr>'
        f'<th scope="col">Step</th><th scope="col">State</th><th scope="col" class="number">Time</th>{before}'
        f'<th scope="col">Why</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>'
    )


def _why(outcome: Outcome | None) -> str:
    if outcome is None:
        return "the run stopped before its end"
    parts: list[str] = []
    if outcome.failure is not None:
        parts.append(_text(f"{outcome.failure.kind}: {one_line(outcome.failure.message, 200)}"))
    if outcome.skip:
        parts.append(_text(one_line(outcome.skip)))
    if outcome.attempts > 1:
        parts.append(f"{outcome.attempts} attempts")
    for reason in outcome.reasons:
        change = f": {_code(reason.old)} to {_code(reason.new)}" if reason.old or reason.new else ""
        parts.append(_text(reason.part) + change)
    return "<br>".join(parts)


def _unchanged(stays: Sequence[Stay], told: Retold) -> str:
    number = told.counts.get("current", 0)
    if not number:
        return ""
    names = ", ".join(_text(stay.step) for stay in stays[:_MOST_ROWS])
    if not names:
        return f"<section><h2>Current</h2><p>{number:,} steps were up to date.</p></section>"
    more = f" and {number - _MOST_ROWS:,} more" if number > _MOST_ROWS else ""
    said = "1 step was" if number == 1 else f"{number:,} steps were"
    listed = f"<details><summary>{said} up to date</summary><p>{names}{more}</p></details>"
    return f"<section><h2>Current</h2>{listed}</section>"


def _notes(told: Retold) -> str:
    if not told.notes:
        return ""
    items = "".join(
        f"<li>{f'<b>{_text(note.step)}</b> ' if note.step else ''}<pre>{_text(note.message.rstrip())}</pre></li>"
        for note in told.notes[:500]
    )
    return f'<section><h2>Notes</h2><ul class="notes">{items}</ul></section>'


def _code(text: str) -> str:
    return f"<code>{_text(text) or '(none)'}</code>"


def _id(step: str) -> str:
    return "failed-" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in step)


def _text(text: str) -> str:
    return escape(clean(text))
