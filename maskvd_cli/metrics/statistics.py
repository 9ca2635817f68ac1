"""What is said of samples: median, mean, p90, and 95 % intervals of ratios and changes.

Every interval is Student's t on a jackknife: what is measured together (a round of frames, the
clips of a video) is left out in turn, and how far that moves the result tells how sure it is.
For two rounds or clips that is already the right width; below two there is no interval.
Nothing is drawn at random. Sources: R. G. Miller, "The jackknife - a review", Biometrika 61 (1974);
B. L. Welch, Biometrika 34 (1947), for differences of results that were measured apart.
`benchmarks/coverage.py` shows how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskvd_cli.core.quantity import Estimate

# They rise when the same samples give another value or interval.
# 1: bootstrap over frames, full ones not weighted. 2: full frames weighted, bootstrap over rounds.
# 3: Student's t on the jackknife over rounds; nothing where a kind of frame was not timed.
SPEEDUP_ESTIMATOR = 3
# 1: percentile bootstrap over clips. 2: Student's t on the jackknife over clips of one video.
# 3: spread about the value itself, and fewer degrees of freedom where few clips decide.
CHANGE_ESTIMATOR = 3

# Of more clusters, several are left out together: the work is bounded, and the steps in which AP
# jumps count less against a larger part of the clips.
MOST_GROUPS = 24
_LEVEL = 0.95
_STEPS = 20_001
# Beyond these degrees of freedom the quantile is the normal one to four digits.
_FREE = 10_000.0
_WIDEST = 10.0

Values = NDArray[np.float64]


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
class Uncertain:
    """A value, its standard error, and how many degrees of freedom that error has.

    `error` is None where nothing tells how far the value may be off.
    """

    value: float
    error: float | None
    freedom: float

    @classmethod
    def jackknife(cls, value: float, left_out: Sequence[float | None]) -> Uncertain:
        """Return `value` with the error that its values with one group left out tell.

        Fewer than two groups tell nothing, nor do values of which one is None: then the result
        stands or falls with one group.
        """
        known = [one for one in left_out if one is not None]
        groups = len(left_out)
        if groups < 2 or len(known) < groups:
            return cls(value, None, 0.0)
        off = np.asarray(known) - np.mean(known)
        return cls(value, math.sqrt((groups - 1) / groups * float(off @ off)), groups - 1.0)

    @classmethod
    def mean(cls, value: float, parts: ArrayLike) -> Uncertain:
        """Return `value` with the standard error of the mean of independent `parts` (n,)."""
        made = np.asarray(parts, dtype=np.float64)
        if len(made) < 2:
            return cls(value, None, 0.0)
        return cls(value, float(made.std(ddof=1)) / math.sqrt(len(made)), len(made) - 1.0)

    def __sub__(self, other: Uncertain) -> Uncertain:
        """Return the difference of two independent values, with Welch's degrees of freedom."""
        value = self.value - other.value
        if self.error is None or other.error is None:
            return Uncertain(value, None, 0.0)
        first, second = self.error**2, other.error**2
        if not first + second:
            return Uncertain(value, 0.0, min(self.freedom, other.freedom))
        parts = first**2 / self.freedom + second**2 / other.freedom
        return Uncertain(value, math.sqrt(first + second), (first + second) ** 2 / parts)

    def estimate(self) -> Estimate:
        """Return the value with its 95 % interval."""
        if self.error is None:
            return Estimate(self.value, None, None)
        reach = t_quantile(self.freedom) * self.error
        return Estimate(self.value, self.value - reach, self.value + reach)

    def ratio(self) -> Estimate:
        """Return what the value is the logarithm of, with its 95 % interval."""
        made = self.estimate()
        ends = (None if end is None else _exp(end) for end in (made.low, made.high))
        return Estimate(_exp(made.value), *ends)


def _exp(value: float) -> float:
    """Return e to the value; files hold finite numbers alone."""
    return math.exp(min(max(value, -700.0), 700.0))


@lru_cache(maxsize=256)
def t_quantile(freedom: float) -> float:
    """Return what 97.5 % of Student's t lie below, to 1e-4; degrees of freedom from 1 on.

    With t = sqrt(freedom) tan(angle) the density of the angle is cos(angle) ** (freedom - 1).
    Raises ValueError for fewer degrees of freedom.
    """
    if not freedom >= 1.0:
        raise ValueError(f"{freedom} degrees of freedom are fewer than 1")
    free = min(freedom, _FREE)
    angles = np.linspace(0.0, min(math.pi / 2, _WIDEST / math.sqrt(free)), _STEPS)
    density = np.cos(angles) ** (free - 1.0)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    angle = float(np.interp(_LEVEL * below[-1], below, angles))
    return math.sqrt(free) * math.tan(angle)


def stratum_weights(full: ArrayLike, full_share: float | None) -> Values | None:
    """Return a weight per sample so that full frames weigh `full_share` of all, summing to 1.

    A few timed frames hold more full ones than a whole clip does. None where samples cannot stand
    for all of the data, because a kind of frame that it holds was not sampled. Without a share,
    which says nothing of the data, all samples weigh the same. Raises ValueError for no samples.
    """
    is_full = np.asarray(full, dtype=np.bool_)
    if not len(is_full):
        raise ValueError("no samples to weigh")
    if full_share is None:
        return np.full(len(is_full), 1 / len(is_full))
    numbers = np.where(is_full, is_full.sum(), (~is_full).sum())
    shares = np.where(is_full, full_share, 1 - full_share)
    held = (is_full.any() or full_share <= 0) and (not is_full.all() or full_share >= 1)
    return shares / numbers if held else None


