"""Average precision from matches: COCO's 101 recalls, on all frames or on weighted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.tasks.base import Weights
from maskvd_cli.tasks.matching import THRESHOLDS

RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class ClassMatches:
    """One class, detections by falling score.

    `image` (D,) position of each detection's frame; `right` and `wrong` (D,) uint16, a bit per
    threshold; `objects` (O,) the frame of every object, regions to ignore left out.
    """

    image: NDArray[np.int32]
    right: NDArray[np.uint16]
    wrong: NDArray[np.uint16]
    objects: NDArray[np.int32]

    @classmethod
    def of(cls, parts: Sequence[tuple[NDArray[Any], ...]], objects: NDArray[np.int32]) -> Self:
        """Join the parts (image, score, right, wrong) of clips and sort them as COCO does."""
        image, score, right, wrong = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(-score, kind="stable")
        return cls(image[order].astype(np.int32), right[order], wrong[order], objects)

    def at(self, threshold: int) -> Ranking:
        """Return the detections that count at one threshold."""
        right = (self.right >> threshold & 1).astype(np.bool_)
        counts = right | (self.wrong >> threshold & 1).astype(np.bool_)
        return Ranking(self.image[counts], right[counts], self.objects)

    def curves(self) -> NDArray[np.float64]:
        """Return the precision (thresholds, recalls) on all frames, -1 without an object."""
        made = [self.at(number).curve() for number in range(len(THRESHOLDS))]
        return np.stack([np.full(len(RECALLS), -1.0) if one is None else one for one in made])


@dataclass(frozen=True)
class Ranking:
    """One class at one threshold: detections that are `right` (D,) or wrong, by falling score.

    `group` (D,) and `objects` (O,): the frame, or the clip, of each detection and object.
    """

    group: NDArray[np.int32]
    right: NDArray[np.bool_]
    objects: NDArray[np.int32]

    def by_clip(self, clip_of: NDArray[np.int32]) -> Ranking:
        """Return the same with clips for frames; `clip_of` (frames,)."""
        return Ranking(clip_of[self.group], self.right, clip_of[self.objects])

    @cached_property
    def _hits(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.right)

    def curve(self, weights: Weights | None = None) -> NDArray[np.float64] | None:
        """Return the precision (101,) at each recall where each group counts `weights` times.

        None where no object is left. Equal to COCO's on groups that are repeated as often:
        precision rises at right detections only, so it is looked at there.
        """
        hits = self._hits
        if weights is None:
            objects = float(len(self.objects))
            right, counted = np.arange(1.0, len(hits) + 1), hits + 1.0
        else:
            objects = float(weights[self.objects].sum())
            times = weights[self.group]
            right, counted = np.cumsum(times[hits]), np.cumsum(times)[hits]
        if not objects > 0:
            return None
        precision = right / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(right / objects, RECALLS, side="left")
        return np.append(envelope, 0.0)[np.minimum(at, len(envelope))]
