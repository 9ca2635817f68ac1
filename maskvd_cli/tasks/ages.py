"""mAP50 by the number of frames since the last full one: how fast a method grows stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.tasks.coco import Evaluation

# First and last age of each bucket; the last bucket is open.
BUCKETS: tuple[tuple[int, int | None], ...] = (
    (0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, None),
)  # fmt: skip


@dataclass(frozen=True)
class AgeScore:
    """mAP50 in percent on the frames whose age lies in first..last; None: without objects."""

    first: int
    last: int | None
    frames: int
    objects: int
    map50: float | None


def ages(full: Sequence[bool]) -> list[int]:
    """Return, for a clip's frames in order, how many frames ago the last full one was.

    0 for full frames; a clip that begins without one counts from its first frame.
    """
    found: list[int] = []
    for position, is_full in enumerate(full):
        found.append(0 if is_full or position == 0 else found[-1] + 1)
    return found


def by_age(evaluation: Evaluation, age_of: NDArray[np.int64]) -> list[AgeScore]:
    """Return the score of each bucket that holds frames; `age_of` follows `evaluation.images`.

    Detections are matched and ranked within the bucket's frames alone.
    """
    scores: list[AgeScore] = []
    for first, last in BUCKETS:
        inside = (age_of >= first) & (age_of <= (age_of.max() if last is None else last))
        weights = inside.astype(np.int64)
        if not weights.any():
            continue
        objects = evaluation.objects(weights)
        scores.append(AgeScore(first, last, int(weights.sum()), objects, evaluation.map50(weights)))
    return scores
