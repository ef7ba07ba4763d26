"""The video workflows through the engine: what a change costs, what a killed run leaves, what a broken file gives."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from space import Space

from nodes.vision import video_model
from nodes.vision.backends import onnxrt, openvino_
from nodes.vision.registry import find_model
from nodes.vision.video_read import frames
from wfe.core.outcome import Note, StepState
from wfe.errors import ExitCode

from .conftest import ROOT, Make, pictures

COMMON = {"model_path": "models/shapes.onnx", "sessions": 1, "threads": 1, "segment_frames": 10}


@pytest.fixture
def project(space: Space) -> Space:
    """This project's own video nodes, workflows and its small model, with an empty cache."""
    shutil.rmtree(space.root / "nodes")
    for name in ("nodes/vision", "workflows", "models"):
        skip = shutil.ignore_patterns("__pycache__", "*.py" if name == "models" else "*.none")
        shutil.copytree(ROOT / name, space.root / name, dirs_exist_ok=True, ignore=skip)
    return space


def segments(number: int) -> set[str]:
    return {f"infer[{index}]" for index in range(number)}


def test_what_a_change_costs(project: Space, make_video: Make) -> None:
    video = make_video(count=40)
    first = project.run("video_detection_mp4", source=str(video), save_video=True, output_path="out.mp4", **COMMON)
    assert first.code is ExitCode.OK
    assert segments(4) <= first.of(StepState.RAN)
    summary = first.values["realtime_detection"]
    assert summary["frames_processed"] == 40 and summary["total_detections"] > 40
    assert summary["where"] == "CPUExecutionProvider"
    assert len(summary["detections"]) == 40
    assert len(list(frames(project.root / "out.mp4"))) == 40
    lines = [json.loads(line) for line in Path(project.root, summary["detections_path"]).read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(40))
    assert [line["detections"] for line in lines] == summary["detections"]

    again = project.run("video_detection_mp4", source=str(video), save_video=True, output_path="out.mp4", **COMMON)
    project.nothing_ran()
    assert again.values["realtime_detection"] == summary

    stricter = project.run(
        "video_detection_mp4",
        source=str(video),
        save_video=True,
        output_path="out.mp4",
        conf_threshold=0.6,
        **COMMON,
    )
    project.ran("check", "postprocess", "render", "realtime_detection")
    assert stricter.values["realtime_detection"]["total_detections"] < summary["total_detections"]

    too_low = project.run("video_detection_mp4", source=str(video), conf_threshold=0.01, **COMMON)
    assert "floor" in too_low.failure("check")


def test_a_longer_file_costs_its_new_part(project: Space, make_video: Make) -> None:
    shown = pictures(60)
    project.run("video_detection_mp4", source=str(make_video("a.mp4", frames=shown[:35])), **COMMON)
    make_video("a.mp4", frames=shown)
    longer = project.run("video_detection_mp4", source=str(make_video("a.mp4", frames=shown)), **COMMON)
    assert longer.values["realtime_detection"]["frames_processed"] == 60
    assert segments(3).isdisjoint(longer.of(StepState.RAN))
    assert {"infer[3]", "infer[4]", "infer[5]"} <= longer.of(StepState.RAN)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_run_goes_on_where_it_was(project: Space, make_video: Make) -> None:
    given = [f"{name}={value}" for name, value in COMMON.items()]
    arguments = ["run", "workflow=video_detection_mp4", f"source={make_video(count=50)}", *given]
    process = project.start(*arguments)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ran") and "infer[1]" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL
    said = project.doit(*arguments).stdout
    assert [line.split()[0] for line in said.splitlines() if "infer[0]" in line or "infer[1]" in line] == [
        "current"
    ] * 2
    assert "Frames processed: 50" in said


@pytest.mark.parametrize("part", [0.5, 0.6, 0.65])
def test_a_cut_video_gives_what_is_there_and_says_so(project: Space, make_video: Make, part: float) -> None:
    whole = make_video(count=60, options={"movflags": "+faststart"}).read_bytes()
    cut = project.root / "cut.mp4"
    cut.write_bytes(whole[: round(len(whole) * part)])
    ended = project.run("video_detection_mp4", source=str(cut), **COMMON)
    summary = ended.values["realtime_detection"]
    assert ended.code is ExitCode.OK
    assert 10 < summary["frames_processed"] < 60
    assert "promises 60 frames" in summary["damage"]