def rounds_left_out(
    rounds: ArrayLike, full: ArrayLike, full_share: float | None
) -> Iterator[Values | None]:
    """Yield for each round the weights (n,) of all samples without those of the round.

    None where what is left cannot stand for all of the data (`stratum_weights`).
    """
    number, is_full = np.asarray(rounds), np.asarray(full, dtype=np.bool_)
    for one in np.unique(number):
        left = number != one
        made = stratum_weights(is_full[left], full_share) if left.any() else None
        if made is None:
            yield None
            continue
        weights = np.zeros(len(number))
        weights[left] = made
        yield weights


def log_mean(
    samples: ArrayLike,
    below: ArrayLike | None = None,
    *,
    rounds: ArrayLike,
    full: ArrayLike,
    full_share: float | None,
) -> Uncertain | None:
    """Return log(mean) of times (n,), or log(mean / mean of `below`) of pairs of the same frames.

    `rounds` (n,): what was timed together. `full` (n,) and `full_share`: see `stratum_weights`;
    None where it gives no weights. Where all rounds hold the same frames, the error is that of the
    mean of the rounds' log ratios. Raises ValueError for samples that are not paired, or none.
    """
    first = np.asarray(samples, dtype=np.float64)
    second = np.ones(len(first)) if below is None else np.asarray(below, dtype=np.float64)
    if first.shape != second.shape or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} samples are not paired")

    def value(weights: Values) -> float:
        return math.log(float(weights @ first) / float(weights @ second))

    weights = stratum_weights(full, full_share)
    if weights is None:
        return None
    left = rounds_left_out(rounds, full, full_share)
    parts = [None if weights is None else value(weights) for weights in left]
    made = Uncertain.jackknife(value(weights), parts)
    # A kind of frame that few rounds hold is known no better than those rounds tell.
    return replace(made, freedom=min(made.freedom, _rounds_of_each_kind(rounds, full) - 1.0))


def _rounds_of_each_kind(rounds: ArrayLike, full: ArrayLike) -> int:
    """Return how many rounds hold the kind of frame that fewest hold, of those that any holds."""
    number, is_full = np.asarray(rounds), np.asarray(full, dtype=np.bool_)
    kinds = (number[is_full], number[~is_full])
    return min(len(np.unique(kind)) for kind in kinds if len(kind))


def mean_ratio(
    above: ArrayLike,
    below: ArrayLike,
    *,
    rounds: ArrayLike,
    full: ArrayLike | None = None,
    full_share: float | None = None,
) -> Estimate | None:
    """Return mean(above) / mean(below) of pairs of the same frames, with its 95 % interval.

    Student's t over rounds, from two rounds on; arguments and errors as in `log_mean`. None where
    the samples cannot stand for all of the data.
    """
    kinds = np.ones(len(np.asarray(rounds)), dtype=np.bool_) if full is None else full
    made = log_mean(above, below, rounds=rounds, full=kinds, full_share=full_share)
    return None if made is None else made.ratio()


def cluster_weights(cluster: ArrayLike) -> Iterator[NDArray[np.int64]]:
    """Yield how often each frame counts, (frames,), with one group of clusters left out in turn.

    `cluster` (frames,): the number or name of what each frame is sampled with, its video. Each
    cluster is a group, but of more than `MOST_GROUPS` every 24th is in one. One cluster alone
    gives nothing, since without it no frame is left.
    """
    names, number = np.unique(np.asarray(cluster), return_inverse=True)
    groups = min(len(names), MOST_GROUPS)
    if groups < 2:
        return
    for group in range(groups):
        yield (number % groups != group).astype(np.int64)


def paired_change(
    value: float, point: Sequence[float | None], baseline: Sequence[float | None]
) -> Estimate:
    """Return `value`, point - baseline on all frames, with its 95 % interval.

    `point` and `baseline`: the scores of both on the same `cluster_weights`. Where one is None,
    because no class has an object there, there is no interval. AP is no mean of its clips: the
    spread is taken about the value itself, the wider of the two usual ones (B. Efron, The
    jackknife, the bootstrap and other resampling plans, 1982), and where few clusters decide it is
    trusted less (`deciding_freedom`).
    """
    changes = [
        None if ours is None or theirs is None else ours - theirs
        for ours, theirs in zip(point, baseline, strict=True)
    ]
    known = np.asarray([change for change in changes if change is not None])
    if len(known) < max(len(changes), 2):
        return Estimate(value, None, None)
    off = known - value
    error = math.sqrt((len(off) - 1) / len(off) * float(off @ off))
    return Uncertain(value, error, deciding_freedom(off)).estimate()


def deciding_freedom(off: Values) -> float:
    """Return the degrees of freedom of a jackknife's error, from its deviations (n,), 2 or more.

    A variance s^2 of n values of excess kurtosis k varies by s^4 (k / n + 2 / (n - 1)) itself, and
    Student's t belongs to 2 s^4 over that: n - 1 of Gaussian values, fewer where single values
    stand far off. Never more than n - 1, never below 1. From four values on the kurtosis is the
    one without bias for Gaussian values. Source: F. E. Satterthwaite, Biometrics Bulletin 2
    (1946), on how far a variance may be trusted.
    """
    number, variance = len(off), float(off @ off) / len(off)
    if not variance:
        return number - 1.0
    excess = float((off**4).mean()) / variance**2 - 3.0
    if number > 3:
        excess = (number - 1) / ((number - 2) * (number - 3)) * ((number + 1) * excess + 6.0)
    return max(2.0 / (max(excess, 0.0) / number + 2.0 / (number - 1)), 1.0)
