"""Object heatmap: how often each pixel of a canvas lies inside an annotated box.

MaskVD, section 3.2, Algorithm 1. The text assigns ones; the authors' published KITTI heatmap adds
one per box, which is what `accumulate` does. A box counts the pixels
`[int(y1):int(y2), int(x1):int(x2)]`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.core.size import Size


def pixel_boxes(boxes: Tensor, canvas: Size) -> Tensor:
    """Truncate corners to integers and clamp them to the canvas: (n, 4) float to (n, 4) int64.

    Corners truncate towards zero; right and bottom are exclusive.
    """
    whole = boxes.to(torch.float64).trunc().to(torch.int64)
    limits = torch.tensor([canvas.cols, canvas.rows, canvas.cols, canvas.rows])
    return torch.minimum(whole.clamp(min=0), limits)


def _cover(corners: Tensor, canvas: Size) -> Tensor:
    """Return how many of the (n, 4) int64 end-exclusive boxes cover each cell: (rows, cols) int64.

    Each box adds +1, -1, -1, +1 at its four corners; sums along both axes then fill it, so the
    cost is n + rows * cols whatever the boxes' areas.
    """
    rows, cols = canvas.rows + 1, canvas.cols + 1
    x1, y1, x2, y2 = corners.unbind(1)
    rising = torch.cat([y1 * cols + x1, y2 * cols + x2])
    falling = torch.cat([y1 * cols + x2, y2 * cols + x1])
    steps = torch.bincount(rising, minlength=rows * cols)
    steps -= torch.bincount(falling, minlength=rows * cols)
    return steps.view(rows, cols).cumsum(0).cumsum(1)[:-1, :-1]


def accumulate(boxes: Tensor, canvas: Size) -> Tensor:
    """Count every box at every pixel it covers.

    `boxes` (n, 4) xyxy in canvas pixels, parts outside are cut; returns (rows, cols) float64.
    Boxes whose right or bottom lies before their left or top after truncation cover nothing.
    """
    corners = pixel_boxes(boxes, canvas)
    ordered = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return _cover(corners[ordered], canvas).to(torch.float64)


def accumulate_union(boxes: Tensor, frame_of: Tensor, canvas: Size) -> Tensor:
    """Count every pixel once per frame in which at least one box covers it.

    `boxes` (n, 4) xyxy in canvas pixels, `frame_of` (n,) int64, the frame each box belongs to;
    returns (rows, cols) float64. The union of a frame is cut into disjoint boxes, which are
    then summed.
    """
    corners = pixel_boxes(boxes, canvas)
    order = torch.argsort(frame_of, stable=True)
    _, counts = torch.unique_consecutive(frame_of[order], return_counts=True)
    pieces = [_disjoint(frame) for frame in corners[order].split(counts.tolist())]
    joined = torch.cat(pieces) if pieces else corners
    return accumulate(joined, canvas)


def _disjoint(corners: Tensor) -> Tensor:
    """Cut overlapping (n, 4) int64 boxes along all their edges; return the covered cells once."""
    x1, y1, x2, y2 = (side.contiguous() for side in corners.unbind(1))
    xs, ys = torch.unique(torch.cat([x1, x2])), torch.unique(torch.cat([y1, y2]))
    ordered = (x2 > x1) & (y2 > y1)
    cells = torch.stack(
        [
            torch.searchsorted(edges, side)
            for edges, side in zip((xs, ys) * 2, (x1, y1, x2, y2), strict=True)
        ],
        dim=1,
    )
    covered = _cover(cells[ordered], Size(len(ys) - 1, len(xs) - 1)) > 0
    row, col = covered.nonzero(as_tuple=True)
    return torch.stack([xs[col], ys[row], xs[col + 1], ys[row + 1]], dim=1)
