"""Decide where each node runs: in the main environment, in an isolated one that it may share, or not on this machine.

Pure: what is installed and what fits together are given. The one question that only a resolver can answer ("can these
requirements be one environment?") is put to an oracle. Knows no file, no process and no uv.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import Requirement

from wfe.core.requirement import python_specifier, requirement
from wfe.env import need as needs_
from wfe.env import variants
from wfe.env.declared import Declared, apply
from wfe.env.installed import Installed
from wfe.env.need import Isolation, Need, Spec
from wfe.env.split import Oracle, split
from wfe.errors import EnvironmentFailure, Place, Problem, WorkflowError


@dataclass(frozen=True, slots=True)
class Main:
    """The node runs in the main environment's worker; `reason` is one sentence for people."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Isolated:
    """The node runs in an environment of its own, or one that it shares with `beside`; `name` as declared, or empty.

    missing: names of the distributions that the main environment would have had to have.
    """

    node: str
    reason: str
    spec: Spec
    beside: tuple[str, ...] = ()
    name: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """The node cannot run on this machine at all. The caller chooses: a skipped step, or `failure()`."""

    node: str
    reason: str
    hint: str = ""
    place: Place = field(default_factory=Place)

    def failure(self) -> EnvironmentFailure:
        """The error for a caller that does not want to skip the node."""
        return EnvironmentFailure(Problem(f"node {self.node!r}: {self.reason}", self.place, self.hint))


Placement = Main | Isolated | Absent

NO_WHEEL = "no wheel: "
"""How an oracle's answer starts when a distribution has wheels, but none for this platform."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A need with its texts parsed: its Spec, why the main environment does not do (empty: it does), what it lacks."""

    need: Need
    spec: Spec
    unmet: str
    missing: tuple[str, ...]
    mode: Isolation


def place(
    needs: Iterable[Need], installed: Installed, oracle: Oracle, declared: Mapping[str, Declared] | None = None
) -> dict[str, Placement]:
    """Where each node runs, by node name in the order of `needs`.

    auto: in the main environment when it meets the requirements (for a named environment: those of the whole group).
    Nodes that are left and name no environment are split into the fewest groups that the oracle lets be one
    environment. Raises WorkflowError for bad texts, and EnvironmentFailure with every problem: `never` and unmet, a named
    environment that cannot be.
    """
    known = declared or {}
    asked = apply(needs, known)
    problems = needs_.check(asked)
    if problems:
        raise WorkflowError(problems)
    result: dict[str, Placement] = {need.node: Main(need.node, "") for need in asked}
    named: dict[str, list[_Wish]] = defaultdict(list)
    free: list[_Wish] = []
    for need in asked:
        absent = _absent(need, installed)
        if absent:
            result[need.node] = absent
            continue
        wish = _wish(need, installed, known.get(need.environment or ""))
        rival = _rival_in(wish.spec, installed)
        if rival:
            problems.append(Problem(f"node {need.node!r} asks for both: {rival}", need.place, "ask for one of the two"))
        elif need.environment:
            named[need.environment].append(wish)
        else:
            free.append(wish)
    for name, wishes in named.items():
        result |= _named(name, wishes, installed, oracle, known.get(name), problems)
    result |= _free(free, oracle, problems)
    if problems:
        raise EnvironmentFailure(problems)
    return result


def _absent(need: Need, installed: Installed) -> Absent | None:
    platform = installed.markers.get("sys_platform", "")
    here = variants.PLATFORM_NAMES.get(platform, platform)
    parsed = [requirement(text) for text in need.requirements]
    kept = [one for one in parsed if installed.applies(one)]
    for one in kept:
        only = variants.PLATFORM_ONLY.get(one.name)
        if only and only != platform:
            there = variants.PLATFORM_NAMES[only]
            return Absent(
                need.node,
                f"it asks for {one.name}, which exists for {there} only, and this is {here}",
                f"run it on {there}, or give the workflow a node for {here}",
                need.place,
            )
    for one in parsed:
        # A marker that does not hold usually just takes a requirement away. But who asks for a variant ("the DirectML
        # build, on Windows") and for no sibling of it here has no module to import under that name.
        family = variants.family(one.name)
        if one in kept or family is None or any(variants.family(other.name) is family for other in kept):
            continue
        if any(name in installed.held for name in family.members):
            reason = f"it asks for {one.name} only where {one.marker}, which does not hold on this {here}"
            return Absent(need.node, reason, f"add a requirement that holds on {here}", need.place)
    return None


