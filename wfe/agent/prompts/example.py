"""Count the words of a text."""

from __future__ import annotations

from collections import Counter
from typing import Any

from wfe import workflow_node


@workflow_node(outputs={"total": int, "most_common": list[dict[str, Any]]})
def count_words(text: str, top: int) -> dict[str, Any]:
    """The number of words, and the `top` most frequent ones with their counts, ties in order of appearance."""
    if top < 0:
        raise ValueError(f"top must not be negative, got {top}")
    counts = Counter(word.strip(".,;:!?").lower() for word in text.split())
    counts.pop("", None)
    return {
        "total": sum(counts.values()),
        "most_common": [{"word": word, "count": count} for word, count in counts.most_common(top)],
    }
