"""The page on loopback: the picture, the keys, and nothing for strangers."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
import pytest

from nodes.vision.live import open_display
from nodes.vision.live_page import Page
from wfe import Refuse


def test_the_page_shows_and_hears_and_refuses_strangers() -> None:
    page = Page("a<b>.mp4 & co")
    try:
        page.show(np.zeros((60, 80, 3), np.uint8), False)
        shown = urllib.request.urlopen(page.address, timeout=10).read()
        assert b"Q: quit" in shown and b"<title>a&lt;b&gt;.mp4 &amp; co</title>" in shown
        with urllib.request.urlopen(page.address + "stream", timeout=10) as stream:
            assert stream.read(7) == b"--frame"
        press = urllib.request.Request(page.address + "key/s", method="POST")
        assert urllib.request.urlopen(press, timeout=10).read() == b"Recording starts."
        assert page.pressed() == ["s"] and page.pressed() == []
        stranger = urllib.request.Request(page.address, headers={"Host": "other.example"})
        for request in (page.address.rsplit("/", 2)[0] + "/guess/", stranger):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(request, timeout=10)
    finally:
        page.close()


def test_a_port_that_is_taken_is_refused() -> None:
    page = Page("first")
    try:
        port = int(page.address.split(":")[2].split("/")[0])
        with pytest.raises(Refuse, match=f"'page_port' is {port}, which cannot be had .*; 0 takes any free one"):
            Page("second", port)
    finally:
        page.close()


def test_a_window_that_is_asked_for_and_not_possible_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Refuse, match="there is no screen to open a window on"):
        open_display("window", "title")
