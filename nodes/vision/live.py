"""Node: detection on a live source, shown as it runs: Q quits, S starts and stops a recording. Never cached."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from contextlib import closing
from contextlib import suppress as suppress_error
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nodes.vision.decode import Candidates, Detection, as_json, checked, suppress
from nodes.vision.drawing import draw_on
from nodes.vision.live_page import Page
from nodes.vision.live_record import Recorder
from nodes.vision.live_source import LiveSource
from nodes.vision.live_window import Display, NoDisplay, Nothing, Window
from nodes.vision.stream import Stage, Stream
from nodes.vision.stream_split import check_share, cores
from nodes.vision.video import INLINE, overlay
from nodes.vision.video_infer import FLOOR
from nodes.vision.video_model import Opened, open_model
from wfe import Refuse, log, progress, stopping, workflow_node

TURN = 0.05
"""Seconds after which keys and the time are looked at when no picture comes."""
_END: Any = object()


@workflow_node(
    outputs={
        "frames_processed": int,
        "frames_dropped": int,
        "total_detections": int,
        "duration": float,
        "avg_fps": float,
        "output_path": str,
        "recordings": list,
        "detections": list,
        "by_class": dict,
        "reconnects": int,
        "ended": str,
        "where": str,
    },
    cache="never",
)
def realtime_detection(
    model_path: Path,
    source: str = "0",
    conf_threshold: float = 0.25,
    iou_threshold: float = 0.45,
    display_fps: bool = True,
    save_video: bool = False,
    output_path: str = "realtime_output.mp4",
    max_duration: float = 0,
    display: Literal["auto", "window", "page", "none"] = "auto",
    page_port: int = 0,
    backend: str = "onnxruntime",
    device: str = "cpu",
    threads: int = 0,
    reconnects: int = 5,
    layout: str = "auto",
    input_size: int | list[int] | None = None,
    max_detections: int = 300,
) -> dict[str, Any]:
    """Detect on a camera ("0"), a network stream ("rtsp://...", "http://...", "udp://...") or a file played in its time.

    Pictures that come while the detector is busy are dropped and counted, so what is shown is of now. display: a window;
    where there is no screen ("auto"), or when asked for, a page on loopback with the keys as buttons. save_video:
    record from the start. max_duration: seconds, 0 for ever. A recording whose name is taken gets a
    number in its own. Raises wfe.Refuse on a setting out of range, VideoError when `output_path` is the source, or cannot
    be written.
    """
    checked(conf_threshold, iou_threshold, max_detections)
    for name, value, most in (("page_port", page_port, 65535), ("reconnects", reconnects, 1_000_000)):
        if not 0 <= value <= most:
            raise Refuse(f"{name!r} is {value}; it must be from 0 to {most}")
    check_share(threads=threads)
    if not 0 <= max_duration < float("inf"):
        raise Refuse(f"'max_duration' is {max_duration}; it must be seconds, or 0 for no end")
    recorder = Recorder(Path(output_path), source)
    stop = threading.Event()
    live = LiveSource(source, stop, reconnects)
    # One inference with all cores, not one a core: a camera wants the newest picture soon, not the most pictures.
    opened = open_model(model_path, backend, device, threads or cores(), 1, layout=layout, input_size=input_size)
    shown, told = open_display(display, f"{source}: Q quits, S records", page_port)
    log(told)

    def find(item: Any, worker: int) -> Any:
        frame, tensor = item
        found = opened.candidates(opened.runner.run(tensor), max(FLOOR, conf_threshold))
        return frame, select(found, opened, frame.picture, conf_threshold, iou_threshold, max_detections)

    stages = [
        Stage("preprocess", lambda frame, _: (frame, opened.prepare(frame.picture))),
        Stage("infer", find),
        Stage("draw", lambda item, _: (*item, draw_on(item[0].picture, item[1]))),
    ]
    stream = Stream(live, stages, depth=1, policy="latest")
    counts: Counter[str] = Counter()
    kept: list[dict[str, Any]] = []
    moments: deque[float] = deque(maxlen=30)
    frames, ended, began = 0, "", time.monotonic()
    arrivals = Arrivals(stream, stop)
    if save_video:
        recorder.toggle()
    try:
        while not ended:
            try:
                item = arrivals.get(TURN)
            except queue.Empty:
                item = None  # a silent source, too, can be left
            if item is _END:
                break
            if item is not None:
                frame, found, picture = item
                frames += 1
                moments.append(time.monotonic())
                counts.update(one["class"] for one in found)
                if counts.total() <= INLINE:
                    kept.append({"time": round(frame.time, 4), "detections": found})
                if display_fps:
                    overlay(picture, f"{rate(moments):.1f} fps" + ("  REC" if recorder.recording else ""))
                recorder.write(picture, frame.time, rate(moments))
                shown.show(picture, recorder.recording)
            for key in shown.pressed():
                if key == "q":
                    ended = "Q was pressed"
                else:
                    log(
                        "recording to " + recorder.toggle()
                        if not recorder.recording
                        else "recorded " + recorder.toggle()
                    )
            if stopping():
                ended = "the run was asked to end"
            if max_duration and time.monotonic() - began >= max_duration:
                ended = f"max_duration of {max_duration:g} s"
            if item is not None and frames % 10 == 0:
                progress(frames, None, f"{rate(moments):.1f} fps")
    finally:
        stop.set()
        recorder.close()
        shown.close()
        arrivals.close()
    duration = time.monotonic() - began
    total, average = counts.total(), frames / duration if duration else 0.0
    log(f"Frames processed: {frames}, dropped: {stream.dropped}")
    log(f"Total detections: {total:,}")
    log(f"Duration: {duration:.2f}s")
    log(f"Average FPS: {average:.1f} on {opened.runner.where}")
    return {
        "frames_processed": frames,
        "frames_dropped": stream.dropped,
        "total_detections": total,
        "duration": round(duration, 3),
        "avg_fps": round(average, 2),
        "output_path": recorder.files[0] if recorder.files else "",
        "recordings": recorder.files,
        "detections": kept if total <= INLINE else [],
        "by_class": dict(counts.most_common()),
        "reconnects": live.lost,
        "ended": ended or live.ended,
        "where": opened.runner.where,
    }


class Arrivals:
    """The results of a stream, for a reader who does not want to wait for ever: a thread of its own waits for them."""

    def __init__(self, stream: Stream, stop: threading.Event) -> None:
        """Start the stream, which runs until `stop` is set or its source ends."""
        self._box: queue.Queue[Any] = queue.Queue(1)
        self._stream, self._stop = stream, stop
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._wait, name="live-arrivals", daemon=True)
        self._thread.start()

    def get(self, seconds: float) -> Any:
        """The next result, _END after the last. Raises queue.Empty when none comes in time, or what the stream raises."""
        item = self._box.get(timeout=seconds)
        if item is _END and self._error is not None:
            raise self._error
        return item

    def close(self) -> None:
        """Wait until the stream, which was told to stop, has ended. What it still delivers or raises is dropped."""
        while self._thread.is_alive():
            with suppress_error(queue.Empty):
                self._box.get(timeout=TURN)

    def _wait(self) -> None:
        try:
            with closing(iter(self._stream)) as results:  # type: ignore[type-var]
                for item in results:
                    self._box.put(item)
                    if self._stop.is_set():
                        break
        except BaseException as error:  # noqa: BLE001  # raised again by `get`, in the reader's thread
            self._error = error
        self._box.put(_END)


def open_display(wanted: str, title: str, port: int = 0) -> tuple[Display, str]:
    """The display that is wanted, and what to tell the user about it. Raises NoDisplay when a window is not possible."""
    if wanted == "none":
        return Nothing(), "nothing is shown (display=none)"
    if wanted in ("auto", "window"):
        try:
            return Window(title), "shown in a window: Q quits, S starts and stops recording"
        except NoDisplay as error:
            if wanted == "window":
                raise
            page = Page(title, port)
            return page, f"no window ({error}); open {page.address} instead"
    if wanted != "page":
        raise Refuse(f"'display' is {wanted!r}; known: auto, window, page, none")
    page = Page(title, port)
    return page, f"shown at {page.address}"


def select(
    found: Candidates, opened: Opened, picture: Any, conf_threshold: float, iou_threshold: float, most: int
) -> list[Detection]:
    """The detections among the candidates of one picture."""
    mine = found.take(found.scores > conf_threshold)
    if opened.detector.layout == "end2end":
        mine = mine.take(np.argsort(-mine.scores, kind="stable")[:most])
    else:
        mine = suppress(mine, iou_threshold, most)
    return as_json(mine, opened.detector, opened.letterbox(picture))


def rate(moments: deque[float]) -> float:
    """Frames a second over the last moments; 0 until there are two."""
    return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 and moments[-1] > moments[0] else 0.0
