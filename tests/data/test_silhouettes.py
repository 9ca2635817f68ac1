"""Silhouettes in pycocotools' form: there and back, of boxes, runs and polygons, and refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Silhouette
from maskvd_cli.data import silhouettes

SIZE = Size(9, 14)


def drawn_masks(seed: int, number: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((number, *SIZE)) < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_masks_come_back(seed: int) -> None:
    masks = drawn_masks(seed)
    made = silhouettes.encoded(masks)
    assert [one["size"] for one in made] == [[9, 14]] * 4
    assert np.array_equal(silhouettes.decoded(made, SIZE), masks)


def test_of_boxes_fills_whole_pixels() -> None:
    boxes = np.array([[0, 0, 14, 9], [2, 3, 5, 4], [13, 8, 14, 9]], dtype=np.float64)
    masks = np.zeros((3, *SIZE), dtype=np.bool_)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int).tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    made = silhouettes.of_boxes(boxes, SIZE)
    assert np.array_equal(silhouettes.decoded(made, SIZE), masks)
    assert np.array_equal(silhouettes.bounds(made), boxes)
    assert silhouettes.of_boxes(np.zeros((0, 4)), SIZE) == []
    assert silhouettes.bounds([]).shape == (0, 4)


def test_of_runs_counts_down_the_columns() -> None:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[2:5, 0] = True
    made = silhouettes.of_runs([2, 3, 121], SIZE)
    assert np.array_equal(silhouettes.decoded([made], SIZE)[0], mask)


def test_of_polygons_joins_them() -> None:
    square, other = [1, 1, 5, 1, 5, 4, 1, 4], [8.0, 2, 12, 2, 12, 6, 8, 6]
    mask = silhouettes.decoded([silhouettes.of_polygons([square, other], SIZE)], SIZE)[0]
    assert mask[1:4, 1:5].all() and mask[2:6, 8:12].all()
    assert mask.sum() == 3 * 4 + 4 * 4


@pytest.mark.parametrize("counts", [[2, 3], [2, -3, 127], [], [127]])
def test_runs_that_do_not_fill_the_frame_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="do not add up to the 126 pixels of 9x14"):
        silhouettes.of_runs(counts, SIZE)


@pytest.mark.parametrize("polygons", [[], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]]])
def test_polygons_without_area_are_refused(polygons: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="less than three corners"):
        silhouettes.of_polygons(polygons, SIZE)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (b"~~", "counts that are none"),
        (b"o" * 40 + b"0", "counts that are none"),
        # Ends in the middle of a run: pycocotools would read beyond its end.
        (b"0P", "counts that are none"),
        (b"\x00", "counts that are none"),
        (b"oo0oo0", "Invalid RLE"),
        (b"05", "end before the 126 pixels of 9x14"),
        (b"", "end before the 126 pixels of 9x14"),
    ],
)
def test_damaged_counts_are_refused(counts: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        silhouettes.checked(Silhouette(size=[9, 14], counts=counts), SIZE)


@pytest.mark.parametrize("fill", [0, 1])
def test_whole_silhouettes_are_not_refused(fill: int) -> None:
    masks = np.concatenate([drawn_masks(3), np.full((1, *SIZE), fill, dtype=np.bool_)])
    made = silhouettes.encoded(masks)
    assert [silhouettes.checked(one, SIZE) for one in made] == made


def test_a_silhouette_of_another_frame_is_refused() -> None:
    (made,) = silhouettes.encoded(drawn_masks(0, 1))
    with pytest.raises(ValueError, match="is of 9x14, the frame of 9x15"):
        silhouettes.decoded([made], Size(9, 15))


def test_overlaps_are_those_of_pixels() -> None:
    ours, theirs = drawn_masks(1, 3), drawn_masks(2, 2)
    both = (ours[:, None] & theirs[None]).sum((2, 3))
    either = (ours[:, None] | theirs[None]).sum((2, 3))
    coded = silhouettes.encoded(ours), silhouettes.encoded(theirs)
    assert np.array_equal(silhouettes.overlaps(*coded), both / either)
    own = silhouettes.overlaps(*coded, of_own_area=True)
    assert np.array_equal(own, both / ours.sum((1, 2))[:, None])
    assert silhouettes.overlaps([], coded[1]).shape == (0, 2)
    assert silhouettes.overlaps(coded[0], []).shape == (3, 0)


def test_without_pycocotools_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(MaskvdError, match=r"pip install 'maskvd\[masks\]'"):
        silhouettes.encoded(drawn_masks(0))
