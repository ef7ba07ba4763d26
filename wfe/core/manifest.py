"""What goes into an action key: a list of (part, text), hashed for the key and compared for the explanation.

One walk serves both, so that the reason that is shown is the reason that rebuilt. Knows no step id: renaming a step
rebuilds nothing (but for a step that is never cached: its result is for nobody else). Texts are exact for short values
and digests for long ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from wfe.core.digest import canonical, digest
from wfe.core.outcome import Reason
from wfe.core.result import Result
from wfe.core.step import Step

FORMAT: Final = "1"
_LONGEST: Final = 160

_NONE_YET: Final = (Reason("it has no result yet"),)

Manifest = tuple[tuple[str, str], ...]


def value_text(result: Result) -> str:
    """A value in a manifest. No JSON text starts with #, so a digest is never taken for a value."""
    if not result.told:
        text = result.text()
        short = len(text) <= _LONGEST and not result.artifacts
        result.told = text if short else f"#{digest(text.encode('utf-8', 'surrogatepass'))} ({shape(result)})"
    return result.told


def shape(result: Result) -> str:
    """A value in a few words: `float32[640x640x3]`, `list of 12`, `text of 3,000`."""
    value = result.value
    if value is None and len(result.artifacts) == 1:
        return result.artifacts[0].kind
    if isinstance(value, list):
        return f"list of {len(value)}"
    if isinstance(value, dict):
        return "object with " + (
            ", ".join(list(value)[:6]) + (" ..." if len(value) > 6 else "") if value else "nothing"
        )
    return f"text of {len(value):,} characters" if isinstance(value, str) else type(value).__name__


def manifest_of(step: Step, inputs: Iterable[tuple[str, str]], workflow: str = "") -> Manifest:
    """The manifest of a step of a workflow whose inputs came out as `inputs` (parameter, text)."""
    parts = [("format", FORMAT), ("function", step.function), ("code", step.code)]
    if step.environment:
        parts.append(("environment", step.environment))
    if step.options.seed is not None:
        parts.append(("seed", str(step.options.seed)))
    if step.options.cache == "never":
        # Else a cached step of the same function and inputs would change with each of its results.
        parts.append(("cache", f"never, for {workflow}:{step.id}"))
    if step.options.device is not None:
        parts.append(("device", step.options.device))
    if step.outputs is not None:
        parts.append(("outputs", _outputs(tuple(step.outputs.items()))))
    parts.extend([(f"input '{name}'", text) for name, text in sorted(inputs)])
    return tuple(parts)


@lru_cache(maxsize=64)
def _outputs(declared: tuple[tuple[str, str], ...]) -> str:
    return canonical(dict(sorted(declared)))


def key_of(manifest: str) -> str:
    """The action key: the digest of a manifest as canonical JSON."""
    return digest(manifest.encode("utf-8", "surrogatepass"))


def diff(
    old: Manifest | None, new: Manifest, parts: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[Reason, ...]:
    """What differs between two manifests, old value -> new value; a single reason when there is no old one.

    parts: code digest -> its parts (`nodes.blur:KERNEL` -> digest), to name what changed in the code.
    """
    if old is None:
        return _NONE_YET
    before, after = dict(old), dict(new)
    found = []
    for part in dict.fromkeys([*after, *before]):
        one, two = before.get(part), after.get(part)
        if one == two:
            continue
        if part == "code" and parts and one and two and one in parts and two in parts:
            named = _code(parts[one], parts[two])
            found.append(Reason(f"code of {named}" if named else "code"))
        else:
            found.append(Reason(part, _short(one), _short(two)))
    return tuple(found)


def _code(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    shown = ", ".join(name.removeprefix("nodes.") for name in changed[:4])
    return shown + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")


def _short(text: str | None) -> str:
    if text is None:
        return ""
    if text.startswith("#") or " #" in text[:12]:
        head, _, rest = text.partition("#")
        return f"{head}#{rest[:8]}{rest[32:]}"
    return text if len(text) <= 60 else text[:57] + "..."
