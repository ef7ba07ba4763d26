"""Nodes for every picture of a folder: list them, find candidates on each, and sum up.

The model runs once a picture, in a step of its own; its candidates above a low score are kept, so that another
threshold runs no model, and another picture runs it once. A picture that cannot be read is skipped with its reason, and the
summary names it: of a thousand, one must not keep the others from theirs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

import wfe
from nodes.vision.decode import Candidates, as_json, candidates, checked, counts, kept
from nodes.vision.inference import infer
from nodes.vision.layout import Detector
from nodes.vision.letterbox import Letterbox
from nodes.vision.picture import read_picture
from nodes.vision.preprocess import preprocess
from wfe import Output, Refuse, Skip, workflow_node

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
FLOOR = 0.01  # candidates below this score are not kept: of YOLOv8n's 8400 boxes a few hundred are above
MOST = 3000  # candidates kept of one picture, the best ones


@workflow_node(outputs={"pictures": list[str]}, cache="never")
def list_pictures(folder: str, pattern: str = "*", recursive: bool = False) -> dict[str, Any]:
    """The picture files of a folder by suffix, sorted by name: paths that begin with `folder`, with forward slashes.

    Never cached, since a folder has no content of its own. Raises wfe.Refuse when it is none.
    """
    if not folder:
        raise Refuse("'folder' is empty; give . for the current one")
    place = Path(folder)
    try:
        place.stat()
    except OSError as error:  # missing, closed to this user, or too long a name
        raise Refuse(f"{folder}: there is no such folder ({error.strerror}); check 'folder'") from error
    if not place.is_dir():
        raise Refuse(f"{folder}: is not a folder; the workflow detect_image takes a single picture")
    wrong = f"'pattern' is {pattern!r}; it must match names in the folder, such as *.jpg"
    if not pattern or any("**" in part and part != "**" for part in pattern.split("/")):  # Python 3.13 takes a** for a*
        raise Refuse(wrong)
    try:
        listed = list(place.rglob(pattern) if recursive else place.glob(pattern))
    except (ValueError, NotImplementedError, IndexError) as error:  # IndexError: how Python 3.11 says it of "."
        raise Refuse(f"{wrong} ({error})") from error
    found = sorted(path.as_posix() for path in listed if path.suffix.lower() in SUFFIXES and path.is_file())
    for name in found:
        if not _is_text(name):
            raise Refuse(f"{folder}: holds a picture whose name is no UTF-8: {os.fsencode(name)!r}; rename it")
    if not found:
        wfe.log(f"{folder}: no picture matches {pattern!r} ({', '.join(SUFFIXES)})")
    return {"pictures": found}


@workflow_node
def check_thresholds(conf_threshold: float, iou_threshold: float, max_detections: int = 300) -> None:
    """Raise wfe.Refuse on a threshold that `detect_pictures` cannot take: before the model runs on a thousand pictures."""
    checked(conf_threshold, iou_threshold, max_detections)
    if conf_threshold < FLOOR:
        raise Refuse(f"'conf_threshold' is {conf_threshold}; on folders, only scores above {FLOOR} are kept")


@workflow_node(outputs={"found": np.ndarray, "letterbox": dict})
def find_candidates(image_path: Path, model_path: Path, detector: dict[str, Any]) -> dict[str, Any]:
    """Every box with a score above 0.01 on one picture, doubles included, and the way from the input to the picture.

    found: n x 6 float32, a row is x1, y1, x2, y2 in input pixels, score, class id. Raises wfe.Skip on a file that is no whole
    picture.
    """
    try:
        picture = read_picture(image_path)
    except Refuse as error:
        raise Skip(str(error)) from error
    ready = preprocess(picture, detector)
    raw = infer(model_path, ready["tensor"], detector)["raw"]
    some = candidates(raw, Detector.from_json(detector), FLOOR).best(MOST)
    return {"found": some.to_rows(), "letterbox": ready["letterbox"]}


@workflow_node(outputs={"detections": list, "unreadable": list[str], "counts": dict, "json_path": Output})
def detect_pictures(
    pictures: list[str],
    found: list[Any],
    letterboxes: list[Any],
    detector: dict[str, Any],
    json_path: Output,
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    max_detections: int = 300,
) -> dict[str, Any]:
    """The detections on every picture, in the order of `pictures`, as a result, as a JSON file and as a table.

    `found` and `letterboxes` hold the outputs of find_candidates, None for a picture that it skipped. An entry is {"picture",
    "detections", "counts"}; `unreadable` are the skipped ones. Raises wfe.Refuse where all were skipped.
    """
    check_thresholds(conf_threshold, iou_threshold, max_detections)
    model = Detector.from_json(detector)
    unreadable = [picture for picture, rows in zip(pictures, found, strict=True) if rows is None]
    if pictures and unreadable == pictures:
        raise Refuse(f"none of the pictures can be read: {', '.join(pictures[:5])}{' ...' * (len(pictures) > 5)}")
    entries: list[dict[str, Any]] = []
    for picture, rows, letterbox in zip(pictures, found, letterboxes, strict=True):
        if rows is None:
            continue
        best = kept(Candidates.from_rows(rows).above(conf_threshold), model, iou_threshold, max_detections)
        detections = as_json(best, model, Letterbox.from_json(letterbox))
        entries.append({"picture": picture, "detections": detections, "counts": counts(detections)})
    total = counts([detection for entry in entries for detection in entry["detections"]])
    text = json.dumps({"pictures": entries, "unreadable": unreadable, "counts": total}, indent=2, ensure_ascii=False)
    json_path.write_text(text + "\n", encoding="utf-8")
    for entry in entries:
        wfe.log(f"{Path(entry['picture']).name}: {_summed(entry['counts'])}")
    wfe.log(f"{len(entries)} pictures: {_summed(total)}")
    if unreadable:
        wfe.log(f"{len(unreadable)} could not be read: {', '.join(Path(picture).name for picture in unreadable)}")
    return {"detections": entries, "unreadable": unreadable, "counts": total, "json_path": json_path}


def _is_text(name: str) -> bool:
    """Whether a file's name is text, which its bytes need not be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _summed(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "nothing"
