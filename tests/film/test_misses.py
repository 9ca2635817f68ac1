"""What counts as found, and as missed because tokens were skipped."""

from __future__ import annotations

import numpy as np

from maskvd_cli.film.misses import Fate, Labelled, fates, found_objects

A = [0.0, 0.0, 10.0, 10.0]
B = [100.0, 0.0, 110.0, 10.0]
C = [200.0, 0.0, 210.0, 10.0]


def labelled(*rows: tuple[list[float], int, float]) -> Labelled:
    return Labelled(
        np.array([row[0] for row in rows]).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows]),
    )


def test_an_object_that_only_dense_finds_is_missed_because_of_skipping() -> None:
    objects = labelled((A, 0, 1), (B, 0, 1), (C, 1, 1))
    dense = labelled((A, 0, 0.9), (B, 0, 0.8))
    method = labelled((A, 0, 0.9))
    assert fates(objects, method, dense) == [Fate.FOUND, Fate.MASKED, Fate.BOTH]
    # What the method finds is found, whether dense finds it or not.
    assert fates(objects, labelled((C, 1, 0.6)), dense)[2] is Fate.FOUND


def test_class_and_overlap_must_be_right() -> None:
    objects = labelled((A, 0, 1))
    assert not found_objects(objects, labelled((A, 1, 0.9)))[0]
    # Overlaps of 5 x 10 of 10 x 10 (IoU 0.5) and of a little less.
    assert found_objects(objects, labelled(([0.0, 0.0, 5.0, 10.0], 0, 0.9)))[0]
    assert not found_objects(objects, labelled(([0.0, 0.0, 4.9, 10.0], 0, 0.9)))[0]


def test_one_detection_finds_one_object_and_the_best_chooses_first() -> None:
    near = [1.0, 0.0, 11.0, 10.0]
    objects = labelled((A, 0, 1), (near, 0, 1))
    assert found_objects(objects, labelled((A, 0, 0.9))).tolist() == [True, False]
    both = labelled((near, 0, 0.5), (A, 0, 0.9))
    assert found_objects(objects, both).tolist() == [True, True]


def test_scores_below_the_threshold_do_not_count() -> None:
    found = labelled((A, 0, 0.5), (B, 0, 0.49))
    assert len(found.above(0.5)) == 1
    assert found.above(0.5).xyxy.tolist() == [A]


def test_nothing_to_find_and_nothing_found() -> None:
    none = labelled()
    assert fates(none, labelled((A, 0, 1)), labelled((A, 0, 1))) == []
    assert fates(labelled((A, 0, 1)), none, none) == [Fate.BOTH]
