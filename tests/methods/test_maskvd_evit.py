from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.dropping import ProgressiveDropping, stages_of
from maskvd_cli.methods.evit import EViT, EViTParams
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.maskvd_evit import MaskVDEViT, MaskVDEViTParams
from maskvd_cli.work.plan import fitted_on

GRID = Size(5, 7)
INPUT = Size(80, 112)
FRAMES = 6
# Period 5 makes frames 0 and 5 full; frame 2 has no box, so that frame 3 is full, too.
BOXES = torch.tensor([[0, 0, 60, 40], [50, 20, 112, 80], [70, 0, 80, 80]], dtype=torch.float64)
FRAME_OF = torch.tensor([0, 1, 3])
FULL = [True, False, False, True, False, True]
SCORES = torch.arange(35, dtype=torch.float64)
SMALL = ViTArch(
    name="small", description="", dim=32, heads=4, depth=5, patch=16, global_blocks=(0, 1, 2, 3, 4),
    window=Size(4, 4), position_table=Size(3, 3), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
VIEW = ClipView(FRAMES, INPUT, 16, BOXES, FRAME_OF, SCORES)


def backbone_of(seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    backbone = VisionTransformer(SMALL).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def params_of(**given: Any) -> MaskVDEViTParams:
    defaults = {"keep_rate": 0.6, "drop_blocks": [1, 2, 4], "period": 5, "static_keep_rate": 0.2}
    return MaskVDEViTParams.model_validate(defaults | given)


def clip(seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(FRAMES, 1, 35, 32, generator=generator, dtype=torch.float64))


def context(index: int) -> FrameContext:
    boxes = BOXES[FRAME_OF.eq(index - 1)] if index else None
    scores = None if boxes is None else torch.ones(len(boxes))
    return FrameContext(index, INPUT, INPUT, 16, boxes, scores, SCORES)


def run(method: MaskVDEViT | Dense, tokens: list[Tensor]) -> tuple[list[Tensor], TokenTrace]:
    features, traces = [], []
    for index, frame in enumerate(tokens):
        features.append(method.step(frame, context(index)))
        assert method.trace is not None
        traces.append(method.trace)
    return features, TokenTrace.of(traces)


def close(found: Tensor, expected: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def assert_same_macs(found: Macs, expected: Macs) -> None:
    assert np.array_equal(found.matrix, expected.matrix)
    assert np.array_equal(found.published, expected.published)


def test_survivors_are_written_onto_the_frame_before() -> None:
    method, tokens = MaskVDEViT(params_of(), backbone_of()), clip()
    features, trace = run(method, tokens)
    dense, _ = run(Dense(DenseParams(), method.backbone), tokens)
    masks = MaskVD.planned(MaskVDParams(period=5, static_keep_rate=0.2), VIEW)
    assert trace.full.tolist() == FULL
    dropping = ProgressiveDropping(method.backbone, params_of().keep_rates(SMALL))
    for index, full in enumerate(FULL):
        if full:
            close(features[index], dense[index])
            continue
        kept = masks[index].nonzero().squeeze(1)
        survivors = dropping.run(tokens[index], GRID, kept)
        close(features[index], survivors.onto(features[index - 1]))
        stages = stages_of(len(kept), dropping.keep_rates)
        assert 0 < stages[-1].leaving < len(kept) < 35
        assert trace.counts["start"][index] == len(kept)
        assert trace.tokens[index] == sum(stage.leaving for stage in stages) / 5


@pytest.mark.parametrize("given", [{"period": 1}, {"static_keep_rate": 1.0}])
def test_keeping_everything_is_dense(given: dict[str, Any]) -> None:
    tokens, backbone = clip(), backbone_of()
    features, trace = run(MaskVDEViT(params_of(**given), backbone), tokens)
    expected, dense = run(Dense(DenseParams(), backbone), tokens)
    for found, frame in zip(features, expected, strict=True):
        close(found, frame)
    found = MaskVDEViT.macs(SMALL, GRID, params_of(**given), trace)
    expected_macs = Dense.macs(SMALL, GRID, DenseParams(), dense)
    assert found is not None and expected_macs is not None
    assert_same_macs(found, expected_macs)


def test_keep_rate_1_is_maskvd_and_costs_what_maskvd_costs() -> None:
    tokens, backbone = clip(), backbone_of()
    features, trace = run(MaskVDEViT(params_of(keep_rate=1.0), backbone), tokens)
    masked = MaskVD(MaskVDParams(period=5, static_keep_rate=0.2), backbone)
    for index, frame in enumerate(tokens):
        close(features[index], masked.step(frame, context(index)))
    found = MaskVDEViT.macs(SMALL, GRID, params_of(keep_rate=1.0), trace)
    assert_same_macs(found, MaskVD.macs(SMALL, GRID, masked.params, trace))


@pytest.mark.parametrize("given", [{}, {"keep_rate": 0.3}, {"static_keep_rate": 0.0}])
def test_plan_and_closed_form_equal_what_is_executed(given: dict[str, Any]) -> None:
    method = MaskVDEViT(params_of(**given), backbone_of())
    counted, traces = [], []
    for index, frame in enumerate(clip()):
        with MacCounter() as counter:
            method.step(frame, context(index))
        counted.append(counter.macs)
        traces.append(method.trace)
    trace = TokenTrace.of(traces)
    assert len(set(counted)) > 2
    assert np.asarray(MaskVDEViT.macs(SMALL, GRID, method.params, trace).matrix).tolist() == counted
    planned = MaskVDEViT.plan(method.params, SMALL, VIEW)
    assert np.array_equal(planned.tokens, trace.tokens)
    assert planned.full.tolist() == trace.full.tolist() == FULL
    assert planned.counts["start"].tolist() == trace.counts["start"].tolist()
    assert MaskVDEViT.published_at(SMALL, GRID, method.params, 10) is None


def test_a_mask_of_no_tokens_repeats_the_frame_before() -> None:
    params, every = EViTParams(keep_rate=0.5, drop_blocks=(0, 1, 2, 3, 4)), torch.ones(35).bool()
    running = EViT(params, backbone_of())
    first, _ = running.compute_chosen(clip()[0], context(0), every)
    with MacCounter() as counter:
        second, trace = running.compute_chosen(clip()[1], context(1), ~every)
    assert torch.equal(first, second)
    assert (trace.tokens, trace.full, trace.counts["start"]) == (0, False, 0)
    macs = MaskVDEViT.macs(SMALL, GRID, params_of(), TokenTrace.of([trace]))
    assert np.asarray(macs.matrix).tolist() == [counter.macs] == [0]


def test_reset_forgets_and_nothing_is_shared() -> None:
    method, tokens = MaskVDEViT(params_of(), backbone_of()), clip()
    features, _ = run(method, tokens)
    copies = [frame.clone() for frame in features]
    run(method, clip(seed=2))
    assert method.state_bytes() == 35 * 32 * 8
    assert MaskVDEViT.planned_state_bytes(SMALL, GRID, method.params) == 35 * 32 * 4
    method.reset()
    assert list(method.state()) == []
    for index, (frame, copy) in enumerate(zip(tokens, copies, strict=True)):
        again = method.step(frame, context(index))
        assert torch.equal(again, copy)
        again.fill_(7)
    method.reset()
    with pytest.raises(UsageError, match=r"before any full one; begin the clip"):
        method.step(tokens[1], context(1))
    with pytest.raises(UsageError, match=r"batch of 2 came; run one clip at a time"):
        method.step(torch.cat(tokens[:2]), context(0))
    assert not MaskVDEViT.constant_on_repeats(method.params)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_precisions(dtype: torch.dtype) -> None:
    method = MaskVDEViT(params_of(), backbone_of().to(dtype))
    features, _ = run(method, [frame.to(dtype) for frame in clip()])
    assert all(frame.dtype == dtype and bool(frame.isfinite().all()) for frame in features)


def test_what_does_not_fit_is_refused() -> None:
    plain = get_arch("vitdet-b-global")
    with pytest.raises(UsageError, match=r"maskvd\+evit drops tokens, .* use vitdet-b-global"):
        fitted_on("vitdet-b", MaskVDEViT, MaskVDEViTParams())
    with pytest.raises(UsageError, match=r"blocks 0\.\.11; leave the others out"):
        MaskVDEViT.resolve(MaskVDEViTParams(drop_blocks=(12,)), plain)
    with pytest.raises(UsageError, match="version C is for windowed backbones"):
        MaskVDEViT.resolve(MaskVDEViTParams(version="C"), plain)
    resolved: Any = MaskVDEViT.resolve(MaskVDEViTParams(static_keep_rate=0), plain)
    assert resolved.mask == "dynamic"
    assert MaskVDEViT.needs_heatmap(MaskVDEViTParams())


def golden_models(
    weights: dict[str, Tensor], config: dict[str, Any], dtype: torch.dtype
) -> tuple[PatchEmbedding, VisionTransformer]:
    arch = replace(
        SMALL, dim=config["embed_dim"], heads=config["num_heads"], depth=config["depth"],
        patch=config["patch_size"], global_blocks=tuple(range(config["depth"])),
        position_table=Size(14, 14),
    )  # fmt: skip
    embedding, backbone = PatchEmbedding(arch).to(dtype), VisionTransformer(arch).to(dtype)
    renamed = {
        "attn.qkv": "qkv", "attn.proj": "projection", "mlp.fc1": "mlp_in", "mlp.fc2": "mlp_out",
        "pos_embed": "positions", "cls_token": "class_token", ".encoding": "",
    }  # fmt: skip
    own: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = f"final_{name}" if name.startswith("norm.") else name
        for published, word in renamed.items():
            ours = ours.replace(published, word)
        own[ours] = value.reshape(14, 14, -1) if ours == "positions" else value
    convolution = {part: own.pop(f"patch_embed.proj.{part}") for part in ("weight", "bias")}
    embedding.conv.load_state_dict(convolution)
    backbone.load_state_dict(own)
    return embedding.requires_grad_(False), backbone.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "outputs", "atol"),
    [
        ("maskvd_vit_kr1", "outputs", 2e-4),
        ("maskvd_evit_d7_k5", "outputs", 2e-4),
        ("maskvd_evit_d7_k5", "outputs_f64", 1e-9),
    ],
)
def test_features_and_survivors_equal_the_released_file(
    golden_root: Path, name: str, outputs: str, atol: float
) -> None:
    """It writes onto zeros, drops wherever a mask is given, and has survivors in no order."""
    with np.load(golden_root / f"{name}.npz", allow_pickle=False) as file:
        config = json.loads(str(file["config"]))
        case = {key: torch.from_numpy(file[key]) for key in file.files if key != "config"}
    weights = {key[3:]: value for key, value in case.items() if key.startswith("sd/")}
    if "weights" in config:
        with np.load(golden_root / config["weights"], allow_pickle=False) as file:
            weights = {key: torch.from_numpy(file[key]) for key in file.files}
    dtype = case[outputs].dtype
    embedding, backbone = golden_models(weights, config, dtype)
    dropping = ProgressiveDropping(backbone, config["keep_rate"])
    for index, image in enumerate(case["inputs"].to(dtype)):
        mask = case.get(f"mask/{index}")
        tokens = embedding(image[None])
        survivors = dropping.run(tokens, Size(42, 42), mask, drop=mask is not None)
        features = survivors.onto(torch.zeros_like(tokens))
        close(features[0], case[outputs][index], atol)
        if mask is not None:
            assert torch.equal(survivors.trace.selected["survivors"], case[f"survivors/{index}"])
