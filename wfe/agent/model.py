"""A language model as the rest of wfe sees it: questions with a JSON Schema, answers that are checked again here.

Knows no provider. Answers are text of unknown quality until `read` has judged them: a schema given to a provider is a
request, not a promise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wfe.agent.events import Tell
from wfe.agent.verdict import Unusable, Verdict
from wfe.errors import EnvironmentFailure

DEFAULT_MODEL = "qwen2.5-coder:7b"
LONGEST = 60_000
"""Characters after which an answer is stopped: three times the longest good one seen, far below a context's end."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


class ModelFailure(EnvironmentFailure):
    """The model cannot be reached or used: no answer was judged. The hint names the command that mends it."""


class Model(Protocol):
    """Something that answers questions. `name` and `seed` are part of what a generated file says of its origin."""

    name: str
    seed: int

    def prepare(self, tell: Tell, pull: bool = False) -> None:
        """Make sure that it can be asked; `pull`: fetch it when it is not there. Raises ModelFailure."""
        ...

    def digest(self) -> str:
        """Which weights it has, so that another model under the same name counts as another. Raises ModelFailure."""
        ...

    def ask(self, subject: str, messages: Sequence[Message], schema: Mapping[str, Any], tell: Tell) -> str:
        """The text of the answer, streamed to `tell` as Heard. Raises Unusable (stopped), ModelFailure (not
        reached).
        """
        ...


def read(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value of an answer, valid under `schema`. Raises Unusable that says all that is wrong, in the gate's
    form.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        fenced = "```" in text
        raise Unusable(
            [
                Verdict(
                    "answer",
                    "one JSON object and nothing else",
                    f"{_short(text)} ({error})",
                    "no prose and no ``` fences around the JSON" if fenced else "",
                )
            ],
            text,
        ) from error
    import jsonschema  # 140 ms to import, and only a generation needs it

    validator = jsonschema.Draft202012Validator(dict(schema))
    wrong = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    if wrong:
        raise Unusable([_verdict(error) for error in wrong[:8]], text)
    return value


def _verdict(error: Any) -> Verdict:
    place = "answer" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return Verdict(place, f"{error.validator}: {_short(json.dumps(error.validator_value))}", _short(error.message))


def _short(text: str, limit: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Watch:
    """Looks at an answer while it comes and says when going on is useless: too long, or the same thing again and
    again.
    """

    # A block of code may repeat a line a few times; 2,400 characters of one period of at most 600 is no code.
    WINDOW = 2400
    PERIOD = 600

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._looked = 0

    def hear(self, piece: str) -> str:
        """Why to stop now; empty to go on."""
        self._parts.append(piece)
        self._length += len(piece)
        if self._length > LONGEST:
            return f"an answer of more than {LONGEST} characters"
        if self._length - self._looked < 256 or self._length < self.WINDOW:
            return ""
        self._looked = self._length
        text = self.text
        if (period := _period(text[-self.WINDOW :])) <= self.PERIOD:
            return f"an answer that repeats {_short(repr(text[-period:]), 80)} without end"
        return ""

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""


def _period(text: str) -> int:
    """The smallest p with text[i] == text[i - p] for all i >= p (by the failure function of Knuth, Morris and
    Pratt).
    """
    failure = [0] * len(text)
    length = 0
    for at in range(1, len(text)):
        while length and text[at] != text[length]:
            length = failure[length - 1]
        if text[at] == text[length]:
            length += 1
        failure[at] = length
    return len(text) - length
