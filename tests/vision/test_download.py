"""Models of the registry: looked up, licence shown, fetched from a mirror, refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import wfe
from nodes.vision.download import MIRROR, download_model
from nodes.vision.layout import Layout
from nodes.vision.registry import find_model
from wfe import Output, Refuse

BODY = b"a model" * 1000
ENTRY: dict[str, Any] = {
    "name": "tiny", "file": "tiny.onnx", "url": "http://127.0.0.1:9/tiny.onnx", "size": len(BODY),
    "sha256": hashlib.sha256(BODY).hexdigest(), "licence": "Apache-2.0", "licence_url": "https://example.org/licence",
}  # fmt: skip


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(wfe, "_emit", lambda kind, fields: events.append((kind, fields)))
    return events


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "tiny.onnx").write_bytes(BODY)
    return tmp_path / "mirror"


def test_a_folder_as_mirror(mirror: Path, tmp_path: Path, told: list[tuple[str, dict[str, Any]]]) -> None:
    found = download_model(ENTRY, Output(tmp_path / "out" / "tiny.onnx"), mirror=str(mirror))
    assert (tmp_path / "out" / "tiny.onnx").read_bytes() == BODY
    assert (found["sha256"], found["size"], found["licence"]) == (ENTRY["sha256"], len(BODY), "Apache-2.0")
    lines = [fields["message"] for kind, fields in told if kind == "note"]
    assert lines[0] == "tiny: licence Apache-2.0 (https://example.org/licence)"
    assert str(mirror) in lines[1]
    assert ("progress", {"done": len(BODY), "total": len(BODY), "note": "tiny.onnx"}) in told
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_the_environment_names_a_mirror(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(mirror))
    download_model(ENTRY, Output(tmp_path / "m.onnx"))
    assert (tmp_path / "m.onnx").read_bytes() == BODY


def test_a_wrong_file_is_refused(mirror: Path, tmp_path: Path) -> None:
    (mirror / "tiny.onnx").write_bytes(BODY[:-1] + b"X")
    with pytest.raises(ValueError, match="is not the expected file.*\n.*compare it with the makers' release"):
        download_model(ENTRY, Output(tmp_path / "m.onnx"), mirror=str(mirror))
    assert not (tmp_path / "m.onnx").exists()
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_an_unknown_hash_is_shown(mirror: Path, tmp_path: Path, told: list[tuple[str, dict[str, Any]]]) -> None:
    download_model({**ENTRY, "sha256": None, "size": None}, Output(tmp_path / "m.onnx"), mirror=str(mirror))
    assert any(
        "was not verified" in fields.get("message", "") and ENTRY["sha256"] in fields["message"] for _, fields in told
    )


def test_offline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"offline\?\nWithout a network: bring tiny\.onnx .*WFE_MODEL_MIRROR"):
        download_model(ENTRY, Output(tmp_path / "m.onnx"), retry_wait=0)


def test_a_mirror_without_the_file_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no such file\nThe mirror .* must hold tiny\.onnx"):
        download_model(ENTRY, Output(tmp_path / "m.onnx"), mirror=str(tmp_path))


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        ("http://[::1", r"'mirror' \(or WFE_MODEL_MIRROR\) is 'http://\[::1', which is no address"),
        ("http://", "an address without a host"),
        ("http://a b", r"'http://a b/tiny\.onnx': is no address"),
        ("http://127.0.0.1:x", "is no address"),
    ],
)
def test_a_mirror_that_is_no_address_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str, said: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it is tried again"))
    with pytest.raises(Refuse, match=said):
        download_model(ENTRY, Output(tmp_path / "m.onnx"), mirror=mirror)


def test_a_model_of_the_project_needs_no_fetching(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"part of the project, at models/shapes\.onnx"):
        download_model({**ENTRY, "name": "shapes", "file": "shapes.onnx", "url": None}, Output(tmp_path / "m.onnx"))


def test_lookup(root: Path) -> None:
    registry = root / "models" / "models.json"
    for name in ("yolox_s", "yolox_s.onnx", "yolov8s", "yolov8s.pt", "yolov8s.onnx"):
        assert find_model(name, registry)["entry"]["name"] == name.partition(".")[0]
    with pytest.raises(ValueError, match=r"knows no model 'yolox_l'; did you mean 'yolox_s'\?"):
        find_model("yolox_l", registry)
    with pytest.raises(ValueError, match="knows no model 'zzz'; known: shapes, yolov8n"):
        find_model("zzz", registry)


def test_a_broken_registry_is_said(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[1, 2")
    with pytest.raises(ValueError, match="is no model registry"):
        find_model("x", tmp_path / "r.json")


def test_the_registry_is_whole(root: Path) -> None:
    listed = json.loads((root / "models" / "models.json").read_text())["models"]
    for name, entry in listed.items():
        assert set(entry) >= set(find_model.__globals__["Entry"].__annotations__) - {"name"}, name
        assert entry["layout"] in Layout.__args__, name  # type: ignore[attr-defined]
        if name == "shapes":
            assert (root / "models" / entry["file"]).is_file()
            continue
        assert entry["url"].startswith("https://github.com/")
        assert entry["url"].endswith("/" + entry["file"])
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]), name
        assert entry["size"] > 1_000_000
