# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.6", "numpy", "onnx", "onnxscript", "opencv-python-headless>=4.10"]
# ///
"""Trains the quickstart detector from scratch on scenes of `shapes.py`, writes ONNX: `uv run models/train_shapes.py`.

Knows the network, its loss and the export. Does not measure what it made: `evaluate_shapes.py` does, through
onnxruntime and the nodes of the product. PyTorch is needed here only; nothing else in the project imports it.

The network is a small anchor-free detector at strides 8, 16 and 32 with a head for each. Anchors near a
shape's centre learn it (as in FCOS, arXiv:1904.01355), boxes are learned by complete IoU (arXiv:1911.08287).
"""
# mypy: disable-error-code="import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from models.shapes import CLASSES, draw_scene
from nodes.vision.letterbox import Letterbox

SIZE = 256  # pixels, width and height of the network's input
SMALL = 160  # pixels, the same in the first part of the training
STRIDES = (8, 16, 32)
MOST = 12  # shapes on one scene, at most; the tensors of boxes are padded to it
TRAIN_SEED = 1  # scenes of training are drawn from [TRAIN_SEED, index]; evaluation uses other first numbers


def conv(inside: int, outside: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride, (size - 1) // 2 if stride < 4 else 1, bias=False),
        nn.BatchNorm2d(outside, eps=1e-3, momentum=0.05),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions, the first to half the channels, around a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels // 2, 1), conv(channels // 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Detector(nn.Module):
    """B x 3 x 256 x 256 RGB in 0..1 -> B x (4 + classes) x 1344: x, y, width, height in pixels, then class scores.

    Any side that is a multiple of 32 will do in training. The first convolution goes to a quarter of the size at once:
    at half the size, batch normalisation alone took as long as all convolutions together.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.early = nn.Sequential(conv(3, 32, 6, 4), conv(32, 48, 3, 2))
        self.stage8 = nn.Sequential(Residual(48), Residual(48))
        self.stage16 = nn.Sequential(conv(48, 96, 3, 2), Residual(96), Residual(96))
        self.stage32 = nn.Sequential(conv(96, 96, 3, 2), Residual(96), Residual(96))
        self.narrow8, self.narrow16, self.narrow32 = (nn.Conv2d(wide, 48, 1) for wide in (48, 96, 96))
        self.mix16, self.mix8 = Residual(48), Residual(48)
        # a head for each stride: shared batch normalisation would see each level alone in training and their mix after
        # it; with one head for all, mAP50-95 was 0.5 where the training loss promised 0.8
        self.heads = nn.ModuleList(nn.Sequential(conv(48, 48), nn.Conv2d(48, 4 + classes, 1)) for _ in STRIDES)
        for head in self.heads:
            nn.init.constant_(head[-1].bias[4:], -4.6)  # a score of 0.01 at first: nearly every anchor is background

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes x1, y1, x2, y2 in pixels (B x 4 x A) and class logits (B x C x A)."""
        anchors, steps = anchors_of(x.shape[-1])
        eight = self.stage8(self.early(x))
        sixteen = self.stage16(eight)
        thirty_two = self.narrow32(self.stage32(sixteen))
        sixteen = self.mix16(self.narrow16(sixteen) + F.interpolate(thirty_two, scale_factor=2.0))
        eight = self.mix8(self.narrow8(eight) + F.interpolate(sixteen, scale_factor=2.0))
        levels = zip(self.heads, (eight, sixteen, thirty_two), strict=True)
        found = torch.cat([head(level).flatten(2) for head, level in levels], 2)
        sides = F.softplus(found[:, :4] + 2.0) * steps  # distances to left, top, right, bottom
        logits = found[:, 4:]
        return torch.cat([anchors - sides[:, :2], anchors + sides[:, 2:]], 1), logits

    def forward(self, x: Tensor) -> Tensor:
        boxes, logits = self.raw(x)
        first, last = boxes[:, :2], boxes[:, 2:]
        return torch.cat([(first + last) / 2, last - first, logits.sigmoid()], 1)


@lru_cache
def anchors_of(side: int) -> tuple[Tensor, Tensor]:
    """Of each cell of each stride on an input of this side: its centre in pixels (2 x A) and the stride (1 x A)."""
    centres, steps = [], []
    for stride in STRIDES:
        line = (torch.arange(side // stride, dtype=torch.float32) + 0.5) * stride
        y, x = torch.meshgrid(line, line, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        steps.append(torch.full((1, x.numel()), float(stride)))
    return torch.cat(centres, 1), torch.cat(steps, 1)


def overlap(a: Tensor, b: Tensor, complete: bool = False) -> Tensor:
    """IoU of boxes in the last dimension (broadcast); the complete IoU also counts distance and shape of the box."""
    first = torch.maximum(a[..., :2], b[..., :2])
    last = torch.minimum(a[..., 2:], b[..., 2:])
    shared = (last - first).clamp(min=0).prod(-1)
    size_a, size_b = ((a[..., 2:] - a[..., :2]).clamp(min=1e-3), (b[..., 2:] - b[..., :2]).clamp(min=1e-3))
    iou = shared / (size_a.prod(-1) + size_b.prod(-1) - shared + 1e-7)
    if not complete:
        return iou
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4
    slant = torch.atan(size_b[..., 0] / size_b[..., 1]) - torch.atan(size_a[..., 0] / size_a[..., 1])
    aspect = slant**2 * (4 / np.pi**2)
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + 1e-7)
    return iou - apart / ((hull**2).sum(-1) + 1e-7) - weight * aspect


@torch.no_grad()
def assign(side: int, truth: Tensor, there: Tensor) -> Tensor:
    """Which shape each anchor learns: B x A, -1 for none. truth: B x G x 4; there: B x G, False at padding.

    A shape belongs to the strides s for which its size is about 4 s (an octave and a half around it, so neighbours
    share), and there to the anchors within 1.5 s of its centre. Of two shapes an anchor learns the smaller.
    """
    (x, y), (stride,) = anchors_of(side)
    corners = truth[..., None]  # B x G x 4 x 1
    wide, high = (corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1])
    off = torch.maximum(
        (x - (corners[:, :, 0] + corners[:, :, 2]) / 2).abs(), (y - (corners[:, :, 1] + corners[:, :, 3]) / 2).abs()
    )
    area = (wide * high).clamp(min=1.0)
    octave = torch.log2(area.sqrt() / (4 * stride))
    fits = (octave.abs() < 0.75) | ((stride == min(STRIDES)) & (octave < 0)) | ((stride == max(STRIDES)) & (octave > 0))
    wanted = fits & (off < 1.5 * stride) & there[..., None]
    least, owner = torch.where(wanted, area, torch.full_like(area, torch.inf)).min(1)
    return torch.where(least.isfinite(), owner, torch.full_like(owner, -1))


def loss_of(
    model: Detector, pictures: Tensor, truth: Tensor, labels: Tensor, there: Tensor, strict: bool = False
) -> Tensor:
    """Binary cross entropy of scores, and complete IoU of boxes.

    A score learns halfway between 1 and the overlap that its box reached (arXiv:2006.04388 takes the overlap alone; in
    a training this short, names were then learned only after boxes). strict: it learns 0 at an overlap of a half and 1
    at a whole one, so that a box between two shapes, which is neither's, stays below a threshold.
    """
    boxes, logits = model.raw(pictures)
    owner = assign(pictures.shape[-1], truth, there)
    taken = owner >= 0
    index = owner.clamp(min=0)
    target = truth.gather(1, index[..., None].expand(-1, -1, 4))[taken]
    found = boxes.transpose(1, 2)[taken]
    reached = overlap(found.detach(), target)
    weight = 0.5 + 0.5 * reached
    score = torch.zeros_like(logits[:, 0])
    score[taken] = (2 * reached - 1).clamp(min=0) if strict else weight
    wanted = F.one_hot(labels.gather(1, index), logits.shape[1]).transpose(1, 2) * score[:, None]
    total = weight.sum().clamp(min=1.0)
    classify = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / total
    locate = ((1 - overlap(found, target, complete=True)) * weight).sum() / total
    return classify + 2.0 * locate


def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Training scene `index`: a SIZE x SIZE x 3 RGB picture, fitted as the product fits it, and n x 5 class and box."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([TRAIN_SEED, index])
    width = height = int(rng.integers(SIZE, 641))
    if rng.random() < 0.6:
        short = int(width * rng.uniform(0.5, 1.0))
        width, height = (width, short) if rng.random() < 0.6 else (short, height)
    scene = draw_scene(rng, width, height)
    letterbox = Letterbox.fit(width, height, SIZE, SIZE, "centre")
    boxes = letterbox.to_input(np.array([shape.box for shape in scene.shapes], dtype=np.float64))
    labels = np.array([[shape.class_id] for shape in scene.shapes], dtype=np.float32).reshape(-1, 1)
    picture = np.ascontiguousarray(letterbox.apply(scene.picture)[..., ::-1])
    return picture, np.concatenate([labels, boxes.astype(np.float32)], axis=1)


def batch(
    pictures: np.ndarray, rows: list[np.ndarray], picked: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The picked scenes at side x side, each mirrored at random, its colours swapped or inverted at random."""
    stack = np.empty((len(picked), side, side, 3), dtype=np.uint8)
    truth = np.zeros((len(picked), MOST, 5), dtype=np.float32)
    there = np.zeros((len(picked), MOST), dtype=bool)
    for place, index in enumerate(picked):
        picture, found = pictures[index], rows[index].copy()
        if side != SIZE:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
            found[:, 1:] *= side / SIZE
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
            found[:, [1, 3]] = side - found[:, [3, 1]]
        picture = picture[..., rng.permutation(3)]
        stack[place] = 255 - picture if rng.random() < 0.2 else picture
        truth[place, : len(found)] = found
        there[place, : len(found)] = True
    images = torch.from_numpy(stack).permute(0, 3, 1, 2).float().div_(255)
    return (
        images.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(truth[..., 1:]),
        torch.from_numpy(truth[..., 0]).long(),
        torch.from_numpy(there),
    )


def train(scenes: int, steps: int, size: int, seed: int, threads: int) -> Detector:
    """Train and return the detector: `steps` on `scenes` scenes, then an eighth of that, strictly, on a third as many
    new ones."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    model = Detector(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    rng = np.random.default_rng([seed, 99])
    model = fit(model, *draw_all(range(scenes)), steps, size, rng)
    return sharpen(model, scenes, steps, size, seed)


def sharpen(model: Detector, scenes: int, steps: int, size: int, seed: int) -> Detector:
    """The second part of the training: short, strict about scores, in full size, on scenes not seen before."""
    new = range(scenes, scenes + scenes // 3)
    return fit(model, *draw_all(new), steps // 8, size, np.random.default_rng([seed, 100]), strict=True)


def draw_all(indices: range) -> tuple[np.ndarray, list[np.ndarray]]:
    """The scenes of these indices: n x SIZE x SIZE x 3, and of each its class and boxes."""
    start = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(draw, indices, chunksize=50))
    print(f"drew {len(indices)} scenes in {time.perf_counter() - start:.0f} s", flush=True)
    return np.stack([picture for picture, _ in drawn]), [found for _, found in drawn]


def fit(
    model: Detector,
    pictures: np.ndarray,
    rows: list[np.ndarray],
    steps: int,
    size: int,
    rng: np.random.Generator,
    strict: bool = False,
) -> Detector:
    """Train the model and return it with the running mean of its weights."""
    decay = 0.99 if strict else 0.995
    mean = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay), use_buffers=True
    )
    plain = [p for p in model.parameters() if p.ndim < 2]
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    peak = 1.5e-3 if strict else 4e-3
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.1, final_div_factor=100)
    order = np.empty(0, dtype=np.int64)
    model.train()
    smooth = 0.0
    start = time.perf_counter()
    for step in range(1, steps + 1):
        if len(order) < size:
            order = np.concatenate([order, rng.permutation(len(pictures))])
        picked, order = order[:size], order[size:]
        # two steps in the small cost as much as one in full size, and teach the names as well; the last ones are in
        # full size, for tight boxes
        side = SMALL if step <= 0.6 * steps and not strict else SIZE
        loss = loss_of(model, *batch(pictures, rows, picked, side, rng), strict)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        rate.step()
        mean.update_parameters(model)
        smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step}/{steps}  loss {smooth:.3f}  {time.perf_counter() - start:.0f} s", flush=True)
    found: Detector = mean.module
    return found.eval()


