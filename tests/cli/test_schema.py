"""wfe/schema.json and the parser accept the same documents."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.core.parse import parse
from wfe.errors import WorkflowError

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "wfe" / "schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)

# JSON Schema takes 1.0 for an integer and Python's JSON does not; a document writes integers as integers.
numbers = st.integers(-3, 5) | st.sampled_from([0.5, -0.5, 2.5])
texts = st.sampled_from(["a", "b", "item", "x-y", "1a", "auto", "never", "always", "string", "4GB", "", "${p}"])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=4
)


def part(**known: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these keys; now and then one of another kind, or an unknown key."""
    entries = {key: st.one_of(strategy, strategy, strategy, values) for key, strategy in known.items()}
    good = st.fixed_dictionaries({}, optional=entries)
    extra = st.dictionaries(st.sampled_from(["x-note", "$comment", "_comment", "nodez", "idd"]), values, max_size=1)
    return st.builds(lambda one, more: {**one, **more}, good, st.one_of(st.just({}), st.just({}), extra))


amounts = st.dictionaries(st.sampled_from(["gpu", "memory"]), numbers | st.just("4GB"), max_size=2)
retries = st.integers(0, 3) | part(
    count=st.integers(0, 3),
    delay=st.sampled_from([0, 0.5, 2]),
    factor=st.sampled_from([1, 2.5, 0.5]),
    limit=st.integers(0, 9),
    on=st.lists(st.just("OSError"), max_size=2),
)
nodes = part(
    id=st.sampled_from(["a", "b-c", "item", "1x", "_y", "z" * 100, "z" * 101]),
    function=st.just("m.f"),
    include=st.just("other"),
    description=texts,
    depends_on=st.lists(st.just("a"), max_size=2),
    inputs=st.dictionaries(texts, scalars, max_size=2),
    when=st.just("$a.b > 0"),
    cache=st.sampled_from(["auto", "never", "always"]),
    seed=st.integers(0, 3),
    ttl=numbers,
    device=texts,
    environment=texts,
    isolation_mode=st.sampled_from(["auto", "always", "never", "some"]),
    resources=amounts,
    retries=retries,
    timeout=numbers | st.sampled_from([1e15, 1e14, 10**400]),
)
params = st.dictionaries(
    st.sampled_from(["p", "q_1", "1p", "workflow", "a-b"]),
    values
    | part(
        default=values,
        type=st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "text"]),
        description=texts,
        required=st.booleans(),
    ),
    max_size=2,
)
heads = part(
    name=texts,
    description=texts,
    version=texts,
    environments=texts,
    settings=part(max_parallel_nodes=st.integers(-1, 3), pools=amounts),
    params=params,
)
with_ids = nodes.map(lambda one: {"id": "a", "function": "m.f", **one} if isinstance(one, dict) else one)
documents = st.builds(
    lambda more, head, found: {**more, **({"workflow": head} if head is not None else {}), "nodes": found},
    part(**{"$schema": texts}),
    st.none() | heads,
    st.lists(with_ids | nodes, max_size=1),
)


def parses(document: Any) -> bool:
    try:
        parse(json.dumps(document).encode(), "w.json", "w")
    except WorkflowError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(documents)
def test_schema_and_parser_accept_the_same(document: Any) -> None:
    problems = [error.message for error in VALID.iter_errors(document)]
    assert parses(document) == (not problems), problems


@pytest.mark.parametrize(
    "more",
    [
        {"include": "other", "foreach": [1]},
        {"include": "other", "cache": "never"},
        {"include": "other", "environment": "e"},
        {"function": "m.f", "foreach": [1], "matrix": {"x": [1]}},
    ],
)
def test_keys_that_do_not_go_together(more: dict[str, Any]) -> None:
    """They were taken and had no effect."""
    document = {"nodes": [{"id": "a", **more}]}
    assert not parses(document) and not VALID.is_valid(document)
    for key in ("foreach", "cache", "environment"):
        document["nodes"][0].pop(key, None)
    assert parses(document) and VALID.is_valid(document)


PLAIN: dict[str, Any] = {"nodes": [{"id": "a", "function": "m.f"}]}


@pytest.mark.parametrize("document", [[], {}, None, "text", {"nodes": {}}, {"nodes": [3]}, {**PLAIN, "workflow": []}])
def test_documents_that_are_none(document: Any) -> None:
    assert not parses(document) and not VALID.is_valid(document)


@pytest.mark.parametrize(
    ("foreach", "good"),
    [
        ([1, 2], True),
        ("$load.items", True),
        ({"in": [1], "as": "x", "key": "id"}, True),
        ({"as": "x"}, False),
        ({"in": [1], "as": "1x"}, False),
        ({"in": [1], "by": 2}, False),
        (3, False),
    ],
)
def test_foreach_as_the_plan_takes_it(foreach: Any, good: bool, wfe_project) -> None:
    wfe_project.node(
        "m",
        "from wfe import workflow_node\n\n\n@workflow_node()\ndef f(n: int = 0) -> dict:\n    return {'items': [1]}\n",
    )
    nodes = [{"id": "load", "function": "m.f"}, {"id": "a", "function": "m.f", "foreach": foreach}]
    wfe_project.workflow("w", nodes=nodes)
    assert VALID.is_valid({"nodes": nodes}) == good
    if good:
        assert wfe_project.run("w").ok
    else:
        with pytest.raises(WorkflowError):
            wfe_project.run("w")


def test_every_key_is_described() -> None:
    plain = {"version", "workflow", "description"}
    for place in ("workflow", "node"):
        for key, found in SCHEMA["$defs"][place]["properties"].items():
            assert "description" in found or key in plain, (place, key)


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.name)
def test_the_shipped_workflows_are_valid_and_name_the_schema(path: Path) -> None:
    if path.name.endswith(".lock.json"):
        pytest.skip("the lock of environments")
    document = json.loads(path.read_text())
    assert [error.message for error in VALID.iter_errors(document)] == []
    assert document["$schema"] == "../wfe/schema.json"
    broken = copy.deepcopy(document)
    broken["nodes"][0]["functoin"] = "x"
    assert not VALID.is_valid(broken)
