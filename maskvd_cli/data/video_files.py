"""Frames of a video file by their time, decoded with PyAV, which is optional (maskvd[film])."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.extras import imported
from maskvd_cli.core.size import Size
from maskvd_cli.data.files import open_regular
from maskvd_cli.data.upright import REMEDY, check_sides, upright

# Containers by their suffix. Naming the format keeps playlists out, which name other files.
FORMATS = {
    ".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska",
    ".avi": "avi",
}  # fmt: skip
_KEPT_BYTES = 1 << 28
# Frames are asked for at whole fractions of a second, their own times are rounded to a time base.
_TOLERANCE_S = 2e-3
# What lies further ahead is sought rather than decoded through.
_AHEAD_S = 4.0


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of itself: size of a frame once turned, seconds of its video stream."""

    size: Size
    seconds: float


def facts_of(path: Path) -> VideoFacts:
    """Return what a video file says of itself; frames are decoded only where it says nothing.

    Raises DatasetError for a file that is no video, MaskvdError where PyAV is not installed.
    """
    with _Opened(path) as opened:
        first = next(opened.frames(), None)
        if first is None:
            raise _unusable(path, "no frame can be decoded")
        size = Size(*upright(first, path).shape[:2])
        seconds = opened.seconds()
        if seconds is None:
            *_, last = [first, *opened.frames()]
            seconds = opened.time_of(last) + 1.0 / opened.rate
        return VideoFacts(size, seconds)


class Decoder:
    """Gives frames of video files at a time; those around the last one that was asked for are kept.

    Made for asking in order of time, file by file; other orders cost decoding.
    """

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._path: Path | None = None
        self._opened: _Opened | None = None
        self._coming: Iterator[Any] = iter(())
        self._times: list[float] = []
        self._images: list[NDArray[np.uint8]] = []
        self._ended = False
        self._lock = Lock()

    def at(self, path: Path, time_s: float) -> NDArray[np.uint8]:
        """Return the frame that is shown at a time, (rows, cols, 3) uint8 RGB, turned upright.

        Before the first frame that is the first, after the last one the last. Raises DatasetError
        for a file that cannot be decoded there.
        """
        with self._lock:
            try:
                return self._at(path, time_s + _TOLERANCE_S)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the file and of what is kept."""
        if self._opened is not None:
            self._opened.__exit__()
        self._opened, self._path = None, None
        self._forget()

    def __del__(self) -> None:
        # A dataset is never closed, and an open file must not outlive it.
        self.close()

    def _at(self, path: Path, time_s: float) -> NDArray[np.uint8]:
        opened = self._opened
        if opened is None or path != self._path:
            self.close()
            opened = self._opened = _Opened(path).__enter__()
            self._path = path
            self._begin(opened, time_s)
        elif not self._times or time_s < self._times[0] or time_s > self._times[-1] + _AHEAD_S:
            self._begin(opened, time_s)
        while not self._ended and (not self._times or self._times[-1] <= time_s):
            self._decode(opened)
        if not self._times:
            raise _unusable(path, f"no frame can be decoded at {time_s:.2f} s")
        return self._images[max(bisect.bisect_right(self._times, time_s) - 1, 0)]

    def _begin(self, opened: _Opened, time_s: float) -> None:
        """Begin to decode at the key frame before a time; at the first where that is not found."""
        for start in (time_s, None):
            self._forget()
            self._coming = opened.frames_from(start)
            self._decode(opened)
            if self._times and self._times[0] <= time_s:
                return

    def _decode(self, opened: _Opened) -> None:
        frame = next(self._coming, None)
        if frame is None:
            self._ended = True
            return
        image = upright(frame, opened.path)
        self._times.append(opened.time_of(frame))
        self._images.append(image)
        while len(self._images) > 2 and sum(kept.nbytes for kept in self._images) > self._most:
            del self._times[0], self._images[0]

    def _forget(self) -> None:
        self._coming, self._ended = iter(()), False
        self._times, self._images = [], []


class _Opened:
    """A video file with its first video stream."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = _pyav()
        self._file: BinaryIO | None = None
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> _Opened:
        kind = FORMATS.get(self.path.suffix.lower())
        if kind is None:
            raise _unusable(self.path, f"is none of {', '.join(FORMATS)}")
        try:
            self._file = open_regular(self.path)
        except OSError as error:
            raise _unusable(self.path, error.strerror or str(error)) from error
        try:
            self._container = self._av.open(self._file, format=kind)
            if not self._container.streams.video:
                raise _unusable(self.path, "holds no video stream")
            self._stream = self._container.streams.video[0]
            context = self._stream.codec_context
            if context is None:
                raise _unusable(self.path, "its codec is not known here")
            check_sides(context, self.path, least=0)
        except (self._av.error.FFmpegError, ValueError) as error:
            self.__exit__()
            raise _unusable(self.path, _reason(error)) from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for part in (self._container, self._file):
            if part is not None:
                with suppress(OSError):
                    part.close()

    @property
    def rate(self) -> float:
        """Frames per second, 25 where the file does not tell."""
        return float(self._stream.average_rate or 25)

    def seconds(self) -> float | None:
        """Return how long the stream is, None where the file does not tell."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            return float(self._container.duration) / self._av.time_base
        return None

    def time_of(self, frame: Any) -> float:
        """Return when a frame is shown, in seconds after the stream's start."""
        start = self._stream.start_time or 0
        if frame.pts is None:
            raise _unusable(self.path, "its frames have no times")
        return float((frame.pts - start) * self._stream.time_base)

    def frames(self) -> Iterator[Any]:
        """Yield the frames from here on, as PyAV decodes them."""
        try:
            yield from self._container.decode(self._stream)
        except self._av.error.FFmpegError as error:
            raise _unusable(self.path, _reason(error)) from error

    def frames_from(self, time_s: float | None) -> Iterator[Any]:
        """Yield the frames from the key frame before a time on, from the first at None."""
        start = self._stream.start_time or 0
        offset = 0 if time_s is None else int(time_s / self._stream.time_base)
        try:
            self._container.seek(start + max(offset, 0), stream=self._stream, backward=True)
        except self._av.error.FFmpegError as error:
            raise _unusable(self.path, _reason(error)) from error
        return self.frames()


def _pyav() -> Any:
    imported("av.error", "video files need PyAV", "film")
    return imported("av", "video files need PyAV", "film")


def _reason(error: Exception) -> str:
    return f"cannot be decoded as a video ({getattr(error, 'strerror', None) or error})"


def _unusable(path: Path, reason: str) -> DatasetError:
    return DatasetError(reason, where=os.fspath(path), remedy=REMEDY)
