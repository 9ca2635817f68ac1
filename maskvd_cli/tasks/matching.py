"""COCO's matching of detections with objects, for all frames and classes of a clip at once.

Boxes are x, y, width, height in native pixels. Detections of a frame and class take their objects
one after the other, the best score first: each the free object that it overlaps most, of equal ones
the last. One that finds none and lies in a region to ignore, by the share of its own area that the
threshold asks for, counts neither as right nor as wrong. What overlaps how much is the boxes' by
default. Results equal pycocotools' (its `evaluateImg` with every area and 100 detections), which
the tests hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
MOST_DETECTIONS = 100
# Ten thresholds, a bit each.
_BITS = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Boxes of a clip: `frame` (n,) position in the clip, `label` (n,) class, `box` (n, 4)."""

    frame: Ints
    label: Ints
    box: Floats

    def __len__(self) -> int:
        return len(self.frame)

    def at(self, rows: Ints | Bools) -> Rows:
        """Return the boxes at `rows`."""
        return Rows(self.frame[rows], self.label[rows], self.box[rows])


@dataclass(frozen=True)
class Matches:
    """The detections that count at most, sorted by class, frame and falling score.

    `rows` (m,) which detections these are; `right` and `wrong` (m,) uint16, a bit per threshold.
    """

    rows: Ints
    right: NDArray[np.uint16]
    wrong: NDArray[np.uint16]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a detection and a box of the truth, sorted by detection, then by box."""

    detection: Ints
    other: Ints

    @classmethod
    def of(cls, keys: Ints, others: Ints) -> _Pairs:
        """Pair every detection with the boxes that have its key; `others` (n,) their keys."""
        order = np.argsort(others, kind="stable")
        ranked = others[order]
        first = np.searchsorted(ranked, keys, side="left")
        count = np.searchsorted(ranked, keys, side="right") - first
        detection = np.repeat(np.arange(len(keys)), count)
        within = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
        return cls(detection, order[np.repeat(first, count) + within])


class Overlaps(Protocol):
    """How much pairs of a detection and a box of the truth overlap, both (n,) rows of their own."""

    def with_objects(self, detection: Ints, other: Ints) -> Floats:
        """Return the intersections over unions (n,)."""
        ...

    def with_ignored(self, detection: Ints, other: Ints) -> Floats:
        """Return what share of the detection lies in the region (n,)."""
        ...


@dataclass(frozen=True)
class BoxOverlaps:
    """Overlaps of boxes."""

    detections: Rows
    objects: Rows
    ignored: Rows

    def with_objects(self, detection: Ints, other: Ints) -> Floats:
        """Return the intersections over unions of pairs (n,)."""
        return iou(self.detections.box[detection], self.objects.box[other])

    def with_ignored(self, detection: Ints, other: Ints) -> Floats:
        """Return what share of the detection's own area lies in the region, of pairs (n,)."""
        boxes = self.detections.box[detection], self.ignored.box[other]
        return iou(*boxes, of_own_area=True)


def match(  # noqa: PLR0913, PLR0917 - two sides, and how they are compared
    detections: Rows,
    score: Floats,
    objects: Rows,
    ignored: Rows,
    classes: int,
    overlaps: Overlaps | None = None,
) -> Matches:
    """Match the detections of a clip; `ignored`: regions of all classes, their label is not read.

    Labels lie in 0 .. classes - 1.
    """
    overlaps = overlaps or BoxOverlaps(detections, objects, ignored)
    rows = _counting(detections, score)
    ours = detections.at(rows)
    key = ours.frame * classes + ours.label
    pairs = _Pairs.of(key, objects.frame * classes + objects.label)
    overlap = overlaps.with_objects(rows[pairs.detection], pairs.other)
    hit = _taken(len(ours), len(objects), key, pairs, overlap)
    inside = _most_inside(rows, ours, ignored, overlaps)[:, None] >= THRESHOLDS
    return Matches(rows, _packed(hit), _packed(~hit & ~inside))


