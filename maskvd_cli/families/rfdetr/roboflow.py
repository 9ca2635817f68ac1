"""Checkpoints of the package `rfdetr`: its names of tensors, and what it says beside them.

Names and settings are those of rfdetr 1.11.2 and of files that it still reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from torch import Tensor

from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed, without_wrapper

_BACKBONE, _LAYER = "backbone.0.encoder.encoder.", r"transformer\.decoder\.layers\.(\d+)\."
_STAGE, _PROJECTOR = r"backbone\.0\.projector\.stages\.0\.", "model.backbone.projector."
_C2F = f"{_PROJECTOR}projector_layer."
_OUTPUTS = "class_embed.bias"
# Theirs, and the library's, of everything but stacked queries, keys and values.
_RULES = tuple(
    (re.compile(theirs), library)
    for theirs, library in (
        (rf"{re.escape(_BACKBONE)}(.*)", r"model.backbone.backbone.\1"),
        (rf"{_STAGE}0\.cv(\d)\.conv\.(.*)", rf"{_C2F}conv\1.conv.\2"),
        (rf"{_STAGE}0\.cv(\d)\.bn\.(.*)", rf"{_C2F}conv\1.norm.\2"),
        (rf"{_STAGE}0\.m\.(\d+)\.cv(\d)\.conv\.(.*)", rf"{_C2F}bottlenecks.\1.conv\2.conv.\3"),
        (rf"{_STAGE}0\.m\.(\d+)\.cv(\d)\.bn\.(.*)", rf"{_C2F}bottlenecks.\1.conv\2.norm.\3"),
        (rf"{_STAGE}1\.(.*)", rf"{_PROJECTOR}layer_norm.\1"),
        (rf"{_LAYER}norm1\.(.*)", r"model.decoder.layers.\1.self_attn_layer_norm.\2"),
        (rf"{_LAYER}norm2\.(.*)", r"model.decoder.layers.\1.cross_attn_layer_norm.\2"),
        (rf"{_LAYER}norm3\.(.*)", r"model.decoder.layers.\1.layer_norm.\2"),
        (rf"{_LAYER}linear([12])\.(.*)", r"model.decoder.layers.\1.mlp.fc\2.\3"),
        (rf"{_LAYER}self_attn\.out_proj\.(.*)", r"model.decoder.layers.\1.self_attn.o_proj.\2"),
        (rf"{_LAYER}cross_attn\.(.*)", r"model.decoder.layers.\1.cross_attn.\2"),
        (r"transformer\.decoder\.norm\.(.*)", r"model.decoder.layernorm.\1"),
        (r"transformer\.decoder\.ref_point_head\.(.*)", r"model.decoder.ref_point_head.\1"),
        (r"transformer\.(enc_out\w+)\.(.*)", r"model.\1.\2"),
        (r"refpoint_embed\.(.*)", r"model.reference_point_embed.\1"),
        (r"query_feat\.(.*)", r"model.query_feat.\1"),
        (r"((?:class|bbox)_embed\..*)", r"\1"),
    )
)
_STACKED = re.compile(rf"{_LAYER}self_attn\.in_proj_(weight|bias)")
# Settings that must be those of the architecture: theirs, and ours.
_SAME: Mapping[str, str] = {
    "dec_layers": "decoder_layers",
    "patch_size": "patch",
    "num_windows": "windows_a_side",
    "hidden_dim": "channels",
    "sa_nheads": "self_heads",
    "ca_nheads": "cross_heads",
    "dec_n_points": "points",
}
_LARGEST_SIDE, _LARGEST_SHOWN = 1 << 14, 10**15


def is_rfdetr(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors have the names of the package."""
    return any(name.startswith(_BACKBONE) for name in without_wrapper(tensors))


def to_library_names(tensors: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    """Return all tensors of a detector of the package under the library's names.

    Raises CheckpointError about `where` for names that no rule knows, such as those of heads for
    masks or keypoints.
    """
    made: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in without_wrapper(tensors).items():
        if stacked := _STACKED.fullmatch(name):
            layer, kind = stacked.groups()
            for part, rows in zip("qkv", tensor.chunk(3), strict=False):
                made[f"model.decoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = rows
        elif library := _library_name(name):
            made[library] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"is no plain detector of rfdetr: {len(unknown)} unknown: {listed(unknown)}",
            where=where,
            remedy="give an RF-DETR Nano, Small, Medium or Large that detects boxes",
        )
    return made


def settings_of(file: WeightsFile) -> dict[str, Any]:
    """Return what a checkpoint says of its detector: that of its training, and of its model.

    Nothing in it is checked. The model's own word counts where both say something.
    """
    said: dict[str, Any] = {}
    for key in ("args", "model_config"):
        found: object = file.settings.get(key)
        if isinstance(found, Mapping):
            said |= cast(Mapping[str, Any], found)
    return said


def check_settings(said: Mapping[str, Any], arch: QueryArch, where: object) -> None:
    """Raise CheckpointError where settings are not those of `arch`, naming the first and both."""
    expected = {theirs: getattr(arch, ours) for theirs, ours in _SAME.items()}
    for key, ours in {"segmentation_head": False, **expected}.items():
        found = said.get(key)
        if found is not None and (type(found) is not type(ours) or found != ours):
            raise CheckpointError(
                f"{key} is {_shown(found)}, {arch.name} has {ours}",
                where=where,
                remedy="name the model that it is of in model.name",
            )


def classes_of(
    said: Mapping[str, Any], tensors: Mapping[str, Tensor], where: object
) -> list[str | None] | None:
    """Return what each output stands for, None for those behind the last name.

    `tensors` have the library's names. None where no names are given, or those of COCO, which count
    otherwise. Raises CheckpointError for names that are none, or more than there are outputs.
    """
    names: object = said.get("class_names")
    outputs = len(tensors[_OUTPUTS]) if _OUTPUTS in tensors and tensors[_OUTPUTS].ndim else 0
    if not names:
        return None
    if not isinstance(names, (list, tuple)):
        _refuse(f"class_names is {_shown(names)}, expected a list", where)
    listed_names = list(cast(Sequence[object], names))
    if not all(isinstance(name, str) and name for name in listed_names):
        _refuse("class_names holds something that is no name", where)
    if len(listed_names) > outputs:
        _refuse(f"class_names has {len(listed_names)}, the tensors have {outputs} classes", where)
    if outputs == len(NUMBERED) and listed_names == [name for name in NUMBERED if name]:
        return None
    nameless: list[str | None] = [None] * (outputs - len(listed_names))
    return [*cast(Sequence[str], listed_names), *nameless]


def input_of(said: Mapping[str, Any], where: object) -> str | None:
    """Return the input that the detector was trained for, rows x columns; None: not said."""
    side: object = said.get("resolution")
    if side is None:
        return None
    if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE:
        _refuse(f"resolution is {_shown(side)}, expected pixels in 1..{_LARGEST_SIDE}", where)
    return f"{side}x{side}"


def _library_name(name: str) -> str | None:
    for theirs, library in _RULES:
        if found := theirs.fullmatch(name):
            return found.expand(library)
    return None


def _refuse(problem: str, where: object) -> NoReturn:
    raise CheckpointError(problem, where=where, remedy="save its tensors as .safetensors, alone")


def _shown(value: object) -> str:
    # What a pickle holds may be itself a million times over, or a number of many digits.
    if not isinstance(value, (bool, float, str)) and not (
        isinstance(value, int) and abs(value) < _LARGEST_SHOWN
    ):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
