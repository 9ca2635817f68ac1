"""Recognition: one class for every video, from the mean of what several looks at it say.

Logits are averaged over the looks at a video. Of equal logits the class that comes first is the
better one. Videos count alike, however many looks they got.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.base import Arrays, Evaluation, Scores, Task, Weights
from maskvd_cli.tasks.quantities import RECOGNITION, TMACS_VIDEO, TOP1, TOP5

if TYPE_CHECKING:
    from maskvd_cli.tasks.recognised import Recognised

_PERCENT = 100.0
_UNKNOWN = np.iinfo(np.int32).max


class Recognition(Task):
    """One class a video. The output of a look's last step holds its logits; see `Recognised`."""

    name: ClassVar[str] = "recognition"
    description: ClassVar[str] = "one class for every video, from several looks at it"
    quantities: ClassVar[tuple[Quantity, ...]] = RECOGNITION
    counted: ClassVar[tuple[Quantity, ...]] = (TMACS_VIDEO,)
    details: ClassVar[Mapping[str, str]] = {
        "videos": "how many were scored",
        "looks": "how many there were at all of them",
        "top1_single_look": "looks that have the right class best, each by itself, per cent",
        "top1_mean_over_classes": "the mean of `top1` over the classes that have a video, per cent",
        "by_class": "`top1`, `top5` and `videos` of each class that has a video, by its name",
    }

    def truth(self, clip: Clip, classes: Sequence[str]) -> Arrays:
        """Return `index` (steps,) int64, `label` and `video` (1,) int64: its class and digest.

        Raises UsageError for a clip without a class.
        """
        return {
            "index": np.array([frame.index for frame in clip.frames], dtype=np.int64),
            "label": np.array([label_of(clip, classes)], dtype=np.int64),
            "video": np.array([_digest(clip.whole)], dtype=np.int64),
        }

    def hints(self, output: Recognised) -> None:
        """Return None: nobody knows where something is."""
        del output

    def encode(
        self, outputs: Sequence[Recognised], placed: Placement, label_of: Sequence[int | None]
    ) -> Arrays:
        """Return `logit` float32 and `label` int32 (k,), of the dataset's classes that are known.

        Raises UsageError for a look whose last output has no logits.
        """
        del placed
        logits = outputs[-1].logits
        if logits is None:
            raise UsageError("a look ended without logits", remedy="run all of its steps")
        known = [place for place, label in enumerate(label_of) if label is not None]
        labels = [label for label in label_of if label is not None]
        return {
            "logit": logits.float().cpu().numpy()[known].astype(np.float32),
            "label": np.array(labels, dtype=np.int32),
        }

    def match(self, truth: Arrays, outputs: Arrays, classes: Sequence[str]) -> Arrays:
        """Return the logits and classes of a look, with `target` and `video` (1,) int64.

        Raises ValueError for classes that the truth does not have, and logits that are not finite.
        """
        label, logit, target = outputs["label"], outputs["logit"], truth["label"]
        for found in (label, target):
            if len(found) and (int(found.min()) < 0 or int(found.max()) >= len(classes)):
                raise ValueError(f"a class is not among the truth's {len(classes)}")
        if label.shape != logit.shape or not np.isfinite(logit).all():
            raise ValueError("logits are not finite, or not one for each class")
        return {"logit": logit, "label": label, "target": target, "video": truth["video"]}

    def evaluation(
        self, matches: Sequence[Arrays], ages: Sequence[NDArray[np.int64]], classes: Sequence[str]
    ) -> RecognitionEvaluation:
        """Return the evaluation of looks, those at one video together. ValueError for none."""
        del ages
        if not matches:
            raise ValueError("no clip to score")
        digests = np.array([int(found["video"][0]) for found in matches], dtype=np.int64)
        _, first, video_of = np.unique(digests, return_index=True, return_inverse=True)
        sums = _sums(matches, video_of, len(first))
        targets = np.array([int(matches[at]["target"][0]) for at in first], dtype=np.int64)
        rank = np.array(
            [_rank(total, matches[at]["label"], target)
             for total, at, target in zip(sums, first, targets, strict=True)], dtype=np.int64
        )  # fmt: skip
        alone = np.array(
            [_rank(found["logit"], found["label"], int(found["target"][0])) for found in matches],
            dtype=np.int64,
        )
        return RecognitionEvaluation(rank, targets, video_of.reshape(-1), alone, tuple(classes))


