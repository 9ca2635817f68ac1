"""The frames of a video file, decoded in order with PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.data.upright import REMEDY, check_sides, upright

_FRAMES_PER_S = (1.0, 120.0)


class Video:
    """The first frames of a video file, at most `most`, turned as its metadata says.

    `frames`: how many can be decoded; `whole`: whether decoding ended without an error. Frames of
    another size than the first are scaled to it. Raises DatasetError for a file that is no video or
    has no frame that can be decoded.
    """

    def __init__(self, path: Path, most: int) -> None:
        if not path.is_file():
            raise DatasetError("no such video file", where=path, remedy="check the path")
        self.path = path
        self.frames = 0
        self.whole = True
        self._size: Size | None = None
        rate: Fraction | None = None
        try:
            with _opened(path) as (_, stream):
                rate = stream.average_rate
                for frame in self._decoded(most):
                    self._size = self._size or Size(*frame.shape[:2])
                    self.frames += 1
        except DatasetError:
            if not self.frames:
                raise
            self.whole = False
        if not self.frames:
            raise DatasetError("holds no frames", where=path, remedy=REMEDY)
        known = rate is not None and _FRAMES_PER_S[0] <= rate <= _FRAMES_PER_S[1]
        self.frames_per_s = float(rate) if rate is not None and known else None

    @property
    def size(self) -> Size:
        """The size of the first frame, once turned."""
        assert self._size is not None
        return self._size

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames (rows, cols, 3) uint8 RGB."""
        return self._decoded(self.frames)

    def _decoded(self, most: int) -> Generator[NDArray[np.uint8]]:
        with _opened(self.path) as (container, stream):
            for number, frame in enumerate(_frames(container, stream)):
                if number >= most:
                    return
                yield self._as_first(upright(frame, self.path))

    def _as_first(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._size is None or frame.shape[:2] == tuple(self._size):
            return frame
        scaled = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
            width=self._size.cols, height=self._size.rows
        )
        return np.asarray(scaled.to_ndarray(format="rgb24"), dtype=np.uint8)


@contextmanager
def _opened(path: Path) -> Generator[tuple[Any, Any]]:
    """Open a file's first video stream; files that name other places are not followed."""
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise DatasetError("holds no video stream", where=path, remedy=REMEDY)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            context: Any = stream.codec_context
            if context is None:
                raise DatasetError("its codec is not known here", where=path, remedy=REMEDY)
            check_sides(context, path, least=0)
            yield container, stream
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"cannot be decoded as a video ({reason})", where=path, remedy=REMEDY
        ) from error


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    return container.decode(stream)
