"""Statistics of samples against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from maskvd_cli.metrics.statistics import (
    LEAST_ROUNDS,
    Spread,
    clip_multiplicities,
    mean_ratio,
    paired_change,
    resampled,
    stratum_weights,
)


def test_spread_of_known_samples() -> None:
    made = Spread.of(np.arange(1, 12))
    assert made == Spread(median=6, mean=6, p90=10, samples=11)
    assert Spread.of([]) is None
    assert Spread.of([1, 1, 11]) == Spread(median=1, mean=13 / 3, p90=9, samples=3)


def test_ratio_of_means_counts_rare_slow_frames() -> None:
    made = mean_ratio([10, 10, 10, 10], [4, 4, 4, 8], resamples=200, seed=0)
    assert made.value == 2
    assert made.low is not None
    assert made.high is not None
    assert 10 / 8 <= made.low < 2 < made.high <= 10 / 4


def test_constant_samples_have_an_interval_of_no_width() -> None:
    made = mean_ratio([3.0] * 5, [2.0] * 5, resamples=100, seed=0)
    assert (made.value, made.low, made.high) == (1.5, 1.5, 1.5)


def test_pairs_are_resampled_together() -> None:
    slow = np.array([1.0, 10, 100, 1000])
    made = mean_ratio(2 * slow, slow, resamples=100, seed=1)
    assert (made.value, made.low, made.high) == (2, 2, 2)


def test_the_interval_has_the_normal_width() -> None:
    drawn = np.random.default_rng(0)
    samples = drawn.normal(100, 10, 400)
    made = mean_ratio(samples, np.full(400, 100.0), resamples=4000, seed=2)
    assert made.low is not None
    assert made.high is not None
    assert made.high - made.low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.1)


def test_a_seed_decides_the_interval() -> None:
    rows = np.random.default_rng(3).random((2, 30)) + 1
    assert mean_ratio(*rows, resamples=50, seed=4) == mean_ratio(*rows, resamples=50, seed=4)
    assert mean_ratio(*rows, resamples=50, seed=4) != mean_ratio(*rows, resamples=50, seed=5)


@pytest.mark.parametrize(("above", "below"), [([1.0], [1.0, 2.0]), ([], [])])
def test_unpaired_samples_are_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match="not paired"):
        mean_ratio(above, below, resamples=10, seed=0)


def test_resamples_draw_as_many_clips_as_there_are() -> None:
    drawn = clip_multiplicities(7, resamples=500, seed=0)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(1) == 7).all()
    assert drawn.mean() == pytest.approx(1)


def test_change_keeps_pairs_and_leaves_out_resamples_without_a_score() -> None:
    made = paired_change(-1.0, [1.0, None, 5.0, 3.0], [2.0, 4.0, None, 4.0])
    assert (made.value, made.low, made.high) == (-1, -1, -1)
    assert paired_change(-1.0, [1.0], [2.0]).low is None


def test_full_frames_weigh_what_they_weigh_in_the_data() -> None:
    full = np.array([True, False, False, False])
    weights = stratum_weights(full, 0.1)
    assert weights.tolist() == pytest.approx([0.1, 0.3, 0.3, 0.3])
    above, below = np.full(4, 100.0), np.array([100.0, 20.0, 20.0, 20.0])
    found = mean_ratio(above, below, weights=weights, resamples=50, seed=0)
    assert found.value == pytest.approx(100 / (0.1 * 100 + 0.9 * 20))
    # Nothing varies within a kind, so nothing does over resamples.
    assert (found.low, found.high) == pytest.approx((found.value, found.value))


@pytest.mark.parametrize("full", [[True, True], [False, False]])
def test_one_kind_alone_weighs_evenly(full: list[bool]) -> None:
    assert stratum_weights(full, 0.1).tolist() == [0.5, 0.5]
    assert stratum_weights([True, False], None).tolist() == [0.5, 0.5]


def rounds_that_differ(seed: int, rounds: int = 40, frames: int = 5) -> tuple[np.ndarray, ...]:
    """Return times of two equal series, of which each round slows one or the other, by rounds."""
    drawn = np.random.default_rng(seed)
    number = np.repeat(np.arange(rounds), frames)
    slow = np.repeat(np.exp(drawn.normal(0, 0.1, (2, rounds))), frames, axis=1)
    return (*(100 * slow * np.exp(drawn.normal(0, 0.01, slow.shape))), number)


def test_intervals_over_rounds_hold_the_truth_where_those_over_frames_do_not() -> None:
    held = {"rounds": 0, "frames": 0}
    for seed in range(200):
        above, below, number = rounds_that_differ(seed)
        for how, rounds in (("rounds", number), ("frames", None)):
            made = mean_ratio(above, below, rounds=rounds, resamples=400, seed=seed)
            assert made.low is not None
            assert made.high is not None
            held[how] += made.low <= 1 <= made.high
    assert 0.9 * 200 <= held["rounds"] <= 0.99 * 200
    assert held["frames"] < 0.75 * 200


def test_few_rounds_are_resampled_by_frames() -> None:
    above, below, number = rounds_that_differ(1, rounds=LEAST_ROUNDS - 1)
    by_frames = mean_ratio(above, below, resamples=100, seed=0)
    assert mean_ratio(above, below, rounds=number, resamples=100, seed=0) == by_frames


@pytest.mark.parametrize("by_round", [True, False])
def test_kinds_keep_their_share_in_every_resample(by_round: bool) -> None:
    full = np.array([True, False, False, False, True] * 6)
    weights = stratum_weights(full, 0.1)
    rounds = np.repeat(np.arange(6), 5) if by_round else None
    found = list(resampled(weights, rounds, resamples=70, seed=3))
    times, drawn = (np.concatenate(part) for part in zip(*found, strict=True))
    assert times.shape == drawn.shape == (70, 30)
    assert drawn[:, full].sum(1) == pytest.approx(0.1)
    assert drawn[:, ~full].sum(1) == pytest.approx(0.9)
    together = times.reshape(70, 6, 5)
    assert (together == together[:, :, :1]).all() == by_round


def test_resamples_without_one_of_the_kinds_are_left_out() -> None:
    full = np.zeros(30, dtype=bool)
    full[0] = True
    weights = stratum_weights(full, 0.1)
    found = list(resampled(weights, np.repeat(np.arange(6), 5), resamples=500, seed=3))
    times = np.concatenate([part for part, _ in found])
    assert 0.5 * 500 < len(times) < 0.8 * 500
    assert (times[:, 0] > 0).all()
