"""The steps after the running one, where steps are done one at a time: decided about and made ready while the function of this
one runs, so that worker and engine are busy at the same time.

The next one is called before the result of this one is stored. Where calls take less than a millisecond several are sent at
once: to wait for each other takes worker and engine longer than such a call, and many times longer on a busy machine. Knows
the order of the steps and the actions made ready. Does not perform them: that is the run's, when their turn comes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Final

from wfe.core.outcome import Outcome
from wfe.core.rebuild import Verdict
from wfe.engine.decide import Pending, pending_of
from wfe.engine.gate import ONLY
from wfe.wire.frames import SOON

if TYPE_CHECKING:
    from wfe.engine.action import Action
    from wfe.engine.run import Run
    from wfe.store.stamp import Stamp

_MOST: Final = 7  # calls behind the running one, all of them short
_BRIEF: Final = 0.04  # seconds of a call that is over before it is worth to do something else
# Calls that are left when others are sent: as many as the worker does while the next ones are decided about, so that it need not
# wait; and not more, for to wake it for each one costs more than the call.
_FEW: Final = 3
# Seconds of waiting for a reply after which the worker counts as the slower of the two.
_LATE: Final = 30e-6
_TOGETHER: Final = 7  # steps that are decided about with another one
_READ: Final = 1 << 20  # bytes of files that are read before a step's turn, in well under a millisecond
_OPENED: Final = 1 << 13  # bytes that are read in the time in which a file is opened
_ALL: Final = 8  # so many replies in a row that were late let the engine write all files


class Ahead:
    """wanted: whether a step will surely have its turn, as far as the scheduler knows; None where several run at once.
    looking: the thread, if any, that decides about a step before its turn, when nothing may be run for it: a running step may
    have the only place. early: what became of steps that were done before their turn."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wanted: Callable[[str], bool] | None = None
        self.looking = 0
        self.early: dict[str, Outcome] = {}
        self._following: dict[str, str] = {}
        self._line: deque[Action] = deque()  # in the order of their turns; those that were begun come first
        self._last: dict[str, tuple[float, bool]] = {}  # function -> seconds of its last call, and whether it printed
        self._room = 0  # bytes that may still be read for the step that is decided about
        self._late = 0  # up to _ALL: how much of its work the worker should be spared
        self._spared = 0

    def follow(self, names: Iterable[str]) -> None:
        """The turns of these steps come one after another."""
        self._following.update(itertools.pairwise(names))

    def decide_on(self, name: str) -> None:
        """Where several run at once: decide about some that follow this one, too. Between two steps of 20 ms the caches of the
        processor have forgotten all this, and to decide about one takes as long as about the next four."""
        for _ in range(_TOGETHER):
            name = self._following.get(name, "")
            pending = self._foreseen(name)
            if pending is None:
                return
            self.run.pending[name] = pending

    def took(self, action: Action, seconds: float) -> None:
        """The call of an action returned after so many seconds."""
        self._last[action.step.function] = (seconds, action.printed)

    def waited(self, seconds: float) -> None:
        """The engine had nothing to do for so long until a reply came."""
        self._late = min(self._late + 1, _ALL) if seconds > _LATE else max(self._late - 1, 0)

    def worker_writes(self) -> bool:
        """Whether the worker should write the file of the next result: not where it is the slower one, for then the engine has
        time to. To create a file takes 10 us, or 600 where the disk is full of them. With several at once it is always the engine
        that has none."""
        if self.wanted is not None:
            self._spared += self._late
        if self._spared < _ALL:
            return True
        self._spared -= _ALL
        return False

    def lasts(self, action: Action) -> float:
        """The seconds that its function took last, 0 where that was long or is not known."""
        found, _ = self._last.get(action.step.function, (0.0, False))
        return found if found < _BRIEF else 0.0

    def _is_short(self, action: Action) -> bool:
        """Whether its call may be one of several that are sent at once."""
        seconds, printed = self._last.get(action.step.function, (SOON, False))
        return seconds < SOON and not printed and not action.step.options.resources

    def look(self, running: Action) -> None:
        """While the function of a step runs elsewhere: decide about those that follow and do not need it, and send the calls
        of those that are short."""
        if self.wanted is None or len(self._line) > _FEW:
            return
        last = self._line[-1] if self._line else running
        short = self._is_short(running) and all(one.begun and self._is_short(one) for one in self._line)
        calls: list[Action] = []
        while len(self._line) < (_MOST if short else 1):
            action = self._next(last.step.id)
            if action is None:
                break
            self._line.append(action)
            short = short and self._is_short(action) and action.may_claim()
            if short:
                calls.append(action)
            last = action
        if calls:
            self._send(running, calls)
        elif self._line and not self._line[0].begun and self.lasts(running):
            self._line[0].may_begin()  # so that no more than to send it is left when the running one has returned

    def let_go(self) -> None:
        """The running step takes longer than was thought: others may make the next one meanwhile."""
        if self._line and not self._line[0].begun:
            self._line[0].unclaim()

    def _send(self, running: Action, actions: list[Action]) -> None:
        """Send the calls of several, behind that of the running one; but not of those whose result was made meanwhile, and of
        none after one."""
        made = self.run.workspace.made([one.pending.key for one in actions])
        free = list(itertools.takewhile(lambda one: one.pending.key not in made, actions))
        if free:
            self._begin(running, free)
        for one in actions:
            if not one.begun:
                one.unclaim()

    def _begin(self, running: Action, actions: list[Action]) -> None:
        calls = [(one.step, one.call_in(ONLY)) for one in actions]
        self.run.executors.begin_behind((running.step, running.call_in(ONLY)), calls)

    def _next(self, name: str) -> Action | None:
        """The action of the step that follows `name`, made ready to run; None where it must be decided about at its turn."""
        run = self.run
        after = self._following.get(name, "")
        pending = self._foreseen(after) if self.wanted is not None and self.wanted(after) else None
        if pending is None:
            return None
        step = run.step(after)
        action = run.action(step, pending)
        action.forced = run.is_forced(step)
        if action.prepare() is not None:
            action.release()  # told at its turn
            return None
        run.pending[after] = pending
        return action

    def _foreseen(self, name: str) -> Pending | None:
        """What will be done for a step whose turn is still to come; None where it must be decided about then.

        What is not to be run is decided again, since what it relies on may be gone. So is what reads a file that was written to
        before its call began: the worker looks.
        """
        run = self.run
        if not name or name in run.marks or name in run.pending or name in run.outcomes or not run.ready(name):
            return None
        step = run.step(name)
        if step.fan is not None:
            return None
        self.looking, self._room = get_ident(), _READ
        try:
            pending = pending_of(run, name, run.is_forced(step))
        except Exception:  # noqa: BLE001 - told at its turn, whatever it is; the running step has no part in it
            return None
        finally:
            self.looking = 0
        wrong = pending.failure is not None or pending.skip
        return None if wrong or pending.decision.verdict is not Verdict.RUN else pending

    def digest(self, path: str) -> tuple[Stamp, str]:
        """As in Known, before the step's turn. Raises TooLong where that takes long: who runs must be heard meanwhile."""
        found = self.run.workspace.files.digest(path, self._room)
        self._room -= found[0].size + _OPENED
        return found

    def hand_on(self) -> None:
        """The function of the running step returned: the next one is called before the result is stored."""
        if self._line:
            self._line[0].go_on()

    def runs(self, name: str) -> bool:
        """Whether the step is next, and its call on its way."""
        return bool(self._line) and self._line[0].step.id == name and self._line[0].begun

    def take(self, name: str) -> Action | None:
        """The step's action, if it was made. Where another step's turn came than was thought, those that were begun have the
        only worker, and are brought to their end first."""
        line = self._line
        while line and line[0].step.id != name:
            first = line[0]
            if first.begun:
                self.early[first.step.id] = self.run.perform(first.step.id)  # and the next one may be begun by then
            if line and line[0] is first:  # not begun, or the run was asked to end
                self._give_up(line.popleft())
        return line.popleft() if line else None

    def drop(self) -> None:
        """The run is over: what was begun and never had its turn is ended. Idempotent."""
        if any(action.begun for action in self._line):
            self.run.executors.cancel()
        while self._line:
            self._give_up(self._line.popleft())

    def _give_up(self, action: Action) -> None:
        self.run.pending.pop(action.step.id, None)
        action.unclaim()
        action.release()
