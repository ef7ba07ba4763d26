"""Node: all backends side by side: ranked, with their agreement with the CPU reference, as table, JSON and chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nodes.vision.backends.agreement import agreement
from nodes.vision.decode import checked, read
from nodes.vision.layout import Detector
from nodes.vision.letterbox import Letterbox
from wfe import Output, Refuse, log, workflow_node


@workflow_node
def check_settings(conf_threshold: float, iou_threshold: float, chart_path: str) -> None:
    """Raise wfe.Refuse on a setting that `compare_backends` cannot take: before the measuring, which is never cached."""
    checked(conf_threshold, iou_threshold)
    check_chart(Path(chart_path))


@workflow_node(
    outputs={"ranking": list, "skipped": list, "fastest": str, "table": str, "json_path": Output, "chart_path": Output}
)
def compare_backends(
    json_path: Output,
    chart_path: Output,
    detector: dict[str, Any],
    letterbox: dict[str, Any],
    devices: list[Any],
    cpu: dict[str, Any],
    cuda: dict[str, Any] | None = None,
    directml: dict[str, Any] | None = None,
    openvino_cpu: dict[str, Any] | None = None,
    openvino_gpu: dict[str, Any] | None = None,
    openvino_npu: dict[str, Any] | None = None,
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
) -> dict[str, Any]:
    """Rank the measured backends by their median latency; those that were skipped are listed with the reason.

    Each of cpu ... openvino_npu is the result of a measuring node, or None when it was skipped; `cpu` is the reference.
    devices: of `detect_devices`, which knows the reasons. All were given the same tensor.
    """
    check_chart(chart_path)
    given = {
        "onnxruntime:cpu": cpu,
        "onnxruntime:cuda": cuda,
        "onnxruntime:directml": directml,
        "openvino:cpu": openvino_cpu,
        "openvino:gpu": openvino_gpu,
        "openvino:npu": openvino_npu,
    }
    model, fitted = Detector.from_json(detector), Letterbox.from_json(letterbox)

    def boxes(result: dict[str, Any]) -> Any:
        return read(np.asarray(result["raw"])[:1], model, fitted, conf_threshold, iou_threshold)

    reference = boxes(cpu)
    base = cpu["measurement"]["p50_ms"]
    rows = []
    for name, result in given.items():
        if result is not None:
            measured = result["measurement"]
            found = boxes(result)
            same = agreement(found, reference, conf_threshold)
            speed = round(base / measured["p50_ms"], 2)
            rows.append({"name": name, **measured, "speedup": speed, "detections": len(found), "agreement": same})
    rows.sort(key=lambda row: row["p50_ms"])
    ranking = [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]
    skipped = [{"name": name, "reason": why(name, devices)} for name, result in given.items() if result is None]
    lines = table(ranking, skipped)
    for line in lines:
        log(line)
    document = {"reference": "onnxruntime:cpu", "ranking": ranking, "skipped": skipped}
    json_path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    chart(chart_path, ranking, skipped)
    return {
        "ranking": ranking,
        "skipped": skipped,
        "fastest": ranking[0]["name"],
        "table": "\n".join(lines),
        "json_path": json_path,
        "chart_path": chart_path,
    }


def check_chart(path: Path) -> None:
    """Raise wfe.Refuse when the chart's name is not that of a PNG."""
    if path.suffix.lower() != ".png":
        raise Refuse(f"'chart_path' is {path.name}; the chart is a PNG, so its name must end in .png")


def why(name: str, devices: list[dict[str, Any]]) -> str:
    """Why a backend is not here, as `detect_devices` says."""
    for one in devices:
        if f"{one['backend']}:{one['device']}" == name:
            return (
                one["reason"] or "it was there when devices were listed, but its step was skipped; see the step's log"
            )
    return "not listed among the devices"


def table(ranking: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> list[str]:
    """Lines of a table for people."""
    lines = [f"{'#':>2} {'backend':<21} {'p50 ms':>8} {'p95 ms':>8} {'per s':>8} {'x cpu':>6}  {'agrees':<7} ran on"]
    for row in ranking:
        same = "yes" if row["agreement"]["agrees"] else "NO"
        numbers = f"{row['p50_ms']:>8.2f} {row['p95_ms']:>8.2f} {row['throughput']:>8.1f} {row['speedup']:>6.2f}"
        lines.append(f"{row['rank']:>2} {row['name']:<21} {numbers}  {same:<7} {row['where']}")
    lines += [f" - {one['name']:<21} skipped: {one['reason']}" for one in skipped]
    return lines


def chart(path: Output, ranking: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> None:
    """A bar for each backend: its median latency, the 95th percentile as a whisker; the skipped ones named in grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [row["name"] for row in ranking] + [one["name"] for one in skipped]
    figure = Figure(figsize=(9, 1.2 + 0.45 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    middles = [row["p50_ms"] for row in ranking]
    tails = [row["p95_ms"] - row["p50_ms"] for row in ranking]
    colours = ["#2b7a78" if row["agreement"]["agrees"] else "#c0392b" for row in ranking]
    axes.barh(range(len(ranking)), middles, xerr=[[0] * len(tails), tails], color=colours, capsize=3)
    for place, row in enumerate(ranking):
        label = f" {row['p50_ms']:.1f} ms, {row['throughput']:.1f}/s"
        axes.text(row["p95_ms"], place, label, va="center", fontsize=9)
    for place, one in enumerate(skipped, start=len(ranking)):
        short = one["reason"] if len(one["reason"]) < 110 else one["reason"][:107] + "..."
        axes.text(0, place, f" skipped: {short}", va="center", fontsize=8, color="0.45")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, max(row["p95_ms"] for row in ranking) * 1.35)
    measured = ranking[0]
    differing = "" if all(row["agreement"]["agrees"] for row in ranking) else "; red: other boxes than the CPU's"
    axes.set_title(f"The same tensor {measured['iterations']} times, after {measured['warmup']} to warm up", loc="left")
    axes.set_xlabel(f"milliseconds an inference: median, whisker to the 95th percentile{differing}")
    axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure).print_figure(str(path), dpi=110, format="png")
