"""A video ten times as long takes less than 1.1 times the memory, with all of its segments held in one process.

What grows is what was found: some 5 kB of candidates a frame here (a run maps them from files instead), and the lists of
up to 10,000 detections. One frame kept of each twenty (230 kB), or one tensor of each seventy (790 kB), breaks the bound.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from space import environ

from .conftest import ROOT, SHAPES, Make, pictures

RUN = """
import resource, sys
from pathlib import Path
from nodes.vision.video import postprocess_video, render_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_plan import plan_segments
from wfe import Output
video, model, folder = map(Path, sys.argv[1:])
segments = [
    infer_segment(str(video), one, model, sessions=2, threads=1) for one in plan_segments(video, 60)["segments"]
]
found = postprocess_video(segments, Output(folder / "found.jsonl"))
flat = {name: found[name] for name in ("boxes", "scores", "classes", "counts", "times", "class_names")}
assert render_video(video, Output(folder / "out.mp4"), **flat)["frames_written"] == found["frames_processed"]
print(found["frames_processed"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(video: Path, folder: Path) -> tuple[int, int]:
    """Frames done and most memory held (in the unit of the system), of a process of its own."""
    command = [sys.executable, "-c", RUN, str(video), str(SHAPES), str(folder)]
    said = subprocess.run(command, cwd=ROOT, env=environ(), check=True, capture_output=True, text=True, timeout=250)
    frames, most = said.stdout.split()[-2:]
    return int(frames), int(most)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource")
def test_memory_is_flat(make_video: Make, tmp_path: Path) -> None:
    shown = pictures(20)
    short = make_video("short.mp4", frames=shown * 6)
    long = make_video("long.mp4", frames=shown * 60)
    (few, before), (many, after) = peak(short, tmp_path), peak(long, tmp_path)
    assert (few, many) == (120, 1200)
    assert after < 1.1 * before
