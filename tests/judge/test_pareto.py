"""The front holds exactly the points that no other beats by more than noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.pareto import Trade, dominating, front, is_cheaper

# Few values, so that ties and equal points are common.
POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)
NOISE = st.sampled_from([0.0, 0.4, 1.0, 1.6])


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def parted(points: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [cost for cost, _ in points], [quality for _, quality in points]


def sure(value: float, reach: float = 0.0) -> Estimate:
    return Estimate(value, value - reach, value + reach)


def trades(points: list[tuple[int, int]], *reaches: float) -> list[Trade]:
    first, second = reaches or (0.0, 0.0)
    return [Trade(sure(cost, first), sure(quality, second)) for cost, quality in points]


@given(POINTS)
def test_a_point_is_on_the_front_where_none_beats_it(points: list[tuple[int, int]]) -> None:
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert front(*parted(points)) == expected


@given(POINTS)
def test_without_noise_values_decide(points: list[tuple[int, int]]) -> None:
    on_front = [by is None for by in dominating(trades(points))]
    assert on_front == front(*parted(points))


@given(POINTS)
def test_without_noise_the_best_that_beats_is_named(points: list[tuple[int, int]]) -> None:
    on_front = front(*parted(points))
    for point, by in zip(points, dominating(trades(points)), strict=True):
        if by is not None:
            assert beats(points[by], point) and on_front[by]
            assert points[by][1] == max(other[1] for other in points if beats(other, point))


@given(POINTS, NOISE, NOISE)
def test_with_noise_no_two_beat_each_other_and_some_are_on_the_front(
    points: list[tuple[int, int]], cost: float, quality: float
) -> None:
    noisy = trades(points, cost, quality)
    assert not any(one.beats(other) and other.beats(one) for one in noisy for other in noisy)
    assert not points or None in dominating(noisy)


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
    assert dominating(trades([(3, 9), (2, 8), (1, 9)])) == [2, 2, None]


@pytest.mark.parametrize(
    ("cost", "quality", "beaten"),
    [
        # 1.6 % dearer with 3 % noise: beaten by a quality that is surely better, else not.
        (sure(1.016, 0.03), sure(74.0, 1.0), True),
        (sure(1.016, 0.03), sure(56.5, 1.0), False),
        (sure(1.2, 0.03), sure(74.0, 1.0), False),
        # Cheaper by more than noise, by less, and than the floor only.
        (sure(0.9, 0.03), sure(56.0, 9.0), True),
        (sure(0.97, 0.03), sure(56.0, 9.0), False),
        (sure(0.982, 0.0), sure(56.0, 9.0), False),
        # A wide interval lets no loss pass for none.
        (sure(0.5, 0.03), sure(55.9, 9.0), False),
        # Nothing is beyond noise that is not known.
        (Estimate(0.5), sure(56.0, 1.0), False),
        (Estimate(1.5), sure(74.0, 1.0), False),
        (Estimate(0.5), sure(74.0, 1.0), True),
        (sure(1.0, 0.03), Estimate(74.0), False),
    ],
)
def test_what_beats_a_point_of_cost_1_and_quality_56(
    cost: Estimate, quality: Estimate, beaten: bool
) -> None:
    point = Trade(sure(1.0, 0.03), sure(56.0, 1.0), floor=0.02)
    assert Trade(cost, quality, floor=0.01).beats(point) is beaten


def test_the_reach_of_a_difference_is_that_of_both_together() -> None:
    assert is_cheaper(sure(1.0, 0.03), sure(1.0501, 0.04))
    assert not is_cheaper(sure(1.0, 0.03), sure(1.0499, 0.04))
    assert is_cheaper(Estimate(1.0, 0.5, 1.01), Estimate(1.02, 1.01, 1.5))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        front([1.0, 2.0], [1.0])
