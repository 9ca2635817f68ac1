"""Cases on embedded patches of a windowed backbone: dense, gates, MaskVD."""

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
from maskvd_cli.methods.base import FrameContext, FrameTrace, Method, TokenTrace
from maskvd_cli.methods.masked_costs import published
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.registry import methods
from maskvd_cli.verify.blocks import BlockOutputs
from maskvd_cli.verify.cases import Agreement, Golden, GoldenError, precisions

# The authors' classes of blocks, and what Eventful's `update` calls them.
BLOCKS = {
    "EventfulBlock": "full",
    "EventfulMatmul1Block": "qk",
    "EventfulTokenwiseBlock": "tokenwise",
}


def verify_windowed(case: Golden, agreement: Agreement) -> None:
    """Run every frame in the precisions that the case has, and compare."""
    arch, grid = windowed_arch(case.config), Size(*case.config["input_size"])
    check_frames(case)
    is_maskvd = case.config.get("case") == "maskvd" or bool(case.indices("mask"))
    if is_maskvd and case.config["block_config"].get("pool_size"):
        raise GoldenError("no method pools keys under a mask")
    name, params = ("maskvd", {"version": "C"}) if is_maskvd else method_of(case.config)
    agreement.method = _told(name, params)
    for dtype, output in precisions(case, "outputs"):
        backbone = VisionTransformer(arch).to(dtype).eval()
        load_into(backbone, case.backbone_weights(dtype), case.name)
        if is_maskvd:
            traces = _run_maskvd(case, agreement, backbone, grid, output)
        else:
            kind = methods.load(name)
            method = kind(kind.params_type.model_validate(params), backbone)
            traces = _run_method(case, agreement, method, grid, output)
        if dtype == torch.float32 and case.has("counts"):
            _compare_counts(case, agreement, arch, grid, traces, name, params)


def check_frames(case: Golden) -> None:
    """Raise GoldenError for parts that belong to no frame, which would go uncompared."""
    frames = len(case.arrays["inputs"])
    for name in ("outputs", "outputs_f64"):
        if case.has(name) and (held := len(case.arrays.peek(name))) != frames:
            raise GoldenError(f"{name} has {held} frames, inputs {frames}")
    if case.has("counts") and len(json.loads(str(case.arrays.peek("counts")))) != frames:
        raise GoldenError(f"counts are not of {frames} frames")
    for name in case.arrays:
        parts = name.split("/")
        if parts[0] in ("index", "mask", "changed") and not (
            parts[1].isdigit() and int(parts[1]) < frames
        ):
            raise GoldenError(f"{name} belongs to none of {frames} frames")
    for frame, tokens in case.indices("changed").items():
        moved = np.abs(case.arrays["inputs"][frame] - case.arrays["inputs"][frame - 1]).any(-1)
        if not np.array_equal(moved.nonzero()[0], np.sort(tokens)):
            raise GoldenError(f"changed/{frame} does not say which tokens of inputs changed")


def windowed_arch(config: dict[str, Any], patch: int = 1) -> ViTArch:
    """Return the architecture that a case describes; on embedded patches, a token is a pixel."""
    block, depth = config["block_config"], config["depth"]
    windowed = set(config["window_indices"])
    window, table = block.get("window_size"), block.get("relative_embedding_size")
    return ViTArch(
        name="golden",
        description="",
        dim=block["dim"],
        heads=block["heads"],
        depth=depth,
        patch=patch,
        global_blocks=tuple(index for index in range(depth) if index not in windowed),
        window=Size(*(window or config["input_size"])),
        position_table=Size(*config["position_encoding_size"]),
        relative_table=Size(*table) if table else None,
        mlp_ratio=block["mlp_ratio"],
        published_counter="eventful",
    )


