"""Recordings of a live source: started and stopped at will, each a file of its own that is whole at any moment."""

from __future__ import annotations

from pathlib import Path

from nodes.vision.video_read import Picture, VideoError
from nodes.vision.video_write import VideoWriter, container_of
from wfe import log


class Recorder:
    """Writes pictures while `recording`. `files`: those written so far.

    No file is overwritten: a second one is NAME-2.mp4, and so on, whether this session or an earlier one wrote the first.
    A picture of another size than the one before begins a file of its own.
    """

    def __init__(self, path: Path, source: str = "") -> None:
        """source: what is recorded. Raises VideoError when the path cannot be written, rather than at the first picture."""
        if not path.name:
            raise VideoError("'output_path' is empty; give the name of a file, such as recording.mp4")
        container_of(path.suffix, f"output_path {path}")
        if path.resolve() == Path(source.removeprefix("file://")).resolve():
            raise VideoError(f"output_path {path}: is the source itself; give another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.exists()
        except OSError as error:
            raise VideoError(f"output_path {path}: cannot be written ({error.strerror}); give another one") from error
        self._path = path
        self._size = (0, 0)
        self._writer: VideoWriter | None = None
        self._began = 0.0
        self._name = ""
        self.recording = False
        self.files: list[str] = []

    def toggle(self) -> str:
        """Start, or stop, recording; the name of the file that is concerned."""
        if self.recording:
            self.close()
            return self._name
        self._name, self.recording = self._free(), True
        return self._name

    def write(self, picture: Picture, moment: float, rate: float) -> None:
        """Record a picture shown at `moment` seconds, while recording. The file begins with the first picture."""
        if not self.recording:
            return
        size = (picture.shape[1], picture.shape[0])
        if self._writer is not None and size != self._size:
            self._writer.close()
            self._writer, self._name = None, self._free()
            log(f"the pictures have {size[0]} x {size[1]} pixels now: recording goes on in {self._name}")
        if self._writer is None:
            try:
                self._writer = VideoWriter(Path(self._name), *size, rate or 25, live=True)
            except OSError as error:
                raise VideoError(
                    f"output_path {self._name}: cannot be written ({error.strerror}); give another one"
                ) from error
            self._size, self._began = size, moment
            self.files.append(self._name)
        self._writer.add(self._writer.frame(picture), moment - self._began)

    def close(self) -> None:
        """Stop recording and finish the file. Idempotent."""
        self.recording = False
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _free(self) -> str:
        """The first name that no file has."""
        number, path = 1, self._path
        while path.exists():
            number += 1
            path = self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")
        return str(path)
