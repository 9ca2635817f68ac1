"""Matching against pycocotools itself: every detection of every frame, class and threshold."""

from __future__ import annotations

import contextlib
import io
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskvd_cli.tasks.matching import MOST_DETECTIONS, THRESHOLDS, Rows, match

FRAMES, CLASSES = 3, 2


def grid_case(seed: int, detections: int) -> tuple[Rows, NDArray[np.float64], Rows, Rows]:
    """Draw boxes from a coarse grid and scores from few values, so that ties are many."""
    drawn = np.random.default_rng(seed)

    def rows(number: int) -> Rows:
        corner = drawn.integers(0, 4, (number, 2)) * 5.0
        sides = drawn.integers(0, 5, (number, 2)) * 5.0
        return Rows(
            drawn.integers(0, FRAMES, number),
            drawn.integers(0, CLASSES, number),
            np.concatenate([corner, sides], axis=1).astype(np.float64),
        )

    score = drawn.integers(0, 4, detections) / 4 + 0.125
    return rows(detections), score, rows(12), rows(3)


def by_pycocotools(
    detections: Rows, score: NDArray[np.float64], objects: Rows, ignored: Rows
) -> dict[tuple[int, int], dict[str, Any]]:
    """Return pycocotools' matches by class and frame."""

    def annotation(rows: Rows, i: int, label: int, crowd: int) -> dict[str, Any]:
        box = rows.box[i].tolist()
        return {
            "image_id": int(rows.frame[i]) + 1, "category_id": label + 1, "bbox": box,
            "area": box[2] * box[3], "iscrowd": crowd,
        }  # fmt: skip

    truth = [annotation(objects, i, int(objects.label[i]), 0) for i in range(len(objects))]
    truth += [annotation(ignored, i, k, 1) for i in range(len(ignored)) for k in range(CLASSES)]
    found = [
        annotation(detections, i, int(detections.label[i]), 0) | {"score": float(score[i])}
        for i in range(len(detections))
    ]
    base = {
        "images": [{"id": i + 1} for i in range(FRAMES)],
        "categories": [{"id": i + 1} for i in range(CLASSES)],
    }

    def indexed(rows: list[dict[str, Any]]) -> COCO:
        made = COCO()
        made.dataset = cast(
            Any, {**base, "annotations": [{**row, "id": i + 1} for i, row in enumerate(rows)]}
        )
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(indexed(truth), indexed(found), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MOST_DETECTIONS]
        judge.evaluate()
    made = [found for found in cast(list[Any], judge.evalImgs) if found is not None]
    return {(found["category_id"] - 1, found["image_id"] - 1): found for found in made}


@pytest.mark.parametrize("seed", range(60))
def test_matches_are_those_of_pycocotools_with_ties_crowds_and_more_than_100(seed: int) -> None:
    # Every sixth case has more detections of a frame and class than count.
    detections, score, objects, ignored = grid_case(seed, 900 if seed % 6 == 0 else 40)
    matches = match(detections, score, objects, ignored, CLASSES)
    expected = by_pycocotools(detections, score, objects, ignored)
    seen = 0
    for (label, frame), found in sorted(expected.items()):
        inside = (detections.label[matches.rows] == label) & (
            detections.frame[matches.rows] == frame
        )
        seen += int(inside.sum())
        # Their order within a frame and class is pycocotools' own.
        assert (matches.rows[inside] + 1).tolist() == found["dtIds"]
        hit, skipped = found["dtMatches"] != 0, found["dtIgnore"].astype(bool)
        for number in range(len(THRESHOLDS)):
            bits = matches.right[inside] >> number & 1, matches.wrong[inside] >> number & 1
            assert (bits[0] == (hit & ~skipped)[number]).all()
            assert (bits[1] == (~hit & ~skipped)[number]).all()
    assert seen == len(matches.rows)


def test_detections_are_sorted_by_class_frame_and_falling_score() -> None:
    detections, score, objects, ignored = grid_case(1, 200)
    rows = match(detections, score, objects, ignored, CLASSES).rows
    order = list(
        zip(detections.label[rows], detections.frame[rows], -score[rows], rows, strict=True)
    )
    assert order == sorted(order)


def test_nothing_to_match_gives_nothing() -> None:
    none = Rows(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 4)))
    assert len(match(none, np.zeros(0), none, none, CLASSES).rows) == 0
    some = Rows(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), np.ones((2, 4)))
    matches = match(some, np.ones(2), none, none, CLASSES)
    assert matches.right.tolist() == [0, 0]
    assert matches.wrong.tolist() == [1023, 1023]


def test_thresholds_are_cocos() -> None:
    assert COCOeval(iouType="bbox").params.iouThrs.tolist() == THRESHOLDS.tolist()
