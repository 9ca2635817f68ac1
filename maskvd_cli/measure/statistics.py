"""What is said of samples: median, mean, p90, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def mean_ratio(
    above: ArrayLike,
    below: ArrayLike,
    *,
    resamples: int,
    seed: int,
    weights: NDArray[np.float64] | None = None,
) -> Estimate:
    """Return mean(above) / mean(below) of paired samples, with a percentile bootstrap over pairs.

    Pairs are resampled together, because both of a pair were measured on the same frame, and among
    those of the same weight (`stratum_weights`), so that every resample holds as many of each kind.
    Raises ValueError for samples that are not paired, or none.
    """
    first, second = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if first.shape != second.shape or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} samples are not paired")
    scale = np.ones(len(first)) if weights is None else weights
    value = float((scale * first).sum() / (scale * second).sum())
    if len(first) < 2:
        return Estimate(value, None, None)
    strata = [np.flatnonzero(scale == weight) for weight in np.unique(scale)]
    drawn = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // len(first))
    ratios: list[NDArray[np.float64]] = []
    for begin in range(0, resamples, at_once):
        count = min(at_once, resamples - begin)
        rows = np.concatenate(
            [stratum[drawn.integers(0, len(stratum), (count, len(stratum)))] for stratum in strata],
            axis=1,
        )
        above_sum, below_sum = (scale[rows] * side[rows] for side in (first, second))
        ratios.append(above_sum.sum(1) / below_sum.sum(1))
    return Estimate(value, *percentile_interval(np.concatenate(ratios)))


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
