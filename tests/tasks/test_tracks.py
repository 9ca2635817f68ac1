"""Tracks of silhouettes: how detections are linked, and AP over clips by TrackEval."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.instance_masks import InstanceMasks
from maskvd_cli.tasks.tracks import ClipTracks, Track, annotated, linked, tracked

from .drawn_instances import CLASSES, PLACED, case

SIZE = Size(20, 40)
needs_trackeval = pytest.mark.skipif(
    find_spec("trackeval") is None, reason="TrackEval is not installed (maskvd[tracks])"
)


def bar(first: int, width: int = 10) -> Silhouette:
    """Return columns of the frame from `first` on."""
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[:, first : first + width] = True
    return silhouettes.encoded([mask])[0]


def link(*rows: tuple[int, int, float, int]) -> list[Track]:
    """Link detections given as frame, class, score and first column of ten."""
    frame, label, score, first = (np.array(column) for column in zip(*rows, strict=True))
    return linked(frame, label, score.astype(np.float64), [bar(at) for at in first.tolist()])


def shown(tracks: list[Track]) -> list[tuple[int, list[int], list[float]]]:
    return [(track.label, list(track.made), track.scores) for track in tracks]


def test_detections_go_on_with_the_track_that_they_overlap_most() -> None:
    tracks = link((0, 0, 0.9, 0), (0, 0, 0.8, 20), (1, 0, 0.7, 21), (1, 0, 0.6, 1))
    assert shown(tracks) == [(0, [0, 1], [0.9, 0.6]), (0, [0, 1], [0.8, 0.7])]
    assert tracks[0].score == pytest.approx(0.75)


def test_a_link_needs_the_class_the_frame_before_and_half_of_the_union() -> None:
    # Moved by 3 of 10 columns: 7 of 13 overlap; by 4: 6 of 14.
    assert len(link((0, 0, 0.9, 0), (1, 0, 0.9, 3))) == 1
    assert len(link((0, 0, 0.9, 0), (1, 0, 0.9, 4))) == 2
    assert len(link((0, 0, 0.9, 0), (1, 1, 0.9, 0))) == 2
    assert len(link((0, 0, 0.9, 0), (2, 0, 0.9, 0))) == 2


def test_the_better_score_chooses_first_and_a_track_takes_one_in_a_frame() -> None:
    tracks = link((0, 0, 0.5, 0), (1, 0, 0.6, 0), (1, 0, 0.8, 1))
    assert shown(tracks) == [(0, [0, 1], [0.5, 0.8]), (0, [1], [0.6])]


def test_of_equal_tracks_the_older_goes_on() -> None:
    tracks = link((0, 0, 0.9, 0), (0, 0, 0.8, 0), (1, 0, 0.7, 0))
    assert shown(tracks) == [(0, [0, 1], [0.9, 0.7]), (0, [0], [0.8])]


def test_annotations_are_tracks_by_their_numbers() -> None:
    made = [bar(at) for at in range(6)]
    tracks = annotated(
        np.array([0, 0, 0, 1, 1, 2]),
        np.array([1, -1, -1, -1, -1, 1]),
        np.array([7, 8, -1, 7, 8, 7]),
        np.array([False, True, True, True, True, False]),
        made,
    )
    assert [(track.label, list(track.made), track.ignore) for track in tracks] == [
        (1, [0, 2], False), (-1, [0, 1], True),
    ]  # fmt: skip


def moving(start: int, score: float = 1.0, frames: int = 4, label: int = 0) -> Track:
    made = {frame: bar(start + frame) for frame in range(frames)}
    return Track(label, made, [score] * frames)


def scored(*clips: ClipTracks, classes: tuple[str, ...] = ("a", "b")) -> Any:
    return tracked(clips, classes)


@needs_trackeval
def test_ap_is_that_of_masks_over_the_whole_clip() -> None:
    whole = ClipTracks([moving(0), moving(20)], [moving(0, 0.9), moving(20, 0.8)])
    assert scored(whole).scores().values == pytest.approx({"track_ap": 100, "track_ap50": 100})
    # Seen in 3 of 4 frames: an overlap of 0.75, right at six of the ten thresholds.
    part = ClipTracks([moving(0)], [moving(0, 0.9, frames=3)])
    values = scored(part).scores().values
    assert values["track_ap50"] == pytest.approx(100)
    assert values["track_ap"] == pytest.approx(60.0)
    broken = ClipTracks([moving(0)], [moving(0, 0.9, frames=1)])
    assert scored(broken).scores().values == {"track_ap": 0.0, "track_ap50": 0.0}


@needs_trackeval
def test_the_first_object_can_be_taken_once_only() -> None:
    twice = ClipTracks([moving(0), moving(20)], [moving(0, 0.9), moving(0, 0.8), moving(20, 0.7)])
    # Precision 1 up to half of the objects, 2 / 3 beyond: (51 + 50 * 2 / 3) / 101.
    expected = 100 * (51 + 50 * 2 / 3) / 101
    assert scored(twice).scores().values["track_ap50"] == pytest.approx(expected)


@needs_trackeval
def test_classes_without_objects_are_left_out_and_ignored_tracks_count_neither_way() -> None:
    ignored = Track(-1, moving(20).made, [], ignore=True)
    clip = ClipTracks([moving(0), ignored], [moving(20, 0.9), moving(0, 0.8), moving(5, 0.7, 4, 1)])
    scores = scored(clip).scores()
    assert scores.values["track_ap"] == pytest.approx(100)
    assert list(scores.details["by_class"]) == ["a"]


@needs_trackeval
def test_clips_can_be_left_out() -> None:
    good = ClipTracks([moving(0)], [moving(0, 0.9)])
    bad = ClipTracks([moving(0)], [moving(25, 0.8)])
    evaluation = scored(good, bad)
    assert evaluation.headline(np.array([1, 0])) == pytest.approx(100)
    assert evaluation.headline(np.array([0, 1])) == 0.0
    assert evaluation.headline(np.array([1, 1])) == evaluation.scores().values["track_ap"]
    assert evaluation.headline(np.array([0, 0])) is None
    with pytest.raises(ValueError, match="once or not at all"):
        evaluation.headline(np.array([2, 1]))


@needs_trackeval
def test_the_task_links_its_own_outputs() -> None:
    task = InstanceMasks()
    clips, outputs = case(5)
    pairs = [
        (task.truth(clip, CLASSES), task.encode(found, PLACED, (0, 1, 2, None)))
        for clip, found in zip(clips, outputs, strict=True)
    ]
    values: Any = task.tracking(pairs, CLASSES).scores().values
    assert 0 <= values["track_ap"] <= values["track_ap50"] <= 100


def test_tasks_without_tracks_and_a_missing_package_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="objects of the task detection have no tracks"):
        Detection().tracking([], CLASSES)
    monkeypatch.setitem(sys.modules, "trackeval.metrics.track_map", None)
    with pytest.raises(MaskvdError, match=r"pip install 'maskvd\[tracks\]'"):
        tracked([], CLASSES)
