"""Tracks of silhouettes over a clip, and YouTube-VIS' AP of them by TrackEval (maskvd[tracks]).

Outputs have no tracks: detections are linked by one rule. Frame by frame, the best score first, a
detection goes on with the track of its class whose last mask lies in the frame before and overlaps
it most, from an IoU of 0.5 on, of equal ones the older; a track takes one in a frame. Any other
detection begins a track. A track's score is the mean of its detections'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.extras import imported
from maskvd_cli.core.types import Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.tasks.base import Evaluation, Scores, Weights
from maskvd_cli.tasks.matching import MOST_DETECTIONS, Floats, Ints
from maskvd_cli.tasks.quantities import TRACK_AP, TRACK_AP50

LEAST_LINK = 0.5
_PERCENT = 100.0


@dataclass
class Track:
    """One instance over a clip: silhouettes by frame; `ignore`: it counts neither way."""

    label: int
    made: dict[int, Silhouette]
    scores: list[float]
    ignore: bool = False

    @property
    def score(self) -> float:
        """The mean of its detections' scores."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class ClipTracks:
    """The tracks of a clip's objects, and those that its detections make."""

    objects: Sequence[Track]
    found: Sequence[Track]


def linked(frame: Ints, label: Ints, score: Floats, made: Sequence[Silhouette]) -> list[Track]:
    """Return the tracks of a clip's detections, all (n,), by the rule of this module."""
    tracks: list[Track] = []
    for now in np.unique(frame).tolist():
        rows = np.flatnonzero(frame == now)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        open_tracks = [track for track in tracks if now - 1 in track.made]
        before = [track.made[now - 1] for track in open_tracks]
        shares = silhouettes.overlaps([made[row] for row in rows], before)
        of_class = np.array([track.label for track in open_tracks], dtype=np.int64)
        for place, row in enumerate(rows.tolist()):
            own = np.where(of_class == label[row], shares[place], 0.0)
            best = int(own.argmax()) if len(own) else -1
            if best >= 0 and own[best] >= LEAST_LINK:
                open_tracks[best].made[now] = made[row]
                open_tracks[best].scores.append(float(score[row]))
                shares[:, best] = 0.0
            else:
                tracks.append(Track(int(label[row]), {now: made[row]}, [float(score[row])]))
    return tracks


def annotated(
    frame: Ints, label: Ints, track: Ints, ignore: NDArray[np.bool_], made: Sequence[Silhouette]
) -> list[Track]:
    """Return the tracks of a clip's objects, all (n,); what has no track (-1) is left out.

    An instance that is ignored in some frames is a track of its class in the others; one that is
    ignored wherever it is seen is a track to ignore of every class, its label is -1.
    """
    tracks: dict[int, Track] = {}
    # What counts comes first, so that only those that never do begin as ignored.
    for row in np.lexsort((frame, ignore)).tolist():
        number, skipped = int(track[row]), bool(ignore[row])
        if number < 0:
            continue
        own = tracks.setdefault(number, Track(int(label[row]), {}, [], skipped))
        if own.ignore == skipped:
            own.made[int(frame[row])] = made[row]
    return list(tracks.values())


def tracked(clips: Iterable[ClipTracks], classes: Sequence[str]) -> TrackEvaluation:
    """Match the tracks of clips class by class. Raises MaskvdError without TrackEval."""
    judge = _judge()
    results = [
        [judge.eval_sequence(_content(clip, label)) for label in range(len(classes))]
        for clip in clips
    ]
    return TrackEvaluation(judge, tuple(classes), results)


@dataclass(frozen=True)
class TrackEvaluation(Evaluation):
    """TrackEval's matches of each clip and class, `results` (clips, classes)."""

    judge: Any
    classes: tuple[str, ...]
    results: Sequence[Sequence[Mapping[Any, Any]]]

    @cached_property
    def _whole(self) -> list[Floats | None]:
        return self._by_class(np.ones(len(self.results)))

    def scores(self) -> Scores:
        """Return track AP and AP50, also by class."""
        by_class = {
            name: {TRACK_AP.name: _mean([own]), TRACK_AP50.name: _mean([own], at=0)}
            for name, own in zip(self.classes, self._whole, strict=True)
            if own is not None
        }
        values = {TRACK_AP.name: _mean(self._whole), TRACK_AP50.name: _mean(self._whole, at=0)}
        return Scores(values, {"by_class": by_class})

    def headline(self, weights: Weights) -> float | None:
        """Return track AP on the clips that count. Raises ValueError for weights but 0 and 1."""
        if not np.isin(weights, (0, 1)).all():
            raise ValueError("tracks of a clip count once or not at all")
        return _mean(self._by_class(weights))

    def _by_class(self, weights: Weights) -> list[Floats | None]:
        """Return the AP (thresholds,) of each class, None where it has no object."""
        found: list[Floats | None] = []
        for label in range(len(self.classes)):
            counted = {
                str(clip): row[label]
                for clip, (row, weight) in enumerate(zip(self.results, weights, strict=True))
                if weight
            }
            curve = self.judge.combine_sequences(counted)["AP_all"]
            found.append(None if (curve < 0).any() else np.asarray(curve, dtype=np.float64))
        return found


def _mean(curves: Sequence[Floats | None], at: int | None = None) -> float | None:
    known = [curve if at is None else curve[at] for curve in curves if curve is not None]
    return _PERCENT * float(np.mean(known)) if known else None


def _judge() -> Any:
    module = imported("trackeval.metrics.track_map", "track AP needs TrackEval", "tracks")
    return module.TrackMAP(
        {"USE_AREA_RANGES": False, "USE_TIME_RANGES": False, "PRINT_CONFIG": False}
    )


def _content(clip: ClipTracks, label: int) -> dict[str, Any]:
    """Return the tracks of one class as TrackEval takes them; numbers count from 1."""
    objects = [track for track in clip.objects if track.ignore or track.label == label]
    found = [track for track in clip.found if track.label == label]
    found = sorted(found, key=lambda track: -track.score)[:MOST_DETECTIONS]
    return {
        "gt_track_ids": [*range(1, len(objects) + 1)],
        "dt_track_ids": [*range(1, len(found) + 1)],
        "gt_track_iscrowd": [int(track.ignore) for track in objects],
        "dt_track_scores": np.array([track.score for track in found]),
        "gt_tracks": [track.made for track in objects],
        "dt_tracks": [track.made for track in found],
        "iou_type": "mask",
    }
