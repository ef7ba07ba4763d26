"""What a gate finds wrong, in the form in which it goes back to the model and into a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that is wrong with a draft. `place`: "code:12", "test:3", "answer.examples[0]". Texts for the model."""

    place: str
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: expected {self.expected}; got {self.got}" + (f"; {self.hint}" if self.hint else "")

    def plain(self) -> dict[str, str]:
        return asdict(self)


class Unusable(Exception):
    """An answer that cannot even be judged as a draft (no JSON, not of the schema, cut off, running in circles)."""

    def __init__(self, verdicts: Sequence[Verdict], text: str = "") -> None:
        super().__init__("\n".join(map(str, verdicts)))
        self.verdicts = tuple(verdicts)
        self.text = text
