"""Window partition: an inverse exists, padding lies at the bottom and right, indices agree."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.windows import partition, unpartition, window_layout, window_places

SIDES = st.integers(1, 9)
GRIDS = st.builds(Size, SIDES, SIDES)


@given(GRIDS, GRIDS, st.integers(1, 3), st.integers(1, 4))
def test_unpartition_inverts_partition(grid: Size, window: Size, batch: int, width: int) -> None:
    tokens = torch.arange(batch * grid.area * width).view(batch, grid.area, width)
    windows = partition(tokens, grid, window, torch.full((width,), -1))
    assert torch.equal(unpartition(windows, grid, window), tokens)
    count = -(-grid.rows // window.rows) * -(-grid.cols // window.cols)
    assert windows.shape == (batch * count, window.area, width)
    assert int((windows == -1).sum()) == batch * width * (count * window.area - grid.area)


def test_windows_and_their_tokens_come_in_raster_order() -> None:
    tokens = torch.arange(6).view(1, 6, 1)
    windows = partition(tokens, Size(2, 3), Size(2, 2), torch.tensor([9])).squeeze(-1)
    assert windows.tolist() == [[0, 1, 3, 4], [2, 9, 5, 9]]


def test_without_a_fill_padding_is_zero() -> None:
    windows = partition(torch.ones(1, 1, 1), Size(1, 1), Size(2, 2)).flatten()
    assert windows.tolist() == [1, 0, 0, 0]


@given(GRIDS, GRIDS)
def test_layout_and_places_describe_the_same_windows(grid: Size, window: Size) -> None:
    layout, places = window_layout(grid, window), window_places(grid, window)
    found = layout[places[:, 0], places[:, 1]]
    assert found.tolist() == list(range(grid.area))
    assert int((layout == grid.area).sum()) == layout.numel() - grid.area
