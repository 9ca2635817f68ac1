"""Dropping against a naive reference and against the published classifier, block by block."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.methods import attention_scores
from maskvd_cli.methods.dropping import ProgressiveDropping, Travelling, stages_of

GRID = Size(5, 7)
RATES = (1.0, 0.6, 0.6, 1.0, 0.6)
KINDS = {"class token": (True, False), "no class token": (False, False), "relative": (False, True)}


def small(kind: str) -> ViTArch:
    class_token, relative = KINDS[kind]
    return ViTArch(
        name="small", description="", dim=32, heads=4, depth=len(RATES), patch=16,
        global_blocks=tuple(range(len(RATES))), window=Size(4, 4), position_table=Size(3, 3),
        relative_table=GRID if relative else None, class_token=class_token, final_norm=True,
    )  # fmt: skip


def backbone_of(kind: str, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    backbone = VisionTransformer(small(kind)).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def embedded(batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, GRID.area, 32, generator=generator, dtype=torch.float64)


def close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def naive(
    backbone: VisionTransformer, tokens: Tensor, fuse: bool
) -> tuple[Tensor, list[list[int]]]:
    """Run one clip (1, N, D) with whole attention matrices; tell also what each block left."""
    arch = backbone.arch
    row: list[Tensor] = list((tokens + backbone.positions_on(GRID))[0])
    places: list[int | None] = list(range(GRID.area))
    lead = int(arch.class_token)
    if backbone.class_token is not None:
        row.insert(0, backbone.class_token[0, 0])
    left: list[list[int]] = []
    for block, rate in zip(backbone.blocks, RATES, strict=True):
        x = torch.stack(row)
        q, k, v = (
            part.reshape(len(x), arch.heads, -1) for part in block.qkv(block.norm1(x)).chunk(3, -1)
        )
        logits = torch.einsum("ihc,jhc->hij", q, k) / arch.head_dim**0.5
        if block.relative is not None:
            for i, here in enumerate(places):
                for j, there in enumerate(places):
                    if here is None or there is None:
                        continue
                    down = here // GRID.cols - there // GRID.cols + GRID.rows - 1
                    across = here % GRID.cols - there % GRID.cols + GRID.cols - 1
                    logits[:, i, j] += q[i] @ block.relative.rows[down]
                    logits[:, i, j] += q[i] @ block.relative.cols[across]
        weights = logits.softmax(-1)
        x = x + block.projection(torch.einsum("hij,jhc->ihc", weights, v).flatten(1))
        scores = weights[:, 0, 1:].mean(0) if lead else weights.mean((0, 1))
        keep = math.ceil(rate * len(places))
        if keep < len(places):
            order = sorted(range(len(places)), key=lambda j: -float(scores[j]))
            row = list(x[:lead]) + [x[lead + j] for j in order[:keep]]
            if fuse:
                row.append(torch.stack([scores[j] * x[lead + j] for j in order[keep:]]).sum(0))
            places = [places[j] for j in order[:keep]] + [None] * int(fuse)
            x = torch.stack(row)
        row = list(x + block.mlp(block.norm2(x)))
        left.append([place for place in places if place is not None])
    features = torch.zeros_like(tokens)
    for place, final in zip(places, backbone.finish(torch.stack(row)[None])[0], strict=True):
        if place is not None:
            features[0, place] = final
    return features, left


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_survivors_equal_a_naive_reference(
    kind: str, fuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_scores, "_QUERIES_AT_ONCE", 8)
    backbone, tokens = backbone_of(kind), embedded(batch=3)
    dropping = ProgressiveDropping(backbone, RATES, fuse)
    zeros = torch.zeros_like(tokens)
    together = dropping.run(tokens, GRID).onto(zeros)
    for clip in range(3):
        expected, left = naive(backbone, tokens[[clip]], fuse)
        survivors = dropping.run(tokens[[clip]], GRID)
        close(survivors.onto(zeros[:1]), expected, 1e-9)
        close(together[[clip]], expected, 1e-9)
        selected = survivors.trace.selected
        assert selected["survivors"].tolist() == sorted(left[-1])
        for block in (1, 2, 4):
            assert selected[f"blocks.{block}.kept"].tolist() == sorted(left[block])


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_tokens_run_as_if_there_were_no_others(kind: str) -> None:
    backbone, tokens = backbone_of(kind), embedded()
    chosen = torch.tensor([0, 3, 8, 9, 20, 33, 34])
    base = embedded(seed=5)
    survivors = ProgressiveDropping(backbone, RATES).run(tokens, GRID, chosen)
    others = tokens.clone()
    others[:, [1, 7, 30]] = 1e3
    again = ProgressiveDropping(backbone, RATES).run(others, GRID, chosen)
    assert torch.equal(survivors.index, again.index)
    close(survivors.onto(base), again.onto(base), 0)
    left = survivors.trace.selected["survivors"]
    assert set(left.tolist()) < set(chosen.tolist())
    changed = (survivors.onto(base) != base).any(-1)[0].nonzero().squeeze(1)
    assert torch.equal(changed, left)
    assert survivors.trace.counts["start"] == 7
    assert survivors.trace.tokens == (7 + 5 + 3 + 3 + 2) / 5


@pytest.mark.parametrize("kind", ["class token", "no class token"])
def test_equal_scores_go_by_grid_index(kind: str) -> None:
    backbone = backbone_of(kind)
    for block in backbone.blocks:
        # Without queries every token pays the same attention to all.
        block.qkv.weight[:32] = 0
        block.qkv.bias[:32] = 0
    travelling = Travelling.begin(backbone, embedded(), GRID)
    # As if a block before had left them in another order.
    backwards = Travelling(
        torch.cat([travelling.tokens[:, :-35], travelling.tokens[:, -35:].flip(1)], dim=1),
        travelling.index.flip(1),
    )
    best = backwards.through(backbone.blocks[0], GRID, 10)
    assert best.index.tolist() == [list(range(10))]
    straight = travelling.through(backbone.blocks[0], GRID, 10)
    torch.testing.assert_close(best.tokens, straight.tokens, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("tokens", "keep_rate", "kept"),
    [(5, 0.6, 3), (35, 0.7, 25), (1764, 0.6, 1059), (100, 0.55, 56), (1, 0.01, 1), (0, 0.5, 0)],
)
def test_kept_tokens_are_rounded_up_in_double_precision(
    tokens: int, keep_rate: float, kept: int
) -> None:
    assert [stage.kept for stage in stages_of(tokens, [keep_rate])] == [kept]


def golden_arch(config: dict[str, Any]) -> ViTArch:
    depth, side = config["depth"], config["img_size"] // config["patch_size"]
    return ViTArch(
        name="golden", description="", dim=config["dim"], heads=config["heads"], depth=depth,
        patch=config["patch_size"], global_blocks=tuple(range(depth)), window=Size(4, 4),
        position_table=Size(side, side), relative_table=None, class_token=True, final_norm=True,
    )  # fmt: skip


def golden_models(
    weights: dict[str, Tensor], arch: ViTArch, dtype: torch.dtype
) -> tuple[PatchEmbedding, VisionTransformer]:
    """Load published names; the published table gives the class token a position, ours has none."""
    embedding, backbone = PatchEmbedding(arch).to(dtype), VisionTransformer(arch).to(dtype)
    table = weights["pos_embed"][0]
    own = {
        "positions": table[1:].unflatten(0, tuple(arch.position_table)),
        "class_token": weights["cls_token"] + table[0],
    }
    renamed = {
        "attn.qkv": "qkv",
        "attn.proj": "projection",
        "mlp.fc1": "mlp_in",
        "mlp.fc2": "mlp_out",
    }
    for name, value in weights.items():
        if name.startswith("blocks."):
            _, number, *layer, kind = name.split(".")
            ours = renamed.get(".".join(layer), layer[-1])
            own[f"blocks.{number}.{ours}.{kind}"] = value
        elif name.startswith("norm."):
            own[f"final_{name}"] = value
    backbone.load_state_dict(own)
    embedding.conv.load_state_dict(
        {part: weights[f"patch_embed.proj.{part}"] for part in ("weight", "bias")}
    )
    return embedding.requires_grad_(False), backbone.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("dtype", "suffix", "atol"), [(torch.float32, "", 2e-4), (torch.float64, "_f64", 1e-9)]
)
def test_blocks_tokens_and_logits_equal_the_published_classifier(
    golden_root: Path, dtype: torch.dtype, suffix: str, atol: float
) -> None:
    with np.load(golden_root / "evit_k5_drop.npz", allow_pickle=False) as file:
        config = json.loads(str(file["config"]))
        case = {key: torch.from_numpy(file[key]) for key in file.files if key != "config"}
    with np.load(golden_root / config["weights"], allow_pickle=False) as file:
        weights = {key: torch.from_numpy(file[key]).to(dtype) for key in file.files}
    embedding, backbone = golden_models(weights, golden_arch(config), dtype)
    grid = backbone.arch.position_table
    tokens, rates = embedding(case["images"].to(dtype)), config["keep_rate"]

    travelling = Travelling.begin(backbone, tokens, grid)
    close(travelling.tokens, case[f"tokens{suffix}"], atol)
    for number, stage in enumerate(stages_of(grid.area, rates)):
        before = travelling.index
        travelling = travelling.through(backbone.blocks[number], grid, stage.kept)
        close(travelling.tokens, case[f"block{suffix}/{number}"], atol)
        if stage.drops:
            assert torch.equal(travelling.index, before.gather(1, case[f"kept/{number}"]))
    assert backbone.final_norm is not None
    final = backbone.final_norm(travelling.tokens)
    close(final, case[f"final{suffix}"], atol)
    head = weights["head.weight"], weights["head.bias"]
    close(torch.nn.functional.linear(final[:, 0], *head), case[f"logits{suffix}"], atol)

    survivors = ProgressiveDropping(backbone, rates).run(tokens, grid)
    assert torch.equal(survivors.index, travelling.index)
    written = survivors.onto(torch.zeros_like(tokens))
    for clip, index in enumerate(travelling.index):
        close(written[clip, index], case[f"final{suffix}"][clip, 1:], atol)
        assert int(written[clip].any(1).sum()) == len(index)