def _wish(need: Need, installed: Installed, home: Declared | None) -> _Wish:
    asked = (*need.requirements, *(home.requirements if home else ()))
    texts = [text for text in asked if not _elsewhere(text, installed)]
    spec = needs_.spec(texts, need.python, home.exclude if home else ())
    if home and home.python:
        spec = needs_.union((spec, needs_.spec((), home.python)))
    reasons, missing = [], []
    if spec.python and installed.python not in python_specifier(spec.python):
        reasons.append(
            f"the main environment has Python {installed.python}, but the node asks for Python {spec.python}"
        )
    for text in spec.requirements:
        why = installed.unmet(Requirement(text))
        if why:
            reasons.append(why)
            missing.append(Requirement(text).name)
    mode = need.isolation
    if home and home.isolation and mode is Isolation.AUTO:
        mode = home.isolation
    return _Wish(need, spec, "; ".join(reasons), tuple(sorted(set(missing))), mode)


def _elsewhere(text: str, installed: Installed) -> bool:
    # What another platform's marker rules out must not count as asked for here, or `opencv-python; on Windows` would
    # keep a node apart from those with the headless build. Markers about Python itself are left to uv: the isolated
    # environment's Python may be another one.
    one = requirement(text)
    about_python = any(word in str(one.marker) for word in ("python_", "implementation_", "extra"))
    return one.marker is not None and not about_python and not installed.applies(one)


def _rival_in(spec: Spec, installed: Installed) -> str:
    present = [one.name for one in map(Requirement, spec.requirements) if installed.applies(one)]
    for at, name in enumerate(present):
        for other in present[:at]:
            if variants.clash(name, other):
                return f"{other} and {name} take the same import name"
    return ""


def _settled(wish: _Wish, problems: list[Problem]) -> Main | None:
    """The placement of a node about which nothing is left to decide, or None: it is for an isolated environment."""
    node = wish.need.node
    if wish.mode is Isolation.ALWAYS:
        return None
    if not wish.unmet:
        asked = ", ".join(wish.spec.requirements)
        return Main(node, f"the main environment meets {asked}" if asked else "it asks for nothing of its own")
    if wish.mode is Isolation.NEVER:
        fact = f"node {node!r} must run in the main environment (isolation_mode='never'), but {wish.unmet}"
        hint = "install it there, or set isolation_mode='auto'"
        problems.append(Problem(fact, wish.need.place, hint))
        return Main(node, wish.unmet)
    return None


def _why(wish: _Wish) -> str:
    if wish.mode is Isolation.ALWAYS:
        return "isolation_mode is 'always'"
    return wish.unmet


