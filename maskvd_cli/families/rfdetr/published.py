"""Weights that others have trained: those of the hub, and those of the package `rfdetr`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.coco import named_or_coco
from maskvd_cli.families.rfdetr import roboflow
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.renaming import as_today, is_library, to_our_names
from maskvd_cli.families.snapshots import check_config, labels_of

REPOSITORIES = {
    f"rfdetr-{size}": f"Roboflow/rf-detr-{size}" for size in ("nano", "small", "medium", "large")
}
_OUTPUTS, _POSITIONS = "class_embed.bias", "backbone.positions"
# What the library takes where a config does not say, and no shape of a tensor would tell.
_ABSENT = {
    "decoder_layers": 3,
    "decoder_self_attention_heads": 8,
    "decoder_cross_attention_heads": 16,
    "decoder_n_points": 4,
    "backbone_config.num_attention_heads": 12,
    "backbone_config.num_windows": 4,
}


def adopted(arch: QueryArch, file: WeightsFile) -> WeightsFile:
    """Return a file of the hub or of `rfdetr` under our names; our own as it is.

    Raises CheckpointError for tensors, a config or settings that are not of `arch`.
    """
    if roboflow.is_rfdetr(file.tensors):
        return _of_rfdetr(arch, file)
    if not is_library(file.tensors):
        return file
    check_config(file, arch.name, expected_config(arch), _ABSENT)
    classes = labels_of(file, outputs_of(file.tensors))
    return _renamed(arch, replace(file, classes=classes))


def table_of(arch: QueryArch, file: WeightsFile) -> Size | None:
    """Return the grid of a file's positions where that is not the architecture's, as it says.

    None where it is, or where the file says another input: then it is no table of this model.
    """
    sides = tuple(file.tensors[_POSITIONS].shape[:2]) if _POSITIONS in file.tensors else ()
    if len(sides) != 2 or sides == tuple(arch.position_table):
        return None
    table = Size(*sides)
    side = Size(table.rows * arch.patch, table.cols * arch.patch)
    return table if file.metadata.get("input") == str(side) else None


def expected_config(arch: QueryArch) -> dict[str, object]:
    """Return what the library's config of an architecture says, by dotted key."""
    backbone = {
        "model_type": "rf_detr_dinov2",
        "image_size": arch.patch * arch.position_table.rows,
        "patch_size": arch.patch,
        "hidden_size": arch.dim,
        "num_hidden_layers": arch.depth,
        "num_attention_heads": arch.heads,
        "mlp_ratio": arch.mlp_ratio,
        "num_windows": arch.windows_a_side,
        "out_features": [f"stage{tap}" for tap in arch.taps],
        "hidden_act": "gelu",
        "use_swiglu_ffn": False,
    }
    return {
        "model_type": "rf_detr",
        "d_model": arch.channels,
        "decoder_layers": arch.decoder_layers,
        "decoder_self_attention_heads": arch.self_heads,
        "decoder_cross_attention_heads": arch.cross_heads,
        "decoder_n_points": arch.points,
        "decoder_ffn_dim": arch.hidden,
        **{f"backbone_config.{key}": value for key, value in backbone.items()},
    }


def _of_rfdetr(arch: QueryArch, file: WeightsFile) -> WeightsFile:
    said = roboflow.settings_of(file)
    roboflow.check_settings(said, arch, file.path)
    tensors = roboflow.to_library_names(file.tensors, file.path)
    made_for = roboflow.input_of(said, file.path)
    classes = roboflow.classes_of(said, tensors, file.path)
    remarks = list(file.remarks)
    if classes is not None and "rfdetr_version" not in file.settings:
        remarks.append(
            f"Weights {file.path.name} do not say which rfdetr wrote them; their classes are "
            "counted from 0, as rfdetr 1.11.2 does, which early versions did not."
        )
    return _renamed(
        arch,
        replace(
            file,
            tensors=tensors,
            metadata={**file.metadata, **({"input": made_for} if made_for else {})},
            classes=classes,
            remarks=remarks,
        ),
    )


def _renamed(arch: QueryArch, file: WeightsFile) -> WeightsFile:
    outputs = outputs_of(file.tensors)
    tensors = to_our_names(as_today(file.tensors), arch, where=file.path)
    return named_or_coco(replace(file, tensors=tensors), outputs)


def outputs_of(tensors: Mapping[str, Tensor]) -> int:
    """Return how many classes the tensors of the library's detector tell apart, 0 where none."""
    return len(tensors[_OUTPUTS]) if _OUTPUTS in tensors and tensors[_OUTPUTS].ndim else 0
