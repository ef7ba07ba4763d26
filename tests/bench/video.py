"""Frames a second of video detection against a plain loop: same model, backend, video and work, in one run.

    python tests/bench/video.py --model M.onnx --video V.mp4 [--frames 120] [--rounds 3] [--backends onnxruntime openvino]

The loop decodes (OpenCV), fits, infers, suppresses, draws and writes (OpenCV, MPEG-4), frame by frame, with one thread and
with all cores inside an inference. Ours is what the workflow does: plan, infer in segments, postprocess, draw, encode
(H.264). Rounds alternate, medians count. "of limit": against cores / (the loop's time for a frame with one thread). The second line of a backend is processor time a
frame, which neighbours disturb less than the clock: loop 1 / ours bounds what "of limit" can be on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2

from nodes.vision.decode import read
from nodes.vision.drawing import annotate
from nodes.vision.stream_split import cores
from nodes.vision.video import postprocess_video, render_video
from nodes.vision.video_infer import infer_segment
from nodes.vision.video_model import open_model
from nodes.vision.video_plan import plan_segments
from wfe import Output

FLAT = ("boxes", "scores", "classes", "counts", "times", "class_names")


def loop(video: Path, model: Path, backend: str, threads: int, frames: int, folder: Path) -> tuple[float, int]:
    """Seconds and number of detections of the plain loop."""
    cv2.setNumThreads(threads)
    opened = open_model(model, backend, "cpu", threads, 1)
    camera = cv2.VideoCapture(str(video))
    began, total, writer = time.perf_counter(), 0, None
    for _ in range(frames):
        done, picture = camera.read()
        if not done:
            break
        raw = opened.runner.run(opened.prepare(picture))[opened.index]
        found = read(raw, opened.detector, opened.letterbox(picture))
        total += len(found)
        if writer is None:
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(str(folder / "loop.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, size)
        writer.write(annotate(picture, found))
    assert writer is not None
    writer.release()
    return time.perf_counter() - began, total


def ours(video: Path, model: Path, backend: str, frames: int, folder: Path) -> tuple[float, int, str]:
    """Seconds, number of detections and the split that was taken, of the workflow's steps one after the other."""
    began = time.perf_counter()
    rate = plan_segments(video)["fps"]
    planned = plan_segments(video, max_duration=frames / rate)
    segments = [infer_segment(str(video), one, model, backend) for one in planned["segments"]]
    found = postprocess_video(segments, Output(folder / "ours.jsonl"))
    render_video(video, Output(folder / "ours.mp4"), **{key: found[key] for key in FLAT})
    spent = time.perf_counter() - began
    split = segments[0]["split"]
    return spent, found["total_detections"], f"{split['sessions']} x {split['threads']}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--video", type=Path, required=True)
    options.add_argument("--frames", type=int, default=120)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--backends", nargs="+", default=["onnxruntime", "openvino"])
    given = options.parse_args()
    count = cores()
    print(
        f"{given.frames} frames of {given.video.name}, {given.model.name}, {count} cores, medians of {given.rounds} rounds"
    )
    print(
        f"{'backend':<12} {'loop 1':>7} {'loop ' + str(count):>7} {'ours':>7}  frames/s; {'x loop':>6} {'of limit':>8}  split  load"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for backend in given.backends:
            kinds: dict[str, Callable[[], tuple[float, int, str]]] = {
                "one": lambda backend=backend: (*loop(given.video, given.model, backend, 1, given.frames, folder), ""),
                "all": lambda backend=backend: (
                    *loop(given.video, given.model, backend, count, given.frames, folder),
                    "",
                ),
                "ours": lambda backend=backend: ours(given.video, given.model, backend, given.frames, folder),
            }
            times: dict[str, list[float]] = {kind: [] for kind in kinds}
            busy: dict[str, list[float]] = {kind: [] for kind in kinds}
            totals: dict[str, int] = {}
            split = ""
            for _ in range(given.rounds):
                for kind, work in kinds.items():
                    began = time.process_time()
                    spent, totals[kind], chosen = work()
                    busy[kind].append(time.process_time() - began)
                    split = chosen or split
                    times[kind].append(spent)
            fps = {kind: given.frames / statistics.median(spent) for kind, spent in times.items()}
            best = max(fps["one"], fps["all"])
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            print(
                f"{backend:<12} {fps['one']:>7.2f} {fps['all']:>7.2f} {fps['ours']:>7.2f}  "
                f"          {fps['ours'] / best:>6.2f} {fps['ours'] / (count * fps['one']):>8.2f}  {split}  {load:.1f}"
            )
            cpu = {kind: 1000 * statistics.median(spent) / given.frames for kind, spent in busy.items()}
            print(
                f"{'':<12} {cpu['one']:>7.1f} {cpu['all']:>7.1f} {cpu['ours']:>7.1f}  processor ms a frame; loop 1 / ours "
                f"{cpu['one'] / cpu['ours']:.2f}; detections {totals['one']} and {totals['ours']}"
            )


if __name__ == "__main__":
    main()
