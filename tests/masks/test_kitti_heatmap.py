"""The authors' published KITTI heatmap, from the real labels."""

from __future__ import annotations

from pathlib import Path

import torch

from maskvd_cli.core.size import Size
from maskvd_cli.data.gather import gather
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.masks.heatmap import accumulate, accumulate_union

CANVAS = Size(384, 1280)


def test_sum_and_maximum_are_the_published_ones(kitti_root: Path) -> None:
    gathered = gather(Kitti(kitti_root, "train-half", "raw"), "all")
    counts = accumulate(torch.from_numpy(gathered.xyxy), CANVAS)
    assert gathered.frames == 3999
    assert int(counts.sum()) == 300_769_680
    assert int(counts.max()) == 3659


def test_corner_differences_equal_a_slice_per_box(kitti_root: Path) -> None:
    gathered = gather(Kitti(kitti_root, "train-half", "raw"), "all")
    expected = torch.zeros(tuple(CANVAS), dtype=torch.float64)
    for x1, y1, x2, y2 in gathered.xyxy:
        expected[int(y1) : int(y2), int(x1) : int(x2)] += 1
    assert torch.equal(accumulate(torch.from_numpy(gathered.xyxy), CANVAS), expected)


def test_the_union_per_frame_correlates_as_documented(kitti_root: Path) -> None:
    gathered = gather(Kitti(kitti_root, "train-half", "raw"), "all")
    boxes, frame_of = torch.from_numpy(gathered.xyxy), torch.from_numpy(gathered.frame_of)
    both = torch.stack(
        [
            accumulate(boxes, CANVAS).flatten(),
            accumulate_union(boxes, frame_of, CANVAS).flatten(),
        ]
    )
    assert round(float(torch.corrcoef(both)[0, 1]), 3) == 0.993
