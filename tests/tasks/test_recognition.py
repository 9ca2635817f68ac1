"""Recognition: looks at a video together, ranks with ties, weights of clips, damage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks, looked_at
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import NO_BOXES, Clip, Frame
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.recognised import Recognised
from maskvd_cli.tasks.recognition import Recognition

CLASSES = ("walk", "run", "wave", "turn", "cross", "sit", "jump")
SIZE = Size(8, 8)
PLACED = Placement(SIZE, SIZE, 1.0, 1.0)
TASK = Recognition()


def video(name: str, label: Any, frames: int = 4, source: str = "") -> Clip:
    made = tuple(Frame(index, None, SIZE, NO_BOXES) for index in range(frames))
    return Clip(name, made, source, label)


def looks(clip: Clip, count: int = 2) -> list[Clip]:
    return list(looked_at(clip, Looks(frames=4, tubelet=2, along=count)))


def encoded(logits: list[float], label_of: list[int | None] | None = None) -> Arrays:
    features = torch.zeros(3)
    outputs = [Recognised(features), Recognised(features, torch.tensor(logits))]
    labels = list(range(len(logits))) if label_of is None else label_of
    return TASK.encode(outputs, PLACED, labels)


def matched(clip: Clip, *logits: list[float]) -> list[Arrays]:
    made = looks(clip, len(logits))
    return [
        TASK.match(TASK.truth(look, CLASSES), encoded(each), CLASSES)
        for look, each in zip(made, logits, strict=True)
    ]


def evaluation(matches: list[Arrays]) -> Any:
    return TASK.evaluation(matches, [np.zeros(2, dtype=np.int64)] * len(matches), CLASSES)


def row(**values: float) -> list[float]:
    return [values.get(name, 0.0) for name in CLASSES]


def test_looks_at_a_video_are_averaged_before_they_are_ranked() -> None:
    # One look is wrong by 3, the other right by 5.
    found = evaluation(matched(video("a", "run"), row(walk=3.0), row(run=5.0)))
    scores = found.scores()
    assert scores.values == {"top1": 100.0, "top5": 100.0}
    assert scores.details["top1_single_look"] == 50.0
    assert (scores.details["videos"], scores.details["looks"]) == (1, 2)
    assert list(scores.details) == list(TASK.details)


def test_top5_and_the_mean_over_classes() -> None:
    right = matched(video("a", 1), row(run=1.0), row(run=1.0))
    fourth = matched(video("b", 1), [4, 1, 3, 2, 0, 0, 0], [4, 1, 3, 2, 0, 0, 0])
    last = matched(video("c", 2), [6, 5, 0, 4, 3, 2, 1], [6, 5, 0, 4, 3, 2, 1])
    scores = evaluation([*right, *fourth, *last]).scores()
    assert scores.values == {"top1": pytest.approx(100 / 3), "top5": pytest.approx(200 / 3)}
    assert scores.details["top1_mean_over_classes"] == 25.0
    assert scores.details["by_class"] == {
        "run": {"top1": 50.0, "top5": 100.0, "videos": 2},
        "wave": {"top1": 0.0, "top5": 0.0, "videos": 1},
    }


def test_of_equal_logits_the_first_class_is_better() -> None:
    assert evaluation(matched(video("a", "walk"), row())).scores().values["top1"] == 100.0
    found = evaluation(matched(video("a", "run"), row())).scores().values
    assert (found["top1"], found["top5"]) == (0.0, 100.0)
    assert evaluation(matched(video("a", "sit"), row())).scores().values["top5"] == 0.0


def test_clips_of_one_source_are_no_looks_at_one_video() -> None:
    first = matched(video("a", "run", source="long"), row(run=1.0))
    second = matched(video("b", "walk", source="long"), row(run=1.0))
    assert evaluation([*first, *second]).scores().values["top1"] == 50.0


def test_weights_of_looks_are_those_of_their_video() -> None:
    right = matched(video("a", "run"), row(run=1.0), row(run=1.0))
    wrong = matched(video("b", "walk"), row(run=1.0), row(run=1.0))
    found = evaluation([*right, *wrong])
    assert found.headline(np.ones(4)) == 50.0
    assert found.headline(np.array([3, 3, 1, 1])) == 75.0
    assert found.headline(np.array([0, 0, 1, 1])) == 0.0
    assert found.headline(np.zeros(4)) is None
    # A video with more looks than another counts as much as that one.
    more = evaluation([*right, *matched(video("b", "walk"), row(run=1.0))])
    assert more.headline(np.ones(3)) == 50.0


def test_weights_equal_repeated_videos() -> None:
    drawn = np.random.default_rng(3)
    each = [
        matched(video(f"v{n}", int(drawn.integers(7))), *drawn.normal(size=(2, 7)).tolist())
        for n in range(12)
    ]
    counts = drawn.integers(0, 4, 12)
    found = evaluation([match for matches in each for match in matches])
    ranks = found.rank
    order = [int(each[n][0]["video"][0]) for n in range(12)]
    place = {digest: at for at, digest in enumerate(sorted(order))}
    right = np.array([ranks[place[digest]] < 1 for digest in order])
    expected = 100.0 * float(counts @ right) / int(counts.sum())
    assert found.headline(np.repeat(counts, 2)) == pytest.approx(expected)


def test_classes_that_the_model_does_not_know_are_wrong() -> None:
    output = encoded([5.0, 1.0], [2, None])
    assert output["label"].tolist() == [2]
    assert output["logit"].tolist() == [5.0]
    truth = TASK.truth(video("a", "walk"), CLASSES)
    found = TASK.match(truth, output, CLASSES)
    assert evaluation([found]).scores().values == {"top1": 0.0, "top5": 0.0}


def test_truth_holds_steps_and_class_by_name_or_number() -> None:
    look = looks(video("a", "turn"))[1]
    truth = TASK.truth(look, CLASSES)
    assert (truth["index"].tolist(), truth["label"].tolist()) == ([0, 1], [3])
    assert TASK.truth(video("a", 3), CLASSES)["video"] == truth["video"]
    assert TASK.truth(video("b", 3), CLASSES)["video"] != truth["video"]


@pytest.mark.parametrize("label", [None, "fly", 7, -1])
def test_a_clip_without_a_class_is_told(label: Any) -> None:
    with pytest.raises(UsageError, match="clip a has"):
        TASK.truth(video("a", label), CLASSES)


def test_a_look_without_logits_is_told() -> None:
    with pytest.raises(UsageError, match="ended without logits"):
        TASK.encode([Recognised(torch.zeros(3))], PLACED, [0])


@pytest.mark.parametrize("damage", ["nan", "class", "shape", "target"])
def test_damaged_outputs_are_told(damage: str) -> None:
    truth = dict(TASK.truth(video("a", 1), CLASSES))
    output = {name: array.copy() for name, array in encoded(row(run=1.0)).items()}
    if damage == "nan":
        output["logit"][2] = np.nan
    elif damage == "class":
        output["label"][0] = 7
    elif damage == "shape":
        output["logit"] = output["logit"][:-1]
    else:
        truth["label"] = np.array([9])
    with pytest.raises(ValueError, match=r"class|finite"):
        TASK.match(truth, output, CLASSES)


def test_looks_that_tell_other_classes_apart_are_told() -> None:
    first, second = matched(video("a", 1), row(), row())
    with pytest.raises(ValueError, match="other classes"):
        evaluation([first, {**second, "label": second["label"][::-1].copy()}])
    with pytest.raises(ValueError, match="no clip"):
        evaluation([])


def test_nothing_is_known_of_places() -> None:
    assert TASK.hints(Recognised(torch.zeros(1))) is None
    output = Recognised(torch.zeros(1), torch.ones(2))
    assert TASK.native(output, PLACED) is output
    assert output.to("cpu").logits is not None
