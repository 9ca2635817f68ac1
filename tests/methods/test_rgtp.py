"""RGTP frame by frame against its definition, and where that is not the published code's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.base import ClipView, FrameContext, Stages
from maskvd_cli.methods.counting import MacWatch
from maskvd_cli.methods.rgtp import RGTP, RGTPParams, anchor_tokens, rollout_macs, tracking_macs
from maskvd_cli.methods.tracking import best, tracked

PATCH, DIM = 4, 16
WINDOWED = ViTArch(
    name="windowed", description="", dim=DIM, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(4, 3), position_table=Size(5, 5), relative_table=Size(6, 8),
)  # fmt: skip
LATE = replace(WINDOWED, name="late", global_blocks=(2,))
RELATIVE = replace(WINDOWED, name="relative", global_blocks=(0, 1, 2, 3))
PLAIN = replace(
    RELATIVE, name="plain", relative_table=None, class_token=True, final_norm=True
)  # fmt: skip
GRID = Size(6, 8)
INPUT = Size(GRID.rows * PATCH, GRID.cols * PATCH)
N, FRAMES = GRID.area, 8
NO_BOX = torch.zeros(0, 4)


def backbone(arch: ViTArch) -> VisionTransformer:
    generator = torch.Generator().manual_seed(3)
    made = VisionTransformer(arch).double().eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator).double())
    return made


def clip(seed: int = 0) -> Tensor:
    """Return the embedded patches of a scene that moves to the right, (frames, N, D)."""
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(*GRID, DIM, generator=generator, dtype=torch.float64)
    noise = torch.randn(FRAMES, N, DIM, generator=generator, dtype=torch.float64)
    moved = [scene.roll(shift, 1).flatten(0, 1) for shift in range(FRAMES)]
    return torch.stack(moved) + 0.1 * noise


BOXES = [
    torch.tensor([[0, 0, 9, 13], [15, 8, 24, 15]], dtype=torch.float64),
    torch.tensor([[5, 1, 14, 14]], dtype=torch.float64),
    NO_BOX,
    torch.tensor([[2, 9, 21, 24], [20, 3, 32, 11]], dtype=torch.float64),
] * 2
SCORES = [torch.tensor([0.9, 0.05]), torch.tensor([0.4]), torch.zeros(0), torch.ones(2)] * 2


def context(index: int, boxes: Tensor | None = None, scores: Tensor | None = None) -> FrameContext:
    if boxes is None and index:
        boxes, scores = BOXES[index - 1], SCORES[index - 1]
    return FrameContext(index, INPUT, INPUT, PATCH, boxes, scores)


def make(arch: ViTArch = WINDOWED, **params: Any) -> RGTP:
    given = RGTPParams.model_validate({"period": 5, **params})
    return RGTP(given, backbone(arch))


class Literally:
    """The definition with whole matrices and tables, every step as it reads; for one clip."""

    def __init__(self, method: RGTP) -> None:
        self.backbone, self.params = method.backbone, method.params
        self.caches: dict[int, Tensor] = {}
        self.maps: dict[int, Tensor] = {}
        self.output = self.importance = self.before = torch.empty(0)

    def frame(self, index: int, tokens: Tensor) -> Tensor:
        """Return the features (N, D), and set the importance of this frame's tokens."""
        every = torch.arange(N)
        kept = every
        if index % self.params.period:
            scores = tracked(self.importance, tokens, self.before, GRID, self.params.radius)
            kept = best(scores, self.params.count(N))
        x = (tokens + self.backbone.positions_on(GRID))[0]
        for number, block in enumerate(self.backbone.blocks):
            rows = every if number == 0 else kept
            qkv = block.qkv(block.norm1(x))
            cache = self.caches.setdefault(number, qkv.clone())
            cache[rows] = qkv
            x = x + block.projection(self._attended(number, block, cache, rows, kept))
            if number == 0:
                x = x[kept]
            x = x + block.mlp(block.norm2(x))
        self.output = x if len(self.output) == 0 else self.output.index_copy(0, kept, x)
        self._look_back(index, kept)
        self.before = tokens
        return self.output

    def _attended(
        self, number: int, block: Block, cache: Tensor, rows: Tensor, kept: Tensor
    ) -> Tensor:
        if block.window is not None:
            return block.attend(cache[None], GRID)[0, rows]
        query, key, value = (part[0] for part in block.split(cache[None]))
        logits = query * query.shape[-1] ** -0.5 @ key.mT
        assert block.relative is not None
        terms = block.relative(query[None], GRID)
        logits += (terms.rows[0].unsqueeze(-1) + terms.cols[0].unsqueeze(-2)).flatten(2)
        weights = logits.softmax(-1)
        self._read(number, weights, rows if number == 0 else kept)
        return block.merge((weights @ value)[None])[0, rows]

    def _read(self, number: int, weights: Tensor, rows: Tensor) -> None:
        fused = weights.square().mean(0).sqrt()
        if self.params.fusion == "mean":
            fused = weights.mean(0)
        if self.params.rollout != "pooled":
            self.maps.setdefault(number, fused.clone())[rows] = fused[rows]
            return
        cells = _cells()
        summed = torch.stack([fused[:, cells == cell].sum(1) for cell in range(N // 4)], dim=1)
        map_ = self.maps.setdefault(number, torch.zeros(N // 4, N // 4, dtype=torch.float64))
        for cell in range(N // 4):
            asked = [token for token in rows.tolist() if cells[token] == cell]
            if asked:
                map_[cell] = summed[asked].mean(0)

    def _look_back(self, index: int, kept: Tensor) -> None:
        anchors = anchor_tokens(context(index + 1), self.params.score_threshold).double()
        pooled = self.params.rollout == "pooled"
        if pooled:
            means = torch.stack([anchors[_cells() == cell].mean() for cell in range(N // 4)])
            anchors = (means >= 0.5).double()
        rolled = torch.eye(len(anchors), dtype=torch.float64)
        for number in sorted(self.maps):
            mixed = self.maps[number] + torch.eye(len(anchors), dtype=torch.float64)
            rolled = mixed / mixed.sum(1, keepdim=True) @ rolled
        found = rolled[anchors > 0].mean(0)
        if pooled:
            laid = found.view(1, 1, GRID.rows // 2, GRID.cols // 2)
            found = torch.nn.functional.interpolate(laid, tuple(GRID), mode="bilinear").flatten()
        elif len(self.importance):
            stale = torch.ones(N, dtype=torch.bool).index_fill(0, kept, False)
            found = torch.where(stale, self.importance, found)
        self.importance = found / found.sum()


def _cells() -> Tensor:
    index = torch.arange(N)
    return index // GRID.cols // 2 * (GRID.cols // 2) + index % GRID.cols // 2


@pytest.mark.parametrize("arch", [WINDOWED, LATE, RELATIVE], ids=lambda arch: arch.name)
@pytest.mark.parametrize(
    "params",
    [
        {"k": 13},
        {"k": 4, "radius": 2, "score_threshold": 0.5},
        {"k": 13, "rollout": "matrix", "fusion": "mean", "radius": 0},
        {"k": 13, "rollout": "pooled"},
        {"k": 30, "rollout": "pooled", "radius": 2, "fusion": "mean"},
    ],
    ids=lambda params: "-".join(map(str, params.values())),
)
def test_every_frame_is_what_the_definition_says(arch: ViTArch, params: dict[str, Any]) -> None:
    method = make(arch, **params)
    literally = Literally(method)
    for index, tokens in enumerate(clip()):
        found = method.step(tokens[None], context(index))
        assert torch.allclose(found[0], literally.frame(index, tokens), atol=1e-10)
        importance = method.importance(context(index + 1))
        assert torch.allclose(importance, literally.importance, atol=1e-12)


def run(method: RGTP, tokens: Tensor, boxes: Tensor | None = None) -> Iterator[Tensor]:
    method.reset()
    for index, frame in enumerate(tokens):
        scores = None if boxes is None else torch.ones(len(boxes))
        given = boxes if index else None
        yield method.step(frame[None], context(index, given, scores))


def kept(method: RGTP, boxes: Tensor | None) -> list[list[int]]:
    """Return the tokens of each frame."""
    found: list[list[int]] = []
    for _ in run(method, clip(), boxes):
        assert method.trace is not None
        found.append(method.trace.selected["mask"].tolist())
    return found


@pytest.mark.parametrize("arch", [WINDOWED, RELATIVE, PLAIN], ids=lambda arch: arch.name)
def test_all_tokens_in_any_order_equal_dense(arch: ViTArch) -> None:
    """The published code is about 10 off on every frame after the first."""
    method, weights = make(arch, k=N), backbone(arch)
    for tokens, found in zip(clip(), run(method, clip()), strict=True):
        assert torch.allclose(found, weights(tokens[None], GRID), atol=1e-10)
    assert method.trace is not None
    assert (method.trace.full, method.trace.counts["pruned"]) == (True, 1)


# In the last row; in the last column; one token; two tokens in two cells.
VANISHING = [(4, 20, 20, 24), (28, 4, 32, 16), (4, 4, 8, 8), (4, 4, 12, 8)]


@pytest.mark.parametrize("rollout", ["matvec", "pooled"])
@pytest.mark.parametrize("box", VANISHING)
def test_boxes_without_a_token_are_as_no_box(rollout: str, box: tuple[int, ...]) -> None:
    """The published code divides zero by zero there."""
    boxes = torch.tensor([box], dtype=torch.float64)
    alone = make(k=9, rollout=rollout)
    *_, features = run(alone, clip(), boxes)
    assert features.isfinite().all()
    importance = alone.importance(context(FRAMES, boxes, torch.ones(1)))
    assert importance.isfinite().all()
    assert float(importance.sum()) == pytest.approx(1)
    vanishes = rollout == "pooled" or box in VANISHING[:2]
    same = kept(make(k=9, rollout=rollout), boxes) == kept(make(k=9, rollout=rollout), NO_BOX)
    assert same == vanishes


def test_boxes_below_the_threshold_are_no_boxes() -> None:
    boxes = torch.tensor([[0, 0, 9, 13]], dtype=torch.float64)
    assert anchor_tokens(context(1, boxes, torch.tensor([0.1])), 0.1).all()
    assert int(anchor_tokens(context(1, boxes, torch.tensor([0.2])), 0.1).sum()) == 3 * 4
    assert int(anchor_tokens(context(1, boxes), 0.1).sum()) == 3 * 4
    assert anchor_tokens(replace(context(1), boxes=None), 0.1).all()


def test_anchors_end_before_the_last_row_and_column() -> None:
    boxes = torch.tensor([[-5, -5, 400, 400], [30, 20, 31, 23]], dtype=torch.float64)
    found = anchor_tokens(context(1, boxes), 0.1).view(*GRID)
    assert found[:-1, :-1].all()
    assert not found[-1].any() and not found[:, -1].any()
    corner = anchor_tokens(context(1, torch.tensor([[4.1, 4.0, 8.1, 8.0]])), 0.1)
    assert corner.nonzero().flatten().tolist() == [9, 10]


def test_a_box_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="a corner that is no number"):
        anchor_tokens(context(1, torch.tensor([[0.0, 0.0, torch.nan, 4.0]])), 0.1)


def test_pooled_and_vector_rollouts_agree_where_cells_are_alike() -> None:
    """One map whose tokens attend cell by cell, each to all tokens of the cells alike."""
    pooled, vector = make(LATE, k=9, rollout="pooled"), make(LATE, k=9)
    even = torch.randn(N // 4, DIM, dtype=torch.float64)[_cells()][None]
    for method in (pooled, vector):
        method.backbone.positions.zero_()
        for block in method.backbone.blocks:
            if block.relative is not None:
                block.relative.rows.zero_()
                block.relative.cols.zero_()
        method.step(even, context(0))
    boxes = torch.tensor([[8, 0, 24, 16]], dtype=torch.float64)
    found = [method.importance(context(1, boxes)) for method in (vector, pooled)]
    sums = [torch.stack([each[_cells() == cell].sum() for cell in range(N // 4)]) for each in found]
    through = pooled._maps.flow_back(_cell_anchors(boxes))
    assert torch.allclose(sums[0], through, atol=1e-12)


def _cell_anchors(boxes: Tensor) -> Tensor:
    anchors = anchor_tokens(context(1, boxes), 0.1)
    covered = torch.stack([anchors[_cells() == cell].all() for cell in range(N // 4)]).double()
    return covered / covered.sum()


def test_equal_importance_keeps_the_lower_index_first(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(k=7, radius=0)
    equal = torch.full((N,), 1 / N, dtype=torch.float64)
    monkeypatch.setattr(method, "importance", lambda frame: equal)
    for _ in run(method, clip()[:2]):
        pass
    assert method.trace is not None
    assert method.trace.selected["mask"].tolist() == list(range(7))


class Bare:
    """A model that is its backbone alone, on embedded patches."""

    arch = WINDOWED

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        return images[0][None]

    def finish(self, features: Tensor) -> list[Tensor]:
        return [features]


def test_rollout_and_tracking_count_as_selection() -> None:
    method = make(k=9)
    params = method.params
    choice = tracking_macs(WINDOWED, GRID, params) + rollout_macs(WINDOWED, GRID, params)[0]
    assert choice == 9 * N * DIM + 2 * N**2
    for index, tokens in enumerate(clip()):
        watch = MacWatch()
        watch.start()
        bare: Any = Bare()
        method.run([tokens], context(index), Stages(bare, watch))
        found = watch.stop()
        assert found["mask_macs"] == (choice if index % 5 else 0)
        assert found["backbone_macs"] > 0


def test_k_or_a_share_of_all_tokens() -> None:
    assert RGTPParams(keep_rate=0.5).count(5) == 2
    assert RGTPParams(keep_rate=0.5).count(7) == 4
    assert RGTPParams(keep_rate=0.001).count(48) == 1
    for given in ({}, {"k": 3, "keep_rate": 0.5}):
        with pytest.raises(ValidationError, match="give k, or keep_rate in its place"):
            RGTPParams.model_validate(given)
    with pytest.raises(UsageError, match="k 49 is more than the frame's 48 tokens"):
        make(k=49).step(clip()[0][None], context(0))


def test_what_pooled_maps_cannot_have() -> None:
    with pytest.raises(UsageError, match="no cell for the class token of plain"):
        make(PLAIN, k=9, rollout="pooled")
    params = RGTPParams.model_validate({"k": 9, "rollout": "pooled"})
    with pytest.raises(UsageError, match="cells do not cover the token grid 5x8"):
        RGTP.plan(params, WINDOWED, ClipView(3, Size(20, 32), PATCH))
    odd = FrameContext(0, Size(20, 32), Size(20, 32), PATCH)
    with pytest.raises(UsageError, match="cells do not cover the token grid 5x8"):
        make(k=9, rollout="pooled").step(torch.zeros(1, 40, DIM, dtype=torch.float64), odd)


def test_a_backbone_without_global_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match="global blocks, and windows has none"):
        make(replace(WINDOWED, name="windows", global_blocks=()), k=9)


def test_a_clip_begins_with_a_full_frame() -> None:
    with pytest.raises(UsageError, match="came before any full one"):
        make(k=9).step(clip()[1][None], context(1))


def test_it_is_planned_from_the_number_of_frames_alone() -> None:
    params = RGTPParams.model_validate({"k": 9, "period": 5})
    trace = RGTP.plan(params, WINDOWED, ClipView(FRAMES, INPUT, PATCH))
    assert trace.tokens.tolist() == [48, 9, 9, 9, 9, 48, 9, 9]
