"""Tensors of a YOLOS of `transformers` under our names, checked against its architecture.

q, k and v are stacked, and the positions of class token and detection tokens added to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from maskvd_cli.families.checkpoints import differences, shapes_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.yolos.archs import YolosArch

_LAYER = "vit.encoder.layer"
_MID = "vit.encoder.interpolation.mid_position_embeddings"
_POSITIONS = "vit.embeddings.position_embeddings"
_CLASS, _DETECTIONS = "vit.embeddings.cls_token", "vit.embeddings.detection_tokens"
_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
_HEADS = ("class_labels_classifier", "bbox_predictor")
# Ours, and theirs, of what a layer has beside q, k and v.
_IN_LAYERS = {
    "norm1": "layernorm_before",
    "projection": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
}
_AROUND = {
    "embedding.conv": "vit.embeddings.patch_embeddings.projection",
    "backbone.final_norm": "vit.layernorm",
    **{
        f"{head}.layers.{number}": f"{head}.layers.{number}"
        for head in _HEADS
        for number in range(3)
    },
}
CLASSES = "class_labels_classifier.layers.2.bias"
# What published files call them.
_EARLIER_MID = "vit.encoder.mid_position_embeddings"
# What the library takes where a config does not say.
ABSENT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "patch_size": 16,
    "num_detection_tokens": 100,
    "use_mid_position_embeddings": True,
}


def is_library(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors have the names of `transformers`."""
    return any(name.startswith("vit.") for name in tensors)


def to_our_names(
    tensors: Mapping[str, Tensor], arch: YolosArch, where: object
) -> dict[str, Tensor]:
    """Return all tensors of the library's model as ours has them, those of earlier versions, too.

    Raises CheckpointError about `where`, in the library's names, for what is missing, unexpected or
    of another shape.
    """
    tensors = dict(tensors)
    if _EARLIER_MID in tensors:
        tensors.setdefault(_MID, tensors.pop(_EARLIER_MID))
    problems = differences(library_shapes(arch, outputs_of(tensors)), shapes_of(tensors))
    if problems:
        raise CheckpointError(
            f"is no {arch.name}: {'; '.join(problems)}",
            where=where,
            remedy="name the model that it is of in model.name",
        )
    ours = {
        f"{our}.{kind}": tensors[f"{their}.{kind}"]
        for our, their in _pairs(arch)
        for kind in ("weight", "bias")
    }
    for number in range(arch.depth):
        for kind in ("weight", "bias"):
            parts = [tensors[f"{_LAYER}.{number}.{part}.{kind}"] for part in _QKV]
            ours[f"backbone.blocks.{number}.qkv.{kind}"] = torch.cat(parts)
    return ours | _placed(tensors, arch)


def outputs_of(tensors: Mapping[str, Tensor]) -> int:
    """Return how many outputs a detection token has: its classes and no object; at least 1."""
    return len(tensors[CLASSES]) if CLASSES in tensors and tensors[CLASSES].dim() == 1 else 1


def expected_config(arch: YolosArch) -> dict[str, object]:
    """Return what the library's config of an architecture says, by key."""
    return {
        "model_type": "yolos",
        "hidden_size": arch.dim,
        "num_hidden_layers": arch.depth,
        "num_attention_heads": arch.heads,
        "intermediate_size": arch.mlp_ratio * arch.dim,
        "patch_size": arch.patch,
        "num_detection_tokens": arch.detections,
        "use_mid_position_embeddings": arch.mid_positions,
        "qkv_bias": True,
        "hidden_act": "gelu",
    }


def _placed(tensors: Mapping[str, Tensor], arch: YolosArch) -> dict[str, Tensor]:
    """Return positions, and the tokens that have none of the grid with theirs added."""
    lead, table, trail = _split(tensors[_POSITIONS][0], arch)
    ours = {
        "backbone.positions": table,
        "backbone.class_token": tensors[_CLASS] + lead,
        "backbone.detection_tokens": tensors[_DETECTIONS] + trail,
    }
    if arch.mid_positions:
        parts = _split(tensors[_MID][:, 0], arch)
        names = ("lead", "grid", "trail")
        ours |= {
            f"backbone.mid_positions.{name}": part for name, part in zip(names, parts, strict=True)
        }
    return ours


def _split(positions: Tensor, arch: YolosArch) -> tuple[Tensor, Tensor, Tensor]:
    """Cut positions (..., 1 + N + T, D) into lead, table (..., rows, cols, D) and trail."""
    lead, table, trail = positions.split(
        [arch.lead, arch.position_table.area, arch.detections], dim=-2
    )
    return lead, table.unflatten(-2, tuple(arch.position_table)), trail


def _pairs(arch: YolosArch) -> Iterator[tuple[str, str]]:
    """Yield our name and theirs of every module that is taken over as it is."""
    yield from _AROUND.items()
    for number in range(arch.depth):
        for our, their in _IN_LAYERS.items():
            yield f"backbone.blocks.{number}.{our}", f"{_LAYER}.{number}.{their}"


def library_shapes(arch: YolosArch, outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the library's model by name; `outputs`: classes and no object."""
    dim, hidden = arch.dim, arch.mlp_ratio * arch.dim
    length = arch.lead + arch.position_table.area + arch.detections
    linear = {
        **{f"{head}.layers.{number}": (dim, dim) for head in _HEADS for number in range(2)},
        "class_labels_classifier.layers.2": (outputs, dim),
        "bbox_predictor.layers.2": (4, dim),
    }
    norms = ["vit.layernorm"]
    for number in range(arch.depth):
        name = f"{_LAYER}.{number}"
        linear |= {f"{name}.{part}": (dim, dim) for part in (*_QKV, _IN_LAYERS["projection"])}
        linear[f"{name}.{_IN_LAYERS['mlp_in']}"] = (hidden, dim)
        linear[f"{name}.{_IN_LAYERS['mlp_out']}"] = (dim, hidden)
        norms += [f"{name}.{_IN_LAYERS[norm]}" for norm in ("norm1", "norm2")]
    patches = "vit.embeddings.patch_embeddings.projection"
    shapes: dict[str, tuple[int, ...]] = {
        _CLASS: (1, 1, dim),
        _DETECTIONS: (1, arch.detections, dim),
        _POSITIONS: (1, length, dim),
        f"{patches}.weight": (dim, 3, arch.patch, arch.patch),
        f"{patches}.bias": (dim,),
    }
    for name, sides in linear.items():
        shapes |= {f"{name}.weight": sides, f"{name}.bias": sides[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    if arch.mid_positions:
        shapes[_MID] = (arch.depth - 1, 1, length, dim)
    return shapes
