"""What RF-DETR learns from: the library's own losses, on groups of queries that a file has not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.lwdetr.detector import LWDETR
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.detector import RFDETR, QueryModel
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.losses import labels_of
from maskvd_cli.families.rfdetr.renaming import to_our_names
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.tasks.detections import Targets

from .test_lwdetr import SMALL as SMALL_LW
from .test_rfdetr import SMALL, SQUARE, WIDE, images, needs_library, redraw

GROUPED = QueryShape(classes=5, queries=6, groups=3)
NO_RANDOMNESS = torch.Generator()


def targets(*counts: int, size: Size = SQUARE) -> list[Targets]:
    generator = torch.Generator().manual_seed(4)
    made: list[Targets] = []
    for count in counts:
        low = torch.rand(count, 2, generator=generator) * 0.5
        sides = 0.1 + torch.rand(count, 2, generator=generator) * 0.4
        boxes = torch.cat([low, low + sides], 1) * torch.tensor([size.cols, size.rows] * 2)
        labels = torch.randint(0, GROUPED.classes, (count,), generator=generator)
        made.append(Targets(boxes, labels, torch.zeros(0, 4)))
    return made


def losses(model: QueryModel, given: list[Tensor], truth: list[Targets]) -> dict[str, Tensor]:
    features = model.backbone(model.embed(given), model.grid)
    return model.head_losses(features, truth, NO_RANDOMNESS)


def test_objects_are_told_as_shares_of_the_input() -> None:
    one = Targets(torch.tensor([[8.0, 6.0, 24.0, 18.0]]), torch.tensor([2]), torch.zeros(0, 4))
    told = labels_of(one, Size(24, 32))
    assert told["boxes"].tolist() == [[0.5, 0.5, 0.5, 0.5]]
    assert told["class_labels"].tolist() == [2]


@needs_library
def test_the_losses_are_those_of_the_library() -> None:
    theirs = whole_detector(SMALL, GROUPED, groups=GROUPED.groups)
    redraw(theirs, 5)
    ours = RFDETR(SMALL, GROUPED, SQUARE)
    tensors = theirs.state_dict()
    behind = {f"queries.detr.{name}": value for name, value in tensors.items()
              if not name.startswith("model.backbone.backbone.")}  # fmt: skip
    load_into(ours, to_our_names(tensors, SMALL) | behind, "library")
    given, truth = images(2, SQUARE), targets(3, 1)
    # On the library's side an object is written down once more, not by our own code.
    labels = [
        {
            "class_labels": one.labels,
            "boxes": torch.stack(
                [
                    (one.xyxy[:, 0] + one.xyxy[:, 2]) / 64, (one.xyxy[:, 1] + one.xyxy[:, 3]) / 64,
                    (one.xyxy[:, 2] - one.xyxy[:, 0]) / 32, (one.xyxy[:, 3] - one.xyxy[:, 1]) / 32,
                ], 1,
            ),
        }
        for one in truth
    ]  # fmt: skip
    expected = theirs.train()(pixel_values=to_input(given, SQUARE, torch.device("cpu")),
                              labels=labels)  # fmt: skip
    found = losses(ours, given, truth)
    assert list(found) == ["classes", "boxes", "overlaps"]
    parts = expected.loss_dict
    boxes = sum(parts[f"loss_bbox{end}"].item() for end in ("", "_0", "_enc"))
    assert found["boxes"].item() == pytest.approx(5 * boxes, rel=1e-4)
    total = sum(part.item() for part in found.values())
    assert total == pytest.approx(expected.loss.item(), rel=1e-4)


@needs_library
@pytest.mark.parametrize(("kind", "arch"), [(RFDETR, SMALL), (LWDETR, SMALL_LW)])
def test_losses_fall_on_what_is_learnt_again_and_again(
    kind: type[QueryModel], arch: QueryArch
) -> None:
    torch.set_num_threads(1)
    model = kind(arch, GROUPED, WIDE, seed=2)
    given, truth = images(2, WIDE), targets(2, 1, size=WIDE)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    course: list[float] = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = torch.stack(list(losses(model, given, truth).values())).sum()
        loss.backward()
        optimiser.step()
        course.append(loss.item())
    assert course[-1] < 0.85 * course[0]


@needs_library
def test_images_without_objects_are_learnt() -> None:
    found = losses(RFDETR(SMALL, GROUPED, SQUARE, seed=2), images(2, SQUARE), targets(0, 0))
    assert found["boxes"] == found["overlaps"] == 0
    assert 0 < found["classes"] < 10


@needs_library
def test_a_label_of_no_class_is_refused() -> None:
    model = RFDETR(SMALL, GROUPED, SQUARE)
    truth = [Targets(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([5]), torch.zeros(0, 4))]
    with pytest.raises(UsageError, match=r"labels \[5\] reach outside 0\.\.4"):
        losses(model, images(1, SQUARE), truth)


@needs_library
def test_what_is_exported_detects_as_the_model_that_learnt() -> None:
    model = RFDETR(SMALL, GROUPED, WIDE, seed=2)
    redraw(model, 6, 0.2)
    given = images(2, WIDE)
    losses(model, given, targets(2, 1, size=WIDE))
    alone = RFDETR(SMALL, model.heads, WIDE)
    assert model.heads == QueryShape(5, 6)
    load_into(alone, model.exported(model.state_dict()), "test")
    for mine, other in zip(model(given), alone(given), strict=True):
        assert len(mine) == GROUPED.queries
        assert torch.equal(mine.xyxy, other.xyxy) and torch.equal(mine.scores, other.scores)


def test_a_shape_without_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="0 groups: give at least 1"):
        QueryShape(3, 5, groups=0)
