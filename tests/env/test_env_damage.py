"""Environments whose files somebody deleted or cut: what is noticed, when, and that they are made anew and whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wfe.env import Environments, Need, Prefix, Progress, whole
from wfe.env import need as needs
from wfe.env import prefix as prefixes

Make = Callable[..., Environments]


def site(prefix: Prefix) -> Path:
    found = prefixes.site_packages(prefix.path)
    assert found is not None
    return found


def said(heard: list[Progress]) -> list[str]:
    return [one.message for one in heard if "damaged" in one.message]


def test_a_deleted_package_is_noticed_by_the_next_use_and_made_anew(environments: Make, heard: list[Progress]) -> None:
    lock = environments().lock(needs.spec(["alpha<2", "epsilon"]))
    made = environments().prefix(lock)
    shutil.rmtree(site(made) / "alpha")
    assert prefixes.look(made.path.parent, lock.digest) is None
    again = environments().prefix(lock)
    assert (site(again) / "alpha" / "__init__.py").read_text() == "VERSION = 1\n"
    assert said(heard) == [f"Environment {lock.digest[:12]} is damaged, and made anew: alpha is gone from its packages"]


def test_bytecode_beside_a_module_may_go(environments: Make) -> None:
    lock = environments().lock(needs.spec(["epsilon"]))
    made = environments().prefix(lock)
    assert (site(made) / "__pycache__").is_dir()
    shutil.rmtree(site(made) / "__pycache__")
    assert prefixes.look(made.path.parent, lock.digest) == made


def test_a_use_looks_at_no_more_than_a_few_files(environments: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = environments().lock(needs.spec(["large", "alpha>=2", "tool", "epsilon"]))
    made = environments().prefix(lock)
    calls: list[object] = []
    real = os.stat

    def counted(path: object, *rest: object, **more: object) -> os.stat_result:
        calls.append(path)
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", counted)
    assert prefixes.look(made.path.parent, lock.digest) == made
    assert len(calls) < 6


@pytest.mark.parametrize("change", ["cut", "gone", "record"])
def test_syncing_looks_at_every_file(environments: Make, heard: list[Progress], change: str) -> None:
    need = Need("a", ("alpha<2", "epsilon"))
    made = environments().sync([need])["a"]
    path = site(made) / "alpha" / "__init__.py"
    if change == "cut":
        os.truncate(path, 3)
        why = "alpha/__init__.py of alpha has 3 bytes instead of 12"
    elif change == "gone":
        path.unlink()
        why = "alpha/__init__.py of alpha is gone"
    else:
        (site(made) / "alpha-1.0.dist-info" / "RECORD").unlink()
        why = "alpha-1.0.dist-info/RECORD of alpha is gone or cannot be read"
    assert [one.usable for one in environments().entries()] == [False]
    again = environments().sync([need])["a"]
    assert said(heard) == [f"Environment {made.lock[:12]} is damaged, and made anew: {why}"]
    # Where packages are links to uv's cache, the file was cut there too.
    assert (site(again) / "alpha" / "__init__.py").read_text() == "VERSION = 1\n"
    assert [one.usable for one in environments().entries()] == [True]
    heard.clear()
    assert environments().sync([need])["a"] == again
    assert heard == []


def test_a_cut_file_in_the_cache_of_uv_is_not_taken(environments: Make, heard: list[Progress]) -> None:
    first = environments().prefix(environments().lock(needs.spec(["gamma"])))
    os.truncate(site(first) / "alpha" / "__init__.py", 0)
    second = environments().prefix(environments().lock(needs.spec(["gamma", "epsilon"])))
    assert (site(second) / "alpha" / "__init__.py").read_text() == "VERSION = 1\n"
    assert whole.wrong(site(second)) == {}


def test_a_wheel_that_was_never_as_its_record_says_is_taken_as_it_is(
    environments: Make, links: Path, heard: list[Progress]
) -> None:
    import zipfile

    from wheels import wheel

    good = wheel(links, "sloppy", "1.0", {"sloppy.py": "X = 1\n", "more.py": ""})
    with zipfile.ZipFile(good) as archive:
        files = {one.filename: archive.read(one) for one in archive.infolist()}
    files["sloppy.py"] = b"X = 11\n"
    with zipfile.ZipFile(good, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    need = Need("a", ("sloppy",))
    made = environments().sync([need])["a"]
    assert made.odd == ("sloppy.py",)
    assert environments().sync([need])["a"] == made
    (site(made) / "more.py").unlink()
    assert prefixes.look(made.path.parent, made.lock) is None
