"""Pictures to a file: MP4 through PyAV (H.264), GIF through Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskvd_cli.film.lettering import FAINT, GROUND, INK, MISSED, TRUTH, class_colour

SUFFIXES = (".mp4", ".gif")
_CRF = "20"
# Frames that the palette of a GIF is drawn from; those before a long film's end are unknown yet.
_PALETTE_FRAMES = 64
_COLOURS = 128
# Levels by which a channel may differ from what is shown, before the pixel is drawn anew.
_STILL = 12
# Viewers slow down what asks for less than 20 ms.
_SHORTEST_MS = 20


def write_mp4(path: Path, pictures: Iterable[Pillow.Image], frames_per_s: float) -> None:
    """Write H.264 in yuv420p, playable while it is loaded. Sides are even, all pictures alike.

    No file is complete where `pictures` raises.
    """
    rate = Fraction(frames_per_s).limit_denominator(1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": _CRF})
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if not number:
                stream.width, stream.height = picture.size
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(path: Path, pictures: Iterable[Pillow.Image], frames_per_s: float) -> None:
    """Write an endless GIF with one palette, made for the first frames and the colours of marks."""
    each = iter(pictures)
    first = list(islice(each, _PALETTE_FRAMES))
    coloured = _in_palette(chain(first, each), _palette(first))
    start = next(coloured)
    start.save(
        path, format="GIF", save_all=True, append_images=coloured, loop=0, optimize=True,
        duration=max(_SHORTEST_MS, 10 * round(100 / frames_per_s)), disposal=1,
    )  # fmt: skip


def _in_palette(pictures: Iterable[Pillow.Image], palette: Pillow.Image) -> Iterator[Pillow.Image]:
    """Yield the pictures in the palette's colours, with pixels that hardly change unchanged.

    Without that, and with dithering, noise of the camera would make the file several times as
    large: GIF stores only what differs from the frame before.
    """
    shown: NDArray[np.int16] | None = None
    for picture in pictures:
        pixels = np.asarray(picture, dtype=np.int16)
        if shown is not None:
            still = np.abs(pixels - shown).max(axis=2, keepdims=True) <= _STILL
            pixels = np.where(still, shown, pixels)
        shown = pixels
        steady = Pillow.fromarray(pixels.astype(np.uint8))
        yield steady.quantize(palette=palette, dither=Pillow.Dither.NONE)


def _palette(pictures: list[Pillow.Image]) -> Pillow.Image:
    """Return a picture with the palette: the colours of marks, then those of the frames."""
    marks = [GROUND, INK, FAINT, MISSED, TRUTH, *(class_colour(number) for number in range(8))]
    small = [_thin(picture) for picture in pictures[::4]]
    drawn = Pillow.fromarray(np.concatenate(small)).quantize(
        _COLOURS - len(marks), method=Pillow.Quantize.MEDIANCUT, kmeans=1
    )
    values = (drawn.getpalette() or [])[: 3 * (_COLOURS - len(marks))]
    made = Pillow.new("P", (1, 1))
    made.putpalette([*chain.from_iterable(marks), *values])
    return made


def _thin(picture: Pillow.Image) -> NDArray[np.uint8]:
    return np.asarray(picture, dtype=np.uint8)[::2, ::2]
