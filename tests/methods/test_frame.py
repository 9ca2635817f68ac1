"""What a method knows of a clip: masks of its boxes, computed once for all points of a margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.dynamic import dynamic_masks
from maskvd_cli.methods import frame as module
from maskvd_cli.methods.frame import ClipView
from maskvd_cli.methods.masked_costs import counts_of

INPUT = Size(48, 80)


def view() -> ClipView:
    drawn = torch.Generator().manual_seed(0)
    start = torch.rand(9, 2, generator=drawn, dtype=torch.float64) * 40
    sides = torch.rand(9, 2, generator=drawn, dtype=torch.float64) * 20
    frame_of = torch.tensor([0, 0, 1, 2, 2, 2, 4, 5, 5])
    return ClipView(7, INPUT, 16, torch.cat([start, start + sides], 1), frame_of)


def test_masks_are_those_of_certain_boxes_however_often_they_are_asked_for() -> None:
    clip = view()
    assert clip.boxes is not None and clip.frame_of is not None
    for margin in (0, 5, 0, 5):
        expected = dynamic_masks(clip.boxes, clip.frame_of, 7, INPUT, 16, margin=margin)
        masks = clip.touched(margin, "some")
        assert masks.dtype == torch.bool and torch.equal(masks, expected)
        masks.fill_(True)


@pytest.mark.parametrize("order", [range(9), [8, 3, 0, 5, 1, 7, 2, 6, 4]])
def test_objects_are_those_of_the_frame_in_their_order(order: Sequence[int]) -> None:
    clip = view()
    assert clip.boxes is not None and clip.frame_of is not None
    boxes, frame_of = clip.boxes[list(order)], clip.frame_of[list(order)]
    mixed = replace(clip, boxes=boxes, frame_of=frame_of)
    for position in range(7):
        found = mixed.objects(position)
        assert found is not None and torch.equal(found, boxes[frame_of == position])
    assert replace(clip, boxes=None).objects(0) is None


def test_masks_are_made_once_for_all_copies_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def counted(*args: Tensor, margin: int) -> Tensor:
        made.append(margin)
        return dynamic_masks(*args, margin=margin)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "dynamic_masks", counted)
    clip = view()
    scored = replace(clip, region_scores=torch.zeros(15, dtype=torch.float64))
    for margin in (0, 1, 2, 3):
        clip.touched(margin, "some")
        scored.touched(margin, "other")
    assert made == [0, 1, 2, 3]
    clip.touched(4, "some")
    clip.touched(1, "some")
    clip.touched(0, "some")
    assert made == [0, 1, 2, 3, 4, 0]


def test_without_boxes_there_are_no_masks() -> None:
    with pytest.raises(UsageError, match="some needs annotated frames"):
        ClipView(7, INPUT, 16).touched(0, "some")


def test_kept_tokens_are_counted_exactly() -> None:
    kept = torch.rand(5, 1764, generator=torch.Generator().manual_seed(1)) > 0.4
    groups = torch.nn.functional.one_hot(torch.arange(1764) % 7)
    counts = counts_of(kept, groups)
    assert counts.dtype == torch.int64
    assert torch.equal(counts.sum(1), kept.sum(1))
    assert counts[:, 3].tolist() == kept[:, 3::7].sum(1).tolist()
