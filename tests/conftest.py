"""What all tests share: the `space` fixture, profiles of hypothesis, and an environment without traces of the user's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import installed
import pytest
from hypothesis import HealthCheck, settings
from space import Space

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
# Deterministic by default: a test that fails now and then teaches people to run it again. `thorough` is for the search.
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=_QUIET)
settings.load_profile("default")

# Started in the background of a script, the tests inherit an ignored Ctrl-C, and so would every process that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache, a device or an output mode that the user has set must not reach a test."""
    for name in list(os.environ):
        if name.startswith("WFE_") and name != "WFE_TEST_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", installed.distributions)
    monkeypatch.setattr(metadata, "packages_distributions", installed.packages_distributions)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    """A fresh project."""
    here = Path.cwd()
    yield Space(tmp_path / "project")
    assert Path.cwd() == here, "the run left the working directory changed"
