"""Blocks of shared memory: formats, flags, reuse, and what dead processes leave."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from wfe.wire import shm
from wfe.wire.desk import Desk
from wfe.wire.shm import Block, Flag, Pool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    pool.close()


def test_the_header_is_eight_bytes_little_endian(pool: Pool) -> None:
    block = pool.take(100)
    block.put({"a": 1})
    block.flag = Flag.DONE
    assert block.path.read_bytes()[:8] == bytes([3, 0, 0, 0, 1, 0, 0, 0])
    assert [flag.name for flag in Flag] == ["EMPTY", "READY", "PROCESSING", "DONE", "ERROR"]


@pytest.mark.parametrize("dtype", ["u1", ">f8", "c8", "U5", "M8[us]", [("x", "f4"), ("y", [("z", "i8", (2, 2))])]])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (4, 3, 2)])
def test_arrays_there_and_back(pool: Pool, dtype: object, shape: tuple[int, ...]) -> None:
    array = numpy.zeros(shape, dtype)  # type: ignore[call-overload]
    other = Block.attach(pool.fill(array).path)
    back = other.get()
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        back[...] = 0


def test_strides_and_order(pool: Pool) -> None:
    array = numpy.arange(5040.0).reshape(7, 8, 90)
    for view in (array[::2, ::-1], numpy.asfortranarray(array), array.T, array[:, 1:2, :0]):
        block = pool.fill(view)
        numpy.testing.assert_array_equal(block.get(), view)
    assert pool.fill(array.T).get().flags.f_contiguous


def test_values_lie_on_multiples_of_64(pool: Pool) -> None:
    array = pool.fill(numpy.ones(3)).get()
    assert array.__array_interface__["data"][0] % 64 == 0


def test_dicts_and_pickles(pool: Pool) -> None:
    block = pool.fill({"a": [1, "é"]})
    assert block.get() == {"a": [1, "é"]}
    with pytest.raises(TypeError, match="set"):
        block.put({1, 2})
    block.put({1, 2}, pickles=True)
    with pytest.raises(ValueError, match="pickle"):
        block.get()
    assert block.get(pickles=True) == {1, 2}


def test_objects_and_masks_are_refused(pool: Pool) -> None:
    with pytest.raises(TypeError, match="Python objects"):
        pool.fill(numpy.array([object()]))
    with pytest.raises(TypeError, match="mask"):
        pool.fill(numpy.ma.masked_array([1], [True]))


def test_too_small_a_block_is_left_as_it_was(pool: Pool) -> None:
    block = pool.fill({"a": 1})
    with pytest.raises(ValueError, match="do not fit"):
        block.put(numpy.zeros(block.size, "u1"))
    assert block.get() == {"a": 1}


def test_a_refilled_block_is_noticed(pool: Pool) -> None:
    block = pool.fill({"a": 1})
    before = block.generation
    block.put({"a": 2})
    with pytest.raises(shm.Stale):
        block.get(generation=before)


def test_what_is_no_block(pool: Pool, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"abc")
    with pytest.raises(ValueError, match="no block"):
        Block.attach(short)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(range(1, 200)))
    with pytest.raises(ValueError, match="is not a valid Flag|no description"):
        Block.attach(garbage).get()
    with pytest.raises(ValueError, match="empty"):
        pool.take(10).get()
    with pytest.raises(FileNotFoundError):
        Block.attach(tmp_path / "none")


def test_waiting(pool: Pool) -> None:
    block = pool.take(10)
    with pytest.raises(TimeoutError, match="still EMPTY and not DONE"):
        block.wait(Flag.DONE, timeout=0.01)
    other = Block.attach(block.path)
    thread = threading.Thread(target=lambda: (other.wait(Flag.READY, 30), setattr(other, "flag", Flag.DONE)))
    thread.start()
    block.put({"x": 1})
    block.wait(Flag.DONE, 30)
    thread.join()
    block.flag = Flag.ERROR
    with pytest.raises(RuntimeError, match="gave up"):
        other.wait(Flag.DONE, 30)


def test_another_process_of_another_kind_takes_part(pool: Pool) -> None:
    block = pool.fill({"n": 20})
    program = (
        "import sys; from wfe.wire.shm import Block, Flag\n"
        "block = Block.attach(sys.argv[1]); block.wait(Flag.READY, 30)\n"
        "block.put({'n': block.get()['n'] + 1}); block.flag = Flag.DONE\n"
    )
    subprocess.run([sys.executable, "-c", program, str(block.path)], check=True)
    # Its end has destroyed nothing: there is no resource tracker that could.
    assert block.flag is Flag.DONE
    block.flag = Flag.READY
    assert block.get() == {"n": 21}
    assert block.path.exists()


def test_blocks_are_used_again(pool: Pool) -> None:
    block = pool.take(1_000_000)
    pool.give_back([block])
    assert pool.take(990_000) is block
    assert pool.take(990_000) is not block


def test_a_collected_array_holds_its_block_until_its_last_view_is_gone(pool: Pool) -> None:
    block = pool.fill(numpy.arange(100_000))
    lent = [block]
    array = pool.collect(block.ticket(), lent)
    assert lent == []
    view = array[10:].reshape(-1, 10)
    del array
    assert pool.take(800_000) is not block
    del view
    assert pool.take(800_000) is block


def test_arrays_outlive_the_pool(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    block = pool.fill(numpy.arange(100_000))
    array = pool.collect(block.ticket(), [block])
    pool.close()
    pool.close()
    del block
    assert list(tmp_path.iterdir()) == []
    assert array.sum() == 4999950000


def test_spare_memory_is_bounded(tmp_path: Path) -> None:
    pool = Pool(tmp_path, spare=300_000)
    pool.give_back([pool.take(100_000) for _ in range(10)])
    assert len(list(pool.folder.iterdir())) <= 1 + 3
    pool.close()


def test_a_full_memory_file_system_is_no_bus_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.posix_fallocate
    full = tmp_path / "full"
    full.mkdir()
    pool = Pool(full)

    def fallocate(descriptor: int, offset: int, size: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(full)):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    block = pool.fill({"a": 1})
    assert block.path.parent == pool.folders[1] != pool.folder
    assert [path.name for path in pool.folder.iterdir()] == ["lock"]
    desk = Desk()
    desk.lay_out([str(folder) for folder in pool.folders], [])
    _, ticket = desk.place("npy", ".npy", numpy.arange(5))
    assert pool.collect(ticket, []).tolist() == [0, 1, 2, 3, 4]
    pool.close()
    assert not block.path.exists() and not pool.folders[1].exists()


def test_what_a_dead_process_made_and_never_handed_over_is_removed(pool: Pool) -> None:
    desk = Desk()
    desk.lay_out([str(folder) for folder in pool.folders], [])
    _, ticket = desk.place("npy", ".npy", numpy.arange(5))
    handed = pool.collect(ticket, [])
    desk.place("npy", ".npy", numpy.arange(6))
    assert len(list(pool.folder.glob("w*"))) == 2
    pool.bury(os.getpid())
    assert [str(path) for path in pool.folder.glob("w*")] == [ticket.partition("#")[0]]
    assert handed.sum() == 10


def test_the_reaper_takes_dead_hosts_only(tmp_path: Path) -> None:
    living = Pool(tmp_path)
    program = (
        "import os, sys; from pathlib import Path; from wfe.wire.shm import Pool\n"
        "pool = Pool(Path(sys.argv[1])); pool.take(9); print(pool.folder, flush=True); os._exit(0)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    dead = Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    assert dead.is_dir()
    unlocked = tmp_path / f"{shm.PREFIX}young"
    unlocked.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    assert shm.reap(tmp_path) == [dead]
    assert living.folder.is_dir() and unlocked.is_dir() and other.is_dir()
    os.utime(unlocked, (1, 1))
    assert shm.reap(tmp_path) == [unlocked]
    living.close()


def test_a_desk_tells_which_arrays_were_kept(pool: Pool) -> None:
    desk = Desk()
    first, second = pool.fill(numpy.ones(10)), pool.fill(numpy.zeros(10))
    kept = desk.read(first.ticket())[2:]
    desk.read(second.ticket())
    assert first.flag is Flag.PROCESSING
    assert desk.clear() == [str(first.path)]
    assert first.flag is Flag.DONE
    pool.forget([first])
    assert kept.sum() == 8


def test_the_example_of_the_documentation_runs() -> None:
    """The left column of the module's docstring in this process, the right one in another, line by line."""
    assert shm.__doc__ is not None
    lines = shm.__doc__.split("----                                            ----\n")[1].split("\n\n")[0].splitlines()
    column = lines[0].index("pool") + len("pool = Pool()".ljust(48))
    both = [not line[column - 2 : column].strip() for line in lines]  # else a long line of the left one
    left = [line[4:column] if two else line[4:] for line, two in zip(lines, both, strict=True)]
    right = [line[column:] for line, two in zip(lines, both, strict=True) if two and line[column:]]
    # Starting the other process alone can take more than five seconds on a machine that has much to do.
    left, right = ([line.replace("timeout=5", "timeout=120") for line in side] for side in (left, right))
    told = next(at for at, line in enumerate(left) if line.startswith("... tell it block.path"))
    program = "\n".join(
        ["import sys, json", "from wfe.wire.shm import Block, Flag", "path = sys.argv[1]", *right[:-1]]
        + ["print(json.dumps([image.tolist(), image.flags.writeable]))", right[-1], "sys.stdin.read()"]
    )
    names: dict[str, object] = {"Pool": Pool, "Flag": Flag, "image": numpy.arange(6, dtype=numpy.uint8).reshape(2, 3)}
    exec("\n".join(left[:told]), names)
    block = names["block"]
    assert isinstance(block, Block)
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(block.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    exec("\n".join(left[told + 1 :]), names)
    said, _ = other.communicate()
    assert other.returncode == 0
    assert json.loads(said) == [[[0, 1, 2], [3, 4, 5]], False]
    assert not block.path.exists()
