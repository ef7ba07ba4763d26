"""The moving part of the live display as lines of styled text: a Board, a time and a size in, text out.

Knows rich's Text and nothing of the terminal. Imported only when a live display is painted for the first time.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from wfe.core.outcome import StepState
from wfe.report.board import Board, Running
from wfe.report.wording import ORDER, about, duration, last_line, one_line, share

STYLES = {
    "ran": "blue",
    "restored": "magenta",
    "current": "bright_black",
    "skipped": "yellow",
    "failed": "bold red",
    "blocked": "red",
    "cancelled": "red",
}
_WIDE = 60  # columns from which there is room for a bar, an estimate and a note
_MOST_ROWS = 10


class Screen:
    """Draws for one kind of output. unicode: whether its encoding has the characters of a bar."""

    def __init__(self, console: Console, unicode: bool) -> None:
        self._console = console
        self._full, self._rest = ("\u2501", "\u2500") if unicode else ("#", "-")

    def draw(self, board: Board, now: float, columns: int, rows: int, tails: bool, hint: str = "") -> list[str]:
        """The lines to show, each at most `columns` - 1 wide, at most `rows` - 2 of them (at least one), as ANSI text.

        tails: whether each running step's last printed line stands under it. hint: what stands last, where there is room.
        """
        # One column is left free: a terminal that has filled its last column may already stand on the next line.
        width = max(columns - 1, 8)
        room = max(min(rows - 3, _MOST_ROWS), 0)
        lines: list[Text] = []
        shown = self._chosen(board, room // 2 if tails else room)
        for running, fan in shown:
            lines.append(self._running(running, fan, now, width))
            if tails and running.line:
                lines.append(Text(f"  {last_line(running.line)}", style="dim"))
        hidden = len(board.running) - sum(fan for _, fan in shown)
        if hidden > 0 and len(shown) < rows - 2:
            lines.append(Text(f"  and {hidden:,} more running", style="dim"))
        lines.append(self._foot(board, now, width))
        if hint and width >= _WIDE and lines[-1].cell_len + 2 + len(hint) <= width:
            lines[-1].append(f"  {hint}", style="dim")
        for line in lines:
            line.truncate(width, overflow="ellipsis" if self._full != "#" else "crop")
        self._console.width = width
        with self._console.capture() as captured:
            self._console.print(
                Text("\n").join(lines),
                no_wrap=True,
                overflow="crop",
                width=width,
                end="",
            )
        return captured.get().split("\n")

    def _chosen(self, board: Board, room: int) -> list[tuple[Running, int]]:
        """Which running steps get a line, oldest first; when there is not room for all, a fan gets one line."""
        everything = list(board.running.values())
        if len(everything) <= room:
            return [(running, 1) for running in everything]
        fans: dict[str, list[Running]] = {}
        for running in everything:
            fans.setdefault(running.step.partition("[")[0], []).append(running)
        # The last line is kept for "and n more".
        return [(members[0], len(members)) for members in fans.values()][: max(room - 1, 0)]

    def _running(self, running: Running, fan: int, now: float, width: int) -> Text:
        name = one_line(running.step, 200)
        if fan > 1:
            name = f"{name.partition('[')[0]}[{fan:,} running]"
        elapsed = duration(now - running.since)
        fraction = running.fraction if fan == 1 else None
        wide = width >= _WIDE
        tail = ""
        if wide and fan == 1:
            if running.estimate and fraction is None:
                tail = f"of {about(running.estimate)}"
            if running.note:
                tail = f"{tail}  {one_line(running.note, 200)}".strip()
        taken = len(elapsed) + 2 + (6 if fraction is not None else 0)
        bar = 0 if fraction is None else (20 if wide else min(10, width - taken - 12))
        room = width - taken - (bar + 1 if bar > 0 else 0)
        label = Text(name)
        label.truncate(
            min(room, 32) if wide else room,
            overflow="ellipsis" if self._full != "#" else "crop",
            pad=True,
        )
        line = Text.assemble(label, "  ", (f"{elapsed:>8}" if wide else elapsed, "cyan"))
        if fraction is not None:
            if bar > 0:
                line.append(" ").append_text(self._bar(fraction, bar))
            line.append(f" {int(fraction * 100):3d}%")
        if tail:
            line.append("  ").append(tail, style="dim")
        return line

    def _bar(self, fraction: float, width: int) -> Text:
        full = int(fraction * width)
        return Text.assemble((self._full * full, "green"), (self._rest * (width - full), "dim"))

    def _foot(self, board: Board, now: float, width: int) -> Text:
        line = Text(f"{board.done:,} of {board.steps:,}", style="bold")
        if width >= _WIDE and board.steps:
            line = Text.assemble(self._bar(min(board.done / board.steps, 1.0), 20), " ", line)
        # What went wrong is said first: at 40 columns there may be room for no more.
        bad = (StepState.FAILED, StepState.BLOCKED)
        for state in bad:
            self._count(line, board, state)
        left = board.left(now)
        line.append(f"  {duration(now - board.since)}" + (f", {about(left)} left" if left is not None else ""))
        if width >= _WIDE:
            line.append(f"  {min(len(board.running), board.jobs)} of {board.jobs} slots")
            for pool, used in board.used().items():
                line.append(f"  {one_line(pool, 20)} {share(used, board.pools.get(pool, 0.0))}")
        for state in ORDER:
            if state not in bad:
                self._count(line, board, state)
        return line

    def _count(self, line: Text, board: Board, state: StepState) -> None:
        number = board.counts.get(state.value)
        if number:
            line.append("  ").append(f"{number:,} {state.value}", style=STYLES[state.value])
