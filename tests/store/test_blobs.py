"""Blobs: they are what their names say, and getting one out never shows half a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wfe.core.digest import digest
from wfe.store.blobs import Blobs

CONTENT = b"some content"
NAME = digest(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def staged(tmp_path: Path, content: bytes = CONTENT) -> str:
    path = tmp_path / "staged"
    path.write_bytes(content)
    return str(path)


def test_adopting_moves_the_file_and_protects_it(blobs: Blobs, tmp_path: Path) -> None:
    source = staged(tmp_path)
    where = Path(blobs.adopt(source, NAME))
    assert where.read_bytes() == CONTENT and not Path(source).exists()
    assert where.relative_to(blobs.root).as_posix() == f"{NAME[:2]}/{NAME[2:]}"
    assert blobs.has(NAME) and blobs.intact(NAME)
    assert not where.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_adopting_twice_keeps_the_first(blobs: Blobs, tmp_path: Path) -> None:
    first = Path(blobs.adopt(staged(tmp_path), NAME)).stat().st_ino
    second = staged(tmp_path)
    assert Path(blobs.adopt(second, NAME)).stat().st_ino == first
    assert not Path(second).exists()


def test_a_damaged_blob_is_replaced(blobs: Blobs, tmp_path: Path) -> None:
    where = Path(blobs.adopt(staged(tmp_path), NAME))
    where.chmod(0o644)
    where.write_bytes(b"damaged bits")
    assert blobs.has(NAME) and not blobs.intact(NAME)
    blobs.adopt(staged(tmp_path), NAME)
    assert blobs.intact(NAME)


def test_a_copy_leaves_the_source(blobs: Blobs, tmp_path: Path) -> None:
    source = staged(tmp_path)
    part = str(tmp_path / "part")
    blobs.add_copy(source, NAME, part)
    assert Path(source).read_bytes() == CONTENT and blobs.intact(NAME) and not Path(part).exists()
    where = Path(blobs.path(NAME))
    where.chmod(0o644)
    where.write_bytes(b"x")
    blobs.add_copy(source, NAME, part)
    assert blobs.intact(NAME)


def test_putting_makes_a_file_of_its_own(blobs: Blobs, tmp_path: Path) -> None:
    blobs.adopt(staged(tmp_path), NAME)
    target = tmp_path / "out" / "deep" / "a.txt"
    taken = blobs.put(NAME, str(target))
    assert target.read_bytes() == CONTENT and taken.size == len(CONTENT) and taken.inode == target.stat().st_ino
    assert target.stat().st_mode & stat.S_IWUSR
    target.write_bytes(b"edited in place")
    assert blobs.intact(NAME)


def test_putting_over_a_file_replaces_it_whole(blobs: Blobs, tmp_path: Path) -> None:
    blobs.adopt(staged(tmp_path), NAME)
    target = tmp_path / "a.txt"
    target.write_bytes(b"old and longer than the new content")
    with open(target, "rb") as open_before:
        blobs.put(NAME, str(target))
        assert open_before.read() == b"old and longer than the new content"  # another file, not this one rewritten
    assert target.read_bytes() == CONTENT


def test_putting_what_is_not_there_leaves_the_target(blobs: Blobs, tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        blobs.put(NAME, str(target))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_putting_where_a_folder_is_leaves_no_part(blobs: Blobs, tmp_path: Path) -> None:
    blobs.adopt(staged(tmp_path), NAME)
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        blobs.put(NAME, str(tmp_path / "folder"))
    assert sorted(os.listdir(tmp_path)) == ["blobs", "folder"]


def test_dropping(blobs: Blobs, tmp_path: Path) -> None:
    blobs.adopt(staged(tmp_path), NAME)
    blobs.drop(NAME)
    assert not blobs.has(NAME) and not blobs.intact(NAME)
    blobs.drop(NAME)
