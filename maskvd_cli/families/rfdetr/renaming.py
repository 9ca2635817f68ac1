"""The state dict of transformers' detector under our names: every tensor accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed

_ENCODER = "model.backbone.backbone."
_OURS = "queries.detr."
_QUERY_TABLES = ("model.query_feat.weight", "model.reference_point_embed.weight")
# Each group of queries has these of its own, under its number.
_GROUPED = ("enc_output", "enc_output_norm", "enc_out_bbox_embed", "enc_out_class_embed")
_KINDS = ("weight", "bias")
# Earlier, and today's, of attention: published files have the earlier ones.
_EARLIER = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
_EARLIER_NAME = re.compile("|".join(map(re.escape, _EARLIER)))


def is_library(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors have the names of transformers."""
    return any(name.startswith("model.") for name in tensors)


def as_today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of any version of transformers under today's names, at least float32.

    Layer scales are folded, which halves of numbers do not stand.
    """
    return {
        _EARLIER_NAME.sub(lambda found: _EARLIER[found[0]], name)
        if name.startswith(_ENCODER)
        else name: tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor
        for name, tensor in tensors.items()
    }


@dataclass(frozen=True)
class PartNames:
    """What the library calls the parts of a kind of backbone.

    `patches` and `class_token` stand below `embeddings`. `layers` of a block by our names, without
    q, k and v; `scales`: the layer scale behind a layer of ours. `biased`: which of q, k and v have
    a bias. `unused`: what only training has, below `embeddings`.
    """

    patches: str
    layers: Mapping[str, str]
    scales: Mapping[str, str]
    class_token: str | None = None
    final_norm: str | None = None
    biased: str = "qkv"
    unused: tuple[str, ...] = ()


RF_DETR = PartNames(
    patches="patch_embeddings.projection",
    layers={
        "norm1": "norm1",
        "norm2": "norm2",
        "mlp_in": "mlp.fc1",
        "projection": "attention.o_proj",
        "mlp_out": "mlp.fc2",
    },
    scales={"projection": "layer_scale1.lambda1", "mlp_out": "layer_scale2.lambda1"},
    class_token="cls_token",
    final_norm="layernorm",
    unused=("mask_token",),
)


def to_our_names(
    tensors: Mapping[str, Tensor],
    arch: QueryArch,
    *,
    where: object = None,
    naming: PartNames = RF_DETR,
) -> dict[str, Tensor]:
    """Return a detector of transformers under our names, as `QueryModel` loads it.

    Queries, keys and values are stacked; each layer scale g is folded into the layer before it,
    diag(g) W and g b; the position of the class token is added to it; the table of positions
    becomes (rows, cols, D). Groups of queries beyond the first, which only training has, and the
    mask token are dropped. Raises CheckpointError about `where` for unknown and missing names, and
    for a table that is not square.
    """
    found = dict(tensors)
    for name in naming.unused:
        found.pop(f"{_ENCODER}embeddings.{name}", None)
    try:
        renamed = _backbone(found, arch, naming)
    except KeyError as error:
        raise CheckpointError(
            f"is no {arch.name} of transformers: no {error.args[0]}",
            where=where,
            remedy="give the state dict of the whole detector, of this architecture",
        ) from error
    unknown = [name for name in found if name.startswith(_ENCODER)]
    if unknown:
        raise CheckpointError(
            f"is no {arch.name} of transformers: {len(unknown)} unknown: {listed(unknown)}",
            where=where,
            remedy="give the state dict of this architecture",
        )
    renamed["backbone.positions"] = _laid_out(renamed["backbone.positions"], where)
    return renamed | _behind(found)


def _backbone(found: dict[str, Tensor], arch: QueryArch, naming: PartNames) -> dict[str, Tensor]:
    """Take the backbone's tensors out of `found`. Raises KeyError for a missing one.

    Where no class token reads it, the first position is that of one in pretraining alone.
    """
    embeddings = f"{_ENCODER}embeddings."
    made = {
        f"embedding.conv.{kind}": found.pop(f"{embeddings}{naming.patches}.{kind}")
        for kind in _KINDS
    }
    positions = found.pop(f"{embeddings}position_embeddings")
    if naming.class_token is not None:
        token = found.pop(embeddings + naming.class_token)
        made["backbone.class_token"] = token + positions[:, :1]
    made["backbone.positions"] = positions[0, 1:]
    if naming.final_norm is not None:
        for kind in _KINDS:
            name = f"{_ENCODER}{naming.final_norm}.{kind}"
            made[f"backbone.final_norm.{kind}"] = found.pop(name)
    for block in range(arch.depth):
        theirs = f"{_ENCODER}encoder.layer.{block}."
        for name, tensor in _block(found, theirs, naming):
            made[f"backbone.blocks.{block}.{name}"] = tensor
    return made


def _block(
    found: dict[str, Tensor], theirs: str, naming: PartNames
) -> Iterator[tuple[str, Tensor]]:
    """Yield one block's tensors by our names in it."""

    def take(name: str) -> Tensor:
        return found.pop(theirs + name)

    scales = {ours: take(name) for ours, name in naming.scales.items()}
    for kind in _KINDS:
        for ours, layer in naming.layers.items():
            weights, scale = take(f"{layer}.{kind}"), scales.get(ours)
            if scale is not None:
                weights = weights * (scale[:, None] if weights.ndim > 1 else scale)
            yield f"{ours}.{kind}", weights
    parts = [f"attention.{part}_proj" for part in "qkv"]
    yield "qkv.weight", torch.cat([take(f"{part}.weight") for part in parts])
    biases = {part: take(f"attention.{part}_proj.bias") for part in naming.biased}
    none = torch.zeros_like(next(iter(biases.values())))
    yield "qkv.bias", torch.cat([biases.get(part, none) for part in "qkv"])


def _behind(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what stands behind the backbone, the first group of queries alone."""
    groups = sum(name.startswith("model.enc_output.") for name in found) // len(_KINDS)
    made: dict[str, Tensor] = {}
    for name, tensor in found.items():
        words = name.split(".")
        if words[0] == "model" and words[1] in _GROUPED and words[2] != "0":
            continue
        first = len(tensor) // max(groups, 1) if name in _QUERY_TABLES else None
        made[_OURS + name] = tensor if first is None else tensor[:first]
    return made


def _laid_out(rows: Tensor, where: object) -> Tensor:
    side = isqrt(len(rows))
    if side < 1 or side * side != len(rows):
        raise CheckpointError(
            f"its table has {len(rows)} positions, which make up no square",
            where=where,
            remedy="give the whole checkpoint",
        )
    return rows.unflatten(0, (side, side))