def method_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method and parameters that compute what the case's classes do."""
    block = config["block_config"]
    pool = {"pool": block["pool_size"]} if block.get("pool_size") else {}
    kind = config.get("block_class")
    if kind is None:
        return "dense", pool
    if kind not in BLOCKS:
        raise GoldenError(f"no method computes blocks of class {kind}")
    if block.get("stgt") and BLOCKS[kind] != "tokenwise":
        raise GoldenError(f"no method computes STGT's gates in blocks of class {kind}")
    params: dict[str, Any] = {}
    if config.get("r") is not None:
        params |= {"policy": "top_r", "r": config["r"]}
    elif config.get("threshold") is not None:
        params |= {"policy": "threshold", "threshold": float(config["threshold"])}
    else:
        raise GoldenError("neither r nor threshold is given")
    if block.get("gate_before_ln"):
        params["gate"] = "before_ln"
    if block.get("stgt"):
        return "stgt", params | pool
    if block.get("matmul_2_cast") is not None:
        params["av_precision"] = "half"
    return "eventful", params | pool | {"update": BLOCKS[kind]}


def _told(name: str, params: dict[str, Any]) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in params.items())])


def _run_method(
    case: Golden, agreement: Agreement, method: Method[Any], grid: Size, output: str
) -> list[FrameTrace]:
    traces: list[FrameTrace] = []
    method.reset()
    blocks = BlockOutputs(method)
    for index, tokens in enumerate(_frames(case, method.backbone)):
        features = method.step(tokens, FrameContext(index, grid, grid, patch=1))
        agreement.compare(features[0], case.arrays[output][index])
        # Stored in float32 alone.
        if case.has(f"block_outputs_t{index}") and tokens.dtype == torch.float32:
            agreement.compare(blocks.all(features[0]), case.arrays[f"block_outputs_t{index}"])
        assert method.trace is not None
        traces.append(method.trace)
        prefix = f"index/{index}/"
        for key in case.arrays:
            if key.startswith(prefix):
                gate = key.removeprefix(prefix).removesuffix("_gate")
                agreement.select(method.trace.selected.get(gate), case.arrays[key])
    return traces


def _run_maskvd(
    case: Golden, agreement: Agreement, backbone: VisionTransformer, grid: Size, output: str
) -> list[FrameTrace]:
    execution, traces = MaskedExecution(backbone, "C"), list[FrameTrace]()
    masks = case.indices("mask")
    for index, tokens in enumerate(_frames(case, backbone)):
        features, trace = execution.run(tokens, grid, kept_tokens(masks.get(index), grid.area))
        agreement.compare(features[0], case.arrays[output][index])
        traces.append(trace)
        buffers = f"qkv_buffers_t{index}"
        # Stored in float32 alone.
        if case.has(buffers) and tokens.dtype == torch.float32:
            for number, expected in enumerate(case.arrays[buffers]):
                agreement.compare(execution.caches[number][0], expected)
    return traces


def kept_tokens(index: np.ndarray[Any, Any] | None, tokens: int) -> Tensor:
    """Return a mask (N,) bool from indices, all tokens where there are none."""
    if index is None:
        return torch.ones(tokens, dtype=torch.bool)
    if index.size and not (index.min() >= 0 and index.max() < tokens):
        raise GoldenError(f"a mask names tokens outside 0..{tokens - 1}")
    kept = torch.zeros(tokens, dtype=torch.bool)
    kept[torch.from_numpy(index)] = True
    return kept


def _frames(case: Golden, backbone: VisionTransformer) -> list[Tensor]:
    inputs = torch.from_numpy(case.arrays["inputs"]).to(backbone.positions.dtype)
    return [frame[None] for frame in inputs]


def _compare_counts(  # noqa: PLR0913, PLR0917 - the case, its shape, and what was run
    case: Golden,
    agreement: Agreement,
    arch: ViTArch,
    grid: Size,
    traces: list[FrameTrace],
    name: str,
    params: dict[str, Any],
) -> None:
    """Compare the published counter's closed forms with what the authors' code counted."""
    trace = TokenTrace.of(traces)
    if name == "maskvd":
        macs = published(arch, grid, "C", trace.whole_tokens)
    else:
        kind = methods.load(name)
        resolved = kind.resolve(kind.params_type.model_validate(params), arch)
        macs = kind.macs(arch, grid, resolved, trace)
    assert macs is not None, f"{name} has closed forms"
    counted = json.loads(str(case.arrays["counts"]))
    for ours, theirs in zip(np.asarray(macs.published).tolist(), counted, strict=True):
        agreement.count(ours, sum(theirs.values()))