def _counting(detections: Rows, score: Floats) -> Ints:
    """Return the best detections of each frame and class, sorted by class, frame, falling score."""
    order = np.lexsort((-score, detections.frame, detections.label))
    frame, label = detections.frame[order], detections.label[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (frame[1:] != frame[:-1]) | (label[1:] != label[:-1])
    starts = np.flatnonzero(begins)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return order[rank < MOST_DETECTIONS]


def iou(ours: Floats, theirs: Floats, *, of_own_area: bool = False) -> Floats:
    """Return the intersection over the union of pairs (n, 4), or over the first's own area.

    In the order of operations of COCO's C code, so that equal overlaps stay equal.
    """
    far = np.minimum(ours[:, :2] + ours[:, 2:], theirs[:, :2] + theirs[:, 2:])
    sides = far - np.maximum(ours[:, :2], theirs[:, :2])
    both = sides[:, 0] * sides[:, 1]
    own = ours[:, 2] * ours[:, 3]
    whole = own if of_own_area else own + theirs[:, 2] * theirs[:, 3] - both
    shares = np.zeros(len(ours))
    np.divide(both, whole, out=shares, where=(sides > 0).all(1))
    return shares


def _taken(detections: int, objects: int, key: Ints, pairs: _Pairs, overlap: Floats) -> Bools:
    """Return which detections (m, thresholds) get an object.

    Detections of one frame and class follow each other, all frames and classes go side by side.
    """
    hit = np.zeros((detections, len(THRESHOLDS)), dtype=np.bool_)
    near = overlap >= THRESHOLDS[0]
    detection, other, share = pairs.detection[near], pairs.other[near], overlap[near]
    free = np.ones((objects, len(THRESHOLDS)), dtype=np.bool_)
    turn = _turns(detection, key)
    for number in range(int(turn.max()) + 1 if len(turn) else 0):
        now = np.flatnonzero(turn == number)
        best = _best(detection[now], other[now], share[now], free)
        who, at = np.nonzero(best >= 0)
        pair = now[best[who, at]]
        hit[detection[pair], at] = True
        free[other[pair], at] = False
    return hit


def _turns(detection: Ints, key: Ints) -> Ints:
    """Return for each pair which of its frame's and class's detections it belongs to, from 0."""
    if not len(detection):
        return detection
    begins = np.ones(len(detection), dtype=np.bool_)
    begins[1:] = detection[1:] != detection[:-1]
    number = np.cumsum(begins) - 1
    keys = key[detection[begins]]
    fresh = np.ones(len(keys), dtype=np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(fresh)
    rank = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    return rank[number]


def _best(detection: Ints, other: Ints, share: Floats, free: Bools) -> Ints:
    """Return the pair (detections, thresholds) that each takes, -1 for none."""
    starts = np.flatnonzero(np.append(True, detection[1:] != detection[:-1]))
    allowed = free[other] & (share[:, None] >= THRESHOLDS)
    shares = np.where(allowed, share[:, None], -1.0)
    most = np.maximum.reduceat(shares, starts)
    repeated = np.repeat(most, np.diff(starts, append=len(detection)), axis=0)
    place = np.where(allowed & (shares == repeated), np.arange(len(detection))[:, None], -1)
    return np.maximum.reduceat(place, starts)


def _most_inside(rows: Ints, ours: Rows, ignored: Rows, overlaps: Overlaps) -> Floats:
    """Return the largest share of each detection's own area that one region covers."""
    most = np.zeros(len(ours))
    if len(ignored):
        pairs = _Pairs.of(ours.frame, ignored.frame)
        shares = overlaps.with_ignored(rows[pairs.detection], pairs.other)
        np.maximum.at(most, pairs.detection, shares)
    return most


def _packed(bits: Bools) -> NDArray[np.uint16]:
    return (bits * _BITS).sum(1, dtype=np.uint16)
