"""Instance masks as a task: arrays of runs, pasting, and scores that equal pycocotools' own."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import fit, stretch
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame, Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import make_boxes
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.instance_masks import InstanceMasks
from maskvd_cli.tasks.instances import Instances, InstanceTargets
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.silhouette_arrays import ENDS, RUNS, SIZE, packed, unpacked

from .drawn_instances import CLASSES, NATIVE, PLACED, blob, case, drawn_clip

TASK = InstanceMasks()
LABEL_OF = (0, 1, 2, None)


def stored_case(seed: int) -> tuple[list[Clip], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return clips, their truths and their stored outputs."""
    clips, outputs = case(seed)
    truths = [dict(TASK.truth(clip, CLASSES)) for clip in clips]
    return clips, truths, [dict(TASK.encode(found, PLACED, LABEL_OF)) for found in outputs]


def by_pycocotools(clips: list[Clip], stored: list[dict[str, Any]]) -> tuple[float, float]:
    """Return COCO's AP50 and AP in percent, at every area, from lists of annotations."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for clip, outputs in zip(clips, stored, strict=True):
        first = len(images)
        for frame in clip.frames:
            images.append({"id": len(images) + 1, "height": NATIVE.rows, "width": NATIVE.cols})
            made = cast(list[Silhouette], frame.silhouettes())
            for own, label in zip(made, frame.boxes.labels.tolist(), strict=True):
                for category in range(len(CLASSES)) if label < 0 else [label]:
                    truth.append(
                        {"image_id": len(images), "category_id": category + 1, "area": 1.0,
                         "segmentation": own, "iscrowd": int(label < 0), "id": len(truth) + 1}
                    )  # fmt: skip
        sizes = np.tile(outputs[SIZE], (len(outputs["frame"]), 1))
        rows = zip(
            outputs["frame"].tolist(), outputs["label"].tolist(), outputs["score"].tolist(),
            unpacked(outputs, sizes), strict=True,
        )  # fmt: skip
        found += [
            {"image_id": first + frame + 1, "category_id": label + 1, "score": score, "area": 1.0,
             "segmentation": own, "iscrowd": 0, "id": len(found) + place + 1}
            for place, (frame, label, score, own) in enumerate(rows)
        ]  # fmt: skip

    def indexed(rows: list[dict[str, Any]]) -> COCO:
        made = COCO()
        categories = [{"id": label + 1} for label in range(len(CLASSES))]
        made.dataset = cast(Any, {"images": images, "categories": categories, "annotations": rows})
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(indexed(truth), indexed(found), "segm")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    precision = cast(Any, judge.eval)["precision"][..., 0, 0]
    half, every = precision[0], precision
    return 100 * float(half[half > -1].mean()), 100 * float(every[every > -1].mean())


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_pycocotools_on_the_masks_of_each_frame(seed: int) -> None:
    clips, truths, stored = stored_case(seed)
    matches = [TASK.match(*pair, CLASSES) for pair in zip(truths, stored, strict=True)]
    ages = [np.zeros(len(clip), dtype=np.int64) for clip in clips]
    evaluation = TASK.evaluation(matches, ages, CLASSES)
    scores = evaluation.scores()
    assert list(scores.values) == ["mask_ap50", "mask_ap"]
    at_half, over_all = by_pycocotools(clips, stored)
    assert scores.values["mask_ap50"] == pytest.approx(at_half, abs=1e-9)
    assert scores.values["mask_ap"] == pytest.approx(over_all, abs=1e-9)
    assert 20 < at_half < 100
    assert evaluation.headline(np.ones(4)) == pytest.approx(at_half, abs=1e-9)
    assert {"mask_ap50", "mask_ap", "objects"} == set(scores.details["by_class"]["car"])
    assert scores.details["by_age"][0]["mask_ap50"] == pytest.approx(at_half, abs=1e-9)


def test_it_is_masks_that_are_compared_and_not_boxes() -> None:
    clips, truths, stored = stored_case(0)
    whole = silhouettes.of_boxes(np.array([[0.0, 0, NATIVE.cols, NATIVE.rows]]), NATIVE)
    number = len(stored[0]["score"])
    filled = {**stored[0], **packed(whole * number)}
    ours, theirs = (TASK.match(truths[0], found, CLASSES) for found in (stored[0], filled))
    assert ours["right"].any() and not theirs["right"].any()
    boxes = Detection().match(truths[0], filled, CLASSES)
    assert boxes["right"].any()
    assert clips[0].frames


def test_what_detection_stores_is_there_unchanged() -> None:
    clips, outputs = case(2)
    truth, stored = TASK.truth(clips[0], CLASSES), TASK.encode(outputs[0], PLACED, LABEL_OF)
    plain = Detection()
    for ours, theirs, more in (
        (truth, plain.truth(clips[0], CLASSES), {RUNS, ENDS, "track"}),
        (stored, plain.encode(outputs[0], PLACED, LABEL_OF), {RUNS, ENDS, SIZE}),
    ):
        assert set(ours) == set(theirs) | more
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
        assert ours[RUNS].dtype == np.uint8 and ours[ENDS].dtype == np.int64
    hints = TASK.hints(outputs[0][0])
    assert hints.boxes is outputs[0][0].xyxy


def test_silhouettes_come_back_and_none_are_none() -> None:
    clip = drawn_clip(np.random.default_rng(1), "c", 5)
    made = [one for frame in clip.frames for one in frame.silhouettes() or ()]
    sizes = np.tile(np.array(NATIVE), (len(made), 1))
    assert unpacked(packed(made), sizes) == [{**one, "size": list(NATIVE)} for one in made]
    assert unpacked(packed([]), np.zeros((0, 2), dtype=np.int32)) == []


def test_damaged_runs_are_refused() -> None:
    _, truths, stored = stored_case(1)
    good = stored[0]
    for changed in (
        {ENDS: good[ENDS][:-1]},
        {ENDS: good[ENDS] + 1},
        {ENDS: good[ENDS][::-1].copy()},
        {RUNS: good[RUNS][:-1]},
        {RUNS: np.full_like(good[RUNS], ord("~"))},
        {SIZE: np.array([48, 81], dtype=np.int32)},
    ):
        with pytest.raises(ValueError, match=r"silhouettes|counts|runs|another size|RLE"):
            TASK.match(truths[0], {**good, **changed}, CLASSES)


def test_a_dataset_without_masks_is_told() -> None:
    frame = Frame(0, None, NATIVE, make_boxes([[0, 0, 4, 4]], [0], [-1], [False]))
    with pytest.raises(UsageError, match="frame 0 has boxes, but no instance masks"):
        TASK.truth(Clip("c", (frame,)), CLASSES)


def test_pasting_finds_a_pixel_by_its_centre() -> None:
    inside = torch.zeros(1, 28, 28)
    inside[:, :, :14] = 1.0
    region = torch.tensor([[10.0, 8.0, 38.0, 36.0]])
    output = Instances(region * 0.5, torch.ones(1), torch.zeros(1).long(), 1, inside, region * 0.5)
    arrays = TASK.encode([output], PLACED, LABEL_OF)
    mask = silhouettes.decoded(unpacked(arrays, arrays[SIZE][None]), NATIVE)[0]
    expected = np.zeros(NATIVE, dtype=np.bool_)
    expected[8:36, 10:24] = True
    assert np.array_equal(mask, expected)


def test_pasting_an_ellipse_is_as_good_as_its_resolution() -> None:
    box = np.array([4.0, 6.0, 66.0, 41.0])
    centres = (np.arange(28) + 0.5) / 14 - 1
    inside = torch.from_numpy((centres[:, None] ** 2 + centres**2 <= 1).astype(np.float32))[None]
    region = torch.from_numpy(box)[None].float() * 0.5
    output = Instances(region, torch.ones(1), torch.zeros(1).long(), 1, inside, region)
    arrays = TASK.encode([output], PLACED, LABEL_OF)
    made = unpacked(arrays, arrays[SIZE][None])
    assert silhouettes.overlaps(made, silhouettes.encoded([blob(box)]))[0, 0] > 0.95


def test_regions_beyond_the_frame_and_without_area_have_what_lies_inside() -> None:
    regions = torch.tensor([[-20.0, -20, 20, 20], [90, 60, 99, 70], [5, 5, 5, 9]])
    output = Instances(
        regions * 0.5, torch.ones(3), torch.zeros(3).long(), 3, torch.ones(3, 28, 28), regions * 0.5
    )
    arrays = TASK.encode([output], PLACED, LABEL_OF)
    masks = silhouettes.decoded(unpacked(arrays, np.tile(arrays[SIZE], (3, 1))), NATIVE)
    assert masks.sum((1, 2)).tolist() == [400, 0, 0]
    assert masks[0, :20, :20].all()


def test_a_cut_box_keeps_the_region_of_its_mask() -> None:
    _, outputs = case(4)
    output = outputs[1][0]
    shift = torch.full((len(output), 1), 6.0)
    shift[0] = 99.0  # wholly outside
    moved = replace(output, xyxy=output.xyxy - shift, regions=output.regions - shift)
    cut = TASK.cut(moved, PLACED.content)
    assert isinstance(cut, Instances)
    assert len(cut) == len(cut.inside) == len(cut.regions) < len(moved)
    assert (cut.regions < 0).any() and (cut.xyxy >= 0).all()
    assert cut.masked == moved.masked


@pytest.mark.parametrize("native", [Size(375, 1242), Size(1080, 1921), Size(333, 500)])
@pytest.mark.parametrize("frame", [None, Size(370, 672)])
def test_masks_have_the_size_of_their_own_frame(native: Size, frame: Size | None) -> None:
    whole = Size(672, 672)
    placed = fit(native, whole) if frame is None else stretch(native, frame, whole)
    assert tuple(TASK.encode([], placed, LABEL_OF)[SIZE].tolist()) == tuple(native)


def test_targets_need_a_silhouette_for_each_object() -> None:
    boxes, labels = torch.tensor([[0.0, 0, 4, 4]]), torch.zeros(1).long()
    with pytest.raises(ValueError, match=r"silhouettes \(2, 4, 4\) are not"):
        InstanceTargets(boxes, labels, torch.zeros(0, 4), torch.zeros(2, 4, 4).bool())
    made = InstanceTargets(boxes, labels, torch.zeros(0, 4), torch.ones(1, 4, 4).bool()).to("cpu")
    assert isinstance(made, InstanceTargets) and made.silhouettes.all()


def test_the_registry_knows_the_task_and_its_headline() -> None:
    task = tasks.load("instance-masks")
    assert task is InstanceMasks
    assert task.headline().name == "mask_ap50"
    assert task.has_silhouettes and task.has_boxes and not Detection.has_silhouettes
