"""Claims: one maker for a key, among threads and among processes, however the holder ends."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from space import environ

from wfe.core.digest import digest
from wfe.errors import EnvironmentFailure
from wfe.store import claims
from wfe.store.claims import Claims

KEY, OTHER = digest(b"key"), digest(b"other")
HOLDER = """
import sys
from pathlib import Path
from wfe.store.claims import Claims
with Claims(Path(sys.argv[1])).hold(sys.argv[2]) as mine:
    print("held", mine, flush=True)
    sys.stdin.readline()
"""

TRIES = """
import sys
from pathlib import Path
from wfe.store.claims import Claims
for key in sys.stdin.read().split():
    with Claims(Path(sys.argv[1])).hold(key) as mine:
        print(key, mine)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims.lock"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.0)


def holder(path: Path, key: str = KEY) -> subprocess.Popen[str]:
    """A process that holds the key until it reads a line, or dies."""
    found = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), key],
        env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert found.stdout is not None and found.stdout.readline() == "held True\n"
    return found


def test_nobody_holds_it(path: Path) -> None:
    ours = Claims(path)
    for _ in range(2):
        assert ours.wait([KEY], threading.Event(), math.inf, lambda: pytest.fail("there is nobody to wait for")) == KEY
        with ours.hold(KEY) as mine:
            assert mine


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_cache_that_was_removed_and_made_anew(path: Path) -> None:
    """By somebody who cleaned up, while a notebook is open: the file that it had opened is nobody else's any more."""
    before = Claims(path)
    with before.hold(OTHER) as mine:
        assert mine
        path.unlink()
        other = holder(path)
        with Claims(path).hold(KEY) as found, Claims(path).hold(OTHER) as new:
            assert not found and new
    other.communicate("\n")


@pytest.mark.parametrize("end", ["line", "kill"])
def test_another_process_is_waited_for(path: Path, end: str) -> None:
    other = holder(path)
    ours = Claims(path)
    heard: list[str] = []

    def waiting() -> None:
        heard.append("waiting")
        if end == "kill":
            other.kill()
        else:
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()

    with ours.hold(KEY) as mine:
        assert not mine
    assert ours.wait([KEY], threading.Event(), math.inf, waiting) == KEY
    assert heard == ["waiting"]
    with ours.hold(KEY) as mine:
        assert mine
    other.communicate()


def test_of_several_the_first_that_is_free_is_told(path: Path) -> None:
    other = holder(path)
    ours = Claims(path)
    assert ours.wait([KEY, OTHER], threading.Event(), math.inf, lambda: pytest.fail("one is free")) == OTHER
    other.communicate("\n")


def test_waiting_ends_with_its_time(path: Path) -> None:
    with Claims(path).hold(KEY):
        assert Claims(path).wait([KEY], threading.Event(), 0.0, lambda: None) == ""


def test_another_key_is_free(path: Path) -> None:
    other = holder(path)
    with Claims(path).hold(OTHER) as mine:
        assert mine
    other.communicate("\n")


def test_who_is_stopped_while_waiting_does_not_hold_it(path: Path) -> None:
    other = holder(path)
    stopping = threading.Event()
    Claims(path).wait([KEY], stopping, math.inf, stopping.set)
    with Claims(path).hold(KEY) as mine:  # the key is still the other's
        assert not mine
    other.communicate("\n")


def test_threads_of_one_process_take_turns(path: Path) -> None:
    inside, most, made = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, made
        done = 0
        while done < 20:
            with Claims(path).hold(KEY) as mine:
                if mine:
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    done += 1
                    with guard:
                        inside -= 1
                        made += 1
            if not mine:
                Claims(path).wait([KEY], threading.Event(), math.inf, lambda: None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, made) == (1, 80)


@pytest.mark.parametrize("count", [1, 7, 8, 200])
def test_what_is_given_back_together_is_free_and_nothing_else_is(path: Path, count: int) -> None:
    ours = Claims(path)
    keys = [digest(b"%d" % number) for number in range(2 * count)]
    claims = [ours.hold(key) for key in keys]
    assert all(one.take() for one in claims)
    ours.give(*(one.leave() for one in claims[::2]))
    told = subprocess.run(
        [sys.executable, "-c", TRIES, str(path)], env=environ(), input=" ".join(keys), capture_output=True, text=True
    ).stdout
    assert told.split("\n")[:-1] == [f"{key} {place % 2 == 0}" for place, key in enumerate(keys)]
    assert all(one.take() for one in claims[::2]) and not any(ours.hold(key).take() for key in keys)


def test_an_error_inside_lets_go(path: Path) -> None:
    with pytest.raises(KeyError), Claims(path).hold(KEY) as mine:
        assert mine
        raise KeyError
    other = holder(path)
    other.communicate("\n")


def test_seats_are_numbered_and_given_up(path: Path) -> None:
    one, two = Claims(path), Claims(path)
    with one.seat() as first:
        with two.seat() as second, two.seat() as third:
            assert (first, second, third) == (0, 1, 2)
        with two.seat() as again:
            assert again == 1
    with two.seat() as alone:
        assert alone == 0
    other = subprocess.run(
        [sys.executable, "-c", SEATED, str(path)], env=environ(), capture_output=True, text=True, check=False
    )
    assert other.stdout == "0\n" and other.returncode != 0
    with one.seat() as first:
        assert first == 0


SEATED = """
import os, sys
from pathlib import Path
from wfe.store.claims import Claims
with Claims(Path(sys.argv[1])).seat() as number:
    print(number, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_file_that_cannot_be_opened_is_told_as_such(path: Path) -> None:
    path.mkdir()
    with pytest.raises(EnvironmentFailure, match="claims.lock cannot be opened"):
        Claims(path)
    path.rmdir()
    assert Claims(path)._lock(1), "the next one is not held against it"
