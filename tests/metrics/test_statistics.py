"""Statistics of samples against closed forms; how often intervals hold is in `test_coverage`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskvd_cli.metrics.statistics import (
    MOST_GROUPS,
    Spread,
    Uncertain,
    cluster_weights,
    deciding_freedom,
    log_mean,
    mean_ratio,
    paired_change,
    rounds_left_out,
    stratum_weights,
    t_quantile,
)


def test_spread_of_known_samples() -> None:
    made = Spread.of(np.arange(1, 12))
    assert made == Spread(median=6, mean=6, p90=10, samples=11)
    assert Spread.of([]) is None
    assert Spread.of([1, 1, 11]) == Spread(median=1, mean=13 / 3, p90=9, samples=3)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [
        (1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (7, 2.3646), (9, 2.2622),
        (15, 2.1314), (19, 2.0930), (20, 2.0860), (30, 2.0423), (60, 2.0003), (120, 1.9799),
        (1000, 1.9623), (1e9, 1.9600),
    ],
)  # fmt: skip
def test_quantiles_of_t_are_those_of_the_tables(freedom: float, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, abs=3e-4)


def test_quantiles_between_whole_degrees_lie_between() -> None:
    assert t_quantile(3) < t_quantile(2.5) < t_quantile(2)
    with pytest.raises(ValueError, match="fewer than 1"):
        t_quantile(0.5)
    with pytest.raises(ValueError, match="fewer than 1"):
        t_quantile(math.nan)


def test_for_equal_rounds_the_interval_is_students_t_on_the_log_ratios_of_rounds() -> None:
    above = np.array([10.0, 12.0, 10.5, 12.5, 9.9, 12.2])
    below = np.array([5.0, 6.1, 5.0, 6.0, 5.1, 6.2])
    made = mean_ratio(above, below, rounds=[0, 0, 1, 1, 2, 2])
    assert made is not None and made.low is not None and made.high is not None
    logs = np.log(above.reshape(3, 2).sum(1) / below.reshape(3, 2).sum(1))
    reach = 4.30265 * logs.std(ddof=1) / math.sqrt(3)
    assert made.value == pytest.approx(above.sum() / below.sum())
    assert math.log(made.high / made.value) == pytest.approx(reach, rel=0.01)
    assert math.log(made.value / made.low) == pytest.approx(reach, rel=0.01)


def test_ratio_of_means_counts_rare_slow_frames() -> None:
    made = mean_ratio([10, 10, 10, 10], [4, 4, 4, 8], rounds=[0, 0, 1, 1])
    assert made is not None and made.low is not None and made.high is not None
    assert made.value == 2
    assert made.low < 10 / 6 < 2 < 10 / 4 < made.high


def test_two_rounds_give_an_interval_and_one_gives_none() -> None:
    two = mean_ratio([3.0, 3.3], [2.0, 2.0], rounds=[0, 1])
    assert two is not None and two.low is not None
    one = mean_ratio([3.0, 3.3], [2.0, 2.0], rounds=[7, 7])
    assert one is not None
    assert (one.value, one.low, one.high) == (pytest.approx(1.575), None, None)


def test_constant_and_proportional_samples_have_an_interval_of_no_width() -> None:
    for above in (np.full(4, 2.0), np.array([1.0, 10, 100, 1000])):
        made = mean_ratio(1.5 * above, above, rounds=[0, 0, 1, 1])
        assert made is not None
        assert (made.value, made.low, made.high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_order_of_samples_and_the_names_of_rounds_do_not_matter() -> None:
    drawn = np.random.default_rng(3)
    above, below = drawn.random((2, 12)) + 1
    rounds, order = np.repeat([0, 1, 2], 4), drawn.permutation(12)
    first = mean_ratio(above, below, rounds=rounds)
    second = mean_ratio(above[order], below[order], rounds=10 - rounds[order])
    assert first is not None and second is not None
    assert (first.value, first.low, first.high) == pytest.approx(
        (second.value, second.low, second.high)
    )


@pytest.mark.parametrize(("above", "below"), [([1.0], [1.0, 2.0]), ([], [])])
def test_unpaired_samples_are_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match="not paired"):
        mean_ratio(above, below, rounds=[0] * len(above))


def test_full_frames_weigh_what_they_weigh_in_the_data() -> None:
    full = np.array([True, False, False, False] * 2)
    weights = stratum_weights(full[:4], 0.1)
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.1, 0.3, 0.3, 0.3])
    above, below = np.full(8, 100.0), np.array([100.0, 20.0, 20.0, 20.0] * 2)
    made = mean_ratio(above, below, rounds=np.repeat([0, 1], 4), full=full, full_share=0.1)
    assert made is not None
    assert made.value == pytest.approx(100 / (0.1 * 100 + 0.9 * 20))
    # Nothing varies within a kind, so nothing does over rounds.
    assert (made.low, made.high) == pytest.approx((made.value, made.value))


@pytest.mark.parametrize(
    ("full", "share"), [([True, True], 0.1), ([True], 0.999), ([False, False], 0.1)]
)
def test_what_holds_one_kind_alone_cannot_stand_for_data_of_two(
    full: list[bool], share: float
) -> None:
    assert stratum_weights(full, share) is None
    times = np.ones(len(full))
    assert mean_ratio(times, times, rounds=full, full=full, full_share=share) is None


def test_data_of_one_kind_and_unknown_data_weigh_evenly() -> None:
    for full, share in (([True, True], 1.0), ([False, False], 0.0), ([True, False], None)):
        weights = stratum_weights(full, share)
        assert weights is not None
        assert weights.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="no samples"):
        stratum_weights([], 0.5)


def test_kinds_keep_their_share_whichever_round_is_left_out() -> None:
    full = np.array([True, False, False, True, True, False])
    rounds = np.array([0, 0, 0, 1, 1, 1])
    left = list(rounds_left_out(rounds, full, 0.1))
    assert len(left) == 2
    for number, weights in enumerate(left):
        assert weights is not None
        assert not weights[rounds == number].any()
        assert weights[full].sum() == pytest.approx(0.1)
        assert weights[~full].sum() == pytest.approx(0.9)


def test_a_kind_that_one_round_alone_holds_leaves_no_interval() -> None:
    full, rounds = [True, False, True, True], [0, 0, 1, 2]
    made = mean_ratio([4.0, 2, 4, 4], [4.0, 1, 4, 4], rounds=rounds, full=full, full_share=0.5)
    assert made is not None
    assert (made.value, made.low, made.high) == (pytest.approx(1.2), None, None)


def test_a_kind_that_few_rounds_hold_has_their_freedom() -> None:
    full = np.array([True, False] * 2 + [True] * 4)
    rounds = [0, 0, 1, 1, 2, 3, 4, 5]
    made = log_mean(np.arange(1.0, 9.0), rounds=rounds, full=full, full_share=0.5)
    assert made is not None
    assert made.freedom == 1


def test_differences_have_welchs_freedom() -> None:
    one, other = Uncertain(2.0, 0.3, 4.0), Uncertain(0.5, 0.4, 9.0)
    made = one - other
    assert made.value == 1.5
    assert made.error == pytest.approx(0.5)
    assert made.freedom == pytest.approx(0.25**2 / (0.09**2 / 4 + 0.16**2 / 9))
    assert (one - Uncertain(1.0, None, 0.0)).estimate().low is None
    still = Uncertain(1.0, 0.0, 3.0) - Uncertain(1.0, 0.0, 5.0)
    assert (still.value, still.error, still.freedom) == (0.0, 0.0, 3.0)


def test_clusters_are_left_out_one_by_one_whole() -> None:
    videos = ["b", "a", "b", "c", "a"]
    rows = [weights.tolist() for weights in cluster_weights(videos)]
    assert rows == [[1, 0, 1, 1, 0], [0, 1, 0, 1, 1], [1, 1, 1, 0, 1]]
    assert not list(cluster_weights(["a", "a"]))


def test_of_many_clusters_groups_are_left_out_and_each_once() -> None:
    videos = np.repeat(np.arange(555), 3)
    rows = np.array(list(cluster_weights(videos)))
    assert rows.shape == (MOST_GROUPS, 555 * 3)
    assert (rows.sum(0) == MOST_GROUPS - 1).all()
    sizes = (rows == 0).sum(1)
    assert sizes.max() - sizes.min() <= 3


def test_the_change_of_a_mean_has_students_interval() -> None:
    drawn = np.random.default_rng(0)
    changes = drawn.normal(-1, 2, 8)
    left = [changes[np.arange(8) != one].mean() for one in range(8)]
    made = paired_change(changes.mean(), left, [0.0] * 8)
    assert made.low is not None and made.high is not None
    reach = 2.36462 * changes.std(ddof=1) / math.sqrt(8)
    assert made.high - made.value == pytest.approx(reach, rel=1e-4)
    assert made.value - made.low == pytest.approx(reach, rel=1e-4)


def test_changes_without_a_score_or_of_one_cluster_have_no_interval() -> None:
    assert paired_change(-1.0, [1.0, None, 5.0], [2.0, 4.0, 3.0]).low is None
    assert paired_change(-1.0, [1.0], [2.0]).low is None
    assert paired_change(-1.0, [], []).low is None
    same = paired_change(-1.0, [1.0, 3.0], [2.0, 4.0])
    assert (same.value, same.low, same.high) == (-1, -1, -1)


def test_where_one_clip_decides_the_error_is_hardly_trusted() -> None:
    # One of eight decides: a kurtosis of 6.14, without bias an excess of 8, so 2 / (8/8 + 2/7).
    assert deciding_freedom(np.array([7.0, *[-1.0] * 7])) == pytest.approx(14 / 9)


@pytest.mark.parametrize("off", [[1.0, -1.0], [2.0, -1.0, -1.0], [1.0, -1.0] * 4, [0.0] * 5])
def test_where_all_clips_weigh_alike_the_freedom_is_full(off: list[float]) -> None:
    assert deciding_freedom(np.array(off)) == pytest.approx(len(off) - 1)


def test_the_spread_of_a_change_is_taken_about_its_value() -> None:
    # Both clips left out in turn give 3 and 5; about 2 that is sqrt((1 + 9) / 2).
    made = paired_change(2.0, [3.0, 5.0], [0.0, 0.0])
    assert made.high is not None
    assert made.high - 2.0 == pytest.approx(t_quantile(1.0) * math.sqrt(5.0))