def export(model: Detector, path: Path, seed: int) -> None:
    """Write ONNX with the metadata keys that Ultralytics writes, so that any YOLOv8 reader knows the classes."""
    model = model.to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        opset_version=18,
        external_data=False,
        dynamo=True,
    )
    document = onnx.load(path)
    for node in document.graph.node:  # traces of this machine's paths, and three quarters of the file
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [
        *document.graph.value_info,
        *document.graph.input,
        *document.graph.output,
        *document.graph.initializer,
    ]:
        del value.metadata_props[:]
        value.doc_string = ""
    del document.graph.value_info[:]
    del document.graph.metadata_props[:]
    del document.metadata_props[:]
    document.doc_string = ""
    halve(document.graph)
    facts = {
        "description": "wfe quickstart detector: six shapes, trained from scratch on drawn scenes",
        "license": "Apache-2.0",
        "task": "detect",
        "stride": str(max(STRIDES)),
        "imgsz": str([SIZE, SIZE]),
        "batch": "1",
        "channels": "3",
        "names": str(dict(enumerate(CLASSES))),
        "seed": str(seed),
    }
    onnx.helper.set_model_props(document, facts)
    onnx.checker.check_model(document, full_check=True)
    path.write_bytes(document.SerializeToString(deterministic=True))
    print(f"wrote {path.name}: {path.stat().st_size:,} bytes")


def halve(graph: onnx.GraphProto) -> None:
    """Keep the kernels as float16 with a cast to float32 each: half the file.

    The cast is of a constant, so a runtime does it once, when it loads the model; sums stay float32.
    """
    for weight in list(graph.initializer):
        if weight.data_type != onnx.TensorProto.FLOAT or len(weight.dims) != 4:
            continue
        name, values = weight.name, onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        cast = onnx.helper.make_node("Cast", [weight.name], [name], name=name + "_cast", to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("shapes.onnx"))
    parser.add_argument("--scenes", type=int, default=4500, help="scenes to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2300, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="scenes a step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="another number changes the last bits (default: 1)")
    chosen = parser.parse_args()
    export(train(chosen.scenes, chosen.steps, chosen.batch, chosen.seed, chosen.threads), chosen.output, chosen.seed)
    spent = os.times()  # on Windows without the processes that drew
    print(f"{spent.user + spent.system + spent.children_user + spent.children_system:.0f} s of processor time")


if __name__ == "__main__":
    main()
