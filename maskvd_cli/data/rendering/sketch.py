"""Figures as convex polygons in image space, and how they are put on an image and an id map."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskvd_cli.data.rendering.camera import Floats

Image = NDArray[np.uint8]
Ids = NDArray[np.int16]
_FRACTION_BITS = 4
_FARTHEST_PX = 30_000.0


class Sketch(NamedTuple):
    """Convex polygons, back to front: corners (n, 2) in pixels, ends (p,), colours (p, 3) RGB.

    `fine` (p,) marks details that do not reach beyond the outline. `lamps` (l, 5) are lights that
    face the viewer: x, y, radius (px), 1 for a white one, 0 for a red one, brightness.
    """

    corners: Floats
    ends: NDArray[np.int64]
    colours: Floats
    fine: NDArray[np.bool_]
    lamps: Floats = np.zeros((0, 5))

    def moved(self, scale: Floats, shift: Floats) -> Sketch:
        """Return the sketch with its pixels scaled, then shifted."""
        lamps = self.lamps.copy()
        lamps[:, :2] = lamps[:, :2] * scale + shift
        return self._replace(corners=self.corners * scale + shift, lamps=lamps)


def join(parts: list[Sketch]) -> Sketch:
    """Return one sketch of several, the first one at the back."""
    sizes = np.cumsum([0, *(len(part.corners) for part in parts)])
    return Sketch(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.ends + size for part, size in zip(parts, sizes, strict=False)]),
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.fine for part in parts]),
        np.concatenate([part.lamps for part in parts]),
    )


def bounds(sketch: Sketch, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of the image that the sketch can touch; they may be empty."""
    low = np.floor(sketch.corners.min(axis=0)) - 2
    high = np.ceil(sketch.corners.max(axis=0)) + 3
    x1, y1 = np.clip(low, 0, shape[1::-1]).astype(int).tolist()
    x2, y2 = np.clip(high, 0, shape[1::-1]).astype(int).tolist()
    return slice(y1, max(y1, y2)), slice(x1, max(x1, x2))


def paint(sketch: Sketch, image: Image | None, ids: Ids, number: int) -> None:
    """Draw the sketch, smooth-edged, on `image` (rows, cols, 3), and as `number` on `ids`.

    `ids` takes the outline without smooth edges. Without an image only the id map is drawn, to the
    very same ids.
    """
    fixed = np.clip(sketch.corners, -_FARTHEST_PX, _FARTHEST_PX) * (1 << _FRACTION_BITS)
    corners = np.rint(fixed).astype(np.int32)
    starts = [0, *sketch.ends.tolist()]
    colours = sketch.colours.tolist()
    for index, fine in enumerate(sketch.fine.tolist()):
        polygon = corners[starts[index] : starts[index + 1]]
        if not fine:
            cv2.fillConvexPoly(ids, polygon, number, cv2.LINE_8, _FRACTION_BITS)
        if image is not None:
            cv2.fillConvexPoly(image, polygon, colours[index], cv2.LINE_AA, _FRACTION_BITS)
