"""The namings of published checkpoints, as rules from their names to ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from maskvd_cli.core.errors import UsageError, unknown

POSITIONS, CLASS_TOKEN = "backbone.positions", "backbone.class_token"
EMBEDDING = ("embedding.conv.weight", "embedding.conv.bias")
FINAL_NORM = ("backbone.final_norm.weight", "backbone.final_norm.bias")
_HOLES = {
    "{i}": "(?P<i>0|[1-9][0-9]{0,2})",
    "{p}": "(?P<p>weight|bias)",
    "{axis}": "(?P<axis>rows|cols)",
    "{any}": ".+",
}


@dataclass(frozen=True)
class Naming:
    """One way of naming a detector's or backbone's parameters.

    `renames` and `drops` map templates of its names to our names and to reasons; `{i}` stands for
    a block, `{p}` for weight or bias. `positions`: how the position table is laid out, a grid
    (rows, cols, D), or flat (1, N, D), perhaps after a row of the class token that is dropped or
    folded into the token. `requires`: our names that every such checkpoint yields. `refuses`:
    templates of names of models that maskvd does not run, mapped to what these are.
    """

    name: str
    description: str
    renames: Mapping[str, str]
    drops: Mapping[str, str] = field(default_factory=dict[str, str])
    positions: Literal["grid", "flat", "drop-class-row", "fold-class-row"] = "flat"
    requires: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def _rules(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(template), target) for template, target in self.renames.items()]

    @cached_property
    def _reasons(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(template), reason) for template, reason in self.drops.items()]

    @cached_property
    def _refusals(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(template), reason) for template, reason in self.refuses.items()]

    def our_name(self, name: str) -> str | None:
        """Return our name of `name`, None where no rule renames it."""
        for pattern, target in self._rules:
            if match := pattern.fullmatch(name):
                return target.format(**match.groupdict())
        return None

    def drop_reason(self, name: str) -> str | None:
        """Return why `name` is dropped, None where it is not."""
        return next((why for pattern, why in self._reasons if pattern.fullmatch(name)), None)

    def refusal(self, name: str) -> str | None:
        """Return what a name belongs to that maskvd does not run, None where to nothing."""
        return next((what for pattern, what in self._refusals if pattern.fullmatch(name)), None)

    def unknown_in(self, names: Iterable[str]) -> list[str]:
        """Return the names that no rule renames, drops or refuses."""
        readers = (self.our_name, self.drop_reason, self.refusal)
        return [name for name in names if not any(read(name) for read in readers)]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", template)
    return re.compile("".join(_HOLES.get(part) or re.escape(part) for part in parts))


def _under(prefixes: Iterable[str], rules: Mapping[str, str]) -> dict[str, str]:
    return {prefix + name: target for prefix in prefixes for name, target in rules.items()}


# Of each pyramid level: the layers before its two convolutions, and the first of these, each of
# which has no bias and is followed by its norm. Detectron2 keeps the norm inside the convolution.
_LEVELS = (((0, 1, 3), 4), ((0,), 1), ((), 0), ((), 1))
_PARTS = ("weight", "bias")


def _detectron2_pyramid() -> dict[str, str]:
    names: dict[str, str] = {}
    for level, (starts, first) in enumerate(_LEVELS):
        theirs, ours = f"backbone.simfp_{level + 2}", f"pyramid.stages.{level}"
        names |= {f"{theirs}.{j}.{p}": f"{ours}.{j}.{p}" for j in starts for p in _PARTS}
        for conv in (0, 1):
            source, target = f"{theirs}.{first + conv}", first + 2 * conv
            names[f"{source}.weight"] = f"{ours}.{target}.weight"
            names |= {f"{source}.norm.{p}": f"{ours}.{target + 1}.{p}" for p in _PARTS}
    return names


_DETECTRON2_PYRAMID = _detectron2_pyramid()
_PYRAMID = {name: name for name in _DETECTRON2_PYRAMID.values()}
_RPN = {
    f"proposal_generator.rpn_head.{theirs}.{p}": f"rpn.{ours}.{p}"
    for theirs, ours in (
        ("conv.conv0", "convs.0"),
        ("conv.conv1", "convs.1"),
        ("objectness_logits", "objectness"),
        ("anchor_deltas", "deltas"),
    )
    for p in _PARTS
}
_BOX_HEAD = {
    f"roi_heads.{theirs}.{p}": f"box_head.{ours}.{p}"
    for theirs, ours in (
        ("box_head.conv1.norm", "norms.0"),
        ("box_head.conv2.norm", "norms.1"),
        ("box_head.conv3.norm", "norms.2"),
        ("box_head.conv4.norm", "norms.3"),
        ("box_head.fc1", "fc"),
        ("box_predictor.cls_score", "classes"),
        ("box_predictor.bbox_pred", "deltas"),
    )
    for p in _PARTS
} | {
    f"roi_heads.box_head.conv{conv + 1}.weight": f"box_head.convs.{conv}.weight"
    for conv in range(4)
}
_DETECTRON2_HEADS = _RPN | _BOX_HEAD
# Detectron2's checkpoints for COCO and LVIS draw masks beside boxes.
_DETECTRON2_DROPS = {"roi_heads.mask_head.{any}": "of the mask head, which boxes do not need"}
_CASCADE = "a cascade of box heads (Cascade R-CNN), and maskvd runs detectors with one box head"
_DETECTRON2_REFUSES = {
    "roi_heads.box_head.{i}.{any}": _CASCADE,
    "roi_heads.box_predictor.{i}.{any}": _CASCADE,
}
HEADS = (*_PYRAMID, *_RPN.values(), *_BOX_HEAD.values())
# Of models that have one.
MASK_HEAD = (
    *(f"mask_head.convs.{conv}.weight" for conv in range(4)),
    *(f"mask_head.norms.{conv}.{p}" for conv in range(4) for p in _PARTS),
    *(f"mask_head.{layer}.{p}" for layer in ("upward", "classes") for p in _PARTS),
)

_OURS = {
    "embedding.conv.{p}": "embedding.conv.{p}",
    POSITIONS: POSITIONS,
    CLASS_TOKEN: CLASS_TOKEN,
    "backbone.final_norm.{p}": "backbone.final_norm.{p}",
} | {name: name for name in (*HEADS, *MASK_HEAD)}
_OUR_BLOCK = {
    f"backbone.blocks.{{i}}.{layer}": f"backbone.blocks.{{i}}.{layer}"
    for layer in (
        "norm1.{p}", "qkv.{p}", "projection.{p}", "norm2.{p}", "mlp_in.{p}", "mlp_out.{p}",
        "relative.{axis}",
    )
}  # fmt: skip
_EVENTFUL_BACKBONE = {
    "position_encoding.encoding": POSITIONS,
    "blocks.{i}.input_layer_norm.{p}": "backbone.blocks.{i}.norm1.{p}",
    "blocks.{i}.qkv.{p}": "backbone.blocks.{i}.qkv.{p}",
    "blocks.{i}.relative_position.y_embedding": "backbone.blocks.{i}.relative.rows",
    "blocks.{i}.relative_position.x_embedding": "backbone.blocks.{i}.relative.cols",
    "blocks.{i}.projection.{p}": "backbone.blocks.{i}.projection.{p}",
    "blocks.{i}.mlp_layer_norm.{p}": "backbone.blocks.{i}.norm2.{p}",
    "blocks.{i}.mlp_1.{p}": "backbone.blocks.{i}.mlp_in.{p}",
    "blocks.{i}.mlp_2.{p}": "backbone.blocks.{i}.mlp_out.{p}",
}
_VIT = {
    "patch_embed.proj.{p}": "embedding.conv.{p}",
    "blocks.{i}.norm1.{p}": "backbone.blocks.{i}.norm1.{p}",
    "blocks.{i}.attn.qkv.{p}": "backbone.blocks.{i}.qkv.{p}",
    "blocks.{i}.attn.proj.{p}": "backbone.blocks.{i}.projection.{p}",
    "blocks.{i}.norm2.{p}": "backbone.blocks.{i}.norm2.{p}",
    "blocks.{i}.mlp.fc1.{p}": "backbone.blocks.{i}.mlp_in.{p}",
    "blocks.{i}.mlp.fc2.{p}": "backbone.blocks.{i}.mlp_out.{p}",
}
_CLASS_TOKEN_AND_NORM = {"cls_token": CLASS_TOKEN, "norm.{p}": "backbone.final_norm.{p}"}
_RELATIVE_HW = {
    "blocks.{i}.attn.rel_pos_h": "backbone.blocks.{i}.relative.rows",
    "blocks.{i}.attn.rel_pos_w": "backbone.blocks.{i}.relative.cols",
}
_CLASSIFIER = "a classifier's layer, which no detector uses"
_DECODER = "of the pre-training decoder"

_ALL_NAMINGS = (
    Naming("own", "files written by maskvd convert", _OURS | _OUR_BLOCK, positions="grid"),
    Naming(
        "eventful",
        "Eventful Transformers and windowed MaskVD, such as backbone.position_encoding.encoding",
        {"embedding.conv.{p}": "embedding.conv.{p}"}
        | _under(("backbone.", ""), _EVENTFUL_BACKBONE)
        | _PYRAMID
        | _DETECTRON2_HEADS,
        drops=_DETECTRON2_DROPS,
        refuses=_DETECTRON2_REFUSES,
    ),
    Naming(
        "detectron2",
        "Detectron2's ViTDet, such as backbone.net.pos_embed",
        _under(("backbone.net.",), {"pos_embed": POSITIONS} | _VIT | _RELATIVE_HW)
        | _DETECTRON2_PYRAMID
        | _DETECTRON2_HEADS,
        drops=_DETECTRON2_DROPS,
        refuses=_DETECTRON2_REFUSES,
        positions="drop-class-row",
        requires=EMBEDDING,
    ),
    Naming(
        "maskvd-nonwindowed",
        "MaskVD's non-windowed ViT, such as backbone.pos_embed.encoding",
        _under(("backbone.", ""), {"pos_embed.encoding": POSITIONS} | _VIT | _CLASS_TOKEN_AND_NORM)
        | _PYRAMID
        | _DETECTRON2_HEADS,
        drops=_DETECTRON2_DROPS
        | {"embedding.conv.{p}": "unused: patch_embed.proj embeds the patches"}
        | _under(("backbone.", ""), {"head.{p}": _CLASSIFIER}),
        refuses=_DETECTRON2_REFUSES,
        requires=(*EMBEDDING, *FINAL_NORM, CLASS_TOKEN),
    ),
    Naming(
        "timm",
        "ViT backbones of timm, MAE and EViT, such as pos_embed",
        {"pos_embed": POSITIONS} | _VIT | _CLASS_TOKEN_AND_NORM,
        drops={
            "head.{p}": _CLASSIFIER,
            "pre_logits.fc.{p}": _CLASSIFIER,
            "mask_token": _DECODER,
            "decoder_{any}": _DECODER,
        },
        positions="fold-class-row",
        requires=(*EMBEDDING, *FINAL_NORM),
    ),
)
NAMINGS = {naming.name: naming for naming in _ALL_NAMINGS}


def get_naming(name: str) -> Naming:
    """Return the naming called `name`. Raises UsageError for an unknown one."""
    if name not in NAMINGS:
        raise UsageError(unknown("naming", name, NAMINGS))
    return NAMINGS[name]
