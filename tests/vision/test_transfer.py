"""Fetching files from a real server on loopback: whole, cut, changed, wrong, missing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nodes.vision.transfer import TransferError, digest, fetch

BODY = np.random.default_rng(5).bytes(900_000)
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Shelf:
    """What the server has and does. cuts: after how many bytes an answer breaks off, one entry an answer."""

    body: bytes = BODY
    etag: str = '"one"'
    ranges: bool = True
    off: int = 0  # by how much the ranges that it names are wrong
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    held = Shelf()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            held.asked.append(wanted)
            status = held.statuses.pop(0) if held.statuses else 200
            if status != 200 or self.path != "/model.onnx":
                self.send_error(status if status != 200 else 404)
                return
            start = 0
            if wanted and held.ranges and self.headers.get("If-Range") == held.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(held.body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start + held.off}-{len(held.body) - 1}/{len(held.body)}")
            else:
                self.send_response(200)
            if held.etag:
                self.send_header("ETag", held.etag)
            if held.length:
                self.send_header("Content-Length", str(len(held.body) - start))
            self.end_headers()
            rest = held.body[start:]
            self.wfile.write(rest[: held.cuts.pop(0)] if held.cuts else rest)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_port}/model.onnx"
    yield held
    server.shutdown()
    thread.join()
    server.server_close()


def only(folder: Path, *names: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_whole_file(shelf: Shelf, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = fetch(shelf.url, tmp_path / "m", sha256=SHA, size=len(BODY), progress=lambda *now: seen.append(now))
    assert found == SHA == digest(tmp_path / "m")
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    only(tmp_path, "m")


def test_a_cut_connection_is_resumed(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [300_000, 200_000]
    fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    assert shelf.asked == [None, "bytes=300000-", "bytes=500000-"]
    only(tmp_path, "m")


def test_the_next_call_goes_on_where_the_last_broke(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [400_000]
    with pytest.raises(TransferError, match="400000 bytes are kept and the next run goes on there"):
        fetch(shelf.url, tmp_path / "m", sha256=SHA, attempts=1)
    only(tmp_path, "m.part", "m.part.tag")
    fetch(shelf.url, tmp_path / "m", sha256=SHA, attempts=1)
    assert shelf.asked[-1] == "bytes=400000-"
    assert (tmp_path / "m").read_bytes() == BODY
    only(tmp_path, "m")


def test_a_changed_file_is_not_glued_to_the_old_start(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [400_000]
    with pytest.raises(TransferError):
        fetch(shelf.url, tmp_path / "m", attempts=1)
    shelf.body, shelf.etag = BODY[::-1], '"two"'
    fetch(shelf.url, tmp_path / "m", attempts=1)
    assert (tmp_path / "m").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_firm_version_it_begins_anew(shelf: Shelf, tmp_path: Path, etag: str) -> None:
    shelf.etag, shelf.cuts = etag, [400_000]
    fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    assert shelf.asked == [None, None]


def test_a_server_without_ranges(shelf: Shelf, tmp_path: Path) -> None:
    shelf.ranges, shelf.cuts = False, [400_000]
    fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    assert (tmp_path / "m").read_bytes() == BODY


def test_a_server_that_answers_with_another_range(shelf: Shelf, tmp_path: Path) -> None:
    """What was kept was asked for again and again, in this run and every later one."""
    shelf.off, shelf.cuts = 5, [400_000]
    fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    assert shelf.asked == [None, "bytes=400000-", None]
    only(tmp_path, "m")


def test_a_part_that_is_already_whole(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(BODY)
    (tmp_path / "m.part.tag").write_text(shelf.etag)
    fetch(shelf.url, tmp_path / "m", sha256=SHA)
    assert shelf.asked == [f"bytes={len(BODY)}-", None]
    only(tmp_path, "m")


def test_a_wrong_hash_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"the file that was there")
    with pytest.raises(TransferError, match=f"its sha256 is {SHA}, expected {'0' * 64}.*nothing was kept"):
        fetch(shelf.url, tmp_path / "m", sha256="0" * 64)
    only(tmp_path, "m")
    assert (tmp_path / "m").read_bytes() == b"the file that was there"


def test_a_damaged_part_is_found_by_its_hash(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(b"\0" * 1000)
    (tmp_path / "m.part.tag").write_text(shelf.etag)
    with pytest.raises(TransferError, match="not the expected file"):
        fetch(shelf.url, tmp_path / "m", sha256=SHA)
    only(tmp_path)
    fetch(shelf.url, tmp_path / "m", sha256=SHA)


def test_a_wrong_size_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="it has 900000 bytes, expected 5"):
        fetch(shelf.url, tmp_path / "m", size=5)
    only(tmp_path)


def test_an_unfinished_answer_without_length_is_found_by_its_hash(shelf: Shelf, tmp_path: Path) -> None:
    shelf.length, shelf.cuts = False, [100_000]
    with pytest.raises(TransferError, match="not the expected file"):
        fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    only(tmp_path)


def test_a_missing_file_is_not_asked_for_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.statuses = [404]
    with pytest.raises(TransferError, match="the server answered 404") as caught:
        fetch(shelf.url, tmp_path / "m", wait=0)
    assert caught.value.missing
    assert shelf.asked == [None]
    only(tmp_path)


def test_a_busy_server_is_asked_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.statuses = [503, 429]
    fetch(shelf.url, tmp_path / "m", sha256=SHA, wait=0)
    assert len(shelf.asked) == 3


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"127\.0\.0\.1:9 cannot be reached .*offline"):
        fetch("http://127.0.0.1:9/model.onnx", tmp_path / "m", attempts=2, wait=0)
    only(tmp_path)


def test_a_file_and_what_is_no_address(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(BODY)
    fetch(str(tmp_path / "source"), tmp_path / "deep" / "m", sha256=SHA)
    assert (tmp_path / "deep" / "m").read_bytes() == BODY
    assert (tmp_path / "source").exists()
    with pytest.raises(TransferError, match="there is no such file"):
        fetch(str(tmp_path / "none"), tmp_path / "x")
    with pytest.raises(TransferError, match="not by 'ftp'"):
        fetch("ftp://127.0.0.1/x", tmp_path / "x")
