"""Closed forms against what the authors' code counted, frame by frame, on its small models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import dense
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams

MATRIX = ("linear_flops", "matmul_flops", "einsum_flops")


def arch_of(config: dict[str, Any]) -> ViTArch:
    block = config["block_config"]
    windowed = set(config["window_indices"])
    return ViTArch(
        name="golden",
        description="",
        dim=block["dim"],
        heads=block["heads"],
        depth=config["depth"],
        patch=16,
        global_blocks=tuple(i for i in range(config["depth"]) if i not in windowed),
        window=Size(*block["window_size"]),
        position_table=Size(*config["position_encoding_size"]),
        relative_table=Size(*block["relative_embedding_size"]),
        mlp_ratio=block["mlp_ratio"],
    )


@pytest.mark.parametrize("case", ["dense_A", "dense_B", "spatial_A", "maskvd_A"])
def test_every_frame_costs_what_the_authors_counted(case: str, golden_root: Path) -> None:
    with np.load(golden_root / f"{case}.npz", allow_pickle=False) as file:
        config, counts = json.loads(str(file["config"])), json.loads(str(file["counts"]))
        kept = {int(key[5:]): len(file[key]) for key in file.files if key.startswith("mask/")}
    arch, grid = arch_of(config), Size(*config["input_size"])
    assert len(counts) == 6
    for frame, counted in enumerate(counts):
        tokens = kept.get(frame, grid.area)
        total = sum(counted.values())
        if config["case"] == "maskvd":
            params = MaskVDParams(version="C")
            assert MaskVD.published_at(arch, grid, params, tokens) == total
        else:
            macs = dense(arch, grid, config["block_config"].get("pool_size") or 1)
            assert macs.published == total
            assert macs.matrix == sum(counted.get(part, 0) for part in MATRIX)
