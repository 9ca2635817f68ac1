"""Cases on videos of a factorised encoder: looks, gates, temporal transformer, probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.data.crops import crop
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.vivit.archs import ViViTArch, vivit
from maskvd_cli.families.vivit.costs import conclusion
from maskvd_cli.families.vivit.model import ViViT, normalised
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.families.vivit.transformer import ClassTransformer
from maskvd_cli.methods.base import FrameContext, FrameTrace, Method, TokenTrace
from maskvd_cli.methods.registry import methods
from maskvd_cli.verify.cases import Agreement, Golden, GoldenError, precisions
from maskvd_cli.verify.windowed import method_of

_GATES = "spatial_model.backbone."
_OF_STEPS = ("class_features", "spatial_tokens")
_POLICIES = {"k": "r", "r": "r", "fraction": "fraction", "frac": "fraction",
             "threshold": "threshold"}  # fmt: skip


def verify_recogniser(case: Golden, agreement: Agreement) -> None:
    """Run every step of every look in the precisions that the case has, and compare."""
    arch = recogniser_arch(case.config)
    name, params = _method_of(case.config)
    agreement.method = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
    kind = methods.load(name)
    for dtype, output in precisions(case, "probs"):
        model = _model(case, arch, dtype)
        method = kind(kind.params_type.model_validate(params), model.backbone)
        traces = _run(case, agreement, model, method, output.removeprefix("probs"))
        if dtype == torch.float32 and case.has("counts"):
            agreement.count(
                _published(model, method, traces),
                sum(json.loads(str(case.arrays["counts"])).values()),
            )


def _published(model: ViViT, method: Method[Any], traces: Sequence[FrameTrace]) -> int:
    """Return the multiply-accumulates of a video by the authors' counter."""
    arch = model.arch
    macs = method.macs(arch, model.grid, method.params, TokenTrace.of(traces))
    assert macs is not None, f"{method.name} has closed forms"
    concluded = conclusion(arch, model.shape).published * arch.looks.count
    return int(np.sum(macs.published) + concluded)


def recogniser_arch(config: dict[str, Any]) -> ViViTArch:
    """Return the architecture that a case describes."""
    spatial, temporal = config["spatial_config"], config["temporal_config"]
    block = spatial["block_config"]
    tubelet, patch, across = config["tubelet_shape"]
    if patch != across or temporal["block_config"] != block:
        raise GoldenError("patches are not square, or the two transformers differ in their blocks")
    looks = Looks(
        frames=config["input_shape"][0],
        tubelet=tubelet,
        stride=config["temporal_stride"],
        along=config["temporal_views"],
        across=config["spatial_views"],
    )
    if temporal["position_encoding_size"] != [looks.steps]:
        raise GoldenError("the temporal transformer has other places than a look has steps")
    return vivit(
        "golden",
        "",
        dim=block["dim"],
        heads=block["heads"],
        depth=spatial["depth"],
        temporal_depth=temporal["depth"],
        patch=patch,
        table=Size(*spatial["position_encoding_size"]),
        looks=looks,
        mlp_ratio=block["mlp_ratio"],
    )


def _method_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method and parameters that compute what the case's blocks do."""
    spatial, policy = config["spatial_config"], config.get("policy")
    block = dict(spatial["block_config"])
    if spatial.get("block_class") in (None, "Block"):
        return "dense", {}
    if not (isinstance(policy, list) and len(policy) == 2 and policy[0] in _POLICIES):
        raise GoldenError(f"no gate has the policy {policy}")
    measure, value = _POLICIES[policy[0]], policy[1]
    stated = {"block_config": block, "block_class": spatial["block_class"], measure: value}
    if measure != "fraction":
        return method_of(stated)
    name, params = method_of(stated | {"r": 1})
    del params["r"]
    return name, params | {"policy": "top_fraction", "fraction": float(value)}


