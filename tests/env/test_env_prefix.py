"""Prefixes made by the real uv: whole, movable, made once, checked, and never the environment that the tests run in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wfe.env import Environments, Isolated, Need, Prefix, Progress, proven
from wfe.env import need as needs
from wfe.env import prefix as prefixes
from wfe.env.installed import running
from wfe.errors import EnvironmentFailure

Make = Callable[..., Environments]


def ask(prefix: Prefix, code: str) -> str:
    """What a line of Python prints in the environment."""
    environ = prefix.environ(os.environ)
    ran = subprocess.run([prefix.python, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_two_nodes_that_clash_each_see_their_own_version(environments: Make) -> None:
    found = environments()
    placed = found.place([Need("old", ("alpha<2",)), Need("new", ("alpha>=2",))])
    versions = {}
    for node, where in placed.items():
        assert isinstance(where, Isolated)
        with found.using(found.lock(where.spec), missing=where.missing) as prefix:
            versions[node] = ask(prefix, "import alpha; print(alpha.VERSION)")
    assert versions == {"old": "1", "new": "2"}


def test_nodes_that_fit_share_one(environments: Make) -> None:
    found = environments()
    placed = found.place([Need("a", ("alpha>=2",)), Need("b", ("epsilon",)), Need("c", ("alpha<2",))])
    digests = {node: found.lock(one.spec).digest for node, one in placed.items() if isinstance(one, Isolated)}
    assert len(set(digests.values())) == 2
    assert digests["a"] != digests["c"]


def test_nothing_is_installed_into_the_environment_that_runs(environments: Make, heard: list[Progress]) -> None:
    before = {name: held.version for name, held in running().held.items()}
    listing = sorted(path.name for path in Path(sys.prefix).rglob("site-packages/*"))
    with environments().using(environments().lock(needs.spec(["alpha>=2"]))) as prefix:
        assert Path(ask(prefix, "import sys; print(sys.prefix)")) == prefix.path
    assert {name: held.version for name, held in running().held.items()} == before
    assert sorted(path.name for path in Path(sys.prefix).rglob("site-packages/*")) == listing
    with pytest.raises(ModuleNotFoundError):
        __import__("alpha")


def test_progress_names_what_is_missing_and_times_each_stage(environments: Make, heard: list[Progress]) -> None:
    found = environments()
    placed = found.place([Need("a", ("alpha>=2", "epsilon"))])["a"]
    assert isinstance(placed, Isolated)
    found.prefix(found.lock(placed.spec), missing=placed.missing)
    assert "Installing 2 missing dependencies: alpha, epsilon" in [one.message for one in heard]
    ended = [one.stage for one in heard if one.seconds is not None]
    assert ended == ["resolve", "make", "install", "check", "ready"]


def test_a_screen_is_told_in_two_lines(environments: Make, heard: list[Progress]) -> None:
    found = environments()
    found.prefix(found.lock(needs.spec(["alpha==1.0"])))
    begun, ended = [one for one in heard if not one.detail and one.stage != "resolve"]
    assert begun.message == "Installing 1 missing dependency: alpha==1.0"
    assert ended.message.startswith("Environment of alpha==1.0 ready in ")
    assert "Installing 1 package" in [one.message for one in heard]


def test_a_second_use_makes_nothing(environments: Make, heard: list[Progress]) -> None:
    lock = environments().lock(needs.spec(["alpha"]))
    first = environments().prefix(lock)
    heard.clear()
    again = environments().prefix(lock)
    assert again == first
    assert heard == []


def test_scripts_work_at_the_final_place(environments: Make) -> None:
    prefix = environments().prefix(environments().lock(needs.spec(["tool"])))
    name = "tool.exe" if os.name == "nt" else "tool"
    ran = subprocess.run([prefix.python.parent / name], capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()) == prefix.path
    # Not one text file may remember the staging folder, which is gone.
    for path in prefix.path.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix not in (".pyc", ".exe"):
            assert b"staging" not in path.read_bytes(), path


def test_an_environment_without_packages(environments: Make) -> None:
    found = environments()
    placed = found.place([Need("bare", (), isolation=needs.Isolation.ALWAYS)])["bare"]
    assert isinstance(placed, Isolated)
    prefix = found.prefix(found.lock(placed.spec))
    assert prefix.packages == {}
    assert ask(prefix, "import json; print('runs')") == "runs"


def test_what_someone_installed_into_a_prefix_makes_it_be_made_anew(environments: Make) -> None:
    lock = environments().lock(needs.spec(["alpha<2"]))
    prefix = environments().prefix(lock)
    site = prefixes.site_packages(prefix.path)
    assert site is not None
    (site / "intruder-1.0.dist-info").mkdir()
    assert prefixes.look(prefix.path.parent, lock.digest) is None
    again = environments().prefix(lock)
    assert not (again.path / site.relative_to(prefix.path) / "intruder-1.0.dist-info").exists()
    assert again.made > prefix.made


def test_a_prefix_whose_python_is_gone_is_made_anew(environments: Make) -> None:
    lock = environments().lock(needs.spec(["alpha<2"]))
    prefix = environments().prefix(lock)
    prefix.python.unlink()
    assert environments().prefix(lock).python.exists()


def test_a_project_around_it_changes_nothing(
    environments: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.98"\n')
    (tmp_path / ".python-version").write_text("3.98\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "other"))
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path / "other"))
    prefix = environments().prefix(environments().lock(needs.spec(["alpha"])))
    assert ask(prefix, "import alpha; print(alpha.VERSION)") == "2"
    assert not (tmp_path / "other").exists()


def test_packages_are_links_to_those_of_the_first(environments: Make) -> None:
    found = environments()
    one = found.prefix(found.lock(needs.spec(["large"])))
    two = found.prefix(found.lock(needs.spec(["large", "epsilon"])))
    files = [next(prefix.path.rglob("large/data.bin")) for prefix in (one, two)]
    if os.stat(files[0]).st_nlink == 1:
        pytest.skip("this file system clones or copies")
    assert os.path.samefile(*files)
    entries = {entry.digest: entry for entry in found.entries()}
    assert entries[two.lock].own < 1_000_000
    assert entries[two.lock].linked >= 4_000_000


def test_the_variant_asked_for_keeps_out_the_one_it_serves(environments: Make) -> None:
    found = environments()
    prefix = found.prefix(found.lock(needs.spec(["onnxruntime-gpu", "wantsort"])))
    assert "onnxruntime" not in prefix.packages
    assert ask(prefix, "import wantsort, onnxruntime; print(onnxruntime.WHICH)") == "gpu"


def test_a_variant_that_comes_in_behind_one_that_does_not_serve_it_is_an_error(environments: Make) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        environments().lock(needs.spec(["opencv-python-headless", "wantscv"]))
    assert str(caught.value) == (
        "cannot resolve opencv-python-headless, wantscv: opencv-python (asked for by wantscv) and "
        "opencv-python-headless take the same import name; exclude one of them in an environments file"
    )
    found = environments()
    prefix = found.prefix(found.lock(needs.spec(["opencv-python-headless", "wantscv"], exclude=["opencv-python"])))
    assert ask(prefix, "import wantscv, cv2; print(cv2.WHICH)") == "headless"


def test_the_record_of_a_prefix_says_what_it_is(environments: Make) -> None:
    found = environments()
    lock = found.lock(needs.spec(["alpha>=2"]))
    prefix = found.prefix(lock)
    record = json.loads((prefix.path / "wfe-environment.json").read_text())
    assert record["lock"] == lock.digest == prefix.path.name
    assert record["packages"] == {"alpha": "alpha-2.0", "beta": "beta-1.0"}
    assert prefixes.look(found.root, lock.digest) == prefix


def test_bytecode_is_linked_where_the_source_is_the_same_file(environments: Make) -> None:
    found = environments()
    one = found.prefix(found.lock(needs.spec(["alpha<2", "epsilon"])))
    two = found.prefix(found.lock(needs.spec(["alpha<2", "beta"])))
    sources = [next(prefix.path.rglob("alpha/__init__.py")) for prefix in (one, two)]
    if not os.path.samefile(*sources):
        pytest.skip("this file system clones or copies")
    compiled = [next(source.parent.glob("__pycache__/*.pyc")) for source in sources]
    assert os.path.samefile(*compiled)
    assert ask(two, "import alpha; print(alpha.VERSION, alpha.__file__)") == f"1 {sources[1]}"


def test_bytecode_of_another_version_is_never_taken(environments: Make) -> None:
    # Both versions of the module have one size and one time, so that Python itself could not tell their bytecode apart.
    found = environments()
    one = found.prefix(found.lock(needs.spec(["alpha<2"])))
    two = found.prefix(found.lock(needs.spec(["alpha>=2"])))
    sources = [next(prefix.path.rglob("alpha/__init__.py")) for prefix in (one, two)]
    for source in sources:
        os.utime(source, (1e9, 1e9))
    assert sources[0].stat().st_size == sources[1].stat().st_size
    for source in sources:
        for compiled in source.parent.glob("__pycache__/*.pyc"):
            compiled.unlink()
    assert ask(one, "import alpha; print(alpha.VERSION)") == "1"
    shared = prefixes.bytecode.share([sources[0].parents[1]], sources[1].parents[1])
    assert shared == 0
    assert ask(two, "import alpha; print(alpha.VERSION)") == "2"


def test_what_was_imported_file_for_file_is_not_imported_again(
    environments: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = environments()
    one = found.prefix(found.lock(needs.spec(["stalls"])))
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WFE_TEST_PORT", str(server.getsockname()[1]))
        server.setblocking(False)
        two = found.prefix(found.lock(needs.spec(["stalls", "epsilon"])))
        sources = [next(prefix.path.rglob("stalls.py")) for prefix in (one, two)]
        if not os.path.samefile(*sources):
            pytest.skip("this file system clones or copies")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert two.asked == ("epsilon", "stalls")


def test_only_the_same_files_all_the_way_down_prove_anything(environments: Make) -> None:
    found = environments()
    lock = found.lock(needs.spec(["gamma"]))
    other = found.lock(needs.spec(["gamma", "epsilon"]))
    assert proven.closure(other, "gamma") == {"gamma", "alpha"}
    sites = [prefixes.site_packages(found.prefix(each).path) for each in (lock, other)]
    assert sites[0] is not None
    assert sites[1] is not None
    folders = {"gamma": "gamma-1.0", "alpha": "alpha-1.0", "epsilon": "epsilon-1.0"}
    checked = frozenset(["gamma"])
    assert proven.proven(other, sites[0], checked, sites[1], folders) == checked
    # A later package overwrites a file of what gamma requires: gamma itself is the same, and yet proves nothing.
    (sites[1] / "alpha" / "__init__.py").unlink()
    (sites[1] / "alpha" / "__init__.py").write_text("raise ImportError('overwritten')")
    assert proven.proven(other, sites[0], checked, sites[1], folders) == frozenset()
