"""Ours and the library's YOLOS, side by side on small images."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.library_cases import (
    ComparedPart,
    corners,
    drawn_images,
    library_model,
)
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.yolos.archs import yolos
from maskvd_cli.families.yolos.model import Yolos
from maskvd_cli.families.yolos.renaming import to_our_names
from maskvd_cli.families.yolos.shape import HeadsShape

# Positions between blocks and a table of another grid: what the smaller models do without.
_INPUT = Size(40, 40)
_SHAPE = HeadsShape(4)
_ARCH = yolos(
    "yolos-case", "", dim=16, heads=2, depth=3, patch=8, table=Size(3, 4), detections=5,
    mid_positions=True,
)  # fmt: skip
_SPREAD = 0.3


def yolos_parts(dtype: torch.dtype) -> Iterator[ComparedPart]:
    """Yield the features, scores and boxes of all detection tokens, ours and theirs."""
    transformers = importlib.import_module("transformers")
    config = transformers.YolosConfig(
        hidden_size=_ARCH.dim,
        num_hidden_layers=_ARCH.depth,
        num_attention_heads=_ARCH.heads,
        intermediate_size=_ARCH.mlp_ratio * _ARCH.dim,
        image_size=[side * _ARCH.patch for side in _ARCH.position_table],
        patch_size=_ARCH.patch,
        num_detection_tokens=_ARCH.detections,
        use_mid_position_embeddings=_ARCH.mid_positions,
        num_labels=_SHAPE.classes,
    )
    theirs = library_model(lambda: transformers.YolosForObjectDetection(config), _SPREAD).to(dtype)
    ours = Yolos(_ARCH, _SHAPE, _INPUT).requires_grad_(False).eval().to(dtype)
    load_into(ours, to_our_names(theirs.state_dict(), _ARCH, "library"), "library")
    images = drawn_images(2, _INPUT)
    expected = theirs(to_input(images, _INPUT, torch.device("cpu")).to(dtype))
    features = ours.backbone(ours.embed(images), ours.grid)
    boxes, scores = ours.scored(features)
    yield ComparedPart(
        f"features after {_ARCH.depth} blocks",
        features,
        expected.last_hidden_state[:, -_ARCH.detections :],
    )
    yield ComparedPart("scores", scores, expected.logits.softmax(-1)[..., :-1])
    yield ComparedPart("boxes", boxes / _INPUT.rows, corners(expected.pred_boxes))
