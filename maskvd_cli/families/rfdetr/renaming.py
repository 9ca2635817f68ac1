"""The state dict of transformers' detector under our names: every tensor accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isqrt

import torch
from torch import Tensor

from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed

_ENCODER = "model.backbone.backbone."
_EMBEDDINGS = f"{_ENCODER}embeddings."
_PATCHES = f"{_EMBEDDINGS}patch_embeddings.projection"
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


def to_our_names(
    tensors: Mapping[str, Tensor], arch: QueryArch, *, where: object = None
) -> dict[str, Tensor]:
    """Return a detector of transformers under our names, as `RFDETR` loads it.

    Queries, keys and values are stacked; each layer scale g is folded into the layer before it,
    diag(g) W and g b; the position of the class token is added to it; the table of positions
    becomes (rows, cols, D). Groups of queries beyond the first, which only training has, and the
    mask token are dropped. Raises CheckpointError about `where` for unknown and missing names, and
    for a table that is not square.
    """
    found = dict(tensors)
    found.pop(f"{_EMBEDDINGS}mask_token", None)
    try:
        renamed = _backbone(found, arch)
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


def _backbone(found: dict[str, Tensor], arch: QueryArch) -> dict[str, Tensor]:
    """Take the backbone's tensors out of `found`. Raises KeyError for a missing one."""
    made = {f"embedding.conv.{kind}": found.pop(f"{_PATCHES}.{kind}") for kind in _KINDS}
    positions = found.pop(f"{_EMBEDDINGS}position_embeddings")
    made["backbone.class_token"] = found.pop(f"{_EMBEDDINGS}cls_token") + positions[:, :1]
    made["backbone.positions"] = positions[0, 1:]
    for kind in _KINDS:
        made[f"backbone.final_norm.{kind}"] = found.pop(f"{_ENCODER}layernorm.{kind}")
    for block in range(arch.depth):
        theirs = f"{_ENCODER}encoder.layer.{block}."
        for name, tensor in _block(found, theirs):
            made[f"backbone.blocks.{block}.{name}"] = tensor
    return made


def _block(found: dict[str, Tensor], theirs: str) -> Iterator[tuple[str, Tensor]]:
    """Yield one block's tensors by our names in it."""

    def take(name: str) -> Tensor:
        return found.pop(theirs + name)

    scales = {"projection": take("layer_scale1.lambda1"), "mlp_out": take("layer_scale2.lambda1")}
    scaled = {"projection": "attention.o_proj", "mlp_out": "mlp.fc2"}
    for kind in _KINDS:
        for norm in ("norm1", "norm2"):
            yield f"{norm}.{kind}", take(f"{norm}.{kind}")
        yield f"qkv.{kind}", torch.cat([take(f"attention.{part}_proj.{kind}") for part in "qkv"])
        yield f"mlp_in.{kind}", take(f"mlp.fc1.{kind}")
        for ours, layer in scaled.items():
            weights, scale = take(f"{layer}.{kind}"), scales[ours]
            yield f"{ours}.{kind}", weights * (scale[:, None] if weights.ndim > 1 else scale)


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
