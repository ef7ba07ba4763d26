"""What environments of their own cost: a first one, a second one with the same packages, deciding when all is there.

    python tests/bench/environments.py [--requirements numpy,onnxruntime] [--rounds 3]

Each round starts with an empty cache of uv that lies on the same file system, filled by the first environment; what it
takes from there is thus install and check, with the download told apart. Asks a registry. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from wfe.env import Environments, Lock, Need, Uv
from wfe.env import need as needs
from wfe.env.installed import Installed, running
from wfe.env.listing import size
from wfe.env.prefix import python_of


def front(folder: Path, offline: bool = False) -> Environments:
    here = running()
    bare = Installed({}, here.python, here.markers)
    return Environments(folder / "environments", folder / "lock.json", uv=Uv(offline=offline), installed=bare)


def used(path: Path) -> int:
    """What the file system says is taken on it, in bytes."""
    os.sync()
    return shutil.disk_usage(path).used


def plain(uv: Uv, folder: Path, lock: Lock) -> float:
    """Seconds that uv alone takes to make the same environment: no check, no rename."""
    start = perf_counter()
    folder.mkdir()
    (folder / "pins.txt").write_text(lock.requirements())
    for arguments in (
        ["venv", "--quiet", "--no-project", str(folder / "env")],
        ["pip", "sync", "--quiet", str(folder / "pins.txt"), "--python", str(python_of(folder / "env"))],
    ):
        ran = uv.run(arguments)
        assert ran.status == 0, ran.stderr
    return perf_counter() - start


def timed(environments: Environments, lock: Lock) -> tuple[float, dict[str, float], int, int]:
    start = perf_counter()
    prefix = environments.prefix(lock)
    return perf_counter() - start, dict(prefix.seconds), *size(prefix.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requirements", default="numpy,onnxruntime,opencv-python-headless")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    asked = options.requirements.split(",")
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            os.environ["UV_CACHE_DIR"] = str(folder / "uv")
            environments = front(folder)
            start = perf_counter()
            first = environments.lock(needs.spec(asked))
            note("resolve, s", perf_counter() - start)
            second = environments.lock(needs.spec([*asked, "six"]))
            for which, lock in (("first", first), ("second", second)):
                note(f"plain uv, {which}, s", plain(environments.uv, folder / f"plain-{which}", lock))
            shutil.rmtree(folder / "uv")
            for which in ("first", "second"):
                shutil.rmtree(folder / f"plain-{which}")
            environments.lock_all([Need("a", tuple(asked)), Need("b", ("six", *asked))])
            seconds, stages, own, linked = timed(environments, first)
            note("first with download, s", seconds)
            environments.remove(first.digest)
            seconds, stages, own, linked = timed(environments, first)
            note("first from uv's cache, s", seconds)
            whole = own + linked
            note("first, MB", whole / 1e6)
            for stage, value in stages.items():
                note(f"  {stage}, s", value)
            before = used(folder)
            seconds, stages, own, linked = timed(environments, second)
            note("second, s", seconds)
            for stage, value in stages.items():
                note(f"  second {stage}, s", value)
            note("second's own, MB", own / 1e6)
            note("second on the disk (df; neighbours count), MB", (used(folder) - before) / 1e6)
            note("time, second / first with download", rows["second, s"][-1] / rows["first with download, s"][-1])
            note("time, second / first from uv's cache", rows["second, s"][-1] / rows["first from uv's cache, s"][-1])
            note("disk, second / first", own / whole)
            for which in ("first", "second"):
                took = rows["first with download, s" if which == "first" else "second, s"][-1]
                note(f"time, {which} / plain uv (which checks nothing)", took / rows[f"plain uv, {which}, s"][-1])
            start = perf_counter()
            again = front(folder)
            placed = again.place([Need("a", tuple(asked)), Need("b", ("six", *asked))])
            note("place, all locked, s", perf_counter() - start)
            start = perf_counter()
            again.prefix(first)
            note("prefix, all made, s", perf_counter() - start)
            assert len(placed) == 2
    print(f"{', '.join(asked)}: medians of {options.rounds}")
    for name, values in rows.items():
        print(f"{name:50} {statistics.median(values):10.4f}")


if __name__ == "__main__":
    main()