def test_a_text_file_as_video_or_model_is_named(project: Space, make_video: Make) -> None:
    text = project.file("text.mp4", "no video\n" * 30)
    ended = project.run("video_detection_mp4", source=str(text), **COMMON)
    assert "cannot be read as a video" in ended.failure("plan_segments")
    project.file("text.onnx", "no model\n" * 30)
    given = {**COMMON, "model_path": "text.onnx"}
    ended = project.run("video_detection_mp4", source=str(make_video(count=5)), **given)
    assert "text.onnx" in ended.failure("infer[0]")


@pytest.mark.parametrize("workflow", ["video_detection_mp4", "video_tracking"])
def test_a_missing_device_that_was_asked_for_fails_and_names_the_old_file(
    project: Space, make_video: Make, workflow: str
) -> None:
    if not openvino_.missing("npu"):
        pytest.skip("the device is here")
    given = {**COMMON, "save_video": True, "output_path": "out.mp4", "source": str(make_video(count=20))}
    assert project.run(workflow, **given).code is ExitCode.OK
    old = (project.root / "out.mp4").stat()
    ended = project.run(workflow, **given, backend="openvino", device="npu")
    assert ended.code is ExitCode.FAILED
    assert "infer[0]" in ended.of(StepState.FAILED)
    assert {"postprocess", "render"} <= ended.of(StepState.BLOCKED)
    said = ended.failure("infer[0]")
    assert said.startswith("no npu for openvino: OpenVINO finds no NPU")
    assert said.endswith("choose a device that is here: " + video_model.HINT.split(": ", 1)[1])
    # It is still the result of the run before, and not ours to delete; but nobody shall take it for a new one.
    assert (project.root / "out.mp4").stat() == old
    assert [one.message for one in ended.events if isinstance(one, Note)][-1:] == [
        f"not written by this run, but there from before: cache/results/{workflow}/detections.jsonl, out.mp4"
    ]


def test_a_missing_device_of_a_live_source_fails(project: Space, make_video: Make) -> None:
    if not onnxrt.missing("cuda"):
        pytest.skip("the device is here")
    given = {"model_path": "models/shapes.onnx", "display": "none", "device": "cuda"}
    ended = project.run("video_detection", source=str(make_video(count=5)), **given)
    assert ended.code is ExitCode.FAILED
    assert "no cuda for onnxruntime" in ended.failure("realtime_detection")
    assert "every machine has device=cpu" in ended.failure("realtime_detection")


def test_weights_that_need_an_export_are_refused_with_the_next_step(project: Space, make_video: Make) -> None:
    ended = project.run("video_detection_mp4", source=str(make_video(count=5)), model="yolov8n")
    assert ended.code is not ExitCode.OK
    assert "workflow=export_yolov8 model_name=yolov8n" in ended.failure("find_model")
    assert find_model("yolov8n", ROOT / "models" / "models.json")["entry"]["file"] == "yolov8n.pt"


def test_tracking(project: Space, make_video: Make) -> None:
    ended = project.run(
        "video_tracking", source=str(make_video(count=40)), output_path="t.mp4", line=[[160, 0], [160, 240]], **COMMON
    )
    assert ended.code is ExitCode.OK, ended.outcomes
    assert ended.values["track"]["tracks"] >= 1
    assert ended.values["zone"]["most"] >= 1
    assert {"crossed_in", "crossed_out", "crossings"} == set(ended.values["line"])
    assert len(list(frames(project.root / "t.mp4"))) == 40
    project.run(
        "video_tracking", source=str(make_video(count=40)), output_path="t.mp4", line=[[99, 0], [99, 240]], **COMMON
    )
    project.ran("check_counting", "line", "render")


