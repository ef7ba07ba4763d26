"""What a detector wants and gives: found from the shapes of its tensors and its metadata, or told by parameters.

Knows the output layouts of common detectors and how to tell them apart. Does not run a model; does not know
onnxruntime, so every backend can ask. What cannot be told for sure is an error that names the parameter to
set, never a guess.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nodes.vision.coco import COCO
from nodes.vision.letterbox import Fit
from wfe import Refuse

Layout = Literal["yolov8", "yolov8-rows", "yolov5", "yolox", "end2end"]
"""The form of a detector's output; B: batch, C: classes, A: anchors.

yolov8: B x (4+C) x A, centre x, centre y, width, height in input pixels, then class scores (YOLOv8, YOLOv9, YOLO11).
yolov8-rows: the same transposed, B x A x (4+C).
yolov5: B x A x (5+C), the fifth number is objectness, a score is objectness times class score; boxes decoded.
yolox: B x A x (5+C) as yolov5, but boxes relative to the grid of strides 8, 16, 32 with logarithmic sizes
(https://github.com/Megvii-BaseDetection/YOLOX, demo/ONNXRuntime); input BGR 0..255, padding at right and bottom.
end2end: B x N x 6, x1, y1, x2, y2 in input pixels, score, class; doubles are dropped inside (YOLOv10, `nms=True`).
"""

Shape = Sequence[int | str | None]
STRIDES = (8, 16, 32)
MOST_CLASSES = 100_000
"""More than any detector has; a larger id is no class."""


@dataclass(frozen=True, slots=True)
class Detector:
    """What must be known of a model to feed it and to read its output.

    layout: see `Layout`. width, height: input size in pixels. names: class names by id, empty when nobody knows them.
    fit: see letterbox. colour: channel order of the input. scale: a pixel value of 255 becomes this (1.0 or 255.0).
    channels_last: input B x H x W x 3. dtype: NumPy name of the input's type. batch: pictures a call, 0: any number.
    input, output: names of the two tensors.
    """

    layout: Layout
    width: int
    height: int
    names: tuple[str, ...]
    fit: Fit
    colour: Literal["rgb", "bgr"]
    scale: float
    channels_last: bool
    dtype: str
    batch: int
    input: str
    output: str

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Detector:
        """The detector that `to_json` wrote."""
        return cls(**{**value, "names": tuple(value["names"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values by name, so that a step can hand it to the next."""
        return {**asdict(self), "names": list(self.names)}

    def name(self, class_id: int) -> str:
        """The name of a class, "class 7" when nobody knows it."""
        return self.names[class_id] if 0 <= class_id < len(self.names) else f"class {class_id}"


def grid(width: int, height: int) -> int:
    """How many cells the strides 8, 16 and 32 have together on an input of this size."""
    return sum((width // stride) * (height // stride) for stride in STRIDES)


def describe(
    inputs: Sequence[tuple[str, Shape, str]],
    outputs: Sequence[tuple[str, Shape]],
    metadata: Mapping[str, str],
    *,
    model: str = "the model",
    layout: str = "auto",
    input_size: int | Sequence[int] | None = None,
    fit: str = "auto",
    colour: str = "auto",
    class_names: Sequence[str] | None = None,
    probe: Callable[[tuple[int, ...]], Sequence[Shape]] | None = None,
) -> Detector:
    """Find out what a model wants and gives.

    inputs: name, shape (a string or None for an axis of any length), NumPy type name, of each input tensor; outputs
    alike without type; metadata: the model's own properties. `layout`, `input_size` (a side or [height, width]), `fit`,
    `colour` and `class_names` overrule what the model says. probe: runs the model on zeros of a given shape and returns
    its output shapes; asked only when the declared ones leave something open. Raises wfe.Refuse naming the parameter
    to set.
    """
    if (task := metadata.get("task") or "detect") != "detect":
        raise Refuse(f"{model}: its task is {task!r}, and only detectors are read here; use a 'detect' model")
    if len(inputs) != 1:
        raise Refuse(f"{model}: has {len(inputs)} inputs ({_names(inputs)}), a detector of pictures has one")
    name, shape, dtype = inputs[0]
    if len(shape) != 4:
        raise Refuse(f"{model}: input {name!r} has shape {_text(shape)}, not four axes; it takes no pictures")
    channels_last = shape[1] != 3 and shape[3] == 3
    if not channels_last and isinstance(shape[1], int) and shape[1] != 3:
        raise Refuse(f"{model}: input {name!r} has shape {_text(shape)}, without an axis of 3 colours")
    if dtype not in ("float32", "float16", "float64"):
        raise Refuse(f"{model}: input {name!r} is {dtype}; only float16, float32 and float64 are fed here")
    height, width = _input_size(model, shape[1:3] if channels_last else shape[2:4], metadata, input_size)
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
    names = tuple(class_names) if class_names else names_of(metadata)

    shapes = [tuple(output[1]) for output in outputs]
    if probe is not None and any(not isinstance(axis, int) for found in shapes for axis in found):
        full = (batch or 1, height, width, 3) if channels_last else (batch or 1, 3, height, width)
        shapes = [tuple(found) for found in probe(full)]
    index = _output(model, outputs, shapes)
    chosen = layout_of(shapes[index], width, height, len(names), metadata, layout, model)
    if not names:
        names = COCO if classes_of(shapes[index], chosen) == len(COCO) else ()
    elif (count := classes_of(shapes[index], chosen)) not in (None, len(names)):
        raise Refuse(
            f"{model}: {len(names)} class names for {count} classes (output {_text(shapes[index])} read as {chosen}); "
            "set 'class_names' or 'layout'"
        )
    yolox = chosen == "yolox"
    return Detector(
        layout=chosen,
        width=width,
        height=height,
        names=names,
        fit=_choice(model, "fit", fit, get_args(Fit), "corner" if yolox else "centre"),
        colour=_choice(model, "colour", colour, ("rgb", "bgr"), "bgr" if yolox else "rgb"),
        scale=255.0 if yolox else 1.0,
        channels_last=channels_last,
        dtype=dtype,
        batch=batch,
        input=name,
        output=outputs[index][0],
    )


def layout_of(
    shape: Shape,
    width: int,
    height: int,
    classes: int,
    metadata: Mapping[str, str],
    layout: str = "auto",
    model: str = "the model",
) -> Layout:
    """The layout of an output of this shape; `classes`: how many names are known, 0 for none. Raises wfe.Refuse."""
    known = get_args(Layout)
    if layout != "auto":
        if layout not in known:
            raise Refuse(f"parameter 'layout' is {layout!r}; known: auto, {', '.join(known)}")
        return layout  # type: ignore[return-value]
    said = _text(shape)
    if len(shape) != 3:
        raise Refuse(f"{model}: output of shape {said} is of no known layout; set 'layout' to one of {_list(known)}")
    rows, columns = shape[1], shape[2]
    cells = grid(width, height)
    if _true(metadata.get("end2end")) and columns == 6:
        return "end2end"
    if columns in (cells, 3 * cells) and isinstance(rows, int) and rows > 4 and rows not in (cells, 3 * cells):
        return "yolov8"
    if rows == 3 * cells and isinstance(columns, int) and columns > 5:
        return "yolov5"
    if rows == cells and isinstance(columns, int) and columns > 4:
        if classes and columns in (4 + classes, 5 + classes):
            return "yolov8-rows" if columns == 4 + classes else "yolox"
        if columns in (4 + len(COCO), 5 + len(COCO)) and not classes:
            return "yolov8-rows" if columns == 4 + len(COCO) else "yolox"
        raise Refuse(
            f"{model}: output {said} may be yolov8-rows with {columns - 4} classes or yolox with {columns - 5}, "
            "and the model does not say; set 'layout' or 'class_names'"
        )
    if columns == 6:
        return "end2end"
    if classes and isinstance(rows, int) and rows == 4 + classes:
        return "yolov8"
    raise Refuse(
        f"{model}: output {said} with an input of {width} x {height} pixels is of no known layout; "
        f"set 'layout' to one of {_list(known)}, or 'input_size' if the input has another size"
    )


def classes_of(shape: Shape, layout: Layout) -> int | None:
    """How many classes an output of this shape has; None when it cannot be told (end2end, an axis of any length)."""
    if layout == "end2end" or len(shape) != 3:
        return None
    axis = shape[1] if layout == "yolov8" else shape[2]
    if not isinstance(axis, int):
        return None
    return axis - (4 if layout in ("yolov8", "yolov8-rows") else 5)


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names from a model's properties: a dict or list as Python or JSON text under "names"; empty without."""
    text = metadata.get("names", "")
    if not text:
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ()
    if isinstance(value, dict):
        try:
            by_id = {int(str(key)): str(name) for key, name in value.items()}
        except ValueError:  # names that have numbers, say
            return ()
        if not all(0 <= index < MOST_CLASSES for index in by_id):
            return ()
        return tuple(by_id.get(index, f"class {index}") for index in range(max(by_id, default=-1) + 1))
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()


def _input_size(
    model: str, declared: Shape, metadata: Mapping[str, str], wanted: int | Sequence[int] | None
) -> tuple[int, int]:
    """Height and width of the input, by the model's shape, its metadata or the parameter, in this order."""
    told = _pair(model, wanted) if wanted else None
    height, width = (axis if isinstance(axis, int) and axis > 0 else 0 for axis in declared)
    if height and width:
        if told and told != (height, width):
            raise Refuse(
                f"{model}: takes {width} x {height} pixels only, and 'input_size' asks for {told[1]} x {told[0]}; "
                "leave it out, or export the model with dynamic axes"
            )
        return height, width
    if told is None and "imgsz" in metadata:
        try:
            told = _pair(model, json.loads(metadata["imgsz"]))
        except ValueError:
            told = None
    if told is None:
        raise Refuse(f"{model}: takes pictures of any size and names none; set 'input_size', such as 640")
    return height or told[0], width or told[1]


def _pair(model: str, value: int | Sequence[int]) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or not all(isinstance(side, int) and 32 <= side <= 8192 for side in sides):
        raise Refuse(f"{model}: input size {value!r} is not a side, or [height, width], of 32 to 8192 pixels")
    return sides[0], sides[1]


def _output(model: str, outputs: Sequence[tuple[str, Shape]], shapes: Sequence[Shape]) -> int:
    """The index of the output that holds the detections: the only one, or the only one with three axes."""
    if len(shapes) == 1:
        return 0
    able = [index for index, shape in enumerate(shapes) if len(shape) == 3]
    if len(able) == 1:
        return able[0]
    listed = ", ".join(f"{output[0]} {_text(shape)}" for output, shape in zip(outputs, shapes, strict=True))
    raise Refuse(
        f"{model}: has {len(shapes)} outputs ({listed}), and it is not clear which holds the boxes; "
        "export it with a single output"
    )


def _choice(model: str, parameter: str, value: str, known: Sequence[str], usual: str) -> Any:
    if value == "auto":
        return usual
    if value not in known:
        raise Refuse(f"{model}: parameter {parameter!r} is {value!r}; known: auto, {', '.join(known)}")
    return value


def _true(text: str | None) -> bool:
    return str(text).strip().lower() in ("true", "1", "yes")


def _text(shape: Shape) -> str:
    return " x ".join("?" if axis is None else str(axis) for axis in shape) or "()"


def _list(values: Sequence[str]) -> str:
    return ", ".join(values)


def _names(tensors: Sequence[tuple[str, Shape, str]]) -> str:
    return ", ".join(tensor[0] for tensor in tensors)
