"""Who hears of a run, and in which thread."""

from __future__ import annotations

import threading

from wfe.core.outcome import Event, Note
from wfe.engine.telling import Telling


def test_who_holds_a_claim_hears_nothing_but_his_own() -> None:
    """What another thread told is heard in one that holds nothing: it may lead to a run of the very step whose claim is held."""
    heard: list[str] = []

    class Own:
        def hear(self, event: Event) -> None:
            assert isinstance(event, Note)
            heard.append(event.message)
            if event.message == "first":
                other = threading.Thread(target=telling.tell, args=(Note("another's"),))
                other.start()
                other.join()  # it does not wait for this one

    telling = Telling([Own()], lambda: None)
    telling.tell(Note("first"), held=True)
    assert heard == ["first"]
    telling.tell(Note("second"), held=True)
    assert heard == ["first"]  # in their order
    telling.tell(None)
    assert heard == ["first", "another's", "second"]
    telling.tell(Note("third"), held=True)
    assert heard[-1] == "third"
