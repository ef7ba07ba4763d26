"""Locks and their file: stable, readable, free of addresses, resolved once, and not believed when they were tampered
with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import wheels
from hypothesis import given
from hypothesis import strategies as st

from wfe.env import Environments, Isolated, Lock, LockFile, Need, Spec, Uv
from wfe.env import need as needs
from wfe.env.installed import Held, Installed
from wfe.env.lock import Clash, Fit, Locks, Package, this_platform
from wfe.env.resolve import parse
from wfe.errors import EnvironmentFailure

Make = Callable[..., Environments]


class Deaf(Uv):
    """A uv that must not be asked."""

    def run(self, arguments: object, *, offline: bool | None = None) -> object:  # type: ignore[override]
        raise AssertionError(f"uv was asked: {arguments}")


def test_the_file_has_pins_and_hashes_and_no_address(environments: Make) -> None:
    found = environments()
    lock = found.lock(needs.spec(["alpha>=2"]))
    text = found.file.path.read_text()
    assert not re.search(r"://|/tmp|find-links|index", text)
    entry = json.loads(text)["environments"][0]
    assert entry["requirements"] == ["alpha>=2"]
    assert entry["platform"] == this_platform()
    assert entry["lock"] == lock.digest
    assert [(one["name"], one["version"]) for one in entry["packages"]] == [("alpha", "2.0"), ("beta", "1.0")]
    assert entry["packages"][1]["via"] == ["alpha"]
    assert all(one["hashes"] and one["hashes"][0].startswith("sha256:") for one in entry["packages"])


def test_what_is_locked_is_not_resolved_again(environments: Make) -> None:
    pair = [Need("a", ("gamma",)), Need("b", ("delta",)), Need("c", ("epsilon",))]
    first = environments()
    placed = first.place(pair)
    digests = [first.lock(one.spec).digest for one in placed.values() if isinstance(one, Isolated)]
    assert len(set(digests)) == 2
    # The verdict that a and b cannot be one environment is in the file, too: no question is left for uv.
    second = environments(uv=Deaf())
    again = second.place(pair)
    assert again == placed
    assert [second.lock(one.spec).digest for one in again.values() if isinstance(one, Isolated)] == digests


def test_a_new_release_changes_nothing_until_it_is_asked_for(environments: Make, links: Path) -> None:
    asked = [Need("a", ("epsilon",))]
    old = environments().lock(needs.spec(["epsilon"]))
    added = wheels.wheel(links, "epsilon", "1.1", {"epsilon.py": ""})
    try:
        assert environments().lock(needs.spec(["epsilon"])) == old
        kept = environments().lock_all(asked)
        assert (kept.changes, kept.written) == ({}, False)
        done = environments().lock_all(asked, upgrade=True)
        assert done.changes == {"epsilon": ("epsilon 1.0 -> 1.1",)}
        assert done.written
        assert environments().lock(needs.spec(["epsilon"])).digest == done.locks["a"].digest != old.digest
    finally:
        added.unlink()


def test_an_upgrade_is_of_all_that_nodes_need(environments: Make, links: Path) -> None:
    asked = [Need("a", ("alpha<2", "epsilon")), Need("b", ("alpha>=2", "epsilon"))]
    old = environments().lock_all(asked).locks
    added = wheels.wheel(links, "epsilon", "1.1", {"epsilon.py": ""})
    try:
        new = environments().lock_all(asked, upgrade=True).locks
        assert all(old[node].digest != new[node].digest for node in ("a", "b"))
        assert {lock.digest for lock in environments().file.read().locks} == {new["a"].digest, new["b"].digest}
    finally:
        added.unlink()


def test_only_environments_have_packages_in_the_file(environments: Make) -> None:
    asked = [Need("a", ("gamma",)), Need("b", ("delta",)), Need("c", ("epsilon",))]
    done = environments().lock_all(asked, prune=True)
    whole = environments().file.read()
    assert {lock.digest for lock in whole.locks} == {lock.digest for lock in done.locks.values()}
    assert len(whole.locks) == 2
    # What was found out while splitting stays, so that a frozen run asks nothing.
    assert environments(frozen=True, uv=Deaf()).place(asked) == done.placements


def test_a_failed_upgrade_leaves_the_file_alone(environments: Make, links: Path) -> None:
    extra = wheels.wheel(links, "fleeting", "1.0", {"fleeting.py": ""})
    asked = [Need("a", ("fleeting",))]
    environments().lock_all(asked)
    before = environments().file.path.read_bytes()
    extra.unlink()
    with pytest.raises(EnvironmentFailure):
        environments().lock_all(asked, upgrade=True)
    assert environments().file.path.read_bytes() == before


def test_pruning_forgets_what_nothing_asks_for(environments: Make) -> None:
    environments().lock(needs.spec(["beta"]))
    done = environments().lock_all([Need("a", ("epsilon",))], prune=True)
    assert [lock.spec.requirements for lock in environments().file.read().locks] == [("epsilon",)]
    assert done.written


def test_the_main_environment_does_not_change_an_isolated_lock(environments: Make, bare: Installed) -> None:
    need = [Need("a", ("alpha<2",))]
    fuller = replace(bare, held={"alpha": Held("2.0"), "numpy": Held("2.0")})
    digests = set()
    for installed in (bare, fuller):
        found = environments(installed=installed)
        where = found.place(need)["a"]
        assert isinstance(where, Isolated)
        digests.add(found.lock(where.spec).digest)
    assert len(digests) == 1


def test_a_clash_is_not_written_down_when_a_part_of_it_is_wrong(environments: Make) -> None:
    with pytest.raises(EnvironmentFailure):
        environments().place([Need("a", ("alpha>5",)), Need("b", ("beta",))])
    assert environments().file.read().clashes == ()


def lock(
    name: str = "six", version: str = "1.0", python: str = "3.12", platform: str = "linux-x86_64", asked: str = ""
) -> Lock:
    return Lock(Spec((asked or name,)), platform, python, (Package(name, version, ("sha256:00",)),))


def test_the_digest_is_of_what_is_installed() -> None:
    base = lock()
    assert base.digest == lock(asked="six>=1").digest
    others = [lock(version="1.1"), lock(python="3.13"), lock(platform="win32-amd64"), lock(name="sax")]
    others.append(replace(base, packages=(replace(base.packages[0], hashes=("sha256:01",)),)))
    assert len({base.digest, *(other.digest for other in others)}) == 6


LOCKS = st.builds(
    lock,
    st.sampled_from(["six", "attrs"]),
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from(["3.9", "3.10", "3.12"]),
    st.sampled_from(["linux-x86_64", "win32-amd64"]),
)
CLASHES = st.builds(
    Clash, st.builds(Spec, st.just(("a", "b"))), st.sampled_from(["linux-x86_64", "x"]), st.text(max_size=5)
)


@given(st.lists(LOCKS, max_size=5), st.lists(CLASHES, max_size=3), st.randoms())
def test_the_text_is_one_whatever_the_order(found: list[Lock], clashes: list[Clash], random: object) -> None:
    whole = Locks()
    for each in found:
        whole = whole.plus(each)
    for clash in clashes:
        whole = whole.plus(clash)
    order = list(whole.locks)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert Locks(tuple(order), whole.clashes).text() == whole.text()
    assert Locks().merged(whole).text() == whole.text()


def test_it_reads_back(tmp_path: Path) -> None:
    file = LockFile(tmp_path / "deep" / "x.json")
    assert file.read() == Locks()
    whole = Locks(
        (lock(), lock(python="3.13")), (Clash(Spec(("a", "b"), ">=3", ("c",)), "x", "why"),), (Fit(Spec(("a",)), "x"),)
    )
    assert file.write(whole)
    assert not file.write(whole)
    back = file.read()
    assert set(back.locks) == set(whole.locks)
    assert (back.clashes, back.fits) == (whole.clashes, whole.fits)
    assert [path.name for path in file.path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (lambda text: text.replace('"1.0"', '"1.1"'), "the entry for six was changed by hand: its digest is not that"),
        (lambda text: text.replace("sha256:00", "sha256:01"), "was changed by hand"),
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "<<<<<<< ours\n" + text, r"x.json:1:1: not JSON: .*; resolve the merge conflict, or delete it"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "a lock file of format 2, while this wfe reads 1"),
        (lambda text: "[]", "a lock file of format None"),
        (lambda text: text.replace('"packages"', '"parcels"'), "damaged lock file: KeyError"),
        (lambda text: text.replace('"interpreter": "3.12"', '"interpreter": "three"'), "damaged lock file"),
    ],
)
def test_a_damaged_file_is_not_believed(tmp_path: Path, edit: Callable[[str], str], fact: str) -> None:
    file = LockFile(tmp_path / "x.json", "x.json")
    file.path.write_text(edit(Locks((lock(),)).text()))
    with pytest.raises(EnvironmentFailure, match=fact):
        file.read()


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    file = LockFile(tmp_path / "x.json")
    text = Locks((lock(),)).text().rstrip()
    for length in range(len(text)):
        file.path.write_text(text[:length])
        with pytest.raises(EnvironmentFailure):
            file.read()


def test_parsing_what_uv_prints() -> None:
    text = (
        "b==2 \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\n    # via\n    #   -r in.txt\n    #   a\n"
        "a==1 \\\n    --hash=sha256:33\n    # via -r in.txt\n"
    )
    assert parse(text) == (Package("a", "1", ("sha256:33",)), Package("b", "2", ("sha256:11", "sha256:22"), ("a",)))
    with pytest.raises(
        EnvironmentFailure, match="the resolver answered 'a @ an address', which has no place in a lock"
    ):
        parse("a @ https://example.invalid/a.whl\n")
