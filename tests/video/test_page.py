"""The page on loopback: the picture, the keys, and nothing for strangers."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
import pytest

from nodes.vision.live_page import Page


def test_the_page_shows_and_hears_and_refuses_strangers() -> None:
    page = Page("title")
    try:
        page.show(np.zeros((60, 80, 3), np.uint8), False)
        assert b"Q: quit" in urllib.request.urlopen(page.address, timeout=10).read()
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