def look_pixels(video: Tensor, looks: Looks, input_size: Size) -> list[Tensor]:
    """Return each look's frames (frames, 3, *input_size) of a video (L, 3, rows, cols).

    Those of one place in the frame follow each other, in order of time.
    """
    return [
        crop(video[looks.positions(len(video), start)], looks, place, input_size)
        for place in range(looks.across)
        for start in looks.starts(len(video))
    ]


class _Watched(ClassTransformer):
    """Keeps what leaves the last block, of which `finish` shows the class token alone."""

    sequence: Tensor

    def finish(self, sequence: Tensor) -> Tensor:
        self.sequence = sequence
        return super().finish(sequence)


def _model(case: Golden, arch: ViViTArch, dtype: torch.dtype) -> ViViT:
    config = case.config
    model = ViViT(arch, ClassifierShape(config["classes"]), Size(*config["input_shape"][2:]))
    model.backbone = _Watched(arch)
    model = model.to(dtype).eval()
    weights = {name: tensor.to(dtype) for name, tensor in case.weights.tensors.items()}
    load_into(model, weights, case.name)
    return model


def _run(
    case: Golden, agreement: Agreement, model: ViViT, method: Method[Any], suffix: str
) -> list[FrameTrace]:
    """Compare steps, looks and probabilities; return the traces of all steps."""
    looks = model.arch.looks
    video = torch.from_numpy(case.arrays["video"]).to(model.classifier.weight.dtype)[0]
    traces: list[FrameTrace] = []
    logits: list[Tensor] = []
    _check_steps(case, looks.count * looks.steps)
    for number, frames in enumerate(look_pixels(video, looks, model.input_size)):
        features = _run_look(case, agreement, model, method, frames, suffix, traces)
        _compare(case, agreement, f"temporal_features{suffix}", number, model.summary(features)[0])
        logits.append(model.logits(features)[0])
        _compare(case, agreement, f"logits{suffix}", number, logits[-1])
    agreement.compare(torch.stack(logits).mean(0).softmax(-1), case.arrays[f"probs{suffix}"])
    return traces


def _run_look(  # noqa: PLR0913, PLR0917 - the case, the model, one look, and what it leaves
    case: Golden,
    agreement: Agreement,
    model: ViViT,
    method: Method[Any],
    frames: Tensor,
    suffix: str,
    traces: list[FrameTrace],
) -> Tensor:
    """Return the features (1, steps, D) of a look, and append its traces."""
    features: list[Tensor] = []
    method.reset()
    for index, step in enumerate(normalised(frames).split(model.arch.looks.tubelet)):
        tokens = model.embedding(step.transpose(0, 1)[None])
        size, patch = model.input_size, model.arch.patch
        features.append(method.step(tokens, FrameContext(index, size, size, patch)))
        assert method.trace is not None and isinstance(model.backbone, _Watched)
        number = len(traces)
        traces.append(method.trace)
        _compare(case, agreement, f"class_features{suffix}", number, features[-1][0, 0])
        _compare(case, agreement, f"spatial_tokens{suffix}", number, model.backbone.sequence[0])
        prefix = f"index/{number}/"
        for key in case.arrays:
            if key.startswith(prefix):
                gate = key.removeprefix(prefix).removeprefix(_GATES).removesuffix("_gate")
                agreement.select(method.trace.selected.get(gate), case.arrays[key])
    return torch.cat(features, dim=1)


def _compare(case: Golden, agreement: Agreement, name: str, row: int, found: Tensor) -> None:
    if case.has(name):
        agreement.compare(found, case.arrays[name][row])


def _check_steps(case: Golden, steps: int) -> None:
    """Raise GoldenError for parts that belong to no step, which would go uncompared."""
    for name in case.arrays:
        parts = name.split("/")
        if parts[0] == "index" and not (parts[1].isdigit() and int(parts[1]) < steps):
            raise GoldenError(f"{name} belongs to none of {steps} steps")
        held = len(case.arrays.peek(name)) if name.startswith(_OF_STEPS) else steps
        if held != steps:
            raise GoldenError(f"{name} has {held} steps, the looks {steps}")
