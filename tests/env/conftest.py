"""A folder of wheels as the only index, a cache of uv of its own, and the front of wfe.env over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wheels

from wfe.env import Environments, Progress
from wfe.env.installed import Installed, running


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "registry: asks a package registry")
    config.addinivalue_line("markers", "slow: takes more than a second or two")


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of wheels."""
    folder = tmp_path_factory.mktemp("links")
    wheels.write_all(folder)
    return folder


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def local(links: Path, uv_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv sees the wheels and no registry."""
    config = tmp_path / "uv.toml"
    config.write_text(f"no-index = true\nfind-links = [{str(links)!r}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(config))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    monkeypatch.delenv("UV_LINK_MODE", raising=False)


@pytest.fixture(scope="session")
def bare() -> Installed:
    """A main environment with nothing in it, on this machine's Python and platform."""
    here = running()
    return Installed({}, here.python, here.markers)


@pytest.fixture
def heard() -> list[Progress]:
    """What was told while environments were prepared."""
    return []


@pytest.fixture
def environments(local: None, tmp_path: Path, bare: Installed, heard: list[Progress]) -> Callable[..., Environments]:
    """Makes a front over `tmp_path`, with an empty main environment."""

    def make(**options: Any) -> Environments:
        options = {"installed": bare, "say": heard.append, **options}
        root = options.pop("root", tmp_path / "cache" / "environments")
        return Environments(root, tmp_path / "environments.lock.json", **options)

    return make
