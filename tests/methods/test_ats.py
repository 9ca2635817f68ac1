"""ATS against a naive reference; the order of its lists, costs, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.ats import ATS, ATSParams, stages_of
from maskvd_cli.methods.base import ClipView, FrameContext
from maskvd_cli.methods.slots import continued
from maskvd_cli.work.plan import fitted_on

GRID = Size(5, 7)
INPUT = Size(80, 112)
PLAIN = ViTArch(
    name="plain", description="", dim=32, heads=4, depth=4, patch=16, global_blocks=(0, 1, 2, 3),
    window=Size(4, 4), position_table=Size(3, 3), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
BARE = replace(PLAIN, name="bare", class_token=False)
RELATIVE = replace(PLAIN, name="relative", class_token=False, relative_table=GRID)
KINDS = [(PLAIN, "column"), (PLAIN, "row"), (BARE, "row"), (RELATIVE, "row")]
Score = Literal["column", "row"]


def backbone_of(arch: ViTArch, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    backbone = VisionTransformer(arch).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def embedded(batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, GRID.area, 32, generator=generator, dtype=torch.float64)


def at(index: int = 0) -> FrameContext:
    return FrameContext(index, INPUT, INPUT, 16)


def naive(
    backbone: VisionTransformer, tokens: Tensor, params: ATSParams, score: Score
) -> tuple[Tensor, list[list[int]]]:
    """Run one clip (N, D) with whole attention matrices; tell also what each block left."""
    arch, places = backbone.arch, list(range(GRID.area))
    x = tokens + backbone.positions_on(GRID)[0]
    if backbone.class_token is not None:
        x = torch.cat([backbone.class_token[0], x])
    lead, left = arch.lead, list[list[int]]()
    for number, block in enumerate(backbone.blocks):
        q, k, v = (
            part.reshape(len(x), arch.heads, -1) for part in block.qkv(block.norm1(x)).chunk(3, -1)
        )
        logits = torch.einsum("ihc,jhc->hij", q, k) / arch.head_dim**0.5
        if block.relative is not None:
            down, across = block.relative.tables(GRID)
            for i, here in enumerate(places):
                for j, there in enumerate(places):
                    term = down[here // 7, there // 7] + across[here % 7, there % 7]
                    logits[:, i, j] += q[i] @ term
        weights = logits.softmax(-1)
        votes = torch.zeros(len(places), dtype=torch.float64)
        for head in range(arch.heads):
            if score == "column":
                paid = weights[head, lead:, 0]
            elif lead:
                paid = weights[head, 0, 1:]
            else:
                paid = weights[head].mean(0)
            part = paid * v[lead:, head].norm(dim=-1)
            votes += part / part.sum()
        keep = len(places)
        if params.blocks is None or number in params.blocks:
            keep = int(params.fraction * len(places))
        best = sorted(sorted(range(len(places)), key=lambda j: -float(votes[j]))[:keep])
        rows = [*range(lead), *(lead + place for place in best)]
        output = torch.einsum("hij,jhc->ihc", weights, v).flatten(1)
        x = x[rows] + block.projection(output[rows])
        x = x + block.mlp(block.norm2(x))
        places = [places[place] for place in best]
        left.append(places)
    features = torch.zeros_like(tokens)
    features[places] = backbone.finish(x[None])[0]
    return features, left


@pytest.mark.parametrize(("arch", "score"), KINDS)
def test_features_and_kept_tokens_equal_a_naive_reference(arch: ViTArch, score: Score) -> None:
    backbone, tokens = backbone_of(arch), embedded(batch=3)
    params = ATSParams(fraction=0.7, blocks=(0, 2, 3), score=score)
    method = ATS(params, backbone)
    found = method.step(tokens, at())
    assert method.trace is not None
    selected = method.trace.selected
    for clip in range(3):
        expected, left = naive(backbone, tokens[clip], params, score)
        torch.testing.assert_close(found[clip], expected, rtol=0, atol=1e-9)
        for block in (0, 2, 3):
            assert selected[f"blocks.{block}.kept"][clip].tolist() == left[block]
        assert selected["survivors"][clip].tolist() == left[-1]
    assert len({tuple(row) for row in selected["survivors"].tolist()}) == 3


def test_column_and_row_choose_differently() -> None:
    backbone, tokens = backbone_of(PLAIN), embedded()
    chosen = []
    for score in ("column", "row", None):
        method = ATS(ATSParams(fraction=0.6, score=score), backbone)
        method.step(tokens, at())
        assert method.trace is not None
        chosen.append(method.trace.selected["survivors"].tolist())
    assert chosen[0] != chosen[1]
    assert chosen[2] == chosen[0]


def ordered(before: list[int] | None, kept: list[int]) -> list[int]:
    """Return the list slot by slot, as the published code's text has it."""
    if before is None:
        return kept
    newcomers = [token for token in kept if token not in before]
    return [token if token in kept else newcomers.pop(0) for token in before]


