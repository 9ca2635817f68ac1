"""Which points no other point beats: the Pareto front of quality against cost, and noise on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maskvd_cli.core.quantity import Estimate


@dataclass(frozen=True)
class Trade:
    """What a point costs, which is 0 or more, and how good it is, each with its interval.

    `floor`: the least share of a cost that is more than noise, as the baseline against itself
    showed. Without bounds nothing is known of noise: then nothing is beyond it.
    """

    cost: Estimate
    quality: Estimate
    floor: float = 0.0

    def beats(self, other: Trade) -> bool:
        """Tell whether this point is better in one by more than noise, and not worse in the other.

        A cost is not worse where it is higher by no more than noise. A quality is not worse where
        its value is no lower: on the same frames it has no noise. Its interval speaks of other
        frames, and a wide one must not hide a loss.
        """
        floor = max(self.floor, other.floor)
        if is_cheaper(self.cost, other.cost, floor):
            return self.quality.value >= other.quality.value
        if not _is_above(self.quality, other.quality):
            return False
        known = None not in (self.cost.low, self.cost.high, other.cost.low, other.cost.high)
        near = known and not is_cheaper(other.cost, self.cost, floor)
        return near or self.cost.value <= other.cost.value


def is_cheaper(one: Estimate, other: Estimate, floor: float = 0.0) -> bool:
    """Tell whether a cost is lower by more than noise, and by more than `floor` of itself."""
    return _is_above(other, one) and other.value > one.value * (1.0 + floor)


def _is_above(one: Estimate, other: Estimate) -> bool:
    """Tell whether the interval of the difference lies above 0; False without intervals.

    Half its width is the root of the sum of both squares (MOVER; G. Y. Zou and A. Donner,
    Statistics in Medicine 27, 2008). What both share, as the baseline of one session, would make it
    smaller.
    """
    if one.low is None or other.high is None:
        return False
    return one.value - other.value > math.hypot(one.value - one.low, other.high - other.value)


def dominating(points: Sequence[Trade]) -> list[int | None]:
    """Return for each point the index of one that beats it (`Trade.beats`), None on the front.

    Where several beat it, one on the front comes first, then the best, then the cheapest.
    """
    beaten_by = [
        [i for i, other in enumerate(points) if i != index and other.beats(point)]
        for index, point in enumerate(points)
    ]

    def rank(index: int) -> tuple[bool, float, float]:
        point = points[index]
        return not beaten_by[index], point.quality.value, -point.cost.value

    return [max(by, key=rank, default=None) for by in beaten_by]


def front(cost: Sequence[float], quality: Sequence[float]) -> list[bool]:
    """Tell for each point whether no other is at least as cheap and as good, and better in one.

    Values are compared as if they had no noise; `dominating` heeds noise. Equal points do not beat
    each other: all are on the front, or none. Raises ValueError for lengths that differ.
    """
    points = list(zip(cost, quality, strict=True))
    on_front = [True] * len(points)
    best: int | None = None
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if best is None or points[index][1] > points[best][1]:
            best = index
        else:
            on_front[index] = points[index] == points[best]
    return on_front
