"""What is said of samples: median, mean, p90, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Fewer rounds than these tell too little of how rounds differ.
LEAST_ROUNDS = 5
_CHUNK = 4_000_000
_LEVEL = (2.5, 97.5)


@dataclass(frozen=True)
class Spread:
    """Median, mean and 90th percentile of samples, and their number."""

    median: float
    mean: float
    p90: float
    samples: int

    @classmethod
    def of(cls, samples: ArrayLike) -> Spread | None:
        """Summarise samples; None where there are none. Percentiles interpolate linearly."""
        values = np.asarray(samples, dtype=np.float64)
        if not len(values):
            return None
        median, p90 = np.percentile(values, [50, 90])
        return cls(float(median), float(values.mean()), float(p90), len(values))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the bounds are None where there is too little to resample."""

    value: float
    low: float | None
    high: float | None


def stratum_weights(full: ArrayLike, full_share: float | None) -> NDArray[np.float64]:
    """Return a weight per sample so that full frames weigh `full_share` of all, summing to 1.

    A few timed frames hold more full ones than a whole clip does. Without a share, or where only
    one kind was sampled, all samples weigh the same.
    """
    is_full = np.asarray(full, dtype=np.bool_)
    if full_share is None or is_full.all() or not is_full.any():
        return np.full(len(is_full), 1 / len(is_full))
    shares = np.where(is_full, full_share, 1 - full_share)
    return shares / np.where(is_full, is_full.sum(), (~is_full).sum())


def resampled(
    weights: NDArray[np.float64],
    rounds: NDArray[np.int64] | None,
    *,
    resamples: int,
    seed: int | Sequence[int],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield, some resamples at a time, how often each sample is drawn and what it then weighs.

    Both are (some, n). Whole `rounds` (n,) are drawn, since what disturbs a frame disturbs those
    timed next to it; where these are fewer than `LEAST_ROUNDS`, or None, samples are, among those
    of the same weight. Either way samples of the same weight (a kind, see `stratum_weights`) weigh
    together what they weigh in `weights`; a resample without one of the kinds is left out.
    """
    drawn, count = np.random.default_rng(seed), len(weights)
    kinds, kind_of = np.unique(weights, return_inverse=True)
    is_kind = np.eye(len(kinds), dtype=np.int64)[kind_of]
    pools = _pools(kind_of, rounds)
    at_once = max(1, _CHUNK // count)
    for begin in range(0, resamples, at_once):
        some = min(at_once, resamples - begin)
        times = np.empty((some, count), dtype=np.int64)
        for samples, unit_of in pools:
            units = int(unit_of.max()) + 1
            even = np.full(units, 1 / units)
            times[:, samples] = drawn.multinomial(units, even, some)[:, unit_of]
        found = times @ is_kind
        whole = (found > 0).all(1)
        scale = is_kind.sum(0) / found[whole]
        yield times[whole], weights * times[whole] * scale[:, kind_of]


def rounds_drawn(rounds: NDArray[np.int64] | None) -> int:
    """Return how many rounds `resampled` draws as wholes; 0 where it draws samples."""
    number = 0 if rounds is None else len(np.unique(rounds))
    return number if number >= LEAST_ROUNDS else 0


def _pools(
    kind_of: NDArray[np.int64], rounds: NDArray[np.int64] | None
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the pools that are drawn from: their samples, and the unit 0.. of each."""
    if rounds is not None and rounds_drawn(rounds):
        return [(np.arange(len(rounds)), np.unique(rounds, return_inverse=True)[1])]
    kinds = (np.flatnonzero(kind_of == kind) for kind in range(int(kind_of.max()) + 1))
    return [(samples, np.arange(len(samples))) for samples in kinds]


def mean_ratio(  # noqa: PLR0913 - samples, what they stand for, and how they are drawn
    above: ArrayLike,
    below: ArrayLike,
    *,
    resamples: int,
    seed: int,
    weights: NDArray[np.float64] | None = None,
    rounds: ArrayLike | None = None,
) -> Estimate:
    """Return mean(above) / mean(below) of paired samples, with a percentile bootstrap over pairs.

    Pairs are drawn together, because both of a pair were measured on the same frame, and with the
    round they were measured in (`resampled`).
    Raises ValueError for samples that are not paired, or none.
    """
    first, second = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if first.shape != second.shape or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} samples are not paired")
    scale = np.ones(len(first)) if weights is None else weights
    value = float((scale * first).sum() / (scale * second).sum())
    if len(first) < 2:
        return Estimate(value, None, None)
    groups = None if rounds is None else np.asarray(rounds, dtype=np.int64)
    draws = resampled(scale, groups, resamples=resamples, seed=seed)
    ratios = np.concatenate([(drawn @ first) / (drawn @ second) for _, drawn in draws])
    if len(ratios) < 2:
        return Estimate(value, None, None)
    return Estimate(value, *percentile_interval(ratios))


def clip_multiplicities(clips: int, *, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each clip is drawn, (resamples, clips): as many clips as there are."""
    return np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), resamples)


def paired_change(
    value: float, point: Sequence[float | None], baseline: Sequence[float | None]
) -> Estimate:
    """Return `value` with the percentile interval of point - baseline over the same resamples.

    Resamples in which either is None, because no class has an object, are left out; fewer than two
    give no interval.
    """
    pairs = zip(point, baseline, strict=True)
    changes = [a - b for a, b in pairs if a is not None and b is not None]
    if len(changes) < 2:
        return Estimate(value, None, None)
    return Estimate(value, *percentile_interval(np.array(changes)))


def percentile_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile."""
    low, high = np.percentile(values, _LEVEL)
    return float(low), float(high)
