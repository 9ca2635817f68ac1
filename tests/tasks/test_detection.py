"""Detection as a task: arrays that keep every digit, matches clip by clip, scores of many clips."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.data.base import make_boxes
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.boxes import output_rows
from maskvd_cli.tasks.coco import evaluate, ground_truth
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.tasks.registry import tasks

CLASSES = ("pedestrian", "car", "cyclist")
NATIVE = Size(375, 1242)
PLACED = Placement(Size(672, 672), Size(370, 672), 370 / 375, 672 / 1242)
TASK = Detection()


def drawn_clip(drawn: np.random.Generator, name: str, frames: int) -> Clip:
    made: list[Frame] = []
    for index in range(frames):
        number = int(drawn.integers(0, 5))
        corner = drawn.uniform(0, 300, (number, 2))
        boxes = np.concatenate([corner, corner + drawn.uniform(5, 60, (number, 2))], axis=1)
        labels = drawn.integers(-1, 3, number).tolist()
        ignore = [label < 0 for label in labels]
        made.append(
            Frame(index, None, NATIVE, make_boxes(boxes.tolist(), labels, [-1] * number, ignore))
        )
    return Clip(name, tuple(made))


def drawn_outputs(drawn: np.random.Generator, clip: Clip) -> list[Detections]:
    outputs: list[Detections] = []
    for frame in clip.frames:
        number = int(drawn.integers(0, 8))
        near = (
            frame.boxes.xyxy[: number // 2]
            + drawn.normal(0, 3, (len(frame.boxes), 4))[: number // 2]
        )
        corner = drawn.uniform(0, 300, (number, 2))
        far = np.concatenate([corner, corner + drawn.uniform(5, 60, (number, 2))], axis=1)
        boxes = np.concatenate([near, far])[:number]
        scale = np.array([PLACED.col_scale, PLACED.row_scale] * 2)
        scores = np.sort(drawn.random(len(boxes)))[::-1].copy()
        outputs.append(
            Detections(
                torch.from_numpy(boxes * scale).float(),
                torch.from_numpy(scores).float(),
                torch.from_numpy(drawn.integers(0, 4, len(boxes))),
            )
        )
    return outputs


def listed(clips: list[Clip], outputs: list[list[Detections]]) -> list[dict[str, Any]]:
    """Return the rows that earlier versions stored: JSON with Python's own rounding."""
    rows: list[dict[str, Any]] = []
    scale = np.array([PLACED.col_scale, PLACED.row_scale] * 2)
    for number, found in enumerate(frame for clip in outputs for frame in clip):
        image = number + 1
        native = (found.xyxy.double().numpy() / scale).tolist()
        for (x1, y1, x2, y2), score, label in zip(
            native, found.scores.tolist(), found.labels.tolist(), strict=True
        ):
            if label < 3:
                box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
                rows.append(
                    {"image_id": image, "category_id": label + 1, "bbox": box,
                     "score": round(score, 6)}
                )  # fmt: skip
    return json.loads(json.dumps(rows))


def case(seed: int) -> tuple[list[Clip], list[list[Detections]]]:
    drawn = np.random.default_rng(seed)
    clips = [drawn_clip(drawn, f"c{number}", 4 + number) for number in range(4)]
    return clips, [drawn_outputs(drawn, clip) for clip in clips]


LABEL_OF = (0, 1, 2, None)


@pytest.mark.parametrize("seed", range(5))
def test_arrays_give_the_numbers_of_json_to_the_last_digit(seed: int) -> None:
    clips, outputs = case(seed)
    rows = listed(clips, outputs)
    stored = [TASK.encode(found, PLACED, LABEL_OF) for found in outputs]
    boxes = np.concatenate([output_rows(found)[0].box for found in stored])
    scores = np.concatenate([output_rows(found)[1] for found in stored])
    assert boxes.tolist() == [row["bbox"] for row in rows]
    assert scores.tolist() == [row["score"] for row in rows]
    truths = [TASK.truth(clip, CLASSES) for clip in clips]
    matches = [TASK.match(*pair, CLASSES) for pair in zip(truths, stored, strict=True)]
    ages = [np.zeros(len(clip), dtype=np.int64) for clip in clips]
    scored = TASK.evaluation(matches, ages, CLASSES).scores()
    before = evaluate(ground_truth(clips, CLASSES), rows).scores()
    assert scored == before
    assert scored.values["map50"] is not None
    assert list(scored.details) == list(TASK.details)


