"""Which objects a method finds, and which it misses because it skips tokens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.tasks.boxes import overlaps

MATCHING_IOU = 0.5


class Fate(Enum):
    """What became of an object."""

    FOUND = "found"
    MASKED = "missed, though the baseline finds it"
    BOTH = "missed, and the baseline misses it too"


@dataclass(frozen=True)
class Labelled:
    """Boxes (n, 4) float64 xyxy in native pixels, and the dataset's class of each, (n,) int64.

    `scores` (n,) float64 of detections, best first; ones where they are objects.
    """

    xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def objects(cls, xyxy: NDArray[np.float64], classes: NDArray[np.int64]) -> Labelled:
        """Return annotated objects."""
        return cls(xyxy, classes, np.ones(len(xyxy)))

    def above(self, threshold: float) -> Labelled:
        """Return those with at least this score."""
        kept = self.scores >= threshold
        return Labelled(self.xyxy[kept], self.classes[kept], self.scores[kept])


def found_objects(objects: Labelled, detections: Labelled) -> NDArray[np.bool_]:
    """Return which objects (n,) a detection of their class overlaps with an IoU of at least 0.5.

    As in COCO's matching, the best detection chooses first, and each finds one object at most.
    """
    found = np.zeros(len(objects), dtype=np.bool_)
    if not (len(objects) and len(detections)):
        return found
    overlap = overlaps(detections.xyxy, objects.xyxy)
    for row in np.argsort(-detections.scores, kind="stable"):
        fits = (objects.classes == detections.classes[row]) & ~found
        free = np.where(fits, overlap[row], 0.0)
        best = int(free.argmax())
        found[best] |= bool(free[best] >= MATCHING_IOU)
    return found


def fates(objects: Labelled, method: Labelled, baseline: Labelled) -> list[Fate]:
    """Return what became of each object; detections are those above the score threshold."""
    by_method, by_baseline = found_objects(objects, method), found_objects(objects, baseline)
    missed = [Fate.MASKED if seen else Fate.BOTH for seen in by_baseline]
    return [Fate.FOUND if seen else fate for seen, fate in zip(by_method, missed, strict=True)]
