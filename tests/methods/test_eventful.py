"""Eventful Transformers and STGT: golden cases, an independent reference, the method contract."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.eventful import Eventful, EventfulParams, changed_cells
from maskvd_cli.methods.eventful_costs import key_count
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.stgt import STGT, STGTParams
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.namings import get_naming
from maskvd_cli.models.vit import Block, VisionTransformer
from maskvd_cli.models.zoo import get_arch

PATCH = 16
WINDOWED = get_arch("vitdet-b")
CASES = (
    "temporal", "threshold", "tokenwise", "gate_before_ln", "stgt", "ablate_av", "spatiotemporal",
)  # fmt: skip
MATRIX = ("linear_flops", "matmul_flops", "einsum_flops")
SMALL = ViTArch(
    name="small", description="", dim=16, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=Size(6, 6),
)  # fmt: skip
PLAIN = ViTArch(
    name="plain", description="", dim=16, heads=2, depth=2, patch=PATCH, global_blocks=(0, 1),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
BARE = ViTArch(
    name="bare", description="", dim=16, heads=1, depth=2, patch=PATCH, global_blocks=(0, 1),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=None,
)  # fmt: skip
UNEVEN = Size(10, 11)
EVEN = Size(8, 12)


def backbone(arch: ViTArch, dtype: torch.dtype = torch.float64, seed: int = 0) -> VisionTransformer:
    """A backbone whose every parameter is drawn, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    made = VisionTransformer(arch)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            deviation = 1.0 if "norm" in name else 0.25
            parameter.copy_(deviation * torch.randn(parameter.shape, generator=generator))
    return made.to(dtype).eval()