def test_a_detection_takes_26_bytes() -> None:
    _, outputs = case(0)
    stored = TASK.encode(outputs[0], PLACED, LABEL_OF)
    assert sum(array.nbytes for array in stored.values()) == 26 * len(stored["score"])
    assert len(stored["score"])


def test_large_frames_keep_a_thousandth_of_a_pixel() -> None:
    box = torch.tensor([[16_000.123, 9000.456, 16_383.999, 9999.001]], dtype=torch.float64)
    found = Detections(box, torch.tensor([0.123456]), torch.tensor([0]))
    placed = Placement(Size(16384, 16384), Size(16384, 16384), 1.0, 1.0)
    rows, score = output_rows(TASK.encode([found], placed, (0,)))
    assert rows.box.tolist() == [[16_000.123, 9000.456, 383.876, 998.545]]
    assert score.tolist() == [0.123456]


def test_weights_of_clips_count_as_weights_of_their_frames() -> None:
    clips, outputs = case(3)
    made = evaluate(ground_truth(clips, CLASSES), listed(clips, outputs))
    weights = np.array([2.0, 0.0, 1.0, 3.0])
    assert made.headline(weights) == pytest.approx(made.on_frames(weights[made.clip_of]), abs=1e-12)
    assert made.headline(np.ones(4)) == pytest.approx(made.overall.map50, abs=1e-12)
    assert made.headline(np.zeros(4)) is None


def test_outputs_of_other_frames_or_classes_are_refused() -> None:
    clips, outputs = case(0)
    truth = TASK.truth(clips[0], CLASSES)
    stored = dict(TASK.encode(outputs[0], PLACED, LABEL_OF))
    for name, value in (("frame", 99), ("label", 3), ("frame", -1), ("label", -1)):
        with pytest.raises(ValueError, match="is not among the truth's"):
            TASK.match(truth, {**stored, name: np.full_like(stored[name], value)}, CLASSES)
    with pytest.raises(ValueError, match="not finite"):
        TASK.match(truth, {**stored, "box": np.full_like(stored["box"], np.nan)}, CLASSES)


def test_hints_are_boxes_and_scores() -> None:
    _, outputs = case(1)
    hints = TASK.hints(outputs[0][0])
    assert hints.boxes is outputs[0][0].xyxy
    assert hints.scores is outputs[0][0].scores


def test_the_registry_knows_detection_and_its_headline() -> None:
    task = tasks.load("detection")
    assert task is Detection
    assert task.headline().name == "map50"
    assert [quantity.name for quantity in task.quantities] == ["map50", "map"]


def test_boxes_are_cut_at_the_frame_and_those_in_the_padding_left_out() -> None:
    boxes = [
        [-5.0, -3.0, 10.0, 20.0],  # beyond the corner
        [600.0, 300.0, 672.0, 500.0],  # into the padding
        [10.0, 370.0, 60.0, 400.0],  # wholly in it, from its first row on
        [20.0, 30.0, 40.0, 60.0],  # inside
    ]
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    found = Detections(torch.tensor(boxes), scores, torch.arange(4), proposals=9)
    cut = TASK.cut(found, PLACED.content)
    expected = [[0, 0, 10, 20], [600, 300, 672, 370], [20, 30, 40, 60]]
    assert cut.xyxy.tolist() == expected
    assert cut.labels.tolist() == [0, 1, 3]
    assert cut.scores.tolist() == scores[[0, 1, 3]].tolist()
    assert cut.proposals == 9
    again = TASK.cut(cut, PLACED.content)
    assert again.xyxy.tolist() == expected
    assert found.xyxy.tolist() == boxes, "what came in is left as it was"
    assert len(TASK.cut(Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0)), NATIVE)) == 0


def test_a_task_without_boxes_has_nothing_to_cut() -> None:
    class Label(Detection):
        name = "label"
        has_boxes = False
        cut = Task.cut

    with pytest.raises(UsageError, match="outputs of the task label have no boxes to cut"):
        Label().cut(cast(Any, None), NATIVE)
