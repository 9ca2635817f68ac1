"""How often the 95 % intervals hold the truth, by simulation: `python benchmarks/coverage.py`.

Speed-ups: times of two series that are equal in truth, rounds that drift by 2 %, frames by 3 %.
Changes of mAP50: clips that differ in length, density and difficulty, on which a method differs
from dense by more in some than in others; the truth is that of a very large population. Writes
coverage.json beside this file and prints a table for docs/measuring.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.metrics.statistics import cluster_weights, mean_ratio, paired_change
from maskvd_cli.tasks.precision import Ranking

ROUNDS, CLIPS = (2, 3, 5, 10, 20, 30), (4, 8, 16, 21, 60)
FRAMES, DRIFT, NOISE = 16, 0.02, 0.03
_CLASSES = (0.6, 0.25, 0.15)
_POPULATION = 20_000
_PLACE = Path(__file__).with_name("coverage.json")


def speedup_coverage(rounds: int, repetitions: int, seed: int) -> float:
    """Return in which share of sessions the interval of two equal series holds 1."""
    drawn = np.random.default_rng(seed)
    number, held = np.repeat(np.arange(rounds), FRAMES), 0
    for _ in range(repetitions):
        drift = np.repeat(drawn.normal(0, DRIFT, (2, rounds)), FRAMES, axis=1)
        times = 100 * np.exp(drift + drawn.normal(0, NOISE, drift.shape))
        made = mean_ratio(*times, rounds=number)
        assert made is not None and made.low is not None and made.high is not None
        held += made.low <= 1 <= made.high
    return held / repetitions


@dataclass(frozen=True)
class Kind:
    """A kind of data: by how much clips differ in difficulty, and what the method loses in them.

    All in units of the spread of objects of one clip.
    """

    difficulty: float = 1.0
    loss: float = 0.15
    loss_differs: float = 0.3


Matched = list[Ranking]


def matched_clips(drawn: np.random.Generator, clips: int, kind: Kind) -> tuple[Matched, Matched]:
    """Return what matching says of dense and of the method, each clip as one frame, by class."""
    length, density = drawn.integers(10, 40, clips), drawn.gamma(1.5, 2 / 1.5, clips)
    ease = drawn.normal(0.8, kind.difficulty, clips)
    loss = drawn.normal(kind.loss, kind.loss_differs, clips)
    series: tuple[Matched, Matched] = ([], [])
    for share in _CLASSES:
        objects = drawn.poisson(length * density * share * drawn.gamma(2, 0.5, clips))
        clip = np.repeat(np.arange(clips), objects)
        margin = drawn.normal(0, 1, len(clip)) + ease[clip]
        wrong = drawn.poisson(objects * 0.4 * np.exp(-0.3 * ease) + 0.1 * length)
        wrong_clip = np.repeat(np.arange(clips), wrong)
        wrong_score = drawn.normal(-1.2, 1, len(wrong_clip))
        for own, of_all in enumerate(series):
            seen = margin - own * (loss[clip] - drawn.normal(0, 0.3, len(clip)))
            hit = seen + drawn.normal(0, 0.2, len(clip)) > 0
            right_score = 0.8 * seen + drawn.normal(0, 0.3, len(clip))
            other = wrong_score + own * drawn.normal(0, 0.3, len(wrong_clip))
            told = other > -1.5
            of_all.append(
                _matches(clip[hit], right_score[hit], wrong_clip[told], other[told], objects)
            )
    return series


def _matches(
    right_clip: NDArray[np.int64],
    right_score: NDArray[np.float64],
    wrong_clip: NDArray[np.int64],
    wrong_score: NDArray[np.float64],
    objects: NDArray[np.int64],
) -> Ranking:
    order = np.argsort(-np.concatenate([right_score, wrong_score]), kind="stable")
    right = (np.arange(len(order)) < len(right_clip))[order]
    clip = np.concatenate([right_clip, wrong_clip])[order].astype(np.int32)
    return Ranking(clip, right, np.repeat(np.arange(len(objects), dtype=np.int32), objects))


def map50(matches: Sequence[Ranking], weights: NDArray[np.int64]) -> float | None:
    """Return mAP50 in percent where each clip counts `weights` times."""
    curves = [one.curve(weights) for one in matches]
    known = [float(curve.mean()) for curve in curves if curve is not None]
    return 100 * sum(known) / len(known) if known else None


def change_of(dense: Matched, method: Matched, clips: int) -> float:
    """Return the change of mAP50 on all clips; objects are never missing altogether here."""
    whole = np.ones(clips, dtype=np.int64)
    return (map50(method, whole) or 0.0) - (map50(dense, whole) or 0.0)


@lru_cache
def true_change(kind: Kind) -> float:
    """Return the change on a population so large that its own error does not matter."""
    return change_of(*matched_clips(np.random.default_rng(99), _POPULATION, kind), _POPULATION)


def change_coverage(clips: int, repetitions: int, seed: int, kind: Kind) -> float:
    """Return in which share of datasets the interval of the change holds the true change."""
    drawn, truth, held = np.random.default_rng(seed), true_change(kind), 0
    left_out = list(cluster_weights(np.arange(clips)))
    for _ in range(repetitions):
        dense, method = matched_clips(drawn, clips, kind)
        scores = ([map50(one, weights) for weights in left_out] for one in (method, dense))
        made = paired_change(change_of(dense, method, clips), *scores)
        held += made.low is not None and made.high is not None and made.low <= truth <= made.high
    return held / repetitions


def gaussian_coverage(clips: int, repetitions: int, seed: int) -> float:
    """Return the coverage where mAP50 were the mean of Gaussian clips."""
    drawn, held = np.random.default_rng(seed), 0
    for _ in range(repetitions):
        own = drawn.normal(-1, 3, clips)
        made = paired_change(own.mean(), list((own.sum() - own) / (clips - 1)), [0.0] * clips)
        held += made.low is not None and made.high is not None and made.low <= -1 <= made.high
    return held / repetitions


KINDS = {
    "clips alike": Kind(0.5, 0.1, 0.1),
    "clips that differ": Kind(),
    "few clips decide": Kind(1.2, 0.3, 0.4),
}


def main() -> None:
    """Run the study, write it and print it as Markdown."""
    made = {
        "speed-up by rounds": {n: speedup_coverage(n, 4000, n) for n in ROUNDS},
        "Gaussian clips": {n: gaussian_coverage(n, 4000, n) for n in CLIPS},
        **{
            f"mAP50, {name}": {n: change_coverage(n, 2000, n, kind) for n in CLIPS}
            for name, kind in KINDS.items()
        },
    }
    _PLACE.write_text(json.dumps(made, indent=2) + "\n")
    for name, row in made.items():
        print(f"\n| {name} | {' | '.join(map(str, row))} |")
        print(f"| :-- |{' --: |' * len(row)}")
        print(f"| coverage | {' | '.join(f'{value:.1%}' for value in row.values())} |")


if __name__ == "__main__":
    main()
