"""With a real registry: two versions of one real package in one workflow, and what uv says of real wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wfe.env import Absent, Environments, Isolated, Need, Uv
from wfe.env import need as needs
from wfe.env.installed import Installed, running
from wfe.env.python import OLDEST, found

pytestmark = pytest.mark.registry


@pytest.fixture
def real(tmp_path: Path) -> Callable[..., Environments]:
    here = running()
    bare = Installed({}, here.python, here.markers)

    def make(**options: object) -> Environments:
        return Environments(tmp_path / "environments", tmp_path / "lock.json", installed=bare, **options)  # type: ignore[arg-type]

    return make


def test_two_versions_of_six_in_one_workflow(real: Callable[..., Environments]) -> None:
    environments = real()
    placed = environments.place([Need("old", ("six==1.15.0",)), Need("new", ("six==1.17.0",)), Need("any", ("six",))])
    said = {}
    for node, where in placed.items():
        assert isinstance(where, Isolated)
        prefix = environments.prefix(environments.lock(where.spec))
        ran = subprocess.run(
            [prefix.python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True
        )
        said[node] = ran.stdout.strip()
    assert (said["old"], said["new"]) == ("1.15.0", "1.17.0")
    assert len(environments.entries()) == 2
    text = environments.file.path.read_text()
    assert "://" not in text


def test_offline_works_from_the_cache_of_uv(real: Callable[..., Environments], tmp_path: Path) -> None:
    lock = real().lock(needs.spec(["six==1.17.0"]))
    real().prefix(lock)
    real().remove(lock.digest)
    prefix = real(uv=Uv(offline=True)).prefix(lock)
    assert prefix.packages == {"six": "six-1.17.0"}


def test_offline_without_a_cache_says_so(
    real: Callable[..., Environments], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(Exception, match="uv's cache does not have it all; run again with a network"):
        real(uv=Uv(offline=True)).lock(needs.spec(["six"]))


@pytest.mark.skipif(sys.platform == "win32", reason="the wheels are for this platform")
def test_real_wheels_for_windows_only(real: Callable[..., Environments]) -> None:
    where = real().place([Need("b", ("onnxruntime-directml",))])["b"]
    assert isinstance(where, Absent)
    assert where.reason.startswith("it asks for onnxruntime-directml, which exists for Windows only")


@pytest.mark.slow
def test_other_pythons(real: Callable[..., Environments]) -> None:
    environments = real()
    others = [
        one
        for one in found(environments.uv)
        if not one.own and one.version >= OLDEST and one.minor != f"3.{sys.version_info[1]}"
    ]
    if not others:
        pytest.skip("there is one Python here")
    for one in others[:3]:
        prefix = environments.prefix(environments.lock(needs.spec(["six==1.17.0"], one.minor)))
        code = "import six, sys; print('%d.%d' % sys.version_info[:2])"
        environ = prefix.environ(os.environ)
        ran = subprocess.run([prefix.python, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == one.minor