def test_all_backends_side_by_side(project: Space) -> None:
    ended = project.run("parallel_yolov8", iterations=3, warmup=1, threads=1)
    found = ended.values["compare_performance"]
    assert {one["name"] for one in found["ranking"]} >= {"onnxruntime:cpu", "openvino:cpu"}
    assert all(one["agreement"]["agrees"] for one in found["ranking"])
    names = {one["name"] for one in [*found["ranking"], *found["skipped"]]}
    assert len(names) == 6 and all(one["reason"] for one in found["skipped"])
    assert (project.root / "cache/results/parallel_yolov8/backends.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("workflow", "setting", "said"),
    [
        ("video_detection_mp4", {"conf_threshold": 2}, "'conf_threshold' is 2; it must be from 0 to 1"),
        ("video_detection_mp4", {"conf_threshold": 0.01}, "is under 'floor' 0.05; set floor=0.01 too"),
        ("video_detection_mp4", {"max_detections": 0}, "'max_detections' is 0; it must be 1 or more"),
        ("video_detection_mp4", {"save_video": True, "encoder": "mine"}, "no encoder 'mine' here"),
        ("video_detection_mp4", {"save_video": True, "output_path": "a.txt"}, "a.txt: cannot write .txt"),
        ("video_tracking", {"output_path": "a.txt"}, "a.txt: cannot write .txt"),
        ("video_tracking", {"line": [[1, 1]]}, "'line' is [[1, 1]]; it must be 2 points"),
        ("video_tracking", {"polygon": [[-1, 0], [-9, 0], [-9, 9]]}, "which lies outside of every picture"),
        ("video_tracking", {"lost_seconds": -1}, "'lost_seconds' is -1; it must be 0 or more"),
        ("detect_folder", {"iou_threshold": 3}, "'iou_threshold' is 3; it must be from 0 to 1"),
        ("detect_folder", {"conf_threshold": 0}, "'conf_threshold' is 0; on folders, only scores above 0.01 are kept"),
        ("parallel_yolov8", {"conf_threshold": 2}, "'conf_threshold' is 2; it must be from 0 to 1"),
        ("parallel_yolov8", {"chart_path": "a.txt"}, "'chart_path' is a.txt; the chart is a PNG"),
    ],
)
def test_a_wrong_setting_is_told_before_a_model_runs(
    project: Space, make_video: Make, workflow: str, setting: dict[str, Any], said: str
) -> None:
    given = {**COMMON, "source": str(make_video(count=2))} if workflow.startswith("video") else {}
    ended = project.run(workflow, **{**given, **setting})
    check = "check_counting" if {"line", "polygon", "lost_seconds"} & set(setting) else "check"
    assert said in ended.failure(check)
    assert not any("infer" in step or "find" in step for step in ended.of(StepState.RAN))


def test_a_model_of_a_batch_of_four_whose_boxes_come_second(project: Space) -> None:
    made = onnx.load(ROOT / "models" / "shapes.onnx")
    (given,), (boxes,) = made.graph.input, made.graph.output
    for name, values in (("from", [0]), ("to", [1])):
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    made.graph.node.insert(0, helper.make_node("Slice", ["four", "from", "to", "from"], [given.name]))
    made.graph.node.append(helper.make_node("Concat", [boxes.name] * 4, ["boxes"], axis=0))
    made.graph.node.append(helper.make_node("ReduceMean", ["four"], ["mean"]))
    shape = [4, *(dim.dim_value for dim in boxes.type.tensor_type.shape.dim[1:])]
    for ports, named in (
        (made.graph.input, [("four", [4, 3, 256, 256])]),
        (made.graph.output, [("mean", [1] * 4), ("boxes", shape)]),
    ):
        del ports[:]
        ports.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides) for name, sides in named)
    onnx.save(made, project.root / "four.onnx")
    ended = project.run("parallel_yolov8", model_path="four.onnx", iterations=1, warmup=1, threads=1)
    assert ended.code is ExitCode.OK, ended.outcomes
    plain = project.run("parallel_yolov8", iterations=1, warmup=1, threads=1)
    expected = {one["name"]: one["detections"] for one in plain.values["compare_performance"]["ranking"]}
    found = ended.values["compare_performance"]["ranking"]
    assert {one["name"]: one["detections"] for one in found} == expected
    assert all(one["detections"] and one["agreement"]["agrees"] for one in found)
