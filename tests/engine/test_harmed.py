"""Results, files and blobs that were deleted or changed by somebody else: restored, or made again."""

from __future__ import annotations

import os
import shutil

import pytest
from chain import ALL
from space import Space

from wfe.errors import ExitCode


@pytest.mark.parametrize("harm", ["deleted", "edited", "same size", "emptied", "a folder"])
def test_a_harmed_target_is_restored(chain: Space, harm: str) -> None:
    target = chain.root / "out/n.txt"
    if harm in ("deleted", "a folder"):
        target.unlink()
    if harm == "a folder":
        target.mkdir()
        chain.run()
        chain.failed("write")  # what is in the folder may be the user's own: it is not deleted
        assert chain.last is not None and chain.last.code is ExitCode.ENVIRONMENT
        return
    if harm != "deleted":
        target.write_text({"edited": "another text", "same size": "99", "emptied": ""}[harm])
    chain.run()
    chain.ran()
    chain.restored("write")
    assert target.read_text() == "12"


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_a_harmed_result_file_is_restored(chain: Space, harm: str) -> None:
    file = chain.result_file("scale")
    before = file.read_bytes()
    if harm == "deleted":
        file.unlink()
    else:
        file.write_bytes(before[:-3])
    chain.run()
    chain.restored("scale")
    chain.current("load", "shout", "write")
    assert file.read_bytes() == before


@pytest.mark.parametrize("harm", ["deleted", "damaged", "same size"])
def test_a_harmed_blob_makes_its_step_run_again(chain: Space, harm: str) -> None:
    (blob,) = chain.blobs()
    blob.chmod(0o644)
    if harm == "deleted":
        blob.unlink()
    else:
        blob.write_bytes(b"1" if harm == "damaged" else b"99")
    chain.run()
    chain.ran("write")
    assert blob.read_bytes() == b"12"
    chain.run()
    chain.nothing_ran()


def test_blob_and_target_deleted(chain: Space) -> None:
    for blob in chain.blobs():
        blob.chmod(0o644)
        blob.unlink()
    shutil.rmtree(chain.root / "out")
    chain.run()
    chain.ran("write")
    assert (chain.root / "out/n.txt").read_text() == "12"


def test_everything_but_the_blobs_deleted(chain: Space) -> None:
    for name in os.listdir(chain.cache):
        if name != "blobs":
            path = chain.cache / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    chain.run()
    chain.ran(*ALL)
    chain.run()
    chain.nothing_ran()
