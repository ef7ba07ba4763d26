"""A plan that is written down and read back is the same plan."""

from __future__ import annotations

import marshal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.core.plan import Plan
from wfe.core.step import Binding, Fan, Options, Step
from wfe.engine.index import FAN, LONG, PLAIN, Index

NAMES = st.text("abc_0", min_size=1, max_size=4)
TRAILS = st.lists(NAMES | st.integers(0, 9), max_size=3).map(tuple)
REFS = st.lists(st.tuples(TRAILS, NAMES, TRAILS), max_size=2).map(tuple)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
BINDINGS = st.builds(
    Binding, st.sampled_from(["value", "file", "output"]), JSON, REFS, st.booleans(), st.booleans(), st.booleans()
)
OPTIONS = st.builds(
    Options,
    st.sampled_from(["auto", "never"]),
    st.none() | st.integers(),
    st.none() | st.floats(1, 9),
    st.none() | NAMES,
    st.integers(0, 3) | st.just({"count": 1, "on": ["OSError"]}),
    st.none() | st.floats(1, 9),
    st.lists(st.tuples(NAMES, st.floats(1, 9) | NAMES), max_size=2).map(tuple),
)
INNER = st.tuples(JSON, REFS, NAMES, NAMES)
STEPS = st.builds(
    Step,
    id=NAMES,
    function=NAMES,
    code=NAMES,
    inputs=st.dictionaries(NAMES, BINDINGS, max_size=3),
    outputs=st.none() | st.dictionaries(NAMES, NAMES, max_size=2),
    options=OPTIONS,
    environment=NAMES,
    when=st.none() | st.builds(Binding, st.just("when"), NAMES, REFS),
    fan=st.none() | st.builds(Fan, JSON, REFS, NAMES, NAMES, st.none() | INNER),
    description=st.text(max_size=5),
    module_files=st.lists(NAMES, max_size=2).map(tuple),
)


@given(st.lists(STEPS, max_size=4, unique_by=lambda step: step.id), st.dictionaries(NAMES, JSON, max_size=2))
@settings(max_examples=60)
def test_an_index_comes_back_as_it_was(steps: list[Step], params: dict[str, Any]) -> None:
    chained = {}
    for step in steps:
        chained[step.id] = step._replace(needs=tuple(chained)[-1:])
    index = Index.of(Plan("w", "title", "text", chained, params, 3, {"gpu": 1}, 2))
    found = Index.unpack(marshal.loads(marshal.dumps(index.pack(), 4)))
    assert (found.ids, found.statics, found.needs, found.files, found.plain) == (
        index.ids, index.statics, index.needs, index.files, index.plain,
    )  # fmt: skip
    assert dict(found.plan.steps) == chained and list(found.plan.steps) == list(chained)
    assert (found.plan.params, found.plan.max_parallel, found.plan.functions) == (params, 3, 2)
    for step in chained.values():
        long = step.options.cache != "auto" or step.options.ttl is not None or step.when is not None
        assert index.plain[index.ids.index(step.id)] == (LONG if long else FAN if step.fan else PLAIN)
        assert found.plan.steps[step.id].static == step.static
