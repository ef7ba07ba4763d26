"""The decision where a node runs: by table, and by properties over drawn needs and clashes. No uv, no disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfe.core.requirement import requirement
from wfe.env import Absent, Declared, Isolated, Isolation, Main, Need, Placement, Spec, place, variants
from wfe.env import need as needs
from wfe.env.installed import Held, Installed
from wfe.env.place import NO_WHEEL
from wfe.env.split import EXACT, split
from wfe.errors import EnvironmentFailure, WorkflowError

LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "implementation_name": "cpython",
    "implementation_version": "3.11.7",
    "platform_python_implementation": "CPython",
    "platform_release": "6",
    "platform_version": "1",
}
WINDOWS = {**LINUX, "sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}


def main(markers: dict[str, str] = LINUX, **held: str) -> Installed:
    return Installed({name.replace("_", "-"): Held(version) for name, version in held.items()}, "3.11.7", markers)


def fits(spec: Spec) -> str:
    del spec
    return ""


def one(need: Need, installed: Installed, oracle: Callable[[Spec], str] = fits) -> Placement:
    return place([need], installed, oracle)[need.node]


SAME = ", which takes the same import name"

TABLE = [
    # requirements, main environment, what becomes of it, the reason
    ((), {}, Main, "it asks for nothing of its own"),
    (("six>=1.16",), {"six": "1.17.0"}, Main, "the main environment meets six>=1.16"),
    (("Six",), {"six": "1.17.0"}, Main, "the main environment meets six"),
    (("six<1.17",), {"six": "1.17.0"}, Isolated, "the main environment has six 1.17.0, but the node asks for six<1.17"),
    (("six",), {}, Isolated, "the main environment does not have six"),
    (("six>=2",), {"six": "2.0rc1"}, Isolated, "the main environment has six 2.0rc1, but the node asks for six>=2"),
    (("torch==2.3.0",), {"torch": "2.3.0+cu121"}, Main, "the main environment meets torch==2.3.0"),
    (
        ("onnxruntime-gpu",),
        {"onnxruntime": "1.32.0"},
        Isolated,
        f"the main environment has onnxruntime 1.32.0, but the node asks for onnxruntime-gpu{SAME}",
    ),
    (("onnxruntime>=1.20",), {"onnxruntime_gpu": "1.22"}, Main, "the main environment meets onnxruntime>=1.20"),
    (
        ("onnxruntime>=1.30",),
        {"onnxruntime_gpu": "1.22"},
        Isolated,
        f"the main environment has onnxruntime-gpu 1.22, but the node asks for onnxruntime>=1.30{SAME}",
    ),
    (("opencv-python-headless",), {"opencv_python": "5.0"}, Main, "the main environment meets opencv-python-headless"),
    (
        ("opencv-python",),
        {"opencv_python_headless": "5.0"},
        Isolated,
        (
            f"the main environment has opencv-python-headless 5.0, but the node asks for opencv-python{SAME}; "
            "opencv-python-headless has no windows (imshow)"
        ),
    ),
    (("psycopg2",), {"psycopg2_binary": "2.9"}, Main, "the main environment meets psycopg2"),
    (("pywin32-thing; sys_platform == 'win32'",), {}, Main, "it asks for nothing of its own"),
    (("tomli; python_version < '3.11'",), {}, Main, 'the main environment meets tomli; python_version < "3.11"'),
]


@pytest.mark.parametrize(("requirements", "held", "kind", "reason"), TABLE)
def test_table(requirements: tuple[str, ...], held: dict[str, str], kind: type, reason: str) -> None:
    found = one(Need("n", requirements), main(**held))
    assert (type(found), found.reason) == (kind, reason)


def test_extras_count() -> None:
    bare = {"foo": Held("1.0", ("bar>=2; extra == 'more'", "baz; extra == 'other'"))}
    asked = Need("n", ("foo[more]",))
    without = one(asked, Installed(bare, "3.11.7", LINUX))
    assert without.reason == "the main environment has foo 1.0 without its extra 'more' (bar)"
    assert isinstance(one(asked, Installed({**bare, "bar": Held("1.0")}, "3.11.7", LINUX)), Isolated)
    assert isinstance(one(asked, Installed({**bare, "bar": Held("2.0")}, "3.11.7", LINUX)), Main)


def test_extras_that_ask_for_each_other_end() -> None:
    held = {"foo": Held("1", ("foo[b]; extra == 'a'", "foo[a]; extra == 'b'"))}
    assert isinstance(one(Need("n", ("foo[a]",)), Installed(held, "3.11.7", LINUX)), Main)


def test_python() -> None:
    found = one(Need("n", python=">=3.12"), main())
    assert isinstance(found, Isolated)
    assert found.reason == "the main environment has Python 3.11.7, but the node asks for Python >=3.12"
    assert isinstance(one(Need("n", python="3.11"), main()), Main)
    assert isinstance(one(Need("n", python="3.1"), main()), Isolated)


def test_always_and_never() -> None:
    assert isinstance(one(Need("n", isolation=Isolation.ALWAYS), main()), Isolated)
    assert isinstance(one(Need("n", ("six",), isolation=Isolation.NEVER), main(six="1")), Main)
    with pytest.raises(EnvironmentFailure) as caught:
        one(Need("n", ("six",), isolation=Isolation.NEVER), main())
    assert str(caught.value) == (
        "node 'n' must run in the main environment (isolation_mode='never'), but the main environment does not have six; "
        "install it there, or set isolation_mode='auto'"
    )


def test_what_exists_for_another_platform_only_is_absent() -> None:
    found = one(Need("n", ("onnxruntime-directml",)), main(onnxruntime="1.32.0"))
    assert isinstance(found, Absent)
    assert found.reason == "it asks for onnxruntime-directml, which exists for Windows only, and this is Linux"
    there = one(Need("n", ("onnxruntime-directml",)), main(WINDOWS, onnxruntime="1.32.0"))
    assert isinstance(there, Isolated)
    assert there.reason == (
        f"the main environment has onnxruntime 1.32.0, but the node asks for onnxruntime-directml{SAME}"
    )


def test_a_variant_that_a_marker_rules_out_is_absent_when_no_sibling_is_asked_for() -> None:
    asked = "onnxruntime-directml; sys_platform == 'win32'"
    found = one(Need("n", (asked,)), main(onnxruntime="1.32.0"))
    assert isinstance(found, Absent)
    assert found.reason == (
        'it asks for onnxruntime-directml only where sys_platform == "win32", which does not hold on this Linux'
    )
    assert isinstance(one(Need("n", (asked, "onnxruntime; sys_platform != 'win32'")), main(onnxruntime="1.32.0")), Main)


def test_alternatives_by_marker_do_not_clash() -> None:
    asked = ("opencv-python; sys_platform != 'linux'", "opencv-python-headless; sys_platform == 'linux'")
    found = place([Need("a", asked), Need("b", ("opencv-python-headless",))], main(), fits)
    assert isinstance(found["a"], Isolated)
    assert found["a"].beside == ("b",)


def test_one_node_that_asks_for_two_variants() -> None:
    with pytest.raises(
        EnvironmentFailure, match="node 'n' asks for both: onnxruntime and onnxruntime-gpu take the same"
    ):
        one(Need("n", ("onnxruntime", "onnxruntime-gpu")), main())


def test_what_fits_shares_and_only_what_clashes_is_split() -> None:
    def oracle(spec: Spec) -> str:
        return "no" if {"six==1.0", "six==2.0"} <= set(spec.requirements) else ""

    asked = [Need("a", ("six==1.0",)), Need("b", ("six==2.0",)), Need("c", ("attrs",)), Need("d", ("six==1.0",))]
    found = place(asked, main(), oracle)
    isolated = {node: where for node, where in found.items() if isinstance(where, Isolated)}
    assert isolated["a"].spec == isolated["d"].spec == isolated["c"].spec
    assert isolated["a"].beside == ("c", "d")
    assert isolated["b"].spec.requirements == ("six==2.0",)
    assert isolated["b"].reason == (
        "the main environment does not have six==2.0; apart from a, c, d, whose packages do not go with its own"
    )


def test_a_named_environment_holds_its_nodes_together() -> None:
    asked = [Need("a", ("six",), "lab"), Need("b", ("attrs",), "lab"), Need("c", ("attrs",))]
    found = place(asked, main(attrs="1"), fits)
    assert isinstance(found["a"], Isolated)
    assert isinstance(found["b"], Isolated)
    assert found["a"].spec == found["b"].spec
    assert found["b"].reason == "another node of its environment needs it; environment 'lab'"
    assert isinstance(found["c"], Main)
    met = place(asked, main(attrs="1", six="1"), fits)
    assert [type(where) for where in met.values()] == [Main, Main, Main]


def test_variants_in_one_named_environment() -> None:
    asked = [Need("a", ("onnxruntime",), "lab"), Need("b", ("onnxruntime-gpu",), "lab")]
    with pytest.raises(EnvironmentFailure) as caught:
        place(asked, main(), fits)
    assert str(caught.value) == (
        "environment 'lab' (nodes a, b) of onnxruntime, onnxruntime-gpu cannot be made: onnxruntime and onnxruntime-gpu "
        "take the same import name; let the nodes name different environments"
    )


def test_one_node_that_must_not_be_isolated_keeps_its_group_in_the_main_environment() -> None:
    asked = [Need("a", (), "lab", Isolation.NEVER), Need("b", ("six",), "lab")]
    with pytest.raises(EnvironmentFailure) as caught:
        place(asked, main(), fits)
    assert str(caught.value) == (
        "environment 'lab' (a, b) must be the main one (isolation_mode='never'), but the main environment does not have six"
        "; install it there, or set isolation_mode='auto'"
    )


def test_declared_environments() -> None:
    lab = Declared("lab", ("six",), ">=3.11", Isolation.ALWAYS, ("attrs",), nodes=("a",))
    found = place([Need("a", ("numpy",)), Need("b")], main(six="1", numpy="2"), fits, {"lab": lab})
    assert isinstance(found["a"], Isolated)
    assert found["a"].spec == Spec(("numpy", "six"), ">=3.11", ("attrs",))
    assert found["a"].reason == "isolation_mode is 'always'; environment 'lab'"
    with pytest.raises(WorkflowError, match="node 'a' says environment='x', but .* lists it under 'lab'"):
        place([Need("a", environment="x")], main(), fits, {"lab": lab})
    with pytest.raises(
        EnvironmentFailure, match="environment 'lab' is wanted both with isolation_mode 'always' and 'never'"
    ):
        place([Need("a", isolation=Isolation.NEVER)], main(), fits, {"lab": lab})


def test_all_problems_are_told_at_once() -> None:
    def oracle(spec: Spec) -> str:
        return "no" if "bad" in spec.requirements else ""

    asked = [
        Need("a", ("bad",)),
        Need("b", ("six",), isolation=Isolation.NEVER),
        Need("c", ("bad",), "lab"),
        Need("d", ("x",)),
    ]
    with pytest.raises(EnvironmentFailure) as caught:
        place(asked, main(), oracle)
    assert len(caught.value.problems) == 3


def test_no_wheel_takes_only_its_node_away() -> None:
    def oracle(spec: Spec) -> str:
        return f"{NO_WHEEL}x has no wheel for here" if "x" in spec.requirements else ""

    found = place([Need("a", ("x",)), Need("b", ("six",)), Need("c", ("x",), "lab")], main(), oracle)
    assert [type(where) for where in found.values()] == [Absent, Isolated, Absent]


NAMES = ["onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-python-headless", "six", "attrs", "numpy"]
DRAWN = st.lists(st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple), min_size=1, max_size=6)
CLASHES = st.sets(
    st.frozensets(st.sampled_from(["six", "attrs", "numpy", "onnxruntime"]), min_size=2, max_size=3), max_size=3
)


def possible(spec: tuple[str, ...]) -> bool:
    return not any(variants.clash(first, other) for first, other in itertools.combinations(spec, 2))


def clashing(clashes: set[frozenset[str]]) -> Callable[[Spec], str]:
    """A monotone oracle: a union is refused when it holds all of one of these sets."""
    return lambda spec: "no" if any(clash <= set(spec.requirements) for clash in clashes) else ""


@settings(deadline=None)
@given(DRAWN, CLASHES, st.randoms())
def test_splitting_is_valid_least_and_deterministic(
    drawn: list[tuple[str, ...]], clashes: set[frozenset[str]], random: object
) -> None:
    specs = [needs.spec(texts) for texts in drawn if possible(texts)]
    oracle = clashing(clashes)
    groups, alone = split(specs, oracle)
    shuffled = list(specs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(shuffled, oracle) == (groups, alone)
    assert sorted([*itertools.chain(*groups), *alone], key=str) == sorted(set(specs), key=str)
    for group in groups:
        assert good(group, oracle)
    rest = sorted(set(itertools.chain(*groups)), key=str)
    assert len(groups) == least(rest, oracle)
    assert alone.keys() == {spec for spec in specs if oracle(spec)}


def good(group: tuple[Spec, ...], oracle: Callable[[Spec], str]) -> bool:
    names = sorted({name for spec in group for name in spec.names})
    return possible(tuple(names)) and not oracle(needs.union(group))


def least(specs: list[Spec], oracle: Callable[[Spec], str]) -> int:
    """The size of the smallest partition into good groups, by trying every one."""
    best = len(specs)
    for labels in itertools.product(range(len(specs)), repeat=len(specs)):
        groups = [tuple(spec for spec, label in zip(specs, labels, strict=True) if label == k) for k in set(labels)]
        if len(groups) < best and all(good(group, oracle) for group in groups):
            best = len(groups)
    return best


def test_the_usual_case_asks_one_question() -> None:
    asked: list[Spec] = []

    def oracle(spec: Spec) -> str:
        asked.append(spec)
        return ""

    groups, alone = split([needs.spec([f"p{i}"]) for i in range(12)], oracle)
    assert (len(groups), alone, len(asked)) == (1, {}, 1)


def test_many_specs_are_split_by_first_fit() -> None:
    specs = [needs.spec([f"six=={i % 3}.0", f"p{i}"]) for i in range(EXACT + 6)]

    def oracle(spec: Spec) -> str:
        return "no" if len([text for text in spec.requirements if text.startswith("six")]) > 1 else ""

    groups, alone = split(specs, oracle)
    assert (len(groups), alone) == (3, {})


@settings(deadline=None)
@given(DRAWN, CLASHES, st.sets(st.sampled_from(NAMES)))
def test_every_node_is_somewhere_and_isolated_only_for_a_reason(
    drawn: list[tuple[str, ...]], clashes: set[frozenset[str]], here: set[str]
) -> None:
    asked = [Need(f"n{i}", texts) for i, texts in enumerate(drawn) if possible(texts)]
    installed = Installed({name: Held("1") for name in here}, "3.11.7", LINUX)
    oracle = clashing({clash for clash in clashes if not any(clash <= set(need.requirements) for need in asked)})
    found = place(asked, installed, oracle)
    assert list(found) == [need.node for need in asked]
    for need in asked:
        where = found[need.node]
        assert where.reason
        unmet = [text for text in need.requirements if installed.unmet(requirement(text))]
        assert isinstance(where, Isolated) == bool(unmet)
        if isinstance(where, Isolated):
            assert set(need.requirements) <= set(where.spec.requirements)
            assert possible(where.spec.names)
            assert set(unmet) <= set(where.missing)


def test_the_table_of_variants_is_sound() -> None:
    seen: set[str] = set()
    for family in variants.FAMILIES:
        assert not seen & set(family.members), family.module
        seen |= set(family.members)
        assert {*family.serves, *family.lacks} <= set(family.members)
        for name, served in family.serves.items():
            assert set(served) <= set(family.members) - {name}
    assert variants.clash("Onnxruntime_GPU", "onnxruntime")
    assert not variants.clash("onnxruntime", "onnxruntime")


def test_one_meaning_has_one_digest() -> None:
    first = needs.spec(["Foo_Bar[b,a]>=1,<2", "six"], "3.12")
    assert first == needs.spec(["six", "foo-bar[a,b]<2,>=1", "six"], "==3.12.*")
    assert first.digest == needs.spec(["six", "foo-bar[a,b]<2,>=1"], "==3.12.*").digest
    assert first.digest != needs.spec(["six"], "3.12").digest
