"""What is written once of inputs, for the manifest, and sent to the worker as it is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from space import Space

from wfe.core.result import Result
from wfe.core.step import Binding, Step
from wfe.engine.inputs import resolve, said_of
from wfe.wire import frames
from wfe.wire.frames import Channel

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


class Nobody:
    """No step before, and no file."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
@example({'"': "$", "a b": 'q"\\', "ok": [1.5, None, True], "n": float("inf")})
@example({"é": "è", "half": "\ud800"})
def test_inputs_are_sent_as_they_are(values: dict[str, Any]) -> None:
    step = Step("s", "n.f", inputs={name: Binding("value", value) for name, value in values.items()})
    inputs = resolve(step, Nobody(), lambda path: Nobody().file)
    said = said_of(inputs)
    assert inputs.tree == values
    if said:
        assert json.loads(said) == values
        frame = frames.pack(frames.CALL, {"module": "m"}, f'"inputs":{said}')
        channel = Channel(-1, -1)
        channel.put(frame)
        assert channel.take() == (frames.CALL, {"module": "m", "inputs": values})
    else:
        assert values == {} or not json.dumps(values, ensure_ascii=False).isascii()


def test_a_part_that_several_read_is_the_same_with_the_same_text() -> None:
    whole = Result({"a": {"b": [1, 2.0]}, "c": "x"})
    assert whole.dig(("a",)) is whole.dig(("a",))
    assert whole.dig(("a",)).text() == whole.dig(("a",)).text() == '{"b":[1,2.0]}'
    assert whole.dig(("a", "b", 1)) == Result(2.0)


def test_odd_names_and_texts_arrive(space: Space) -> None:
    space.nodes(
        """
        @workflow_node()
        def f(plain: str, number: float, **more):
            return {"plain": plain, "number": number, **more}
        """
    )
    given = {"plain": "ä\u2028\"'", "number": 1, "x y": [None, {"k": "$$"}], 'q"': "z", "ü": 2}
    space.workflow([{"id": "s", "function": "n.f", "inputs": given}])
    expected = {**given, "x y": [None, {"k": "$"}]}
    assert space.run(inline=False).values["s"] == expected
    space.workflow([{"id": "s", "function": "n.f", "inputs": {**given, "plain": "a", "ü": 1}}])
    assert space.run(inline=False).values["s"] == {**expected, "plain": "a", "ü": 1}
    del given["ü"]
    space.workflow([{"id": "s", "function": "n.f", "inputs": {**given, "plain": "a"}}])
    assert space.run(inline=False).values["s"] == {**{k: v for k, v in expected.items() if k != "ü"}, "plain": "a"}
