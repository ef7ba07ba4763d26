"""A place in a tree of JSON values that JSON cannot fill. In a module of its own: a no-op run needs no more of a call."""

from __future__ import annotations

from typing import NamedTuple

Trail = tuple[str | int, ...]
"""Where in a JSON tree a value stands: the keys and indexes that lead to it, `("detections", 0, "mask")`."""


class Hole(NamedTuple):
    """A place in a tree of JSON values that stands for something that JSON cannot say. The tree holds null there.

    codec: "npy" (an array, in NumPy's .npy format), "path" (an input file: the function gets a pathlib.Path), "output"
    (a file to write: the function gets a wfe.Output), "file" (in a reply: a declared output file that was written),
    or the name of another registered codec. path: an absolute file path.
    """

    trail: Trail
    codec: str
    path: str
