"""How a step's end, a failure and a whole run are said in words that any terminal can show.

Knows outcomes and how to make text from strangers harmless. Does not know streams, colours or forges. Imports nothing
beyond what `core.outcome` needs: every run loads this module, even one that has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wfe.core.outcome import Outcome, StepState

# The order in which a reader asks; what `tally` and the JSON form name.
ORDER = (
    StepState.RAN,
    StepState.RESTORED,
    StepState.CURRENT,
    StepState.SKIPPED,
    StepState.FAILED,
    StepState.BLOCKED,
    StepState.CANCELLED,
)
_ABOUT_TIME = {StepState.RAN, StepState.RESTORED, StepState.FAILED}
_LONGEST_MESSAGE = 400
_HEAD, _TAIL = 20, 60

# C0 without tab and newline, DEL, C1; then what reorders or breaks a line: bidirectional controls, separators, BOM.
_UNSAFE = [
    *range(0x20),
    *range(0x7F, 0xA0),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    0x2028,
    0x2029,
    0xFEFF,
]
_VISIBLE: dict[int, str] = {}


def duration(seconds: float) -> str:
    """Seconds for people: `0.12 s`, `75.3 s`, `12 min 05 s`, `3 h 02 min`. A negative value (a clock set back) is 0."""
    seconds = max(seconds, 0.0)
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def about(seconds: float) -> str:
    """An estimate, no more exact than it is: `about 3 s`."""
    return f"about {max(round(seconds), 1)} s" if seconds < 99.5 else f"about {duration(seconds)}"


def share(used: float, size: float) -> str:
    """How much of a pool is used: `1 of 2`, `3.2 of 16 GB`."""
    one, unit = (1e9, " GB") if size >= 1e9 else (1e6, " MB") if size >= 1e6 else (1.0, "")
    return f"{_digits(used / one)} of {_digits(size / one)}{unit}"


def _digits(number: float) -> str:
    """At most four digits, but never as a power of ten."""
    return f"{number:.4g}" if number < 9999 else f"{number:.0f}"


def clean(text: str) -> str:
    """`text` with nothing in it that a terminal obeys; newlines and tabs stay.

    Colours are dropped, every other control character is shown as an escape (`\\x1b`), and so is half of a surrogate
    pair, which no encoding can write.
    """
    if text.isprintable():
        return text
    if not _VISIBLE:
        _VISIBLE.update({code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _UNSAFE})
        del _VISIBLE[0x09], _VISIBLE[0x0A]
    if "\x1b" in text:
        import re

        text = re.sub(r"\x1b\[[0-9;:]*m", "", text)
    text = text.replace("\r\n", "\n").translate(_VISIBLE)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: str, most: int = _LONGEST_MESSAGE) -> str:
    """The first line of `text` that says something, harmless, at most `most` characters of it."""
    for line in text[: 16 * most].splitlines():
        line = clean(line.replace("\t", " ")).strip()
        if line:
            return line if len(line) <= most else line[: most - 3] + "..."
    return ""


def last_line(text: str) -> str:
    """What a terminal would show of a line drawn over itself by carriage returns: its last version, harmless."""
    shown = text[-2000:].rstrip("\r\n").rpartition("\r")[2]
    return clean(shown.replace("\t", " "))


def ending(outcome: Outcome) -> str:
    """A step's end after the word for its state: name, time where it says something, attempts, and why."""
    text = clean(outcome.step).replace("\n", "\\n")
    if outcome.state in _ABOUT_TIME:
        text += f"  {duration(outcome.seconds)}"
    if outcome.attempts > 1:
        text += f"  attempt {outcome.attempts}"
    if outcome.failure is not None:
        message = one_line(outcome.failure.message)
        text += f"  {clean(outcome.failure.kind)}" + (f": {message}" if message else "")
    elif outcome.skip:
        text += f"  {one_line(outcome.skip)}"
    return text


def shortened(lines: Sequence[str], head: int = _HEAD, tail: int = _TAIL) -> list[str]:
    """The first and last of many lines, with a line between them that counts what was left out."""
    if len(lines) <= head + tail + 1:
        return list(lines)
    return [
        *lines[:head],
        f"... {len(lines) - head - tail} lines left out ...",
        *lines[-tail:],
    ]


_INPUTS = 12  # of a failed step that are shown


def particulars(outcome: Outcome, again: str = "") -> list[str]:
    """What stands under a failed step: the node's own traceback, its inputs, the log's path and the command that runs it alone.

    again: a complete command line, or "" to leave it out.
    """
    failure = outcome.failure
    if failure is None:
        return []
    text = failure.traceback.rstrip()
    if not text and "\n" in failure.message.strip():
        first, _, rest = failure.message.strip().partition("\n")
        text = rest if clean(first).strip() == one_line(first) else failure.message.strip()  # which stands above, whole
    # Cleaning costs per character; a node may raise with a message of 100 MB.
    if len(text) > 400_000:
        text = text[:200_000] + "\n" + text[-200_000:]
    lines = shortened([line[:2000] for line in clean(text).split("\n")]) if text else []
    lines += [f"with {clean(name)} = {clean(text)}" for name, text in failure.inputs[:_INPUTS]]
    if len(failure.inputs) > _INPUTS:
        lines.append(f"and {len(failure.inputs) - _INPUTS} inputs more")
    if failure.log:
        lines.append(f"log: {clean(failure.log)}")
    if again:
        lines.append(f"again, alone: {again}")
    return lines


def named(names: Sequence[str], total: int, most: int = 3) -> str:
    """`a, b, c and 4 more` for `total` things of which `names` holds the first."""
    shown = [clean(name).replace("\n", "\\n") for name in names[:most]]
    rest = total - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest > 0 and shown else "")


def tally(counts: Mapping[str, int], names: Mapping[str, Sequence[str]] | None = None) -> str:
    """`3 ran, 1 restored, 5 current`: the states that occur, with names where given."""
    parts: list[str] = []
    for state in ORDER:
        number = counts.get(state.value, 0)
        if number:
            who = named(names.get(state.value, ()), number) if names else ""
            parts.append(f"{number:,} {state.value}" + (f" ({who})" if who else ""))
    return ", ".join(parts) or "no step"


def summary(
    workflow: str,
    counts: Mapping[str, int],
    seconds: float,
    names: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The last line of a run: `quickstart: 3 ran, 1 restored, 5 current in 1.24 s`."""
    return f"{one_line(workflow) or 'workflow'}: {tally(counts, names)} in {duration(seconds)}"


def indented(lines: Iterable[str], by: str = "  ") -> str:
    """Lines as one text, each indented and ended."""
    return "".join(f"{by}{line}".rstrip() + "\n" for line in lines)
