"""Which points no other point beats: the Pareto front of quality against cost."""

from __future__ import annotations

from collections.abc import Sequence


def front(cost: Sequence[float], quality: Sequence[float]) -> list[bool]:
    """Tell for each point whether no other is at least as cheap and as good, and better in one.

    Equal points do not beat each other: all of them are on the front, or none. Values are compared
    as they are, whatever their intervals. Raises ValueError for lengths that differ.
    """
    return [index is None for index in dominating(cost, quality)]


def dominating(cost: Sequence[float], quality: Sequence[float]) -> list[int | None]:
    """Return for each point the index of one that dominates it, None on the front.

    Of those that dominate a point the best is named, and of equally good ones the cheapest; it lies
    on the front itself. Raises ValueError for lengths that differ.
    """
    points = list(zip(cost, quality, strict=True))
    found: list[int | None] = [None] * len(points)
    best: int | None = None
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if best is None or points[index][1] > points[best][1]:
            best = index
        elif points[index] != points[best]:
            found[index] = best
    return found