@dataclass(frozen=True)
class RecognitionEvaluation(Evaluation):
    """How many classes were thought better than the right one.

    `rank` and `targets` (videos,) of every video; `video_of` (looks,) and `alone` (looks,), the
    same by that look alone.
    """

    rank: NDArray[np.int64]
    targets: NDArray[np.int64]
    video_of: NDArray[Any]
    alone: NDArray[np.int64]
    classes: tuple[str, ...]

    def scores(self) -> Scores:
        """Return top-1 and top-5, with what they stand on, by class and of single looks."""
        best = self.rank < 5
        return Scores(
            {TOP1.name: _share(self.rank < 1), TOP5.name: _share(best)},
            {
                "videos": len(self.rank),
                "looks": len(self.alone),
                "top1_single_look": _share(self.alone < 1),
                "top1_mean_over_classes": self._mean_over_classes(),
                "by_class": {
                    name: {
                        TOP1.name: _share(self.rank[own] < 1),
                        TOP5.name: _share(best[own]),
                        "videos": int(own.sum()),
                    }
                    for number, name in enumerate(self.classes)
                    if (own := self.targets == number).any()
                },
            },
        )

    def headline(self, weights: Weights) -> float | None:
        """Return top-1 in percent where each look counts `weights` (looks,) times."""
        looks = np.bincount(self.video_of, minlength=len(self.rank))
        weight = np.bincount(self.video_of, weights=weights, minlength=len(self.rank)) / looks
        total = float(weight.sum())
        return _PERCENT * float(weight @ (self.rank < 1)) / total if total else None

    def _mean_over_classes(self) -> float | None:
        shares = [_share(self.rank[self.targets == label] < 1) for label in set(self.targets)]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else None


def label_of(clip: Clip, classes: Sequence[str]) -> int:
    """Return a clip's class, given by name or number. Raises UsageError for one without."""
    label = clip.label
    number = classes.index(label) if isinstance(label, str) and label in classes else label
    if not isinstance(number, int) or not 0 <= number < len(classes):
        what = "no class" if label is None else f"the class {label!r}, which is none"
        raise UsageError(
            f"clip {clip.name} has {what} of the {len(classes)}",
            remedy="use a dataset of actions (maskvd ls datasets)",
        )
    return number


def _digest(video: str) -> int:
    """Return 63 bits that tell videos apart."""
    return int.from_bytes(hashlib.sha256(video.encode()).digest()[:8], "big") >> 1


def _sums(matches: Sequence[Arrays], video_of: NDArray[Any], videos: int) -> list[NDArray[Any]]:
    """Return the sum of the logits of each video's looks, which order classes as the mean does."""
    sums: list[NDArray[np.float64] | None] = [None] * videos
    labels: list[NDArray[Any] | None] = [None] * videos
    for found, video in zip(matches, video_of.reshape(-1).tolist(), strict=True):
        before, known = sums[video], labels[video]
        if before is None or known is None:
            sums[video], labels[video] = found["logit"].astype(np.float64), found["label"]
        elif not np.array_equal(known, found["label"]):
            raise ValueError("looks at one video tell other classes apart")
        else:
            before += found["logit"]
    return [total for total in sums if total is not None]


def _rank(logit: NDArray[Any], label: NDArray[Any], target: int) -> int:
    """Return how many classes are better than the right one; all others where it is not known."""
    places = np.flatnonzero(label == target)
    if not len(places):
        return int(_UNKNOWN)
    own = logit[places[0]]
    return int((logit > own).sum() + ((logit == own) & (label < target)).sum())


def _share(right: NDArray[np.bool_]) -> float | None:
    return _PERCENT * float(right.mean()) if len(right) else None
