"""Weights that others have trained, as the Hugging Face hub has them."""

from __future__ import annotations

from dataclasses import replace

from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.coco import named_or_coco
from maskvd_cli.families.lwdetr.library import to_our_names
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.published import outputs_of
from maskvd_cli.families.rfdetr.renaming import is_library
from maskvd_cli.families.snapshots import check_config, labels_of

REPOSITORIES = {
    f"lwdetr-{size}": f"AnnaZhang/lwdetr_{size}_60e_coco" for size in ("tiny", "small", "medium")
}
# What the library takes where a config does not say, and no shape of a tensor would tell.
_ABSENT = {
    "decoder_self_attention_heads": 8,
    "decoder_cross_attention_heads": 16,
    "decoder_n_points": 4,
    "backbone_config.num_attention_heads": 12,
    "backbone_config.num_windows": 16,
    "backbone_config.window_block_indices": [],
}


def adopted(arch: QueryArch, file: WeightsFile) -> WeightsFile:
    """Return a file of the hub under our names; our own as it is.

    Raises CheckpointError for tensors or a config that are not of `arch`.
    """
    if not is_library(file.tensors):
        return file
    check_config(file, arch.name, expected_config(arch), _ABSENT)
    outputs = outputs_of(file.tensors)
    tensors = to_our_names(file.tensors, arch, where=file.path)
    return named_or_coco(replace(file, tensors=tensors, classes=labels_of(file, outputs)), outputs)


def expected_config(arch: QueryArch) -> dict[str, object]:
    """Return what the library's config of an architecture says, by dotted key."""
    backbone = {
        "model_type": "lw_detr_vit",
        "patch_size": arch.patch,
        "pretrain_image_size": arch.patch * arch.position_table.rows,
        "hidden_size": arch.dim,
        "num_hidden_layers": arch.depth,
        "num_attention_heads": arch.heads,
        "mlp_ratio": arch.mlp_ratio,
        "num_windows": arch.windows_a_side**2,
        "window_block_indices": [
            block for block in range(arch.depth) if block not in arch.global_blocks
        ],
        "out_features": [f"stage{tap}" for tap in arch.taps],
        "hidden_act": "gelu",
    }
    return {
        "model_type": "lw_detr",
        "d_model": arch.channels,
        "projector_scale_factors": [1.0],
        "decoder_layers": arch.decoder_layers,
        "decoder_self_attention_heads": arch.self_heads,
        "decoder_cross_attention_heads": arch.cross_heads,
        "decoder_n_points": arch.points,
        "decoder_ffn_dim": arch.hidden,
        **{f"backbone_config.{key}": value for key, value in backbone.items()},
    }
