"""Reads a picture file into pixels: the node `load_picture` and the function under it, `read_picture`.

Knows file formats, orientation, transparency and bit depth. Does not know models.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfe import Refuse, workflow_node

BITS, WHITE, PLANES = 258, 262, 284
"""Tags of a TIFF: bits of a value; 0 where 0 is white, 1 where it is black; 2 where each colour lies in a plane of its own."""

READ = "JPEG, PNG, WebP, BMP, TIFF and GIF"

PLANAR = "is a TIFF of 16 bits with transparency or other colours than RGB, each in a plane of its own; save it as PNG"
UNSCALED = "holds signed, 32-bit or floating-point values without a scale; convert it to 8 or 16 bits first"


def read_picture(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A picture as a viewer shows it: height x width x 3, uint8, BGR, turned as EXIF says, white where transparent.

    16 bits a channel become 8, grey becomes three equal channels, the first frame stands for an animation. The content
    decides the format, not the suffix. Raises wfe.Refuse when it is missing or no whole picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    place = Path(path)
    try:
        content = place.stat()
    except FileNotFoundError:
        raise Refuse(f"{place}: there is no such picture; check 'image_path'") from None
    if place.is_dir():
        raise Refuse(f"{place}: is a folder, not a picture; the workflow detect_folder takes folders")
    if content.st_size == 0:
        raise Refuse(f"{place}: the picture file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of a path, Pillow maps a plain TIFF into memory, with the sides as they are after turning: scrambled pixels.
            with place.open("rb") as file, Image.open(file) as opened:
                kind, tags = opened.format, dict(getattr(opened, "tag_v2", {}))  # the turned one has neither
                if kind == "EPS":
                    raise Refuse(f"{place}: is PostScript (EPS), which is not read here; {READ} are")
                if tags.get(PLANES) == 2 and len(tags.get(BITS, ())) > 1 and max(tags[BITS]) > 8:
                    if opened.mode != "RGB":  # OpenCV is wrong there too
                        raise Refuse(f"{place}: {PLANAR}")
                    return _read_by_opencv(place)  # Pillow takes each of the 16 bits' halves for a value
                opened.load()
                turned = ImageOps.exif_transpose(opened)
    except Refuse:
        raise
    except UnidentifiedImageError as error:
        return _read_by_opencv(place, error)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Refuse(f"{place}: {error}; make it smaller first") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Refuse(f"{place}: the picture is damaged or cut off ({error}); get the file again") from error
    if turned.mode == "I" and kind not in ("PNG", "PPM"):  # these two are known to be scaled to 16 bits
        raise Refuse(f"{place}: {UNSCALED}")
    return _as_bgr(turned, place, *(tags.get(tag) for tag in (BITS, WHITE)))


def _as_bgr(image: Any, place: Path, bits: Any = None, white: Any = None) -> NDArray[np.uint8]:
    """Pillow's image in any mode as BGR pixels; `place` for the error; `bits` and `white`: these tags of a TIFF."""
    from PIL import Image

    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        most = bits[0] if bits else 16  # Pillow leaves a TIFF of 12 bits in the lowest 12 of 16
        wide = np.asarray(image, dtype=np.int64)
        # Pillow would clip at 255: a white picture.
        grey = (np.clip(wide, 0, 2**most - 1) >> (most - 8)).astype(np.uint8)
        if white == 0:  # Pillow turns 8 bits around by itself, and leaves more as they are
            grey = 255 - grey
        return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    if image.mode == "F":
        raise Refuse(f"{place}: {UNSCALED}")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, (255, 255, 255, 255)), seen)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), dtype=np.uint8)[..., ::-1])


def _read_by_opencv(path: Path, cause: Exception | None = None) -> NDArray[np.uint8]:
    """The formats that Pillow does not know, or reads wrong, and OpenCV does (16-bit colour TIFF, Radiance HDR)."""
    import cv2

    with path.open("rb") as file:
        data = np.frombuffer(file.read(), dtype=np.uint8)
    try:
        # Of floating-point numbers, only Radiance says which one is white.
        raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data[:2].tobytes() != b"#?" else None
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        raw = picture = None
    if raw is not None and raw.dtype not in (np.uint8, np.uint16):
        raise Refuse(f"{path}: {UNSCALED}") from cause
    if picture is None:
        raise Refuse(
            f"{path}: is no picture of a known format (first bytes {data[:16].tobytes()!r}); {READ} are read"
        ) from cause
    return np.asarray(picture, dtype=np.uint8)


@workflow_node(outputs={"image": "np.ndarray", "width": "int", "height": "int"})
def load_picture(image_path: Path) -> dict[str, Any]:
    """Read a picture file: `image` is height x width x 3, uint8, BGR, upright."""
    image = read_picture(image_path)
    return {"image": image, "width": image.shape[1], "height": image.shape[0]}