def _named(
    name: str,
    wishes: Sequence[_Wish],
    installed: Installed,
    oracle: Oracle,
    home: Declared | None,
    problems: list[Problem],
) -> dict[str, Placement]:
    nodes = [wish.need.node for wish in wishes]
    modes = {wish.mode for wish in wishes}
    if home and home.isolation:
        modes.add(home.isolation)
    if {Isolation.ALWAYS, Isolation.NEVER} <= modes:
        fact = f"environment {name!r} is wanted both with isolation_mode 'always' and 'never' ({', '.join(nodes)})"
        problems.append(Problem(fact, wishes[0].need.place, "give its nodes one isolation_mode"))
        return {}
    whole = needs_.union(wish.spec for wish in wishes)
    first = wishes[0]
    together = _Wish(first.need, whole, "; ".join(sorted({w.unmet for w in wishes} - {""})), first.missing, first.mode)
    if Isolation.NEVER in modes and together.unmet:
        fact = f"environment {name!r} ({', '.join(nodes)}) must be the main one (isolation_mode='never'), "
        fact += f"but {together.unmet}"
        problems.append(Problem(fact, first.need.place, "install it there, or set isolation_mode='auto'"))
        return {}
    if Isolation.ALWAYS not in modes and not together.unmet:
        settled = {wish.need.node: _settled(wish, problems) for wish in wishes}
        return {node: found or Main(node, "") for node, found in settled.items()}
    fact = _rival_in(whole, installed) or oracle(whole)
    if fact:
        if fact.startswith(NO_WHEEL):
            return {wish.need.node: _no_wheel(wish, fact) for wish in wishes}
        who = "node" if len(nodes) == 1 else "nodes"
        message = f"environment {name!r} ({who} {', '.join(nodes)}) of {whole} cannot be made: {fact}"
        problems.append(
            Problem(message, first.need.place, "let the nodes name different environments" if nodes[1:] else "")
        )
        return {}
    missing = tuple(sorted({one for wish in wishes for one in wish.missing}))
    result: dict[str, Placement] = {}
    for wish in wishes:
        beside = tuple(node for node in nodes if node != wish.need.node)
        why = _why(wish) or ("another node of its environment needs it" if beside else "isolation_mode is 'always'")
        if Isolation.ALWAYS in modes:
            why = "isolation_mode is 'always'"
        result[wish.need.node] = Isolated(wish.need.node, f"{why}; environment {name!r}", whole, beside, name, missing)
    return result


def _free(wishes: Iterable[_Wish], oracle: Oracle, problems: list[Problem]) -> dict[str, Placement]:
    result: dict[str, Placement] = {}
    left: list[_Wish] = []
    for wish in wishes:
        settled = _settled(wish, problems)
        if settled:
            result[wish.need.node] = settled
        else:
            left.append(wish)
    reasons: dict[Spec, str] = {}

    def ask(spec: Spec) -> str:
        reasons[spec] = oracle(spec)
        return reasons[spec]

    groups, alone = split((wish.spec for wish in left), ask)
    apart = _apart(groups, left, reasons)
    for wish in left:
        node = wish.need.node
        if wish.spec in alone:
            fact = alone[wish.spec]
            if fact.startswith(NO_WHEEL):
                result[node] = _no_wheel(wish, fact)
            else:
                message = f"node {node!r}: its environment of {wish.spec} cannot be made: {fact}"
                problems.append(Problem(message, wish.need.place))
            continue
        group = next(group for group in groups if wish.spec in group)
        beside = tuple(other.need.node for other in left if other.spec in group and other.need.node != node)
        missing = tuple(sorted({name for other in left if other.spec in group for name in other.missing}))
        why = (
            _why(wish) + (f"; shares its environment with {', '.join(beside)}" if beside else "") + apart.get(node, "")
        )
        result[node] = Isolated(node, why, needs_.union(group), beside, "", missing)
    return result


def _no_wheel(wish: _Wish, fact: str) -> Absent:
    hint = "run it on a platform that has one, or ask for another package"
    return Absent(wish.need.node, fact.removeprefix(NO_WHEEL), hint, wish.need.place)


def _apart(groups: Sequence[tuple[Spec, ...]], wishes: Sequence[_Wish], reasons: Mapping[Spec, str]) -> dict[str, str]:
    """For each node whose environment is not the only one, a clause that says from whom it is kept apart."""
    result = {}
    for wish in wishes:
        others = [
            other.need.node
            for other in wishes
            if not any(wish.spec in group and other.spec in group for group in groups)
            and any(other.spec in group for group in groups)
            and any(wish.spec in group for group in groups)
        ]
        if others:
            result[wish.need.node] = f"; apart from {', '.join(others)}, whose packages do not go with its own"
    return result
