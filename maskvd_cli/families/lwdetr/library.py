"""Where transformers (extra `hf`) has LW-DETR, and what it calls the parts of its backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.library import Library, stages
from maskvd_cli.families.rfdetr.renaming import PartNames, as_today
from maskvd_cli.families.rfdetr.renaming import to_our_names as renamed

_NAMING = PartNames(
    patches="projection",
    layers={
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp_in": "intermediate.fc1",
        "projection": "attention.o_proj",
        "mlp_out": "intermediate.fc2",
    },
    scales={"projection": "gamma_1", "mlp_out": "gamma_2"},
    # Keys have no bias.
    biased="qv",
)
# What published files call a layer, beside what those of RF-DETR do.
_EARLIER, _NOW = "attention.output.", "attention.o_proj."


def _plain(module: Any, arch: QueryArch, taps: tuple[int, ...]) -> Any:
    """Return the configuration of a plain ViT in windows."""
    return module.LwDetrViTConfig(
        hidden_size=arch.dim,
        num_hidden_layers=taps[-1],
        num_attention_heads=arch.heads,
        mlp_ratio=arch.mlp_ratio,
        pretrain_image_size=arch.patch * arch.position_table.rows,
        patch_size=arch.patch,
        num_windows=arch.windows_a_side**2,
        window_block_indices=[
            block for block in range(taps[-1]) if block not in arch.global_blocks
        ],
        out_features=stages(taps),
    )


LW_DETR = Library(
    kind="LW-DETR",
    package="lw_detr",
    prefix="LwDetr",
    backbone=_plain,
    processor=("deformable_detr", "DeformableDetrImageProcessor"),
    settings={"projector_scale_factors": [1.0]},
)


def to_our_names(
    tensors: Mapping[str, Tensor], arch: QueryArch, *, where: object = None
) -> dict[str, Tensor]:
    """Return a detector of transformers under our names, as `LWDETR` loads it.

    Also under the names that published files have. As for RF-DETR; the bias of keys, of which there
    is none, becomes zero, and the first position, which no token has, is dropped. Raises
    CheckpointError about `where` as there.
    """
    found = {name.replace(_EARLIER, _NOW): tensor for name, tensor in as_today(tensors).items()}
    return renamed(found, arch, where=where, naming=_NAMING)
