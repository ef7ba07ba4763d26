"""What goes wrong, and the whole message that a user gets then, with what differs between machines made equal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wfe.env import Absent, Environments, Need, Progress, Uv, uv
from wfe.env import need as needs
from wfe.errors import EnvironmentFailure, ExitCode, Interrupted, Place, WfeError

Make = Callable[..., Environments]


def normal(error: BaseException, *paths: Path) -> str:
    text = str(error)
    for path in paths:
        text = text.replace(str(path), "ROOT")
    text = re.sub(r"\b\d+\.\d+\.\d+\b", "X.Y.Z", text)
    text = re.sub(r"(linux|darwin|win32)-\w+", "PLATFORM", text)
    text = re.sub(r"X\.Y\.Z(, X\.Y\.Z)+", "X.Y.Z, ...", text)
    text = re.sub(r"ROOT/\S*?(?=[`'\":]|\s|$)", "ROOT/...", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def failure(action: Callable[[], object], *paths: Path, code: ExitCode = ExitCode.ENVIRONMENT) -> str:
    with pytest.raises(WfeError) as caught:
        action()
    assert caught.value.code is code
    return normal(caught.value, *paths)


def test_a_requirement_that_is_none(environments: Make) -> None:
    bad = Need("blur", ("alpha=>2", "beta"), place=Place("nodes/blur.py", 4, 1))
    assert failure(lambda: environments().place([bad]), code=ExitCode.WORKFLOW) == (
        "nodes/blur.py:4:1: node 'blur': 'alpha=>2' is not a requirement: Expected semicolon (after name with no "
        "version specifier) or end; write it like 'numpy>=2' or 'foo[bar]; sys_platform == \"linux\"'"
    )


def test_a_requirement_with_an_address(environments: Make) -> None:
    bad = Need("blur", ("alpha @ file:///somewhere/alpha-1.0-py3-none-any.whl",), place=Place("nodes/blur.py", 4, 1))
    assert failure(lambda: environments().place([bad]), code=ExitCode.WORKFLOW) == (
        "nodes/blur.py:4:1: node 'blur': 'alpha' names an address, which a lock must not hold; ask for it by name and "
        "version, and let uv find it (UV_FIND_LINKS, UV_INDEX or uv.toml)"
    )


def test_a_version_that_does_not_exist(environments: Make) -> None:
    asked = Need("blur", ("alpha>5",), place=Place("nodes/blur.py", 4, 1))
    assert failure(lambda: environments().place([asked])) == (
        "nodes/blur.py:4:1: node 'blur': its environment of alpha>5 cannot be made: Because only alpha<=2.0 is available "
        "and you require alpha>5, we can conclude that your requirements are unsatisfiable; ask for a version that there is"
    )


def test_an_unresolvable_pair_in_one_named_environment(environments: Make) -> None:
    pair = [Need("a", ("gamma",), environment="lab"), Need("b", ("delta",), environment="lab")]
    assert failure(lambda: environments().place(pair)) == (
        "environment 'lab' (nodes a, b) of delta, gamma cannot be made: Because all versions of gamma depend on alpha<2 and all "
        "versions of delta depend on alpha>=2, we can conclude that all versions of delta and all versions of gamma "
        "are incompatible. And because you require delta and gamma, we can conclude that your requirements are "
        "unsatisfiable; let the nodes name different environments"
    )


def test_a_wheel_for_another_platform_is_absent_not_broken(environments: Make) -> None:
    if sys.platform == "win32":
        pytest.skip("the wheel is for this platform")
    placed = environments().place([Need("a", ("onlywin",)), Need("b", ("alpha",))])
    absent = placed["a"]
    assert isinstance(absent, Absent)
    assert normal(absent.failure()) == (
        "node 'a': onlywin has no wheel for PLATFORM (there is one for win_amd64); run it on a platform "
        "that has one, or ask for another package"
    )


def test_a_python_that_is_not_here(environments: Make) -> None:
    asked = needs.spec(["alpha"], ">=3.98")
    text = failure(lambda: environments().lock(asked, Place("nodes/blur.py", 4, 1)))
    assert text.startswith("nodes/blur.py:4:1: no Python >=3.98 was found (found: X.Y.Z")
    assert text.endswith("; uv python install 3.98")


def test_a_package_that_wants_another_python(environments: Make) -> None:
    text = failure(lambda: environments().lock(needs.spec(["future"])))
    assert text == (
        "cannot resolve future: Because future==1.0 requires Python >=3.99 and only future==1.0 is available, we can "
        "conclude that all versions of future cannot be used. And because you require future, we can conclude that "
        "your "
        'requirements are unsatisfiable; another Python can be asked for: @workflow_node(python=">=3.12")'
    )


def test_a_failed_import_names_the_module_and_the_remedy(environments: Make, tmp_path: Path) -> None:
    found = environments()
    place = Place("nodes/blur.py", 4, 1)
    assert failure(lambda: found.prefix(found.lock(needs.spec(["lacking"])), place=place)) == (
        "nodes/blur.py:4:1: lacking was installed, but importing 'lacking' fails: ModuleNotFoundError: No module named "
        "'nowhere_at_all'; lacking does not say that it needs it: add it to the node's dependencies"
    )
    assert failure(lambda: found.prefix(found.lock(needs.spec(["nolibrary"])))) == (
        "nolibrary was installed, but importing 'nolibrary' fails: ImportError: libGL.so.1: cannot open shared object "
        "file: No such file or directory; install that system library, or ask for opencv-python-headless when the node "
        "opens no window"
    )
    assert list((found.root / "staging").iterdir()) == []
    assert found.entries() == []


def test_an_import_that_ends_the_process(environments: Make) -> None:
    if os.name == "nt":
        pytest.skip("no signals")
    found = environments()
    text = failure(lambda: found.prefix(found.lock(needs.spec(["aborts"]))))
    assert text.startswith("importing 'aborts' (of aborts) ended the process (killed by SIGABRT)")
    assert text.endswith("ask for another version or build of it")
    assert found.entries() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    yield from _mounted(tmp_path / "small", "size=1m")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    yield from _mounted(tmp_path / "fixed", "size=1m,ro")


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk(environments: Make, small_disk: Path) -> None:
    found = environments(root=small_disk / "environments")
    lock = found.lock(needs.spec(["large"]))
    text = failure(lambda: found.prefix(lock, place=Place("nodes/blur.py", 4, 1)), small_disk)
    assert text.startswith("nodes/blur.py:4:1: cannot install large; uv says:\n    error: Failed to install: large-1.0")
    assert "No space left on device" in text
    assert text.endswith("free some space (`wfe env gc` removes environments that nothing uses), then run again")
    assert list((small_disk / "environments" / "staging").iterdir()) == []
    assert found.entries() == []


def test_another_disk_is_told(environments: Make, small_disk: Path, heard: list[Progress]) -> None:
    found = environments(root=small_disk / "environments")
    found.prefix(found.lock(needs.spec(["beta"])))
    told = "Packages were copied, not linked: uv's cache is on another disk (see UV_CACHE_DIR)"
    assert told in [one.message for one in heard]


def test_a_read_only_place(environments: Make, read_only: Path) -> None:
    writable = environments()
    lock = writable.lock(needs.spec(["alpha"]))
    found = environments(root=read_only / "environments")
    assert failure(lambda: found.prefix(lock), read_only) == (
        "cannot make an environment under ROOT/...: Read-only file system; make that directory writable, or name "
        "another cache directory"
    )


def test_a_file_where_the_folder_should_be(environments: Make, tmp_path: Path) -> None:
    lock = environments().lock(needs.spec(["alpha"]))
    (tmp_path / "taken").write_text("")
    found = environments(root=tmp_path / "taken" / "environments")
    text = failure(lambda: found.prefix(lock), tmp_path)
    assert text.startswith("cannot make an environment under ROOT/...: Not a directory")


def test_no_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uv.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setitem(sys.modules, "uv", None)
    text = failure(lambda: Uv().executable)
    assert re.fullmatch(
        r"uv was not found, and isolated environments are made by it; install it: python\S* -m pip install uv", text
    )


def test_without_uv_a_project_that_needs_none_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = Environments(tmp_path / "environments", tmp_path / "lock.json")
    placed = found.place([Need("a", ("packaging",)), Need("b")])
    assert [type(one).__name__ for one in placed.values()] == ["Main", "Main"]
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_cannot_be_reached(environments: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.toml").write_text('[[index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n')
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    found = environments()
    text = failure(lambda: found.lock(needs.spec(["alpha"])))
    assert text.startswith("cannot resolve alpha; uv says:\n")
    assert text.endswith("run again with a network, or name an index that can be reached (UV_INDEX)")
    # It is no fact about the requirements, so nothing of it may be written down.
    assert not found.file.path.exists()


def test_stopping_ends_uv_at_once(environments: Make) -> None:
    runner = Uv()
    runner.stop.set()
    with pytest.raises(Interrupted):
        environments(uv=runner).lock(needs.spec(["alpha"]))


def test_frozen_does_not_resolve(environments: Make, tmp_path: Path) -> None:
    environments().lock(needs.spec(["alpha"]))
    found = environments(frozen=True)
    assert found.lock(needs.spec(["alpha"])).packages
    with pytest.raises(EnvironmentFailure, match="beta has no lock for .*, and the lock file must not change"):
        found.lock(needs.spec(["beta"]))


def test_the_words_of_uv_are_the_relevant_ones() -> None:
    stderr = (
        "warning: Failed to inspect Python interpreter from search path\n  cause: exit status: 127\n\n"
        "\x1b[31merror\x1b[0m: it broke\n  cause: for a reason\n"
    )
    assert uv.Ran(2, "", stderr).words == "error: it broke\n  cause: for a reason"
    assert uv.Ran(1, "", "").words == "(nothing; exit status 1)"
