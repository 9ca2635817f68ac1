"""A small RF-DETR as the hub and as the package `rfdetr` would hold it, with drawn weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from maskvd_cli.families.rfdetr.archs import rfdetr
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.shape import QueryShape

SMALL = rfdetr(
    "small", "", side=8, decoder_layers=2, dim=24, heads=3, taps=(1, 2, 4), patch=4,
    channels=32, hidden=40,
)  # fmt: skip
SHAPE = QueryShape(classes=5, queries=12)
NAMES = ["N/A", "person", "LABEL_2", "car", "big dog"]


def library_model(classes: int = SHAPE.classes) -> Any:
    """The library's model with every parameter drawn, its config with the names of classes."""
    made: Any = whole_detector(SMALL, QueryShape(classes, SHAPE.queries), groups=2)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * drawn + (0.5 if parameter.ndim == 1 else 0))
    if classes == len(NAMES):
        made.config.id2label = dict(enumerate(NAMES))
        made.config.label2id = {name: number for number, name in enumerate(NAMES)}
    return made.requires_grad_(False).eval()


def library_tensors(classes: int = SHAPE.classes) -> dict[str, Tensor]:
    return dict(library_model(classes).state_dict())


def write_snapshot(folder: Path, model: Any, shards: int = 1) -> Path:
    """Write config and tensors as the hub has them, in one file or in several."""
    folder.mkdir(exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    (folder / "config.json").write_text(model.config.to_json_string())
    if shards == 1:
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder
    home: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        names = list(tensors)[number::shards]
        safetensors.torch.save_file({name: tensors[name] for name in names}, folder / file)
        home |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1}, "weight_map": home}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def earlier_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone as transformers named it first, and rfdetr does."""
    parts = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value",
             "o_proj": "output.dense"}  # fmt: skip
    return {
        re.sub(r"(?<=attention\.)([qkvo]_proj)", lambda part: parts[part[1]], name)
        if "backbone.backbone" in name
        else name: tensor
        for name, tensor in tensors.items()
    }


def rfdetr_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same detector as its own package names it: stated here once more, the other way round."""
    made: dict[str, Tensor] = {}
    stacks: dict[str, list[Tensor]] = {}
    for name, tensor in earlier_names(tensors).items():
        words = name.removeprefix("model.").split(".")
        if words[:2] == ["backbone", "backbone"]:
            words[:2] = ["backbone", "0", "encoder", "encoder"]
        elif words[:2] == ["backbone", "projector"]:
            words = _projector(words[2:])
        elif words[:2] == ["decoder", "layers"]:
            if words[3] == "self_attn" and words[4] != "o_proj":
                stack = f"transformer.decoder.layers.{words[2]}.self_attn.in_proj_{words[5]}"
                stacks.setdefault(stack, []).append(tensor)
                continue
            words = ["transformer", *_layer(words)]
        elif words[0] == "decoder":
            words = ["transformer", "decoder", words[1].replace("layernorm", "norm"), *words[2:]]
        elif words[0].startswith("enc_"):
            words = ["transformer", *words]
        elif words[0] == "reference_point_embed":
            words[0] = "refpoint_embed"
        made[".".join(words)] = tensor
    return made | {name: torch.cat(parts) for name, parts in stacks.items()}


def _projector(words: list[str]) -> list[str]:
    start = ["backbone", "0", "projector", "stages", "0"]
    if words[0] == "layer_norm":
        return [*start, "1", words[1]]
    kinds = {"conv": "conv", "norm": "bn"}
    if words[1] == "bottlenecks":
        return [*start, "0", "m", words[2], f"cv{words[3][-1]}", kinds[words[4]], words[5]]
    return [*start, "0", f"cv{words[1][-1]}", kinds[words[2]], words[3]]


def _layer(words: list[str]) -> list[str]:
    renamed = {
        "self_attn_layer_norm": ["norm1"], "cross_attn_layer_norm": ["norm2"],
        "layer_norm": ["norm3"], "fc1": ["linear1"], "fc2": ["linear2"], "mlp": [],
        "o_proj": ["out_proj"],
    }  # fmt: skip
    return [new for word in words for new in renamed.get(word, [word])]
