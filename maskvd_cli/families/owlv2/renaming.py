"""Tensors of an OWLv2 of `transformers` under our names, checked against its architecture.

The tower of texts stays out: its results, one embedding per class, stand in the file as `queries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from maskvd_cli.families.checkpoints import differences, shapes_of
from maskvd_cli.families.owlv2.archs import Owlv2Arch
from maskvd_cli.families.vitdet.renaming import CheckpointError

QUERIES, OUR_QUERIES = "queries", "class_head.queries"
_VISION = "owlv2.vision_model"
_LAYER = f"{_VISION}.encoder.layers"
_CLASS = f"{_VISION}.embeddings.class_embedding"
_POSITIONS = f"{_VISION}.embeddings.position_embedding.weight"
_PATCHES = f"{_VISION}.embeddings.patch_embedding.weight"
_QKV = tuple(f"self_attn.{part}_proj" for part in "qkv")
# Ours, and theirs, of what a layer has beside q, k and v.
_IN_LAYERS = {
    "norm1": "layer_norm1",
    "projection": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
}
_HEADS = (
    *(f"box_head.dense{number}" for number in range(3)),
    "class_head.dense0",
    "class_head.logit_shift",
    "class_head.logit_scale",
)
_AROUND = {
    "backbone.first_norm": f"{_VISION}.pre_layernorm",
    "backbone.final_norm": f"{_VISION}.post_layernorm",
    "backbone.product_norm": "layer_norm",
    **{head: head for head in _HEADS},
}
# What the library takes where a config does not say.
ABSENT = {
    "projection_dim": 512,
    "vision_config.hidden_size": 768,
    "vision_config.num_hidden_layers": 12,
    "vision_config.num_attention_heads": 12,
    "vision_config.intermediate_size": 3072,
    "vision_config.image_size": 768,
    "vision_config.patch_size": 16,
}
# Texts, what compares whole images with them, and how likely anything is an object.
_UNUSED = (
    "owlv2.text_model.", "owlv2.text_projection.", "owlv2.visual_projection.",
    "owlv2.logit_scale", "objectness_head.", f"{_VISION}.embeddings.position_ids",
)  # fmt: skip


def is_library(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors have the names of `transformers`."""
    return any(name.startswith("owlv2.") for name in tensors)


def to_our_names(
    tensors: Mapping[str, Tensor], arch: Owlv2Arch, where: object
) -> dict[str, Tensor]:
    """Return what ours has of the tensors of the library's model, and the queries beside them.

    Raises CheckpointError about `where` where there are no queries, and in the library's names for
    what is missing, unexpected or of another shape.
    """
    if QUERIES not in tensors:
        raise CheckpointError(
            f"holds no embeddings of texts under {QUERIES}, so it has no classes",
            where=where,
            remedy="give the whole folder (maskvd get owlv2-base), or add them, one row per class",
        )
    used = {name: value for name, value in tensors.items() if not name.startswith(_UNUSED)}
    problems = differences(library_shapes(arch, len(tensors[QUERIES])), shapes_of(used))
    if problems:
        raise CheckpointError(
            f"is no {arch.name}: {'; '.join(problems)}",
            where=where,
            remedy="name the model that it is of in model.name",
        )
    ours = {
        f"{our}.{kind}": used[f"{their}.{kind}"]
        for our, their in _pairs(arch)
        for kind in ("weight", "bias")
    }
    for number in range(arch.depth):
        for kind in ("weight", "bias"):
            parts = [used[f"{_LAYER}.{number}.{part}.{kind}"] for part in _QKV]
            ours[f"backbone.blocks.{number}.qkv.{kind}"] = torch.cat(parts)
    return ours | {
        "embedding.conv.weight": used[_PATCHES],
        "backbone.class_token": (used[_CLASS] + used[_POSITIONS][0])[None, None],
        "backbone.positions": used[_POSITIONS][1:].unflatten(0, tuple(arch.position_table)),
        OUR_QUERIES: used[QUERIES],
    }


def expected_config(arch: Owlv2Arch) -> dict[str, object]:
    """Return what the library's config of an architecture says, by dotted key."""
    vision = {
        "hidden_size": arch.dim,
        "num_hidden_layers": arch.depth,
        "num_attention_heads": arch.heads,
        "intermediate_size": arch.mlp_ratio * arch.dim,
        "image_size": arch.patch * arch.position_table.rows,
        "patch_size": arch.patch,
        "hidden_act": "quick_gelu",
    }
    return {
        "model_type": "owlv2",
        "projection_dim": arch.query_dim,
        **{f"vision_config.{key}": value for key, value in vision.items()},
    }


def _pairs(arch: Owlv2Arch) -> Iterator[tuple[str, str]]:
    """Yield our name and theirs of every module that is taken over as it is."""
    yield from _AROUND.items()
    for number in range(arch.depth):
        for our, their in _IN_LAYERS.items():
            yield f"backbone.blocks.{number}.{our}", f"{_LAYER}.{number}.{their}"


def library_shapes(arch: Owlv2Arch, classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what is read of the library's model by name, queries among them."""
    dim, hidden, table = arch.dim, arch.mlp_ratio * arch.dim, arch.position_table
    linear = {
        "box_head.dense0": (dim, dim),
        "box_head.dense1": (dim, dim),
        "box_head.dense2": (4, dim),
        "class_head.dense0": (arch.query_dim, dim),
        "class_head.logit_shift": (1, dim),
        "class_head.logit_scale": (1, dim),
    }
    norms = [their for our, their in _AROUND.items() if our.startswith("backbone.")]
    for number in range(arch.depth):
        name = f"{_LAYER}.{number}"
        linear |= {f"{name}.{part}": (dim, dim) for part in (*_QKV, _IN_LAYERS["projection"])}
        linear[f"{name}.{_IN_LAYERS['mlp_in']}"] = (hidden, dim)
        linear[f"{name}.{_IN_LAYERS['mlp_out']}"] = (dim, hidden)
        norms += [f"{name}.{_IN_LAYERS[norm]}" for norm in ("norm1", "norm2")]
    shapes: dict[str, tuple[int, ...]] = {
        QUERIES: (classes, arch.query_dim),
        _CLASS: (dim,),
        _POSITIONS: (1 + table.area, dim),
        _PATCHES: (dim, 3, arch.patch, arch.patch),
    }
    for name, sides in linear.items():
        shapes |= {f"{name}.weight": sides, f"{name}.bias": sides[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    return shapes
