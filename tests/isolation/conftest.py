"""Projects whose steps are called in each of the places where a step can run: here, in a worker of the main environment,
in one of an isolated environment. The isolated one is made of hand-written wheels and of the NumPy that is at hand, so
that no registry is asked."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest
from env.wheels import wheel, write_all
from lab import KINDS, Lab
from space import Space


def numpy_wheel(folder: Path) -> Path:
    """The installed NumPy as a wheel again."""
    found = importlib.metadata.distribution("numpy")
    files = {
        str(one): Path(str(one.locate())).read_bytes()
        for one in found.files or ()
        if one.parts[0] in ("numpy", "numpy.libs")
        and not {"tests", "__pycache__"} & set(one.parts)
        and one.suffix != ".a"
    }
    return wheel(folder, "numpy", found.version, files)


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of wheels."""
    folder = tmp_path_factory.mktemp("links")
    write_all(folder)
    wheel(folder, "marker", "1.0", {"marker.py": "VERSION = 1\n"})
    wheel(folder, "marker", "2.0", {"marker.py": "VERSION = 2\n"})
    numpy_wheel(folder)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What outlives a test: uv's cache and the environments, which are named by their locks."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def local(links: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv sees the wheels and no registry."""
    config = tmp_path / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = [{str(links)!r}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(config))
    monkeypatch.setenv("UV_CACHE_DIR", str(shared / "uv"))
    monkeypatch.delenv("UV_LINK_MODE", raising=False)


@pytest.fixture
def made(space: Space, local: None, shared: Path) -> Callable[[str], Lab]:
    """Makes a lab of a kind."""

    def make(kind: str) -> Lab:
        if kind == "isolated":
            (shared / "environments").mkdir(exist_ok=True)
            space.cache.mkdir(exist_ok=True)
            (space.cache / "environments").symlink_to(shared / "environments")
        return Lab(space, kind)

    return make


@pytest.fixture(params=KINDS)
def lab(request: pytest.FixtureRequest, made: Callable[[str], Lab]) -> Lab:
    return made(request.param)


@pytest.fixture(params=KINDS[1:])
def workers(request: pytest.FixtureRequest, made: Callable[[str], Lab]) -> Lab:
    """Only where a step has a process of its own: what can be ended from outside."""
    return made(request.param)
