"""Brings one file from a URL or a folder to a path: resumed, verified, and whole or not there at all.

Knows HTTP ranges and hashes. Does not know models or licences. What a cut connection has left stays beside the target
until it is complete or proves wrong.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from wfe import Refuse

Progress = Callable[[int, int | None], None]
"""Told bytes done and bytes in all (None: not known)."""

_BLOCK = 1 << 18


class TransferError(Refuse):
    """The file could not be had. `missing`: the other side answered that it has no such file."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def fetch(
    source: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    part: Path | None = None,
    attempts: int = 5,
    wait: float = 1.0,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> str:
    """Fetch `source` (an http or https URL, or a file's path) to `target` and return its sha256.

    part: where an incomplete file is kept between calls (`target` with ".part" by default; a ".tag" file beside it
    holds the server's version of it). A cut connection is resumed up to `attempts` times, after `wait`, 2 `wait`, ...
    seconds. Raises TransferError; then `target` is not touched, and after a wrong hash or size nothing is left.
    """
    part = part or target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    scheme = urllib.parse.urlsplit(source).scheme
    if scheme in ("http", "https"):
        for attempt in range(1, attempts + 1):
            try:
                _download(source, part, timeout, progress)
                break
            except (OSError, http.client.HTTPException) as error:
                if attempt == attempts or _hopeless(error):
                    raise _explained(source, error, part) from error
                time.sleep(wait * 2 ** (attempt - 1))
    elif len(scheme) < 2:  # no scheme, or the letter of a Windows drive
        _copy(Path(source), part, progress)
    else:
        raise TransferError(f"{source}: files are fetched by http, https or from a folder, not by {scheme!r}")
    return _settle(source, part, target, sha256, size)


def digest(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(source: str, part: Path, target: Path, sha256: str | None, size: int | None) -> str:
    """Verify the complete part and put it at its place; drop it when it is not what was asked for."""
    found, length = digest(part), part.stat().st_size
    wrong = ""
    if sha256 is not None and found != sha256.lower():
        wrong = f"its sha256 is {found}, expected {sha256.lower()}"
    elif size is not None and length != size:
        wrong = f"it has {length} bytes, expected {size}"
    if wrong:
        _drop(part)
        raise TransferError(f"{source}: is not the expected file ({wrong}); nothing was kept")
    try:
        os.replace(part, target)
    except OSError:  # another file system: copy beside the target first, so that the target is never half written
        beside = target.with_name(target.name + ".new")
        beside.write_bytes(part.read_bytes())
        os.replace(beside, target)
    _drop(part)
    return found


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _copy(source: Path, part: Path, progress: Progress | None) -> None:
    if not source.is_file():
        raise TransferError(f"{source}: there is no such file", missing=True)
    total, done = source.stat().st_size, 0
    with source.open("rb") as reader, part.open("wb") as writer:
        while block := reader.read(_BLOCK):
            writer.write(block)
            done += len(block)
            if progress:
                progress(done, total)


def _download(url: str, part: Path, timeout: float, progress: Progress | None) -> None:
    """Get the rest of `url` behind what `part` holds; all of it when the server has another version or no ranges."""
    tag = _tag(part)
    version = tag.read_text(encoding="utf-8") if tag.exists() else ""
    have = part.stat().st_size if part.exists() and version else 0
    request = urllib.request.Request(url, headers={"User-Agent": "wfe", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is as long as the file or longer: begin anew
            error.close()
            _drop(part)
            return _download(url, part, timeout, progress)
        raise
    with answer:
        start, total = 0, _length(answer.headers.get("Content-Length"))
        if answer.status == 206:
            ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if not ranged or int(ranged[1]) != have:
                _drop(part)  # asked for the rest again, it would say the same for ever
                raise http.client.HTTPException(
                    f"asked for bytes from {have}, got {answer.headers.get('Content-Range')}"
                )
            start, total = have, _length(ranged[2])
        # a weak ETag does not promise the same bytes, and is not allowed in If-Range (RFC 9110, 13.1.5)
        etag = answer.headers.get("ETag", "")
        tag.write_text(
            "" if etag.startswith("W/") else etag or answer.headers.get("Last-Modified", ""), encoding="utf-8"
        )
        done = start
        with part.open("ab" if start else "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
    return None


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _hopeless(error: Exception) -> bool:
    """Whether another attempt would get the same answer: no address at all, a 4xx (but "too many requests" and "timeout"),
    or a host's name that nobody knows, which is what a machine without a network says."""
    if isinstance(error, http.client.InvalidURL):
        return True
    if isinstance(error, urllib.error.HTTPError):
        return 400 <= error.code < 500 and error.code not in (408, 429)
    return isinstance(error, urllib.error.URLError) and isinstance(error.reason, socket.gaierror)


def _explained(url: str, error: Exception, part: Path) -> TransferError:
    if isinstance(error, http.client.InvalidURL):
        return TransferError(f"{url!r}: is no address ({error})")
    host = urllib.parse.urlsplit(url).netloc
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return TransferError(
            f"{url}: the server answered {error.code} {error.reason}", missing=error.code in (404, 410)
        )
    if isinstance(error, urllib.error.URLError):
        return TransferError(f"{url}: {host} cannot be reached ({error.reason}); is this machine offline?")
    kept = part.stat().st_size if part.exists() else 0
    return TransferError(f"{url}: the connection broke ({error}); {kept} bytes are kept and the next run goes on there")