def clip(frames: int, grid: Size, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Frames (t, N, 16) that all change everywhere, some tokens much more than others."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(grid.area, 16, generator=generator, dtype=torch.float64)
    moves = torch.randn(frames, grid.area, 16, generator=generator, dtype=torch.float64)
    scale = torch.rand(frames, grid.area, 1, generator=generator, dtype=torch.float64) ** 4
    return (base + (moves * scale).cumsum(0)).to(dtype)


def context(index: int, grid: Size) -> FrameContext:
    pixels = Size(grid.rows * PATCH, grid.cols * PATCH)
    return FrameContext(index, pixels, pixels, PATCH)


def run(
    method: GatedMethod[Any] | Dense, frames: Tensor, grid: Size
) -> tuple[Tensor, list[FrameTrace]]:
    """Return features and traces of frames (t, N, D) or a batch of clips (t, B, N, D)."""
    outputs, traces = [], []
    with torch.inference_mode():
        for index, tokens in enumerate(frames):
            batch = tokens if tokens.dim() == 3 else tokens[None]
            outputs.append(method.step(batch, context(index, grid)))
            assert method.trace is not None
            traces.append(method.trace)
    return torch.stack(outputs), traces


def eventful(on: VisionTransformer, **params: Any) -> Eventful:
    return Eventful(EventfulParams(**params), on)


def stgt(on: VisionTransformer, **params: Any) -> STGT:
    return STGT(STGTParams(**params), on)


EVENTFUL_WAYS: tuple[dict[str, Any], ...] = (
    {}, {"update": "qk"}, {"update": "tokenwise"}, {"gate": "before_ln"},
)  # fmt: skip


def methods_on(on: VisionTransformer, **params: Any) -> Iterator[GatedMethod[Any]]:
    """Yield both methods, in every way that runs on all backbones."""
    for way in EVENTFUL_WAYS:
        yield eventful(on, **params, **way)
    yield stgt(on, **params)
    yield stgt(on, **params, gate="before_ln")


# --- Golden cases ---------------------------------------------------------------------------------


class Golden:
    """One golden case: its model, its method and what the authors' code computed."""

    def __init__(self, root: Path, case: str, dtype: torch.dtype, depth: int | None = None) -> None:
        with np.load(root / f"{case}_A.npz", allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files}
        config = json.loads(str(self.arrays["config"]))
        self.counts: list[dict[str, int]] = json.loads(str(self.arrays["counts"]))
        self.grid = Size(*config["input_size"])
        block = config["block_config"]
        windowed = config["window_indices"]
        blocks = depth or int(config["depth"])
        self.arch = ViTArch(
            name="golden", description="", dim=block["dim"], heads=block["heads"],
            depth=blocks, patch=PATCH,
            global_blocks=tuple(i for i in range(blocks) if i not in windowed),
            window=Size(*block["window_size"]),
            position_table=Size(*config["position_encoding_size"]),
            relative_table=Size(*block["relative_embedding_size"]),
            mlp_ratio=block["mlp_ratio"],
        )  # fmt: skip
        with np.load(root / config["weights"], allow_pickle=False) as file:
            weights = {name: torch.from_numpy(file[name]) for name in file.files}
        self.backbone = self._loaded(weights).to(dtype)
        self.method = self._method(config, block)
        self.inputs = torch.from_numpy(self.arrays["inputs"]).to(dtype)
        name = "outputs_f64" if dtype == torch.float64 else "outputs"
        self.outputs = torch.from_numpy(self.arrays[name])

    def _loaded(self, weights: dict[str, Tensor]) -> VisionTransformer:
        naming = get_naming("eventful")
        state = {str(naming.our_name(name))[len("backbone.") :]: w for name, w in weights.items()}
        state["positions"] = state["positions"].view(*self.arch.position_table, self.arch.dim)
        made = VisionTransformer(self.arch)
        # A backbone cut short, for the outputs of single blocks, leaves out the others' weights.
        assert set(made.state_dict()) <= set(state)
        made.load_state_dict({name: state[name] for name in made.state_dict()}, strict=True)
        return made.eval()

    def _method(self, config: dict[str, Any], block: dict[str, Any]) -> GatedMethod[Any]:
        params: dict[str, Any] = {"gate": "before_ln"} if block.get("gate_before_ln") else {}
        if config["threshold"] is None:
            params["r"] = config["r"]
        else:
            params |= {"policy": "threshold", "threshold": config["threshold"]}
        if block.get("stgt"):
            return stgt(self.backbone, **params)
        ways = {
            "EventfulBlock": "full", "EventfulMatmul1Block": "qk",
            "EventfulTokenwiseBlock": "tokenwise",
        }  # fmt: skip
        return eventful(
            self.backbone, **params, update=ways[config["block_class"]],
            pool=block.get("pool_size", 1),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_golden_features_selections_and_counts(
    case: str, dtype: torch.dtype, golden_root: Path
) -> None:
    golden = Golden(golden_root, case, dtype)
    features, traces = run(golden.method, golden.inputs, golden.grid)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(features[:, 0], golden.outputs, atol=tolerance, rtol=0)
    for frame, trace in enumerate(traces[1:], start=1):
        assert len(trace.selected) == 3 * golden.arch.depth
        for name, index in trace.selected.items():
            assert index[0].tolist() == golden.arrays[f"index/{frame}/{name}_gate"].tolist()
    macs = golden.method.macs(golden.arch, golden.grid, golden.method.params, TokenTrace.of(traces))
    assert list(np.asarray(macs.published)) == [sum(counted.values()) for counted in golden.counts]
    assert list(np.asarray(macs.matrix)) == [
        sum(counted.get(part, 0) for part in MATRIX) for counted in golden.counts
    ]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("case", CASES)
def test_golden_outputs_of_every_block(case: str, depth: int, golden_root: Path) -> None:
    # Blocks see only what precedes them: those of a backbone cut short compute the same.
    golden = Golden(golden_root, case, torch.float32, depth)
    features, _ = run(golden.method, golden.inputs[:2], golden.grid)
    for frame in (0, 1):
        expected = torch.from_numpy(golden.arrays[f"block_outputs_t{frame}"][depth - 1])
        torch.testing.assert_close(features[frame, 0], expected, atol=2e-4, rtol=0)


# --- An independent reference, token by token -----------------------------------------------------


class Reference:
    """Gated blocks as the specification words them, for one clip, on lists of token numbers."""

    def __init__(
        self, model: VisionTransformer, grid: Size, r: int, update: str, pool: int, forgets: bool
    ) -> None:
        self.model, self.grid, self.r = model, grid, r
        self.update, self.pool, self.forgets = update, pool, forgets
        self.kept: dict[str, Tensor] = {}

    def frame(self, tokens: Tensor) -> Tensor:
        table = self.model.positions.permute(2, 0, 1)[None]
        resized = F.interpolate(table, size=tuple(self.grid), mode="bicubic", align_corners=False)
        x = tokens + resized[0].flatten(1).T
        for number, block in enumerate(self.model.blocks):
            qkv, index = self.gate(f"{number}.1", block.norm1(x), block.qkv)
            if block.window is None:
                attended = self.globally(number, block, qkv, index)
            else:
                attended = self.in_windows(block, qkv)
            x = x + self.gate(f"{number}.2", attended, block.projection)[0]
            x = x + self.gate(f"{number}.3", block.norm2(x), block.mlp)[0]
        return x

    def gate(self, name: str, tokens: Tensor, layer: Any) -> tuple[Tensor, list[int] | None]:
        if f"{name}.p" not in self.kept:
            self.kept |= {f"{name}.p": tokens.clone(), f"{name}.b": layer(tokens)}
            return self.kept[f"{name}.b"].clone(), None
        before = self.kept[f"{name}.p"]
        moved = [float((now - then).norm()) for now, then in zip(tokens, before, strict=True)]
        index = sorted(sorted(range(len(moved)), key=lambda i: -moved[i])[: self.r])
        for token in index:
            self.kept[f"{name}.b"][token] = layer(tokens[token])
        for token in range(len(moved)) if self.forgets else index:
            before[token] = tokens[token]
        return self.kept[f"{name}.b"].clone(), index

    def bias(self, block: Block, query: Tensor, size: Size, pool: int) -> Tensor:
        """Return what queries (H, n, c) add to their logits, (H, n, n / pool^2)."""
        assert block.relative is not None
        sides = []
        for table, side in zip((block.relative.rows, block.relative.cols), size, strict=True):
            half = (len(table) + 1) // 2
            grid = torch.stack(
                [torch.stack([table[y - k + half - 1] for k in range(half)]) for y in range(half)]
            ).permute(2, 0, 1)[None]
            if half != side:
                grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
            sides.append(torch.stack(grid[0].permute(1, 2, 0).split(pool, dim=1)).mean(2))
        rows, cols = sides
        added = query.new_zeros(len(query), size.area, len(rows), len(cols))
        for token in range(size.area):
            y, x = divmod(token, size.cols)
            added[:, token] += (query[:, token] @ rows[:, y].T)[:, :, None]
            added[:, token] += (query[:, token] @ cols[:, x].T)[:, None, :]
        return added.flatten(2)

    @staticmethod
    def heads(block: Block, qkv: Tensor) -> list[Tensor]:
        width = qkv.shape[1] // 3
        return [
            torch.stack(part.split(width // block.heads, dim=1)) for part in qkv.split(width, dim=1)
        ]

    def in_windows(self, block: Block, qkv: Tensor) -> Tensor:
        assert block.window is not None
        out = qkv.new_zeros(self.grid.area, qkv.shape[1] // 3)
        for top, left in itertools.product(
            range(0, self.grid.rows, block.window.rows), range(0, self.grid.cols, block.window.cols)
        ):
            places = [
                (top + y) * self.grid.cols + left + x
                if top + y < self.grid.rows and left + x < self.grid.cols
                else None
                for y, x in itertools.product(range(block.window.rows), range(block.window.cols))
            ]
            inside = torch.stack([block.qkv.bias if p is None else qkv[p] for p in places])
            query, key, value = self.heads(block, inside)
            logits = query @ key.mT / query.shape[-1] ** 0.5
            logits = logits + self.bias(block, query, block.window, 1)
            for row, place in zip(
                torch.cat(list(logits.softmax(-1) @ value), dim=1), places, strict=True
            ):
                if place is not None:
                    out[place] = row
        return out

    def globally(self, number: int, block: Block, qkv: Tensor, index: list[int] | None) -> Tensor:
        query, key, value = self.heads(block, qkv)
        cells: dict[int, list[int]] = {}
        for token in range(self.grid.area):
            y, x = divmod(token, self.grid.cols)
            cell = (y // self.pool) * (self.grid.cols // self.pool) + x // self.pool
            cells.setdefault(cell, []).append(token)
        key, value = (
            torch.stack([part[:, cells[cell]].mean(1) for cell in range(len(cells))], dim=1)
            for part in (key, value)
        )
        # S equals q k^T at all times, as all its changed rows and columns are renewed.
        logits = query @ key.mT / query.shape[-1] ** 0.5
        weights = (logits + self.bias(block, query, self.grid, self.pool)).softmax(-1)
        if self.update == "full" and index is not None:
            # O is the product of stored A and stored v, whose columns and rows differ in age.
            for cell in {c for c, tokens in cells.items() if set(tokens) & set(index)}:
                self.kept[f"{number}.A"][:, :, cell] = weights[:, :, cell]
                self.kept[f"{number}.v"][:, cell] = value[:, cell]
            weights, value = self.kept[f"{number}.A"], self.kept[f"{number}.v"]
        elif self.update == "full":
            self.kept |= {f"{number}.A": weights.clone(), f"{number}.v": value.clone()}
        return torch.cat(list(weights @ value), dim=1)


@pytest.mark.parametrize(
    ("grid", "update", "pool"),
    [
        (UNEVEN, "full", 1), (UNEVEN, "qk", 1), (UNEVEN, "tokenwise", 1), (Size(5, 3), "full", 1),
        (EVEN, "full", 2), (EVEN, "qk", 2), (EVEN, "tokenwise", 4), (EVEN, "full", 4),
    ],
)  # fmt: skip
def test_other_grids_equal_an_independent_reference(grid: Size, update: str, pool: int) -> None:
    model, frames = backbone(SMALL), clip(5, grid)
    method = eventful(model, r=9, update=update, pool=pool)
    features, _ = run(method, frames, grid)
    reference = Reference(model, grid, 9, update, pool, forgets=False)
    with torch.no_grad():
        expected = torch.stack([reference.frame(tokens) for tokens in frames])
    torch.testing.assert_close(features[:, 0], expected, atol=1e-9, rtol=0)


def test_stgt_equals_an_independent_reference() -> None:
    model, frames = backbone(SMALL), clip(5, UNEVEN)
    features, _ = run(stgt(model, r=9), frames, UNEVEN)
    reference = Reference(model, UNEVEN, 9, "tokenwise", 1, forgets=True)
    with torch.no_grad():
        expected = torch.stack([reference.frame(tokens) for tokens in frames])
    torch.testing.assert_close(features[:, 0], expected, atol=1e-9, rtol=0)
    remembering, _ = run(eventful(model, r=9, update="tokenwise"), frames, UNEVEN)
    assert (remembering[2:, 0] - expected[2:]).abs().max() > 1e-3


def test_a_pooled_cell_changes_with_any_of_its_tokens() -> None:
    index = torch.tensor([[0, 1, 13, 29, 95]])
    assert changed_cells(index, EVEN, 2).tolist() == [[0, 8, 23]]


# --- The contract of every method -----------------------------------------------------------------


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_letting_everything_through_equals_dense_on_every_frame(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(5, UNEVEN)
    expected, _ = run(Dense(DenseParams(), model), frames, UNEVEN)
    length = UNEVEN.area + int(arch.class_token)
    ways: list[dict[str, Any]] = [{"r": length}, {"policy": "top_fraction", "fraction": 1.0}]
    if not arch.class_token:
        # A class token enters every frame unchanged, and does not go through the first gate.
        ways.append({"policy": "threshold", "threshold": 0.0})
    for params in ways:
        for method in methods_on(model, **params):
            found, traces = run(method, frames, UNEVEN)
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
            assert all(trace.full and trace.tokens == UNEVEN.area for trace in traces)


@pytest.mark.parametrize("update", ["full", "qk", "tokenwise"])
@pytest.mark.parametrize("pool", [2, 4])
def test_letting_everything_through_equals_dense_with_pooling(update: str, pool: int) -> None:
    model, frames = backbone(SMALL), clip(4, EVEN)
    expected, _ = run(Dense(DenseParams(pool=pool), model), frames, EVEN)
    found, _ = run(eventful(model, r=EVEN.area, update=update, pool=pool), frames, EVEN)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_rounding_stays_small_over_fifty_frames() -> None:
    grid = Size(6, 6)
    model = backbone(SMALL, torch.float32)
    generator = torch.Generator().manual_seed(3)
    frames = torch.randn(50, grid.area, 16, generator=generator)
    expected, _ = run(Dense(DenseParams(), model), frames, grid)
    found, _ = run(eventful(model, r=grid.area), frames, grid)
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("arch", [SMALL, PLAIN], ids=lambda arch: arch.name)
def test_reset_forgets(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(3, UNEVEN)
    for method in methods_on(model, r=9):
        first, _ = run(method, frames, UNEVEN)
        run(method, clip(2, UNEVEN, seed=9), UNEVEN)
        method.reset()
        assert method.state_bytes() == 0
        again, _ = run(method, frames, UNEVEN)
        assert torch.equal(again, first)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_no_storage_is_shared(arch: ViTArch, guard: Any) -> None:
    model, frames = backbone(arch), clip(3, UNEVEN)
    half = {"r": 9, "av_precision": "half"}
    for method in (*methods_on(model, r=9), eventful(model, **half)):
        inputs, outputs = [tokens[None].clone() for tokens in frames], []
        with guard():
            for index, tokens in enumerate(inputs):
                outputs.append(method.step(tokens, context(index, UNEVEN)))
        assert all(torch.equal(a[0], b) for a, b in zip(inputs, frames, strict=True)), (
            "inputs were changed"
        )
        pointers = [
            tensor.untyped_storage().data_ptr()
            for tensor in (*method.state(), *inputs, *outputs, *model.parameters())
        ]
        assert len(pointers) == len(set(pointers))


def test_stored_outputs_are_not_changed_by_later_frames() -> None:
    model, frames = backbone(SMALL), clip(3, UNEVEN)
    for method in methods_on(model, r=9):
        with torch.inference_mode():
            first = method.step(frames[:1], context(0, UNEVEN))
            copy = first.clone()
            method.step(frames[1:2], context(1, UNEVEN))
        assert torch.equal(first, copy)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_state_is_as_large_as_planned(arch: ViTArch) -> None:
    model, frames = backbone(arch, torch.float32), clip(2, EVEN, torch.float32)
    ways = [*methods_on(model, r=9), eventful(model, r=9, av_precision="half")]
    if arch.windowed_depth:
        ways += [eventful(model, r=9, pool=2, update=u) for u in ("full", "qk", "tokenwise")]
    for method in ways:
        run(method, frames, EVEN)
        assert method.state_bytes() == method.planned_state_bytes(arch, EVEN, method.params)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_matrix_products_equal_what_torch_counts(arch: ViTArch) -> None:
    model = backbone(arch, torch.float32)
    for grid in (UNEVEN, EVEN):
        frames = clip(3, grid, torch.float32)
        ways = [
            *methods_on(model, r=9),
            eventful(model, policy="threshold", threshold=1.0),
            eventful(model, r=9, av_precision="half"),
        ]
        if arch.windowed_depth and grid == EVEN:
            ways += [eventful(model, r=9, pool=2, update=u) for u in ("full", "qk", "tokenwise")]
        for method in ways:
            for index, tokens in enumerate(frames):
                with FlopCounterMode(display=False) as counter, torch.no_grad():
                    method.step(tokens[None], context(index, grid))
                assert method.trace is not None
                trace = TokenTrace.of([method.trace])
                macs = method.macs(arch, grid, method.params, trace)
                assert np.asarray(macs.matrix).tolist() == [counter.get_total_flops() / 2]


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_clips_side_by_side_equal_clips_alone(arch: ViTArch) -> None:
    model = backbone(arch)
    clips = [clip(4, UNEVEN, seed=seed) for seed in (1, 2)]
    for together in methods_on(model, r=9):
        both, traces = run(together, torch.stack(clips, dim=1), UNEVEN)
        for number, frames in enumerate(clips):
            together.reset()
            alone, own = run(together, frames, UNEVEN)
            torch.testing.assert_close(both[:, number], alone[:, 0], atol=1e-9, rtol=0)
            for joint, single in zip(traces, own, strict=True):
                assert (joint.tokens, joint.counts) == (single.tokens, single.counts)
                for name, index in single.selected.items():
                    assert torch.equal(joint.selected[name][number], index[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"policy": "threshold", "threshold": 1.0}, "2 clips differ in how many of their tokens"),
        ({"r": 9, "pool": 2}, "2 clips differ in how many of their pooled keys"),
        ({"r": 9, "pool": 2, "update": "qk"}, "2 clips differ in how many of their pooled keys"),
    ],
)
def test_clips_that_would_differ_in_what_they_recompute_are_refused(
    params: dict[str, Any], message: str
) -> None:
    method = eventful(backbone(SMALL), **params)
    with pytest.raises(UsageError, match=message):
        run(method, torch.stack([clip(1, EVEN), clip(1, EVEN)], dim=1), EVEN)
    pooled = eventful(backbone(SMALL), r=9, pool=2, update="tokenwise")
    assert run(pooled, torch.stack([clip(2, EVEN)] * 2, dim=1), EVEN)[0].shape == (2, 2, 96, 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_precision_runs(dtype: torch.dtype) -> None:
    for arch in (SMALL, PLAIN):
        exact, rounded = backbone(arch), backbone(arch, dtype)
        frames = clip(1, UNEVEN).repeat(4, 1, 1)
        for method, same in zip(methods_on(exact, r=9), methods_on(rounded, r=9), strict=True):
            expected, _ = run(method, frames, UNEVEN)
            found, _ = run(same, frames.to(dtype), UNEVEN)
            assert found.dtype == dtype
            # A still clip: whatever is selected, features are those of the first frame.
            relative = (found.double() - expected).norm() / expected.norm()
            assert relative < {torch.float32: 1e-4}.get(dtype, 0.25)


def test_a_still_clip_stays_as_it_is() -> None:
    model = backbone(SMALL)
    frames = clip(1, UNEVEN).repeat(4, 1, 1)
    for method in methods_on(model, r=9):
        features, _ = run(method, frames, UNEVEN)
        torch.testing.assert_close(features, features[:1].expand_as(features), atol=1e-9, rtol=0)
        assert method.constant_on_repeats(method.params)


def test_half_precision_of_the_product_stays_near_full() -> None:
    model, frames = backbone(SMALL, torch.float32), clip(6, UNEVEN, torch.float32)
    full, _ = run(eventful(model, r=60), frames, UNEVEN)
    method = eventful(model, r=60, av_precision="half")
    half, _ = run(method, frames, UNEVEN)
    assert half.dtype == torch.float32
    assert 0 < (half[0] - full[0]).norm() / full[0].norm() < 1e-2
    states = [tensor.dtype for tensor in method.state()]
    assert states.count(torch.float16) == 3 * len(SMALL.global_blocks)


def test_features_that_are_not_finite_are_refused() -> None:
    frames = clip(2, UNEVEN)
    frames[1, 3, 0] = float("nan")
    for method in methods_on(backbone(SMALL), r=9):
        with pytest.raises(UsageError, match="features of frame 1 are not all finite; run in"):
            run(method, frames, UNEVEN)


def test_another_grid_within_a_clip_is_refused() -> None:
    method = eventful(backbone(SMALL), r=9)
    run(method, clip(1, UNEVEN), UNEVEN)
    with pytest.raises(UsageError, match="1 x 96 tokens came in a clip of 1 x 110 tokens"):
        run(method, clip(1, EVEN), EVEN)


def test_an_r_beyond_the_sequence_is_refused_already_on_the_first_frame() -> None:
    with pytest.raises(UsageError, match="r 111 is more than the sequence's 110 tokens"):
        run(eventful(backbone(SMALL), r=111), clip(1, UNEVEN), UNEVEN)
    # With a class token the sequence has one token more.
    run(eventful(backbone(PLAIN), r=111), clip(2, UNEVEN), UNEVEN)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"r": 9, "av_precision": "half", "update": "qk"}, "half is for update full, not qk"),
        ({"r": 9, "pool": 0}, "greater than or equal to 1"),
        ({"update": "qk"}, "takes r alone, which is missing"),
    ],
)
def test_parameters_that_do_not_fit_together(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EventfulParams(**params)


def test_a_pool_must_fit_backbone_and_grid() -> None:
    with pytest.raises(UsageError, match="pool 2 is for windowed backbones; plain has none"):
        eventful(backbone(PLAIN), r=9, pool=2)
    with pytest.raises(UsageError, match="pool 2 does not divide the token grid 10x11"):
        run(eventful(backbone(SMALL), r=9, pool=2), clip(1, UNEVEN), UNEVEN)


# --- Closed forms ---------------------------------------------------------------------------------


def published(side: int, tokens: int, **params: Any) -> float:
    grid = WINDOWED.grid(Size(side, side))
    found = Eventful.published_at(WINDOWED, grid, EventfulParams(r=1, **params), tokens)
    assert found is not None
    return found / 1e9


@pytest.mark.parametrize(
    ("side", "params", "at_none", "per_token"),
    [
        (672, {}, 5.620527, 0.106696704),
        (1024, {}, 17.084937, 0.135352320),
        (672, {"update": "qk"}, 15.014039, 0.095855616),
        (1024, {"update": "qk"}, 67.781490, 0.110183424),
        (672, {"update": "tokenwise"}, 24.573169, 0.085017600),
        (1024, {"update": "tokenwise"}, 119.321097, 0.085017600),
    ],
)
def test_published_costs_of_later_frames(
    side: int, params: dict[str, Any], at_none: float, per_token: float
) -> None:
    assert published(side, 0, **params) == pytest.approx(at_none, abs=5e-7)
    for tokens in (1, 256, 1024):
        slope = (published(side, tokens, **params) - published(side, 0, **params)) / tokens
        assert slope == pytest.approx(per_token, abs=1e-12)
    if params.get("update") == "tokenwise":
        grid = WINDOWED.grid(Size(side, side))
        assert STGT.published_at(WINDOWED, grid, STGTParams(r=1), 256) == round(
            published(side, 256, **params) * 1e9
        )


@pytest.mark.parametrize(
    ("side", "r", "least", "most"),
    [
        (672, 128, 16.629, 18.190), (672, 256, 28.205, 31.327), (672, 384, 39.781, 44.464),
        (672, 512, 51.357, 56.446), (672, 768, 74.509, 78.557), (672, 1024, 97.661, 100.669),
        (1024, 256, 39.444, 46.693), (1024, 512, 64.430, 78.927), (1024, 768, 89.416, 111.161),
        (1024, 1024, 114.402, 143.395), (1024, 1536, 164.374, 188.535),
        (1024, 2048, 214.346, 233.675),
    ],
)  # fmt: skip
def test_published_bounds_with_pooling(side: int, r: int, least: float, most: float) -> None:
    grid, params = WINDOWED.grid(Size(side, side)), EventfulParams(r=r, pool=2)
    for keys, gmacs in ((-(-r // 4), least), (min(r, key_count(WINDOWED, grid, 2)), most)):
        counts = {gate: r * 12 for gate in ("qkv", "projection", "mlp")}
        counts |= {"global_qkv": r * 4, "global_keys": keys * 4, "dense": 0}
        trace = TokenTrace.of([FrameTrace(r, full=False, counts=counts)])
        found = np.asarray(Eventful.macs(WINDOWED, grid, params, trace).published)[0]
        assert found / 1e9 == pytest.approx(gmacs, abs=5.1e-4)
    assert Eventful.published_at(WINDOWED, grid, params, r) is None


@pytest.mark.parametrize(
    ("params", "megabytes"),
    [
        ({}, (1758.47, 7751.07)),
        ({"av_precision": "half"}, (1438.07, 6090.13)),
        ({"update": "qk"}, (1117.67, 4429.19)),
        ({"update": "tokenwise"}, (520.22, 1207.96)),
        ({"pool": 2}, (846.04, 2881.49)),
    ],
)
def test_state_of_vitdet_b(params: dict[str, Any], megabytes: tuple[float, float]) -> None:
    for side, expected in zip((672, 1024), megabytes, strict=True):
        grid = WINDOWED.grid(Size(side, side))
        found = Eventful.planned_state_bytes(WINDOWED, grid, EventfulParams(r=1, **params))
        assert found / 1e6 == pytest.approx(expected, abs=0.0051)
        if params.get("update") == "tokenwise":
            assert STGT.planned_state_bytes(WINDOWED, grid, STGTParams(r=1)) == found


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_a_plan_equals_what_is_then_run(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(4, UNEVEN)
    pixels = context(0, UNEVEN).input
    for params in ({"r": 9}, {"policy": "top_fraction", "fraction": 0.3}):
        for method in methods_on(model, **params):
            plan = method.plan(method.params, arch, ClipView(4, pixels, PATCH))
            _, traces = run(method, frames, UNEVEN)
            ran = TokenTrace.of(traces)
            assert plan.tokens.tolist() == ran.tokens.tolist()
            assert plan.full.tolist() == ran.full.tolist() == [True, False, False, False]
            assert {name: counts.tolist() for name, counts in plan.counts.items()} == {
                name: counts.tolist() for name, counts in ran.counts.items()
            }
            macs = method.macs(arch, UNEVEN, method.params, plan)
            dense = Dense.macs(arch, UNEVEN, DenseParams(), plan)
            assert np.asarray(macs.published)[0] == np.asarray(dense.published)[0]
            assert np.asarray(macs.published)[1] == method.published_at(
                arch, UNEVEN, method.params, int(plan.tokens[1])
            )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"policy": "threshold", "threshold": 1.0}, "depends on the pixels; choose policy top_r"),
        ({"r": 9, "pool": 2}, "update full depends on the pixels; leave pool out, choose"),
        ({"r": 9, "pool": 2, "update": "qk"}, "update qk depends on the pixels"),
        ({"r": 97}, "r 97 is more than the sequence's 96 tokens"),
        ({"r": 9, "pool": 5, "update": "tokenwise"}, "pool 5 does not divide"),
    ],
)
def test_what_depends_on_pixels_cannot_be_planned(params: dict[str, Any], message: str) -> None:
    view = ClipView(3, context(0, EVEN).input, PATCH)
    with pytest.raises(UsageError, match=message):
        Eventful.plan(EventfulParams(**params), SMALL, view)


def test_torchprofiles_rules_on_a_backbone_without_windows() -> None:
    # Frames that all go through densely cost as much as dense; fewer tokens leave out the
    # LayerNorms of the others only where gates stand before them.
    grid, length, dim = UNEVEN, UNEVEN.area + 1, PLAIN.dim
    ways: list[tuple[str, int]] = [("after_ln", 2 * PLAIN.depth * length), ("before_ln", 2 * 2 * 9)]
    for gate, normed in ways:
        params = STGTParams.model_validate({"r": 9, "gate": gate})
        plan = STGT.plan(params, PLAIN, ClipView(2, context(0, grid).input, PATCH))
        macs = STGT.macs(PLAIN, grid, params, plan)
        linear = PLAIN.depth * 12 * 9 * dim**2
        attention = PLAIN.depth * 2 * length**2 * dim
        scaling = PLAIN.depth * PLAIN.heads * length**2
        embedding = grid.area * 3 * PATCH**2 * dim
        assert np.asarray(macs.matrix)[1] == linear + attention
        assert np.asarray(macs.published)[1] == (
            linear + attention + scaling + embedding + (normed + length) * dim
        )
