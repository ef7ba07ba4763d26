"""Reading pictures: what a viewer shows, whatever the file is like."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nodes.vision.picture import load_picture, read_picture
from wfe import Refuse


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """60 x 100 pixels, BGR: dark, with a red block in the upper left corner and a blue one in the lower right."""
    picture = np.full((60, 100, 3), 40, dtype=np.uint8)
    picture[:20, :30] = (0, 0, 255)
    picture[40:, 70:] = (255, 0, 0)
    return picture


def close(found: NDArray[np.uint8], wanted: NDArray[np.uint8], tolerance: int = 0) -> bool:
    if found.shape != wanted.shape:
        return False
    return int(np.abs(found.astype(int) - wanted.astype(int)).max()) <= tolerance


def rgb(picture: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(picture[..., ::-1].copy())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_formats(tmp_path: Path, scene: NDArray[np.uint8], suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    rgb(scene).save(path, lossless=True)
    assert close(read_picture(path), scene)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "really_a_png.jpg"
    rgb(scene).save(path, format="PNG")
    assert close(read_picture(path), scene)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_exif_turns_the_picture_upright(tmp_path: Path, scene: NDArray[np.uint8], orientation: int, kind: str) -> None:
    # how a camera in this orientation stored the upright scene: the inverse of what a viewer does
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene, 1),
        7: np.rot90(scene[::-1, ::-1].transpose(1, 0, 2), 0),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind}"
    rgb(stored).save(path, exif=exif, quality=100, subsampling=0)
    assert close(read_picture(path), scene, 6 if kind == "jpeg" else 0)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGBA", "CMYK", "RGB"])
def test_a_tiff_without_compression_is_turned(
    tmp_path: Path, scene: NDArray[np.uint8], orientation: int, mode: str
) -> None:
    stored = rgb(scene).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, packed = tmp_path / "plain.tif", tmp_path / "packed.tif"
    stored.save(plain, exif=exif)
    stored.save(packed, exif=exif, compression="tiff_lzw")
    found = read_picture(plain)
    assert found.shape == (100, 60, 3)
    assert close(found, read_picture(packed))


def planes(path: Path, values: NDArray[np.uint16]) -> Path:
    """Write a TIFF of 16 bits with each colour (the last axis) in a plane of its own."""
    height, width, colours = values.shape
    data = np.moveaxis(values, 2, 0).astype("<u2").tobytes()
    size, end = len(data) // colours, 8 + len(data)
    lists: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [16] * colours), 259: ("H", [1]), 262: ("H", [2]),
        273: ("I", [8 + number * size for number in range(colours)]), 274: ("H", [6]), 277: ("H", [colours]),
        278: ("I", [height]), 279: ("I", [size] * colours), 284: ("H", [2]),
    }  # fmt: skip
    if colours == 4:
        lists[338] = ("H", [2])
    rows, tail = b"", b""
    for tag, (kind, numbers) in sorted(lists.items()):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(packed) > 4:
            place, tail = end + 2 + 12 * len(lists) + 4 + len(tail), tail + packed
            packed = struct.pack("<I", place)
        rows += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers)) + packed.ljust(4, b"\0")
    path.write_bytes(b"II*\0" + struct.pack("<I", end) + data + struct.pack("<H", len(lists)) + rows + bytes(4) + tail)
    return path


def test_16_bits_of_a_tiff_in_planes(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    wide = scene[..., ::-1].astype(np.uint16) * 257
    assert close(read_picture(planes(tmp_path / "a.tif", wide)), np.rot90(scene, -1), 1)
    with pytest.raises(Refuse, match=r"b\.tif: is a TIFF of 16 bits with transparency .* save it as PNG$"):
        read_picture(planes(tmp_path / "b.tif", np.dstack([wide, wide[..., 0]])))


@pytest.mark.parametrize("colours", [1, 3])
def test_a_pfm_has_no_scale(tmp_path: Path, scene: NDArray[np.uint8], colours: int) -> None:
    path = tmp_path / "a.pfm"
    cv2.imwrite(str(path), (scene / np.float32(255)).astype(np.float32)[..., slice(None) if colours == 3 else 0])
    with pytest.raises(Refuse, match=r"a\.pfm: holds signed, 32-bit or floating-point values"):
        read_picture(path)


def test_radiance(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.hdr"
    cv2.imwrite(str(path), (scene / np.float32(255)).astype(np.float32))
    assert close(read_picture(path), scene, 2)


def test_postscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.eps"
    rgb(np.zeros((8, 8, 3), np.uint8)).save(path)
    with pytest.raises(Refuse, match=r"a\.eps: is PostScript \(EPS\), which is not read here; JPEG, PNG"):
        read_picture(path)


def test_exif_and_transparency_together(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    image = rgb(np.rot90(scene, 1))
    image.putalpha(255)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    image.save(path, exif=exif)
    assert close(read_picture(path), scene)


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 4), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 4, 4))
    image.putpixel((7, 3), (0, 0, 0, 128))
    path = tmp_path / "a.png"
    image.save(path)
    found = read_picture(path)
    assert found.shape == (4, 8, 3)
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[0, 6].tolist() == [255, 255, 255]
    assert found[3, 7].tolist() == pytest.approx([127] * 3, abs=1)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 1), 1)
    path = tmp_path / "a.gif"
    image.save(path, transparency=0)
    found = read_picture(path)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == [0, 0, 255]


def test_grey_becomes_three_channels(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(scene[..., 0].copy()).save(path)
    assert close(read_picture(path), np.repeat(scene[..., :1], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("colours", [1, 3])
def test_16_bits_become_8(tmp_path: Path, scene: NDArray[np.uint8], suffix: str, colours: int) -> None:
    wide = scene.astype(np.uint16) * 257
    path = tmp_path / f"wide.{suffix}"
    assert cv2.imwrite(str(path), wide if colours == 3 else wide[..., 0])
    wanted = scene if colours == 3 else np.repeat(scene[..., :1], 3, axis=2)
    assert close(read_picture(path), wanted, 1)


def test_cmyk(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "print.jpg"
    rgb(scene).convert("CMYK").save(path, quality=100, subsampling=0)
    assert close(read_picture(path), scene, 12)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
def test_a_cut_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=r"a\.\w+: the picture is damaged or cut off|is no picture"):
        read_picture(path)


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    text, empty = tmp_path / "notes.jpg", tmp_path / "empty.png"
    text.write_text("not a picture\n")
    empty.write_bytes(b"")
    with pytest.raises(ValueError, match=r"notes\.jpg: is no picture of a known format \(first bytes b'not a picture"):
        read_picture(text)
    with pytest.raises(ValueError, match=r"empty\.png: the picture file is empty"):
        read_picture(empty)
    with pytest.raises(Refuse, match=r"missing\.jpg: there is no such picture; check 'image_path'"):
        read_picture(tmp_path / "missing.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        read_picture(tmp_path)


def test_floating_point_without_a_scale_is_said_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(np.linspace(0, 3, 64, dtype=np.float32).reshape(8, 8)).save(path)
    with pytest.raises(ValueError, match=r"depth\.tif: holds signed, 32-bit or floating-point values"):
        read_picture(path)


def tiff(
    path: Path, values: NDArray[Any], bits: int, white: int, kind: int = 1, order: Literal["<", ">"] = "<"
) -> Path:
    """Write a grey TIFF: white: 0 when 0 is white; kind: 1 for whole numbers, 2 with a sign."""
    if bits == 12:
        pairs = values.astype(np.int64).reshape(-1, 2)
        data = b"".join(int(one << 12 | other).to_bytes(3, "big") for one, other in pairs.tolist())
    else:
        data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    head = struct.pack(order + "HI", 42, 8)
    short = {256: width, 257: height, 258: bits, 259: 1, 262: white, 277: 1, 278: height, 339: kind}
    tags = sorted({**short, 273: 8 + 2 + 12 * 10 + 4, 279: len(data)}.items())
    rows = [
        struct.pack(order + "HHIHxx", tag, 3, 1, value)
        if tag in short
        else struct.pack(order + "HHII", tag, 4, 1, value)
        for tag, value in tags
    ]
    first = b"II" if order == "<" else b"MM"
    path.write_bytes(first + head + struct.pack(order + "H", len(tags)) + b"".join(rows) + bytes(4) + data)
    return path


RAMP = np.arange(0, 65536, 1024).reshape(8, 8)


@pytest.mark.parametrize(
    ("bits", "white", "order"),
    [(12, 1, "<"), *((bits, white, order) for bits in (8, 16) for white in (0, 1) for order in "<>")],
)
def test_a_tiff_says_whether_0_is_white(tmp_path: Path, bits: int, white: int, order: Literal["<", ">"]) -> None:
    values = (RAMP >> (16 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    found = read_picture(tiff(tmp_path / "scan.tif", values, bits, white, order=order))
    grey = (RAMP >> 8).astype(np.uint8)
    assert close(found, np.repeat((grey if white else 255 - grey)[..., None], 3, axis=2), 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize(("dtype", "kind"), [(np.int16, 2), (np.uint32, 1), (np.int32, 2)])
def test_whole_numbers_without_a_scale_are_refused(
    tmp_path: Path, dtype: type[np.generic], kind: int, white: int, order: Literal["<", ">"]
) -> None:
    values = (RAMP >> 1).astype(dtype)
    path = tiff(tmp_path / "depth.tif", values, 8 * values.itemsize, white, kind, order)
    with pytest.raises(ValueError, match=r"depth\.tif: holds signed, 32-bit .*convert it to 8 or 16 bits"):
        read_picture(path)


def test_16_bits_of_a_pgm(tmp_path: Path) -> None:
    path = tmp_path / "wide.pgm"
    path.write_bytes(b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes())
    assert close(read_picture(path), np.repeat((RAMP >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (30000, 30000)).save(path)
    assert os.path.getsize(path) < 1_000_000
    with pytest.raises(ValueError, match=r"bomb\.png: .*smaller"):
        read_picture(path)


def test_the_node_says_the_size(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.png"
    rgb(scene).save(path)
    found = load_picture(path)
    assert (found["width"], found["height"]) == (100, 60)
    assert found["image"].dtype == np.uint8
    assert found["image"].flags.c_contiguous
