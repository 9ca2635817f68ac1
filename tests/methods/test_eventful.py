"""Eventful Transformers and STGT against the golden cases, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.vitdet.namings import get_naming
from maskvd_cli.methods.base import TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.eventful import EventfulParams
from maskvd_cli.methods.gated import GatedMethod

from .gated_models import (
    EVEN,
    PATCH,
    PLAIN,
    SMALL,
    UNEVEN,
    backbone,
    clip,
    eventful,
    methods_on,
    run,
    stgt,
)

CASES = (
    "temporal", "threshold", "tokenwise", "gate_before_ln", "stgt", "ablate_av", "spatiotemporal",
)  # fmt: skip
MATRIX = ("linear_flops", "matmul_flops", "einsum_flops")


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


def test_features_that_are_not_finite_are_refused_where_they_are_checked() -> None:
    frames = clip(2, UNEVEN)
    frames[1, 3, 0] = float("nan")
    for method in (*methods_on(backbone(SMALL), r=9), Dense(DenseParams(), backbone(SMALL))):
        method.checks_features = True
        with pytest.raises(UsageError, match="features of frame 1 are not all finite; run in"):
            run(method, frames, UNEVEN)


def test_another_grid_within_a_clip_is_refused() -> None:
    method = eventful(backbone(SMALL), r=9)
    run(method, clip(1, UNEVEN), UNEVEN)
    with pytest.raises(UsageError, match="a grid of 8x12 came in a clip of 10x11"):
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
    with pytest.raises(UsageError, match="pool 2 is for windowed backbones; plain is none"):
        eventful(backbone(PLAIN), r=9, pool=2)
    with pytest.raises(UsageError, match="pool 2 does not divide the token grid 10x11"):
        run(eventful(backbone(SMALL), r=9, pool=2), clip(1, UNEVEN), UNEVEN)


def test_half_precision_of_the_product_stays_near_full() -> None:
    model, frames = backbone(SMALL, torch.float32), clip(6, UNEVEN, torch.float32)
    full, _ = run(eventful(model, r=60), frames, UNEVEN)
    method = eventful(model, r=60, av_precision="half")
    half, _ = run(method, frames, UNEVEN)
    assert half.dtype == torch.float32
    assert 0 < (half[0] - full[0]).norm() / full[0].norm() < 1e-2
    states = [tensor.dtype for tensor in method.state()]
    assert states.count(torch.float16) == 3 * len(SMALL.global_blocks)