@given(st.integers(1, 12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_tokens_keep_their_slots(count: int, random: Any) -> None:
    before: list[list[int] | None] = [None, None]
    lists: Tensor | None = None
    for _ in range(5):
        kept = [sorted(random.sample(range(14), count)) for _ in range(2)]
        lists = continued(lists, torch.tensor(kept), 14)
        before = [ordered(old, new) for old, new in zip(before, kept, strict=True)]
        assert lists.tolist() == before


def test_lists_of_another_length_begin_anew() -> None:
    kept = torch.tensor([[1, 4]])
    assert torch.equal(continued(torch.tensor([[3, 4, 1]]), kept, 5), kept)


def test_slots_last_over_frames_and_decide_no_output() -> None:
    backbone = backbone_of(PLAIN)
    method = ATS(ATSParams(fraction=0.7), backbone)
    scene = embedded()
    for index in range(4):
        frame = scene + 0.2 * embedded(seed=10 + index)
        found = method.step(frame, at(index))
        alone = ATS(ATSParams(fraction=0.7), backbone)
        torch.testing.assert_close(found, alone.step(frame, at()), rtol=0, atol=1e-9)
    unsorted = [slots for slots in method.slots.values() if slots.tolist()[0] != sorted(slots[0])]
    assert unsorted
    lengths = [stage.kept for stage in stages_of(method.params, PLAIN, 35)]
    assert lengths == [24, 16, 11, 7]
    assert method.state_bytes() == 8 * sum(lengths)
    assert ATS.planned_state_bytes(PLAIN, GRID, method.params) == 8 * sum(lengths)
    method.reset()
    assert method.state_bytes() == 0


@pytest.mark.parametrize(
    ("tokens", "fraction", "lead", "kept"),
    [(25, 0.7, 1, 17), (196, 0.9, 1, 176), (100, 0.29, 1, 28), (1, 0.5, 1, 0), (1, 0.5, 0, 1),
     (0, 0.5, 0, 0), (9, 1.0, 1, 9)],
)  # fmt: skip
def test_so_many_are_kept(tokens: int, fraction: float, lead: int, kept: int) -> None:
    """int(f n), the product in double precision as in the published code."""
    assert ATSParams(fraction=fraction).kept_of(tokens, 0, lead) == kept


def test_scores_do_not_depend_on_the_batch_unless_the_slip_is_asked_for() -> None:
    backbone, tokens = backbone_of(PLAIN), embedded(batch=4)
    method, slip = (ATS(ATSParams(fraction=0.7), backbone) for _ in range(2))
    slip.clips_for_heads = True  # type: ignore[misc]
    attention, value = torch.rand(4, 4, 9), torch.rand(4, 4, 9, 8)
    own = method.scores(attention, value)
    torch.testing.assert_close(method.scores(attention[2:3], value[2:3]), own[2:3])
    parts = attention * value.norm(dim=-1)
    parts = parts / parts.sum(-1, keepdim=True)
    torch.testing.assert_close(own, parts.sum(1))
    torch.testing.assert_close(slip.scores(attention, value), parts.sum(0))
    assert not torch.equal(method.step(tokens, at()), slip.step(tokens, at()))


def test_keeping_everything_costs_what_dense_costs() -> None:
    for name in ("vitdet-b-global", "vitdet-ti-global"):
        arch = get_arch(name)
        params = ATS.resolve(ATSParams(fraction=1.0), arch)
        view = ClipView(1, Size(192, 640), 16)
        trace = ATS.plan(params, arch, view)
        found, dense = ATS.macs(arch, view.grid, params, trace), costs.dense(arch, view.grid)
        assert np.asarray(found.matrix).tolist() == [dense.matrix]
        assert np.asarray(found.published).tolist() == [dense.published]
        assert ATS.planned_state_bytes(arch, view.grid, params) == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"windows of vitdet-b need .* use vitdet-b-global"):
        fitted_on("vitdet-b", ATS, ATSParams())
    with pytest.raises(UsageError, match="class token, and bare has none; choose score row"):
        ATS.resolve(ATSParams(score="column"), BARE)
    with pytest.raises(UsageError, match=r"blocks \[1, 4\]: plain has blocks 0\.\.3"):
        ATS.resolve(ATSParams(blocks=(4, 1)), PLAIN)
    assert ATS.resolve(ATSParams(), BARE).score == "row"
    assert ATS.resolve(ATSParams(), PLAIN).score == "column"


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"fraction": 0.0}, "greater than 0"),
        ({"fraction": 1.1}, "less than or equal to 1"),
        ({"blocks": []}, "at least 1 item"),
        ({"blocks": [3, 3]}, "stands there twice"),
        ({"score": "both"}, "'column' or 'row'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ATSParams.model_validate(given_)
