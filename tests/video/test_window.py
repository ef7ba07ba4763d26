"""A real window and a real browser: keys pressed by xdotool under Xvfb, pictures seen on the screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from space import environ

from nodes.vision.live_window import NoDisplay, Window
from nodes.vision.video_read import frames

from .conftest import ROOT, SHAPES, Make

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(map(shutil.which, ("Xvfb", "xdotool", "ffmpeg"))), reason="needs Xvfb, xdotool and ffmpeg"
    ),
]

NODE = """
import json, sys
import wfe
from pathlib import Path
wfe._emit = lambda kind, fields: print(kind, json.dumps(fields), flush=True)
from nodes.vision.live import realtime_detection
found = realtime_detection(Path(sys.argv[1]), sys.argv[2], output_path=sys.argv[3], display=sys.argv[4], threads=1)
print("result", json.dumps({name: found[name] for name in ("ended", "recordings", "frames_processed")}), flush=True)
"""

# SDL sets the name in a form that xdotool's search does not read; the only window there is will do.
WINDOW = ["--class", "."]
BROWSER = ["--name", "Q quits"]


@pytest.fixture
def screen() -> Iterator[str]:
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    yield f":{number}"
    server.kill()
    server.wait()


def press(screen: str, window: list[str], key: str) -> None:
    act = ["xdotool", "windowfocus", found(screen, window), "key", key]
    subprocess.run(act, env={**os.environ, "DISPLAY": screen}, check=True, timeout=60, stdout=subprocess.DEVNULL)


def found(screen: str, window: list[str]) -> str:
    """The number of the first visible window of that kind. The search looks at every window there is, and ends with an
    error where one of them goes meanwhile, as a browser's do when it starts: then it begins anew."""
    look = ["xdotool", "search", "--sync", "--onlyvisible", *window]
    for _ in range(50):
        done = subprocess.run(look, env={**os.environ, "DISPLAY": screen}, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return done.stdout.split()[0]
        assert "BadWindow" in done.stderr or not done.stderr, done.stderr
    raise AssertionError(f"no window {window}: {done.stderr}")


def shot(screen: str, path: Path) -> np.ndarray:
    grab = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        "-f",
        "x11grab",
        "-i",
        screen,
        "-frames:v",
        "1",
        str(path),
    ]
    subprocess.run(grab, check=True, timeout=60)
    return cv2.imread(str(path))


def start(screen: str, source: Path, out: Path, display: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", NODE, str(SHAPES), str(source), str(out), display],
        cwd=ROOT,
        env=environ(DISPLAY=screen),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return line
    raise AssertionError(f"it never said {text!r}: {said}")


def test_keys_in_a_window(screen: str, make_video: Make, tmp_path: Path) -> None:
    process = start(screen, make_video(count=3000), tmp_path / "rec.mp4", "window")
    try:
        until(process, "shown in a window")
        until(process, '"done": 10')
        picture = shot(screen, tmp_path / "screen.png")
        assert picture.std() > 10, "the screen is empty"
        press(screen, WINDOW, "s")
        until(process, "recording to")
        until(process, "progress")
        press(screen, WINDOW, "s")
        until(process, "recorded")
        press(screen, WINDOW, "q")
        ended = until(process, "result")
        assert '"ended": "Q was pressed"' in ended and "rec.mp4" in ended
    finally:
        process.kill()
        process.communicate()
    assert len(list(frames(tmp_path / "rec.mp4"))) >= 1


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_keys_in_a_browser(screen: str, make_video: Make, tmp_path: Path) -> None:
    process = start("", make_video(count=3000), tmp_path / "rec.mp4", "page")
    browser = None
    try:
        address = until(process, "shown at").split()[-1].rstrip('"}')
        assert address.startswith("http://127.0.0.1:")
        options = [
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-sync",
            "--disable-background-networking",
        ]
        browser = subprocess.Popen(
            ["chromium", *options, f"--user-data-dir={tmp_path / 'profile'}", f"--app={address}"],
            env={**os.environ, "DISPLAY": screen, "HOME": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        press(screen, BROWSER, "s")
        until(process, "recording to")
        picture = shot(screen, tmp_path / "screen.png")
        assert picture[100:300, 100:300].std() > 10, "the browser shows no picture"
        press(screen, BROWSER, "q")
        assert '"ended": "Q was pressed"' in until(process, "result")
    finally:
        process.kill()
        process.communicate()
        if browser is not None:
            os.killpg(browser.pid, 9)
            browser.wait()


def test_without_a_screen_a_window_is_refused_and_auto_serves_a_page(
    monkeypatch: pytest.MonkeyPatch, make_video: Make, tmp_path: Path
) -> None:
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a screen")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(NoDisplay, match="neither DISPLAY nor WAYLAND_DISPLAY"):
        Window("title")
    process = start("", make_video(count=30), tmp_path / "rec.mp4", "auto")
    try:
        assert "http://127.0.0.1:" in until(process, "no window (")
        assert "the file's end" in until(process, "result")
    finally:
        process.kill()
        process.communicate()
