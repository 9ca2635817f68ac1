"""Cases of rollout-guided pruning on embedded patches: what is kept, importance, outputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.methods.base import FrameContext, FrameTrace, TokenTrace
from maskvd_cli.methods.rgtp import RGTP, RGTPParams, anchor_tokens
from maskvd_cli.methods.tracking import best
from maskvd_cli.verify.cases import Agreement, Golden, GoldenError, precisions
from maskvd_cli.verify.windowed import check_frames, windowed_arch

# The authors' class of blocks.
BLOCK = "TokenwisePrunedBlock"
PATCH = 16
_FUSIONS = {"root_mean_squares": "rms", "mean": "mean"}


def verify_pruned(case: Golden, agreement: Agreement) -> None:
    """Run every frame in the precisions that the case has, and compare.

    Importance and tracked importance are compared relative to their largest value; kept tokens in
    the order of the authors' sort.
    """
    config, grid = case.config, Size(*case.config["input_size"])
    arch = windowed_arch(config, patch=PATCH)
    check_frames(case)
    params = params_of(config)
    given = {"k": params.k, "rollout": params.rollout, "r": params.radius, "P": params.period}
    agreement.method = " ".join(["rgtp", *(f"{name}={value}" for name, value in given.items())])
    for dtype, output in precisions(case, "outputs"):
        backbone = VisionTransformer(arch).to(dtype).eval()
        load_into(backbone, case.backbone_weights(dtype), case.name)
        traces = _run(case, agreement, RGTP(params, backbone), grid, output)
        if dtype == torch.float32 and case.has("counts"):
            _compare_counts(case, agreement, arch, grid, traces, params)


def params_of(config: dict[str, Any]) -> RGTPParams:
    """Return what the case's configuration means. Raises GoldenError for what no method does."""
    fusion = _FUSIONS.get(config["rollout_head_fusion"])
    if fusion is None:
        raise GoldenError(f"no method fuses heads by {config['rollout_head_fusion']}")
    return RGTPParams.model_validate(
        {
            "k": config["K"],
            "period": config["period"],
            "radius": config["r"],
            "rollout": config["form"],
            "fusion": fusion,
            "score_threshold": config["rollout_bbox_score_thr"],
        }
    )


def _run(
    case: Golden, agreement: Agreement, method: RGTP, grid: Size, output: str
) -> list[FrameTrace]:
    dtype, traces = method.backbone.positions.dtype, list[FrameTrace]()
    method.reset()
    for index, patches in enumerate(torch.from_numpy(case.arrays["inputs"]).to(dtype)):
        before, after = (_frame(case, grid, number) for number in (index - 1, index))
        order = torch.arange(grid.area)
        if index % method.params.period:
            importance = method.importance(before)
            tracked = method.tracked(patches, importance, grid)
            _compare(case, agreement, f"tracked/{index}", tracked)
            order = best(tracked, method.params.count(grid.area))
        kept = "kept_f32" if dtype == torch.float32 else "kept"
        agreement.select(order, case.arrays[f"{kept}/{index}"])
        features = method.step(patches[None], before)
        agreement.compare(features[0], case.arrays[output][index])
        assert method.trace is not None
        agreement.select(method.trace.selected["mask"], order.sort().values.numpy())
        traces.append(method.trace)
        anchors = anchor_tokens(after, method.params.score_threshold)
        agreement.select(anchors.nonzero(), case.arrays["anchors"][index].nonzero()[0])
        _compare(case, agreement, "importance", method.importance(after), index)
    return traces


def _frame(case: Golden, grid: Size, index: int) -> FrameContext:
    """Return what is known before the frame behind `index`: the boxes of that one."""
    size = Size(grid.rows * PATCH, grid.cols * PATCH)
    found = [case.get(f"{name}/{index}") for name in ("boxes", "scores")]
    boxes, scores = (None if part is None else torch.from_numpy(part) for part in found)
    return FrameContext(index + 1, size, size, PATCH, boxes, scores)


def _compare(
    case: Golden, agreement: Agreement, name: str, found: Tensor, frame: int | None = None
) -> None:
    """Compare a distribution over tokens where the case has it in this precision."""
    stem, _, rest = name.partition("/")
    suffix = "" if found.dtype == torch.float32 else "_f64"
    expected = case.get(f"{stem}{suffix}{'/' if rest else ''}{rest}")
    if expected is not None:
        expected = expected if frame is None else expected[frame]
        agreement.compare(found, expected, float(np.abs(expected).max()))


def _compare_counts(  # noqa: PLR0913, PLR0917 - the case, its shape, and what was run
    case: Golden,
    agreement: Agreement,
    arch: ViTArch,
    grid: Size,
    traces: list[FrameTrace],
    params: RGTPParams,
) -> None:
    macs = RGTP.macs(arch, grid, params, TokenTrace.of(traces))
    counted = json.loads(str(case.arrays["counts"]))
    for ours, theirs in zip(np.asarray(macs.published).tolist(), counted, strict=True):
        agreement.count(ours, sum(theirs.values()))
