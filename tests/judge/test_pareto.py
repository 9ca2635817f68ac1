"""The front holds exactly the points that no other beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.judge.pareto import dominating, front

# Few values, so that ties and equal points are common.
POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def parted(points: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [cost for cost, _ in points], [quality for _, quality in points]


@given(POINTS)
def test_a_point_is_on_the_front_where_none_beats_it(points: list[tuple[int, int]]) -> None:
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert front(*parted(points)) == expected


@given(POINTS)
def test_the_best_of_those_that_dominate_is_named_and_lies_on_the_front(
    points: list[tuple[int, int]],
) -> None:
    on_front = front(*parted(points))
    for point, by in zip(points, dominating(*parted(points)), strict=True):
        if by is not None:
            assert beats(points[by], point) and on_front[by]
            assert points[by][1] == max(other[1] for other in points if beats(other, point))


@given(POINTS, st.randoms())
def test_the_front_does_not_depend_on_the_order(
    points: list[tuple[int, int]], drawn: object
) -> None:
    order = list(range(len(points)))
    drawn.shuffle(order)  # type: ignore[attr-defined]
    shuffled = front(*parted([points[i] for i in order]))
    assert shuffled == [front(*parted(points))[i] for i in order]


def test_equal_points_share_their_place() -> None:
    assert front([1, 1, 2, 2], [5, 5, 5, 5]) == [True, True, False, False]
    assert dominating([3.0, 2.0, 1.0], [9.0, 8.0, 9.0]) == [2, 2, None]


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        front([1.0, 2.0], [1.0])
