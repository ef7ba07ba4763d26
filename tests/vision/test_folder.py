"""Detection over a folder: listing, candidates, summary, and the workflow documents of the project."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from space import Space

from nodes.vision.folder import FLOOR, detect_pictures, find_candidates, list_pictures
from nodes.vision.model import inspect_model
from wfe import Output, Refuse
from wfe.core.outcome import StepState
from wfe.errors import ExitCode

WORKFLOWS = ("quickstart", "detect_image", "detect_folder")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "deep/c.png"):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((64, 64, 3), 90, np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "folder.png").mkdir()
    return tmp_path / "in"


def test_listing_is_sorted_and_takes_pictures_only(pictures: Path) -> None:
    assert list_pictures("in")["pictures"] == ["in/a.JPG", "in/b.png"]
    assert list_pictures("in", "*.png")["pictures"] == ["in/b.png"]
    assert list_pictures("in", recursive=True)["pictures"] == ["in/a.JPG", "in/b.png", "in/deep/c.png"]


def test_no_picture_is_said_and_no_error(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_pictures("in", "*.webp")["pictures"] == []
    assert "no picture matches '*.webp'" in capsys.readouterr().out


def test_what_is_no_folder_is_said(pictures: Path) -> None:
    for name in ("out", "n" * 300, "in/b.png/deeper"):
        with pytest.raises(Refuse, match=rf"{name}: there is no such folder \(.*\); check 'folder'"):
            list_pictures(name)
    with pytest.raises(Refuse, match="is not a folder"):
        list_pictures("in/b.png")


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("pattern", ["", "/*", "a**"])
def test_a_pattern_that_is_none_is_said(pictures: Path, pattern: str, recursive: bool) -> None:
    with pytest.raises(Refuse, match=r"'pattern' is '.*'; it must match names in the folder, such as \*\.jpg"):
        list_pictures("in", pattern, recursive)
    with pytest.raises(Refuse, match=r"'folder' is empty; give \. for the current one"):
        list_pictures("")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
def test_a_name_that_is_no_text_is_said(pictures: Path) -> None:
    (pictures / os.fsdecode(b"caf\xe9.png")).write_bytes((pictures / "b.png").read_bytes())
    with pytest.raises(
        Refuse, match=r"in: holds a picture whose name is no UTF-8: b'in/caf\\xe9\.png'; rename it"
    ) as caught:
        list_pictures("in")
    assert str(caught.value).isascii()


def test_every_threshold_reads_the_same_candidates(root: Path, tmp_path: Path) -> None:
    model = root / "models" / "shapes.onnx"
    detector = inspect_model(model)["detector"]
    one = find_candidates(root / "models" / "shapes.jpg", model, detector)
    assert one["found"].shape[1] == 6 and one["found"].dtype == np.float32
    assert one["found"][:, 4].min() > FLOOR
    assert json.loads(json.dumps(one["letterbox"])) == one["letterbox"]

    def at(conf_threshold: float) -> list[Any]:
        name = Output(tmp_path / "found.json")
        got = detect_pictures(["x.jpg"], [one["found"]], [one["letterbox"]], detector, name, conf_threshold)
        told = {"pictures": got["detections"], "unreadable": [], "counts": got["counts"]}
        assert json.loads(name.read_text()) == told
        found: list[Any] = got["detections"][0]["detections"]
        return found

    assert len(at(0.05)) >= len(at(0.25)) > len(at(0.99))
    with pytest.raises(ValueError, match="only scores above 0.01 are kept"):
        at(0.001)


def test_no_pictures_make_an_empty_summary(root: Path, tmp_path: Path) -> None:
    detector = inspect_model(root / "models" / "shapes.onnx")["detector"]
    got = detect_pictures([], [], [], detector, Output(tmp_path / "found.json"))
    assert (got["detections"], got["counts"]) == ([], {})


def test_a_picture_that_cannot_be_read_is_skipped_and_named(root: Path, space: Space) -> None:
    """It kept all the others of the folder from their summary."""
    for name in ("nodes/vision", "workflows"):
        shutil.copytree(root / name, space.root / name, dirs_exist_ok=True)
    for name in ("models/shapes.onnx", "models/shapes.jpg"):
        space.file(name, (root / name).read_bytes())
    whole = (root / "models" / "shapes.jpg").read_bytes()
    space.file("in/a.jpg", whole)
    space.file("in/b.jpg", whole[:2000])

    ended = space.run("detect_folder", folder="in", keep_going=False)
    assert ended.code is ExitCode.OK
    space.skipped("find[b.jpg]")
    assert "b.jpg: the picture is damaged or cut off" in ended.outcomes["find[b.jpg]"].skip
    summary = ended.values["detect"]
    assert [one["picture"] for one in summary["detections"]] == ["in/a.jpg"] and summary["unreadable"] == ["in/b.jpg"]
    file = json.loads((space.root / "cache/results/detect_folder/detections.json").read_text())
    assert file == {"pictures": summary["detections"], "unreadable": ["in/b.jpg"], "counts": summary["counts"]}

    space.file("in/b.jpg", whole)  # put right, it is looked at again
    ended = space.run("detect_folder", folder="in")
    space.restored("find[b.jpg]")  # the same picture as the other
    assert "detect" in ended.of(StepState.RAN) and ended.values["detect"]["unreadable"] == []
    for name in ("a", "b"):
        space.file(f"in/{name}.jpg", b"no picture")
    ended = space.run("detect_folder", folder="in")
    assert ended.failure("detect") == "none of the pictures can be read: in/a.jpg, in/b.jpg"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_documents_fit_the_nodes(root: Path, name: str) -> None:
    document = json.loads((root / "workflows" / f"{name}.json").read_text())
    params, seen = document["workflow"]["params"], set()
    assert document["workflow"]["name"] == name
    for node in document["nodes"]:
        module, _, function = node["function"].rpartition(".")
        parameters = inspect.signature(getattr(importlib.import_module(f"nodes.{module}"), function)).parameters
        needed = {key for key, one in parameters.items() if one.default is inspect.Parameter.empty}
        assert set(node["inputs"]) <= set(parameters)
        assert needed <= set(node["inputs"])
        for value in node["inputs"].values():
            if value.startswith("${"):
                assert value[2:-1] in params
            elif value.startswith("$") and value != "$item":
                assert value[1:].partition(".")[0] in seen
        seen.add(node["id"])
    used = json.dumps(document["nodes"])
    assert [key for key in params if f"${{{key}}}" not in used] == []
    assert "detect" in seen
