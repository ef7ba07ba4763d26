"""The step after the running one, where steps are done one at a time: decided and made ready while the function of this
one runs, and called before the result of this one is stored. Worker and engine are then busy at the same time.

Knows the order of the steps and at most one action. Does not perform it: that is the run's, when its turn comes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wfe.core.outcome import Outcome
from wfe.core.rebuild import Verdict
from wfe.engine.decide import pending_of
from wfe.engine.gate import Place

if TYPE_CHECKING:
    from wfe.engine.action import Action
    from wfe.engine.run import Run


class Ahead:
    """wanted: whether a step will surely have its turn, as far as the scheduler knows; None where several run at once.
    looking: whether a step is being decided about before its turn, when nothing may be run for it: the running step has
    the only place. early: what became of steps that were done before their turn."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wanted: Callable[[str], bool] | None = None
        self.looking = False
        self.early: dict[str, Outcome] = {}
        self._following: dict[str, str] = {}
        self._action: Action | None = None

    def follow(self, names: Iterable[str]) -> None:
        """The turns of these steps come one after another."""
        if self.wanted is not None:
            self._following.update(itertools.pairwise(names))

    def look(self, name: str) -> None:
        """While the function of a step runs elsewhere: decide about the next one, if it does not need this one.

        What is to be run is made ready; anything else is decided again at its turn, since what it relies on may be gone by
        then. A file is looked at only at its step's turn: this step may be writing it.
        """
        from wfe.engine.action import Action

        run = self.run
        after = self._following.get(name, "")
        if not after or self._action is not None or after in run.marks or after in run.pending:
            return
        if self.wanted is None or not self.wanted(after) or not run.ready(after):
            return
        step = run.step(after)
        if step.fan is not None or any(one.kind == "file" for one in step.inputs.values()):
            return
        self.looking = True
        try:
            pending = pending_of(run, after, run.is_forced(step))
        except Exception:  # noqa: BLE001 - told at its turn, whatever it is; the running step has no part in it
            return
        finally:
            self.looking = False
        if pending.decision.verdict is Verdict.RUN and pending.failure is None and not pending.skip:
            action = Action(run, step, pending)
            action.forced = run.is_forced(step)
            if action.prepare() is not None:
                action.release()  # told at its turn
                return
            run.pending[after] = pending
            self._action = action

    def hand_on(self, place: Place) -> None:
        """The function of the step that has this place returned: the next one may have it while the result is stored."""
        action = self._action
        if action is not None and action.place is None:
            action.place = self.run.place(action)
            action.place.queue()
        place.hand_on()

    def take(self, name: str) -> Action | None:
        """The step's action, if it was made. Where another step's turn came than was thought, the one that was begun has the
        only place and the only worker, and is brought to its end first."""
        while (action := self._action) is not None and action.step.id != name:
            if action.begun:
                self.early[action.step.id] = self.run.perform(action.step.id)  # and the next one may be begun by then
            if self._action is action:  # not begun, or the run was asked to end
                self._action = None
                self._give_up(action)
        self._action = None
        return action

    def drop(self) -> None:
        """The run is over: what was begun and never had its turn is ended. Idempotent."""
        action, self._action = self._action, None
        if action is not None:
            if action.begun:
                self.run.executors.cancel()
            self._give_up(action)

    def _give_up(self, action: Action) -> None:
        self.run.pending.pop(action.step.id, None)
        action.unclaim()
        if action.place is not None:
            action.place.leave()
        action.release()
