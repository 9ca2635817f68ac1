"""Cases on images of a plain backbone with class token: MaskVD without windows, and EViT."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.methods.dropping import ProgressiveDropping, Travelling, stages_of
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.verify.cases import PRECISIONS, Agreement, Golden, precisions
from maskvd_cli.verify.windowed import kept_tokens


def plain_arch(case: Golden) -> ViTArch:
    """Return the architecture that a case describes."""
    config = case.config
    depth, patch = config["depth"], config["patch_size"]
    rows, cols = case.weights.tensors["backbone.positions"].shape[:2]
    side = config["img_size"] // patch
    return ViTArch(
        name="golden",
        description="",
        dim=config.get("embed_dim") or config["dim"],
        heads=config.get("num_heads") or config["heads"],
        depth=depth,
        patch=patch,
        global_blocks=tuple(range(depth)),
        window=Size(side, side),
        position_table=Size(rows, cols),
        relative_table=None,
        mlp_ratio=config.get("mlp_ratio", 4),
        class_token=True,
        final_norm=True,
    )


class Embedded(nn.Module):
    """Patch embedding and backbone, as their weights lie in one file."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.embedding = PatchEmbedding(arch)
        self.backbone = VisionTransformer(arch)


def embedded(case: Golden, dtype: torch.dtype) -> Embedded:
    model = Embedded(plain_arch(case)).to(dtype).eval()
    names = model.state_dict()
    weights = {
        name: tensor.to(dtype)
        for name, tensor in case.weights.tensors.items()
        if name.startswith(("embedding.", "backbone.")) or name in names
    }
    load_into(model, weights, case.name)
    return model


def verify_masked(case: Golden, agreement: Agreement) -> None:
    """MaskVD on a plain backbone, with drops where the case's keep rates ask for them.

    The released file writes survivors onto zeros, drops where a mask is given, even of all tokens,
    and starts each frame anew.
    """
    rates = [float(rate) for rate in case.config["keep_rate"]]
    drops = min(rates) < 1
    agreement.method = "maskvd+evit" if drops else "maskvd"
    masks = case.indices("mask")
    for dtype, output in precisions(case, "outputs"):
        model = embedded(case, dtype)
        images = torch.from_numpy(case.arrays["inputs"]).to(dtype)
        grid = grid_of(case, images)
        execution = MaskedExecution(model.backbone, None, fill="zeros")
        dropping = ProgressiveDropping(model.backbone, rates)
        for index, image in enumerate(images):
            tokens = model.embedding(image[None])
            kept = kept_tokens(masks.get(index), grid.area)
            if drops:
                chosen = kept.nonzero().squeeze(1)
                survivors = dropping.run(tokens, grid, chosen, drop=index in masks)
                features, left = survivors.onto(torch.zeros_like(tokens)), survivors.index[0]
            else:
                features, trace = execution.run(tokens, grid, kept)
                left = trace.selected["mask"]
            agreement.compare(features[0], case.arrays[output][index])
            # Their order is left open by the authors' top-k, and no output depends on it.
            if case.has(f"survivors/{index}"):
                agreement.select(left.sort().values, case.arrays[f"survivors/{index}"])
            if case.has(f"survivors_in_order/{index}"):
                theirs = np.sort(case.arrays[f"survivors_in_order/{index}"])
                agreement.select(left.sort().values, theirs)


def verify_classifier(case: Golden, agreement: Agreement) -> None:
    """EViT's own classifier: tokens, blocks, kept tokens in their order, final norm, logits."""
    rates = [float(rate) for rate in case.config["keep_rate"]]
    fuse = bool(case.config.get("fuse_token"))
    agreement.method = "evit fuse" if fuse else "evit"
    for dtype, suffix in PRECISIONS:
        if not case.has(f"final{suffix}"):
            continue
        model = embedded(case, dtype)
        images = torch.from_numpy(case.arrays["images"]).to(dtype)
        grid = grid_of(case, images)
        moving = Travelling.begin(model.backbone, model.embedding(images), grid)
        if case.has(f"tokens{suffix}"):
            agreement.compare(moving.tokens, case.arrays[f"tokens{suffix}"])
        stages = stages_of(grid.area, rates, fuse=fuse)
        for number, (block, stage) in enumerate(zip(model.backbone.blocks, stages, strict=True)):
            before = moving.index
            moving = moving.through(block, grid, stage.kept, fuse=fuse)
            if case.has(f"block{suffix}/{number}"):
                agreement.compare(moving.tokens, case.arrays[f"block{suffix}/{number}"])
            if stage.drops and case.has(f"kept/{number}"):
                _compare_kept(case, agreement, number, before, moving.index[:, : stage.kept])
        norm = model.backbone.final_norm
        assert norm is not None
        final = norm(moving.tokens)
        agreement.compare(final, case.arrays[f"final{suffix}"])
        _compare_logits(case, agreement, final, suffix)


def _compare_kept(
    case: Golden, agreement: Agreement, number: int, before: Tensor, kept: Tensor
) -> None:
    """Compare kept tokens, which the authors give as positions in the sequence before the drop."""
    for clip, expected in enumerate(case.arrays[f"kept/{number}"]):
        agreement.select(kept[clip], before[clip].cpu().numpy()[expected])


def _compare_logits(case: Golden, agreement: Agreement, final: Tensor, suffix: str) -> None:
    """Compare the classifier's logits, from the class token alone; its layer is none of ours."""
    if case.has(f"logits{suffix}") and {"head.weight", "head.bias"} <= case.beside.keys():
        agreement.compare(class_logits(final, case.beside), case.arrays[f"logits{suffix}"])


def class_logits(final: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the logits (B, classes) of the class tokens in `final` (B, n, D), by `head.*`."""
    weight, bias = (tensors[f"head.{part}"].to(final.dtype) for part in ("weight", "bias"))
    return linear(final[:, 0], weight, bias)


def grid_of(case: Golden, images: Tensor) -> Size:
    patch = case.config["patch_size"]
    return Size(images.shape[-2] // patch, images.shape[-1] // patch)
