"""Small video files for tests: every frame has a grey level of its own, so that it can be told."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

STEP = 4


def write_video(
    path: Path, frames: int, rate: int = 25, size: tuple[int, int] = (64, 96), first: int = 8
) -> Path:
    """Write frames of the grey levels first, first + STEP, ...; a key frame every five."""
    levels = [np.full((*size, 3), first + STEP * number, np.uint8) for number in range(frames)]
    return write_frames(path, levels, rate)


def write_frames(path: Path, images: Sequence[NDArray[np.uint8]], rate: int = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"crf": "1", "g": "5", "bf": "2"}
        stream = container.add_stream("libx264", rate=Fraction(rate), options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def number_of(image: NDArray[np.uint8], first: int = 8) -> int:
    """Return which frame an image is."""
    return round((float(image.mean()) - first) / STEP)
