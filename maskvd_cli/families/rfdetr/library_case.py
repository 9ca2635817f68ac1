"""Ours and the library's detector with queries, side by side on small images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.library_cases import (
    ComparedPart,
    corners,
    drawn_images,
    library_model,
)
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.archs import QueryArch, rfdetr
from maskvd_cli.families.rfdetr.detector import RFDETR, QueryModel
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.renaming import to_our_names
from maskvd_cli.families.rfdetr.shape import QueryShape

# Square, since the library cuts other grids wrongly; of fewer tokens than the table, so that it
# matters how positions are resized.
_INPUT = Size(24, 24)
_SHAPE = QueryShape(classes=5, queries=12)
_ARCH = rfdetr(
    "rfdetr-case", "", side=8, decoder_layers=2, dim=24, heads=3, taps=(1, 2, 4), patch=4,
    channels=32, hidden=40,
)  # fmt: skip
# Of parameters: outputs differ much, and float32 keeps its digits.
_SPREAD = 0.15


def rfdetr_parts(dtype: torch.dtype) -> Iterator[ComparedPart]:
    """Yield what both compute of RF-DETR."""
    return query_parts(RFDETR, _ARCH, to_our_names, dtype)


def query_parts(
    kind: type[QueryModel],
    arch: QueryArch,
    renamed: Callable[[Mapping[str, Tensor], QueryArch], dict[str, Tensor]],
    dtype: torch.dtype,
) -> Iterator[ComparedPart]:
    """Yield the features at every depth, scores and boxes of all queries, ours and theirs."""
    theirs: Any = library_model(
        lambda: whole_detector(arch, _SHAPE, groups=2, library=kind.library), _SPREAD
    ).to(dtype)
    ours = kind(arch, _SHAPE, _INPUT).requires_grad_(False).eval().to(dtype)
    load_into(ours, renamed(theirs.state_dict(), arch), kind.library.kind)
    images = drawn_images(2, _INPUT)
    pixels = to_input(images, _INPUT, torch.device("cpu")).to(dtype)
    maps = theirs.model.backbone.backbone(pixels).feature_maps
    expected = theirs(pixel_values=pixels)
    features = ours.backbone(ours.embed(images), ours.grid)
    logits, boxes = ours.predicted(features)
    for tap, found, map_of_one in zip(
        arch.taps, features.split(arch.dim, dim=-1), maps, strict=True
    ):
        yield ComparedPart(
            f"features after {tap} blocks", found, map_of_one.flatten(2).transpose(1, 2)
        )
    yield ComparedPart("scores", logits.sigmoid(), expected.logits.sigmoid())
    yield ComparedPart("boxes", corners(boxes), corners(expected.pred_boxes))
