"""Heatmap to static mask, outside of a sweep: what `maskvd mask` and its picture show."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskvd_cli import __version__
from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.core.placement import check_frame, check_patch
from maskvd_cli.core.size import Size
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.masks.static import Align, pad_to, static_mask
from maskvd_cli.scenes.heatmap import ON_INPUT, input_scores, native_scores

PATCH = 16  # of every published detector here


@dataclass(frozen=True)
class StaticMask:
    """Token rows x columns: `mask` bool and `scores` float64.

    `content` is the frame's size inside the input, None where frames differ (fit); `real` tells
    which tokens are not wholly padding, all of them where that is unknown.
    """

    mask: NDArray[np.bool_]
    scores: NDArray[np.float64]
    content: Size | None
    input: Size
    patch: int = PATCH

    @property
    def real(self) -> NDArray[np.bool_]:
        """Tokens that the frame reaches, token rows x columns."""
        tokens = real_tokens(self.content or self.input, self.input, self.patch)
        return tokens.view(*self.input.tiles(self.patch)).numpy()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a mask file holds: mask, scores, and indices of kept tokens, raster order."""
        return {"mask": self.mask, "scores": self.scores, "indices": np.flatnonzero(self.mask)}


def preview(counts: NDArray[np.float64], keep_rate: float, patch: int = PATCH) -> StaticMask:
    """Return the mask of a canvas's own regions, for the heatmap's picture."""
    size = Size(*counts.shape)
    grid = size.tiles(patch)
    canvas = Size(grid.rows * patch, grid.cols * patch)
    scores = input_scores(pad_to(torch.from_numpy(counts), canvas), patch)
    return _masked(scores, keep_rate, size, canvas, patch)


def make_static_mask(  # noqa: PLR0913 - the choices of the command
    counts: NDArray[np.float64],
    made_from: Mapping[str, Any],
    file: Path,
    *,
    keep_rate: float,
    frame: Size,
    input_size: Size,
    align: Align,
    patch: int = PATCH,
) -> StaticMask:
    """Return the int(keep_rate * N) tokens with the highest scores of the heatmap in `file`.

    `made_from` is its metadata. A heatmap on the input states its frame and fixes the input's size.
    Raises UsageError for sizes that do not fit, ResultError for unusable metadata.
    """
    check_patch(input_size, patch)
    heatmap = torch.from_numpy(counts)
    if made_from.get("coordinates") == ON_INPUT:
        size = Size(*counts.shape)
        if size != input_size:
            raise UsageError(f"{file} lies on an input of {size}", remedy=f"use --input {size}")
        stated = made_from.get("frame")
        content = None if stated == "fit" else _size(made_from, "frame", file)
        return _masked(input_scores(heatmap, patch), keep_rate, content, input_size, patch)
    check_frame(frame, input_size)
    image = _size(made_from, "image_size", file) if align == "image" else None
    scores = native_scores(heatmap, frame, input_size, patch, image)
    return _masked(scores, keep_rate, frame, input_size, patch)


def mask_metadata(
    made: StaticMask, keep_rate: float, align: Align, made_from: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a reader of the mask file needs to know, as JSON values."""
    return {
        "keep_rate": keep_rate,
        "tokens": int(made.mask.sum()),
        "frame": str(made.content or "fit"),
        "input": str(made.input),
        "patch": made.patch,
        "align": ON_INPUT if made_from.get("coordinates") == ON_INPUT else align,
        "heatmap": dict(made_from),
        "tool_version": __version__,
    }


def _masked(
    scores: torch.Tensor, keep_rate: float, content: Size | None, input_size: Size, patch: int
) -> StaticMask:
    grid = input_size.tiles(patch)
    mask = static_mask(scores, keep_rate).view(*grid).numpy()
    return StaticMask(mask, scores.view(*grid).numpy(), content, input_size, patch)


def _size(metadata: Mapping[str, Any], key: str, file: Path) -> Size:
    try:
        return Size.parse(str(metadata[key]))
    except (KeyError, ValueError) as error:
        raise ResultError(
            f"metadata has no usable {key}",
            where=file,
            remedy="make the heatmap again with `maskvd heatmap`",
        ) from error
