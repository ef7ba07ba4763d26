"""Tells the listeners of a run its events: in order, one at a time, from whichever thread they come.

Nobody who tells waits for a listener that is busy in another thread: that one may be running the very step himself that the
teller holds the claim of, and both would wait for ever. What is told meanwhile is heard after; and for the same reason not in
a thread that holds a claim, where somebody hears who may run a step. Knows listeners; does not know
steps or results.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from wfe.core.outcome import Event, Listener


class Telling:
    """listeners: who hears; may be changed before the first event. settle: brings what was recorded to where a listener may
    look for it."""

    def __init__(self, listeners: Sequence[Listener], settle: Callable[[], object]) -> None:
        self.listeners = list(listeners)
        self._settle = settle
        # How each of them hears, and whether he may look for results then. To find out takes 3 us, a hundredth of a short step.
        self._hearing: list[tuple[Callable[[Event], None], bool]] = []
        self._strange = False  # whether one of them may run something himself
        self._told: deque[Event | None] = deque()  # what nobody has heard yet; None for `rest`
        self._turn = threading.Lock()  # of the thread in which the listeners hear

    def tell(self, event: Event | None, held: bool = False) -> None:
        """Let every listener hear an event, before this returns or, where another thread is at it, soon; None: that there is
        nothing to do for a moment. held: this thread holds the claim of a step. Raises what a listener raises."""
        self._told.append(event)
        if held:
            self._meet()
            if self._strange:
                self._own(event)
                return
        # Asked again after each turn: whoever has it may have seen that there was nothing more just before this came.
        while self._told and self._turn.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._turn.release()

    def _meet(self) -> None:
        """Find out about the listeners, once."""
        if len(self._hearing) != len(self.listeners):
            self._strange = any(map(is_stranger, self.listeners))
            self._hearing = [(one.hear, is_stranger(one) or getattr(one, "prompt", False)) for one in self.listeners]

    def _own(self, event: Event | None) -> None:
        """Hear this event alone, if it is the next. What others have told is heard when somebody tells who holds nothing."""
        if self._turn.acquire(blocking=False):
            try:
                if self._told and self._told[0] is event:
                    self._hear(self._told.popleft())
            finally:
                self._turn.release()

    def end(self, event: Event) -> None:
        """The same, of the last event; what was told before has been heard when this returns."""
        self._told.append(event)
        with self._turn:
            self._drain()

    def _drain(self) -> None:
        while self._told:
            self._hear(self._told.popleft())

    def _hear(self, event: Event | None) -> None:
        if event is None:
            for listener in self.listeners:
                if not is_stranger(listener):
                    listener.rest()  # type: ignore[attr-defined]
            return
        self._meet()
        for hear, looks in self._hearing:
            if looks:
                self._settle()
            hear(event)


def is_stranger(listener: Listener) -> bool:
    """Whether he may look for what is done when he hears of it, or run something himself."""
    return not hasattr(listener, "rest")
