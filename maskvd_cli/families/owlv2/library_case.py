"""Ours and the library's OWLv2, side by side on small images."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.library_cases import (
    SEED,
    ComparedPart,
    corners,
    drawn_images,
    library_model,
)
from maskvd_cli.families.owlv2.archs import owlv2
from maskvd_cli.families.owlv2.model import CLIP, Owlv2
from maskvd_cli.families.owlv2.renaming import QUERIES, to_our_names
from maskvd_cli.families.owlv2.shape import QueriesShape
from maskvd_cli.families.preprocess import to_input

# Of another grid than the table.
_INPUT = Size(40, 40)
_SHAPE = QueriesShape(4)
_ARCH = owlv2(
    "owlv2-case", "", dim=16, heads=2, depth=3, patch=8, table=Size(4, 4), query_dim=12,
)  # fmt: skip
_SPREAD = 0.3


def owlv2_parts(dtype: torch.dtype) -> Iterator[ComparedPart]:
    """Yield the features, scores and boxes of all tokens, ours and theirs; texts are drawn."""
    theirs: Any = library_model(_library, _SPREAD).to(dtype)
    generator = torch.Generator().manual_seed(SEED)
    queries = torch.randn(_SHAPE.classes, _ARCH.query_dim, generator=generator).to(dtype)
    ours = Owlv2(_ARCH, _SHAPE, _INPUT).requires_grad_(False).eval().to(dtype)
    tensors = {**theirs.state_dict(), QUERIES: queries}
    load_into(ours, to_our_names(tensors, _ARCH, "library"), "library")
    images = drawn_images(2, _INPUT)
    pixels = to_input(images, _INPUT, torch.device("cpu"), CLIP).to(dtype)
    mapped, _ = theirs.image_embedder(pixels, interpolate_pos_encoding=True)
    tokens = mapped.flatten(1, 2)
    logits, _ = theirs.class_predictor(tokens, queries.expand(len(tokens), -1, -1))
    found = ours.backbone(ours.embed(images), ours.grid)
    boxes, scores = ours.scored(found)
    placed = theirs.box_predictor(tokens, mapped, interpolate_pos_encoding=True)
    yield ComparedPart(f"features after {_ARCH.depth} blocks", found, tokens)
    yield ComparedPart("scores", scores, logits.sigmoid())
    yield ComparedPart("boxes", boxes / _INPUT.rows, corners(placed))


def _library() -> Any:
    """Return the library's model of the same numbers, with a small tower of texts."""
    transformers = importlib.import_module("transformers")
    vision = {
        "hidden_size": _ARCH.dim,
        "intermediate_size": _ARCH.mlp_ratio * _ARCH.dim,
        "num_hidden_layers": _ARCH.depth,
        "num_attention_heads": _ARCH.heads,
        "image_size": _ARCH.position_table.rows * _ARCH.patch,
        "patch_size": _ARCH.patch,
    }
    text = {
        "hidden_size": _ARCH.query_dim,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
        "bos_token_id": 48,
        "eos_token_id": 49,
    }
    config = transformers.Owlv2Config(
        text_config=text, vision_config=vision, projection_dim=_ARCH.query_dim
    )
    return transformers.Owlv2ForObjectDetection(config)
