"""Claims: one maker for a key, among threads and among processes, however the holder ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from space import environ

from wfe.core.digest import digest
from wfe.store.claims import Claims

KEY, OTHER = digest(b"key"), digest(b"other")
HOLDER = """
import sys, threading
from pathlib import Path
from wfe.store.claims import Claims
with Claims(Path(sys.argv[1])).hold(sys.argv[2], threading.Event(), lambda: None) as waited:
    print("held", waited, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims.lock"


def holder(path: Path, key: str = KEY) -> subprocess.Popen[str]:
    """A process that holds the key until it reads a line, or dies."""
    found = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), key],
        env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert found.stdout is not None and found.stdout.readline() == "held False\n"
    return found


def test_nobody_holds_it(path: Path) -> None:
    claims = Claims(path)
    for _ in range(2):
        with claims.hold(KEY, threading.Event(), lambda: pytest.fail("there is nobody to wait for")) as waited:
            assert not waited


@pytest.mark.parametrize("end", ["line", "kill"])
def test_another_process_is_waited_for(path: Path, end: str) -> None:
    other = holder(path)
    claims = Claims(path)
    heard: list[str] = []

    def waiting() -> None:
        heard.append("waiting")
        if end == "kill":
            other.kill()
        else:
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()

    with claims.hold(KEY, threading.Event(), waiting) as waited:
        assert waited
    assert heard == ["waiting"]
    other.communicate()


def test_another_key_is_free(path: Path) -> None:
    other = holder(path)
    with Claims(path).hold(OTHER, threading.Event(), lambda: pytest.fail("another key")) as waited:
        assert not waited
    other.communicate("\n")


def test_who_is_stopped_while_waiting_does_not_hold_it(path: Path) -> None:
    other = holder(path)
    stopping = threading.Event()
    with Claims(path).hold(KEY, stopping, stopping.set):
        third = Claims(path)  # the key is still the other's
        assert not third._lock(int(KEY[:15], 16) + 1)
    other.communicate("\n")


def test_threads_of_one_process_take_turns(path: Path) -> None:
    inside, most, made = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, made
        for _ in range(20):
            with Claims(path).hold(KEY, threading.Event(), lambda: None):
                with guard:
                    inside += 1
                    most = max(most, inside)
                made += 1
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, made) == (1, 80)


def test_an_error_inside_lets_go(path: Path) -> None:
    claims = Claims(path)
    with pytest.raises(KeyError), claims.hold(KEY, threading.Event(), lambda: None):
        raise KeyError
    other = holder(path)
    other.communicate("\n")
