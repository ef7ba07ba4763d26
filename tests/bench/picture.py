"""What the engine adds to the detection on one picture, warm: a run's steps against direct calls of the same functions.

    python tests/bench/picture.py [--pictures 20] [--model M.onnx] [--image P.jpg]

One run has a chain of steps for each picture (load, preprocess, infer, detect; then one step that does it all), in one
warm worker, one step at a time; each picture differs, so nothing is current or restored. A step's time is from the end of the
step before it to its own end, so keys, hashing, storing and recording are in it. The direct calls have a
process for the chain and one for the whole: what was freed before decides how much memory the system must give anew, 6 ms
here. Medians over the pictures; the first three of each kind warm up. "adds" is the difference; the project
asks for less than 5 ms for a picture whose detection is one step. A chain stores the picture, the tensor and the
raw output, so that another threshold costs only what follows it: that is most of what it adds.

On Linux, `chrt -r 50` in front (as root) keeps neighbours away; workers are in a scheduler group of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np

import wfe
from nodes.vision.detect import detect
from nodes.vision.folder import find_candidates
from nodes.vision.inference import infer
from nodes.vision.model import inspect_model
from nodes.vision.picture import load_picture
from nodes.vision.preprocess import preprocess

ROOT = Path(__file__).resolve().parents[2]
WARM = 3
CHAIN = ("load", "preprocess", "infer", "detect")


class Ends:
    """Hears a run: seconds from the end of the step before to the end of each step that ran, by the kind in its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._last = perf_counter()

    def hear(self, event: Any) -> None:
        outcome = getattr(event, "outcome", None)
        if outcome is not None:
            now = perf_counter()
            self.seconds[outcome.step.partition("_")[0]].append(now - self._last)
            self._last = now


def document(pictures: list[Path]) -> dict[str, Any]:
    """A workflow with a chain for each picture, one after the other, then one step for each."""
    nodes: list[dict[str, Any]] = [
        {"id": "model", "function": "vision.model.inspect_model", "inputs": {"model_path": "model.onnx"}}
    ]
    before = "model"
    for number, picture in enumerate(pictures):
        load, prepare, found, detected = (f"{kind}_{number}" for kind in CHAIN)
        told = {"detector": "$model.detector"}
        nodes += [
            {
                "id": load,
                "function": "vision.picture.load_picture",
                "depends_on": [before],
                "inputs": {"image_path": picture.name},
            },
            {
                "id": prepare,
                "function": "vision.preprocess.preprocess",
                "inputs": {"image": f"${load}.image", **told},
            },
            {
                "id": found,
                "function": "vision.inference.infer",
                "inputs": {"model_path": "model.onnx", "tensor": f"${prepare}.tensor", **told},
            },
            {
                "id": detected,
                "function": "vision.detect.detect",
                "inputs": {"raw": f"${found}.raw", "letterbox": f"${prepare}.letterbox", **told},
            },
        ]
        before = detected
    for number, picture in enumerate(pictures):
        given = {"image_path": picture.name, "model_path": "model.onnx", "detector": "$model.detector"}
        one = {
            "id": f"one_{number}",
            "function": "vision.folder.find_candidates",
            "inputs": given,
            "depends_on": [before],
        }
        nodes.append(one)
        before = f"one_{number}"
    return {"workflow": {"name": "bench"}, "nodes": nodes}


def direct(pictures: list[Path], model: Path, whole: bool) -> dict[str, list[float]]:
    """Seconds of each call, by kind: of the chain, or of the whole in one call."""
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(kind: str, call: Callable[..., Any], *given: Any) -> Any:
        begin = perf_counter()
        result = call(*given)
        seconds[kind].append(perf_counter() - begin)
        return result

    detector = inspect_model(model)["detector"]
    for picture in pictures:
        if whole:
            timed("one", find_candidates, picture, model, detector)
            continue
        image = timed("load", load_picture, picture)["image"]
        ready = timed("preprocess", preprocess, image, detector)
        raw = timed("infer", infer, model, ready["tensor"], detector)["raw"]
        timed("detect", detect, raw, detector, ready["letterbox"])
    return dict(seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=20)
    options.add_argument("--model", type=Path, default=ROOT / "models" / "shapes.onnx")
    options.add_argument("--image", type=Path, default=ROOT / "models" / "shapes.jpg")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "nodes" / "vision", folder / "nodes" / "vision")
        shutil.copyfile(given.model, folder / "model.onnx")
        shown = cv2.imread(str(given.image))
        pictures = []
        for number in range(given.pictures + WARM):
            pictures.append(folder / f"{number}.jpg")
            cv2.imwrite(str(pictures[-1]), np.roll(shown, number, axis=1))
        (folder / "workflows").mkdir()
        (folder / "workflows" / "bench.json").write_text(json.dumps(document(pictures)), encoding="utf-8")
        ends = Ends()
        report = wfe.run("bench", project=folder, jobs=1, listeners=[ends])
        assert len(report.ran) == 1 + 5 * len(pictures)
        alone: dict[str, list[float]] = {}
        for whole in (False, True):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                alone |= pool.submit(direct, pictures, folder / "model.onnx", whole).result()
    print(
        f"{given.pictures} pictures of {shown.shape[1]} x {shown.shape[0]}, {given.model.name}; milliseconds, medians"
    )
    print(f"{'step':<24} {'engine':>8} {'direct':>8} {'adds':>8}")
    found = {
        kind: tuple(1000 * median(side[kind][WARM:]) for side in (ends.seconds, alone)) for kind in (*CHAIN, "one")
    }
    found["chain of the four"] = tuple(sum(found[kind][side] for kind in CHAIN) for side in (0, 1))
    found["all in one step"] = found.pop("one")
    for kind, (engine, plain) in found.items():
        print(f"{kind:<24} {engine:>8.2f} {plain:>8.2f} {engine - plain:>8.2f}")


if __name__ == "__main__":
    main()
