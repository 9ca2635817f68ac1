"""mAP on hand-made predictions, against pycocotools itself, and on resampled frames."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.data.base import make_boxes
from maskvd_cli.tasks.ages import ages
from maskvd_cli.tasks.coco import evaluate, ground_truth

CLASSES = ("pedestrian", "car", "cyclist")
SIZE = Size(100, 200)


def frame(index: int, *objects: tuple[list[float], int]) -> Frame:
    boxes = [box for box, _ in objects]
    labels = [label for _, label in objects]
    made = make_boxes(boxes, labels, [-1] * len(boxes), [label < 0 for label in labels])
    return Frame(index, None, SIZE, made)


def clip(name: str, *frames: Frame) -> Clip:
    return Clip(name, frames)


def predicted(image: int, label: int, xyxy: list[float], score: float = 0.9) -> dict[str, Any]:
    x1, y1, x2, y2 = xyxy
    return {
        "image_id": image, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": score,
    }  # fmt: skip


CAR, WALKER, REGION = [10.0, 10, 50, 40], [100.0, 20, 120, 80], [130.0, 0, 190, 60]
TRUTH = ground_truth(
    [clip("a", frame(0, (CAR, 1)), frame(1, (CAR, 1), (WALKER, 0), (REGION, -1)))], CLASSES
)
PERFECT = [predicted(1, 1, CAR), predicted(2, 1, CAR, 0.8), predicted(2, 0, WALKER)]


def test_perfect_predictions_score_100_and_classes_without_objects_do_not_count() -> None:
    made = evaluate(TRUTH, PERFECT)
    assert made.overall.map50 == pytest.approx(100)
    assert made.overall.map == pytest.approx(100)
    assert made.by_class["cyclist"].map50 is None
    assert [made.by_class[name].objects for name in CLASSES] == [1, 2, 0]


def test_no_predictions_score_zero() -> None:
    made = evaluate(TRUTH, [])
    assert (made.overall.map50, made.overall.map) == (0, 0)
    assert made.on_frames(np.ones(2, dtype=np.int64)) == 0


def test_frames_without_any_object_have_no_score() -> None:
    assert evaluate(ground_truth([clip("a", frame(0))], CLASSES), []).overall.map50 is None


def test_half_of_the_objects_found_first_gives_half_of_the_recalls() -> None:
    made = evaluate(TRUTH, [predicted(1, 1, CAR), predicted(2, 0, WALKER)])
    # Of the 101 recalls, those up to 0.5 are reached with precision 1.
    assert made.by_class["car"].map50 == pytest.approx(100 * 51 / 101)
    assert made.overall.map50 == pytest.approx((100 + 100 * 51 / 101) / 2)


def test_a_wrong_detection_before_the_right_ones_costs_precision() -> None:
    wrong = predicted(1, 1, [150.0, 60, 190, 90], 0.95)
    made = evaluate(TRUTH, [*PERFECT, wrong])
    assert made.by_class["car"].map50 == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_detections_in_a_region_to_ignore_count_neither_way(label: int) -> None:
    inside = predicted(2, label, [135.0, 5, 185, 55], 0.99)
    assert evaluate(TRUTH, [*PERFECT, inside]).overall.map50 == pytest.approx(100)
    elsewhere = predicted(1, label, [135.0, 5, 185, 55], 0.99)
    made = evaluate(TRUTH, [*PERFECT, elsewhere])
    if label < 2:
        assert made.overall.map50 is not None
        assert made.overall.map50 < 90


def test_less_than_half_inside_the_region_is_wrong_and_more_is_ignored_at_iou_50_only() -> None:
    # 40 of 100 columns inside; then 60 of 100.
    out = evaluate(TRUTH, [*PERFECT, predicted(2, 1, [70.0, 0, 170, 60], 0.99)])
    assert out.by_class["car"].map50 == pytest.approx(100 * 2 / 3)
    half = evaluate(TRUTH, [*PERFECT, predicted(2, 1, [90.0, 0, 190, 60], 0.99)])
    assert half.by_class["car"].map50 == pytest.approx(100)
    assert half.by_class["car"].map is not None
    assert half.by_class["car"].map < 100


def random_case(seed: int, clips: int = 4) -> tuple[list[Clip], list[dict[str, Any]]]:
    drawn = np.random.default_rng(seed)
    made: list[Clip] = []
    results: list[dict[str, Any]] = []
    image = 0
    for number in range(clips):
        frames: list[Frame] = []
        for index in range(5):
            image += 1
            objects: list[tuple[list[float], int]] = []
            for _ in range(drawn.integers(0, 5)):
                x, y = drawn.uniform(0, 150), drawn.uniform(0, 60)
                box = [x, y, x + drawn.uniform(5, 50), y + drawn.uniform(5, 40)]
                label = int(drawn.integers(-1, 3))
                objects.append((box, label))
                if label >= 0 and drawn.random() < 0.7:
                    moved = (np.array(box) + drawn.normal(0, 3, 4)).tolist()
                    results.append(predicted(image, label, moved, float(drawn.random())))
            for _ in range(2):
                x, y = drawn.uniform(0, 150), drawn.uniform(0, 60)
                label, score = int(drawn.integers(0, 3)), float(drawn.random())
                results.append(predicted(image, label, [x, y, x + 30, y + 20], score))
            frames.append(frame(index, *objects))
        made.append(clip(f"c{number}", *frames))
    return made, results


def coco_map50(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[float, float]:
    """Score with pycocotools as it comes: its own loader, all areas and limits."""
    reference = COCO()
    reference.dataset = truth  # type: ignore[assignment]
    reference.createIndex()
    judge = COCOeval(reference, reference.loadRes(cast(Any, results)), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return 100 * float(judge.stats[0]), 100 * float(judge.stats[1])


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_pycocotools(seed: int) -> None:
    clips, results = random_case(seed)
    truth = ground_truth(clips, CLASSES)
    made = evaluate(truth, results)
    expected = coco_map50(truth, results)
    assert made.overall.map == pytest.approx(expected[0], abs=1e-9)
    assert made.overall.map50 == pytest.approx(expected[1], abs=1e-9)
    assert made.on_frames(np.ones(20, dtype=np.int64)) == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_weights_score_as_pycocotools_does_on_repeated_clips(seed: int) -> None:
    clips, results = random_case(seed)
    times = np.array([2, 0, 1, 3])
    made = evaluate(ground_truth(clips, CLASSES), results)
    weighted = made.on_frames(np.repeat(times, 5))
    order = [number for number, count in enumerate(times) for _ in range(count)]
    repeated = ground_truth([clips[number] for number in order], CLASSES)
    again: list[dict[str, Any]] = []
    for place, number in enumerate(order):
        for row in results:
            if number * 5 < row["image_id"] <= number * 5 + 5:
                again.append({**row, "image_id": row["image_id"] + 5 * (place - number)})
    assert weighted == pytest.approx(coco_map50(repeated, again)[1], abs=1e-9)


def test_ages_count_from_the_last_full_frame() -> None:
    assert ages([True, False, False, True, False]) == [0, 1, 2, 0, 1]
    assert ages([False, False, True]) == [0, 1, 0]


def test_scores_by_age_stand_on_their_own_frames() -> None:
    frames = [frame(index, (CAR, 1)) for index in range(6)]
    truth = ground_truth([clip("a", *frames)], CLASSES)
    # Right on the full frame and the one after it, nothing on later ones.
    since = [{"image_id": i + 1, "age": age} for i, age in enumerate([0, 1, 2, 3, 4, 40])]
    made = evaluate(truth, [predicted(1, 1, CAR), predicted(2, 1, CAR)], since)
    found = [(s["first"], s["last"], s["frames"], s["map50"]) for s in made.by_age()]
    assert found == [
        (0, 0, 1, pytest.approx(100)), (1, 1, 1, pytest.approx(100)), (2, 3, 2, 0), (4, 7, 1, 0),
        (32, None, 1, 0),
    ]  # fmt: skip
