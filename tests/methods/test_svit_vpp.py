"""SViT and VPP on a small backbone, against their steps written out with whole blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.association import similarity, smoothed
from maskvd_cli.methods.base import FrameContext
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.selectors import kept_of
from maskvd_cli.methods.svit import SViT, SViTParams
from maskvd_cli.methods.vpp import VPP, VPPParams

GRID, DIM, DEPTH = Size(5, 6), 16, 6
N = GRID.area
ARCH = ViTArch(
    name="small", description="", dim=DIM, heads=2, depth=DEPTH, patch=4,
    global_blocks=tuple(range(DEPTH)), window=Size(5, 6), position_table=GRID, relative_table=None,
    class_token=True, final_norm=True,
)  # fmt: skip
RELATIVE = replace(ARCH, relative_table=GRID, class_token=False)
FRAMES = [
    torch.randn(1, N, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for seed in range(4)
]


def backbone(arch: ViTArch = ARCH) -> VisionTransformer:
    torch.manual_seed(1)
    return VisionTransformer(arch).double().eval().requires_grad_(False)


def context(index: int) -> FrameContext:
    size = Size(GRID.rows * 4, GRID.cols * 4)
    return FrameContext(index, size, size, 4)


def params(kind: Any, **changes: Any) -> Any:
    given = {"selector": "random", "seed": 3, **changes}
    return kind.model_validate(given)


def masked_keys(block: Any, sequence: Tensor, kept: Tensor) -> Tensor:
    """Return the sequence after a block as it is trained: all computed, others masked as keys."""
    lead = sequence.shape[1] - N
    everything = torch.cat([torch.ones(lead, dtype=torch.bool), kept])
    query, key, value = block.split(block.qkv(block.norm1(sequence)))
    logits = query @ key.mT * query.shape[-1] ** -0.5
    if block.relative is not None:
        logits = logits + block.relative(query, GRID).bias(slice(None), None)
    attended = logits.masked_fill(~everything, -torch.inf).softmax(-1) @ value
    done = block.complete(sequence, block.merge(attended))
    return torch.where(everything[:, None], done, sequence)


@pytest.mark.parametrize("arch", [ARCH, RELATIVE], ids=["class-token", "relative"])
def test_svit_is_the_block_with_other_keys_masked_and_other_tokens_left(arch: ViTArch) -> None:
    vit = backbone(arch)
    method = SViT(params(SViTParams, blocks=(1, 3, 4)), vit)
    found = method.step(FRAMES[0], context(0))
    sequence = vit.with_class_token(FRAMES[0] + vit.positions_on(GRID))
    counts = []
    for number, block in enumerate(vit.blocks):
        kept = torch.ones(N, dtype=torch.bool)
        if number in (1, 3, 4):
            told = method.module[str(number)](sequence[0, arch.lead :])
            kept = kept_of(told, ties=False)
        sequence = masked_keys(block, sequence, kept)
        counts.append(int(kept.sum()))
    torch.testing.assert_close(found, vit.finish(sequence), atol=1e-10, rtol=0)
    assert method.trace is not None
    assert list(method.trace.layers) == counts
    assert 0 < counts[1] < N, "a choice between none and all tests nothing"
    assert method.trace.tokens == sum(counts) / DEPTH


def test_vpp_step_by_step() -> None:
    """Three frames: the map before block 1, selectors at 2 and 4, no token comes back."""
    vit = backbone()
    told = {"blocks": (2, 4), "deep_block": 3, "keep_rate": 0.6, "bias": 0.02}
    method = VPP(params(VPPParams, **told), vit)
    entering = deep = before = None
    for index, tokens in enumerate(FRAMES):
        found = method.step(tokens, context(index))
        sequence = vit.with_class_token(tokens + vit.positions_on(GRID))
        active = torch.ones(N, dtype=torch.bool)
        now = {}
        for number, block in enumerate(vit.blocks):
            if number == 1:
                now["entering"] = sequence[0, 1:].clone()
                if index:
                    active = mapped(method, now["entering"], entering, deep, before)
            if number in (2, 4):
                score = method.module.selectors[str(number)](sequence[0, 1:])
                active = active & kept_of(score, bias=0.02)
            sequence = masked_keys(block, sequence, active)
            if number == 3:
                now["deep"], now["active"] = sequence[0, 1:].clone(), active.clone()
        entering, deep, before = now["entering"], now["deep"], now["active"]
        torch.testing.assert_close(found, vit.finish(sequence), atol=1e-10, rtol=0)
        trace = method.trace
        assert trace is not None
        assert trace.layers[1] == (N if not index else int(0.6 * N))
        assert trace.layers[-1] == int(active.sum()) < trace.layers[1]
        assert trace.layers[-1] > 0
        kept = method.memory
        assert kept is not None
        torch.testing.assert_close(kept.entering, entering, atol=1e-12, rtol=0)
        torch.testing.assert_close(kept.deep, deep, atol=1e-10, rtol=0)
        assert torch.equal(kept.active, before)


def mapped(method: VPP, tokens: Tensor, entering: Any, deep: Any, active: Any) -> Tensor:
    phi = similarity(tokens, entering, GRID, active)
    one_hot = torch.nn.functional.one_hot(phi.argmax(1), N).double()
    scores = smoothed(method.module.map.selector(one_hot @ deep), GRID).softmax(-1)[:, 0]
    kept = torch.zeros(N, dtype=torch.bool)
    kept[scores.argsort(descending=True, stable=True)[: int(0.6 * N)]] = True
    return kept


def test_what_is_kept_for_the_next_frame_is_from_before_any_block_changed_it() -> None:
    """The published code keeps the very tensor that the next blocks write kept tokens into."""
    vit = backbone()
    method = VPP(params(VPPParams, blocks=(2,), deep_block=1, keep_rate=0.6), vit)
    for index, tokens in enumerate(FRAMES[:3]):
        found = method.step(tokens, context(index))
        sequence = vit.blocks[0](vit.with_class_token(tokens + vit.positions_on(GRID)), GRID)
        assert method.memory is not None
        assert torch.equal(method.memory.entering, sequence[0, 1:])
        # Tokens that block 1 computed are others after it: the test would see them.
        changed = (method.memory.deep != method.memory.entering).all(1)
        assert torch.equal(changed, method.memory.active)
        assert 0 < int(changed.sum()) < N or not index
        kept = [tensor.clone() for tensor in method.state()]
        found.zero_()
        assert all(torch.equal(a, b) for a, b in zip(kept, method.state(), strict=True))


@pytest.mark.parametrize(("kind", "of"), [(SViT, SViTParams), (VPP, VPPParams)])
def test_noise_follows_its_seed_and_is_off_by_default(kind: Any, of: Any) -> None:
    def run(**changes: Any) -> list[Tensor]:
        told = {"blocks": (2, 3), **changes}
        method = kind(params(of, **told), backbone(), module)
        return [method.step(tokens, context(index)) for index, tokens in enumerate(FRAMES)]

    module = None
    module = kind(params(of, blocks=(2, 3)), backbone()).module
    quiet, loud = run(), run(noise=True)
    assert same(quiet, run(seed=9)), "without noise the seed of the noise decides nothing"
    assert same(loud, run(noise=True))
    assert not same(loud, run(noise=True, seed=9))
    assert not same(loud, quiet)
    assert same(quiet, run(noise=True, temperature=1e9))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_scores_are_told_where_a_token_was_asked() -> None:
    method = VPP(params(VPPParams, blocks=(2, 4), deep_block=3, keep_rate=0.5), backbone())
    for index, tokens in enumerate(FRAMES[:2]):
        method.step(tokens, context(index))
    assert method.trace is not None
    scores = method.trace.scores
    assert set(scores) == {1, 2, 4}
    assert scores[1].isfinite().all()
    assert int((~scores[2].isnan()).sum()) == method.trace.layers[1] == N // 2
    assert int((~scores[4].isnan()).sum()) == method.trace.layers[3]
    assert not method.trace.without_sets().scores


def test_the_sets_of_a_trace_stand_for_the_blocks_that_have_them() -> None:
    method = VPP(params(VPPParams, blocks=(2, 4), deep_block=3, keep_rate=0.5), backbone())
    for index, tokens in enumerate(FRAMES[:2]):
        method.step(tokens, context(index))
    trace = method.trace
    assert trace is not None
    assert dict(trace.shares) == pytest.approx(
        {"blocks.1.kept": 1 / 6, "blocks.2.kept": 2 / 6, "blocks.4.kept": 2 / 6}
    )
    share = trace.share(N)
    assert share is not None
    assert share.sum() == pytest.approx(sum(trace.layers) / DEPTH)


def test_windows_are_refused_with_the_reason() -> None:
    for kind in (SViT, VPP):
        reason = unlike(kind, get_arch("vitdet-ti"))
        assert reason is not None
        assert "the windows of vitdet-ti need all of them" in reason


@pytest.mark.parametrize(
    ("kind", "of", "changes", "text"),
    [
        (SViT, SViTParams, {"blocks": (2, 9)}, r"blocks \[2, 9\]: small has blocks 0\.\.5"),
        (VPP, VPPParams, {"blocks": (6,)}, r"blocks \[6\]: small has blocks 0\.\.5"),
        (VPP, VPPParams, {"blocks": (1,)}, "block 1 has a selector before tokens are mapped"),
        (VPP, VPPParams, {"blocks": (3,), "deep_block": 6}, "deep_block 6 is not between"),
        (VPP, VPPParams, {"blocks": (3,), "deep_block": 0}, "deep_block 0 is not between"),
    ],
)
def test_blocks_that_cannot_be(kind: Any, of: Any, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        kind(params(of, **changes), backbone())


@pytest.mark.parametrize(("method", "params"), [(SViT, SViTParams), (VPP, VPPParams)])
def test_weights_fit_the_same_backbone_with_a_mask_head(
    method: Any, params: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, masked = get_arch("vitdet-ti-global"), get_arch("vitdet-ti-global-mask")
    tensors = method.new_module(params(selector="random"), plain).state_dict()
    files = {arch.name: tmp_path / f"{method.name}-{arch.name}.safetensors"
             for arch in (plain, masked)}  # fmt: skip
    for name, file in files.items():
        save(file, tensors, {"contains": "module", "method": method.name, "arch": name})
    own, other = (params(selector=str(files[arch.name])) for arch in (masked, plain))
    assert method.resolve(own, masked) == own
    assert method.resolve(other, masked) == other
    with pytest.raises(CheckpointError, match="was made for the arch vitdet-ti-global-mask, not"):
        method.resolve(own, plain)
    shipped = {file.stem: file for file in files.values()}
    monkeypatch.setattr("maskvd_cli.methods.learned.shipped_weights", lambda: shipped)
    assert method.weights_of(params(), masked).path == files[masked.name]
    del shipped[files[masked.name].stem]
    assert method.weights_of(params(), masked).path == files[plain.name]
    assert method.weights_of(params(), plain).path == files[plain.name]
