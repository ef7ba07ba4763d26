"""The rebuilder: what must be done for a step, decided from facts alone.

A constructive-trace rebuilder in the words of "Build Systems a la Carte" (Mokhov, Mitchell, Peyton Jones, 2018): the
trace store maps an action key to the result itself, so going back to an earlier input restores instead of rerunning.
Gathers no fact itself.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from wfe.core.manifest import Manifest, diff
from wfe.core.outcome import Reason


class Verdict(Enum):
    """What must be done for a step."""

    CURRENT = "current"  # the workspace has the result that the key asks for
    RESTORE = "restore"  # the store has it
    RUN = "run"  # it must be made
    UNKNOWN = "unknown"  # not known before a step that it needs has run


class Facts(NamedTuple):
    """What is known of a step when it is decided.

    key: of the manifest now. recorded: the key whose result stands in the workspace ("" none), and its manifest.
    intact: whether every file of that result is unharmed. stored: whether the store has a whole result for `key`.
    age: seconds since that result was made. force: the user asked to run it.
    """

    key: str
    manifest: Manifest
    recorded: str = ""
    before: Manifest | None = None
    intact: bool = False
    stored: bool = False
    age: float = 0.0
    force: bool = False


class Decision(NamedTuple):
    """A verdict and the reasons for it."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()


def decide(facts: Facts, cache: str, ttl: float | None) -> Decision:
    """The verdict on a step with the options `cache` and `ttl` (seconds)."""
    if facts.force:
        return Decision(Verdict.RUN, (Reason("you asked for it"),))
    if cache == "never":
        return Decision(Verdict.RUN, (Reason("it is never cached"),))
    same = facts.recorded == facts.key
    expired = ttl is not None and facts.age > ttl
    if expired and (same or facts.stored):
        return Decision(Verdict.RUN, (Reason(f"its result is older than {ttl:g} s"),))
    if same and facts.intact:
        return Decision(Verdict.CURRENT)
    if same:
        why: tuple[Reason, ...] = (Reason("its result in the workspace was changed or deleted"),)
    elif facts.before is None and facts.stored:
        why = (Reason("the store has its result"),)
    else:
        why = diff(facts.before, facts.manifest)
    return Decision(Verdict.RESTORE if facts.stored else Verdict.RUN, why)
