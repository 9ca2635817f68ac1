"""Training with the static mask on: what is left out gives nothing, what is kept learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.training.frames import training_frames
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.load import load_training
from maskvd_cli.training.masking import masked_features, training_mask

from .trainings import TINY, TINY_GLOBAL, write_kitti, write_recipe

GRID = Size(4, 6)


def backbone(arch: ViTArch) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(arch).double()


@pytest.mark.parametrize("arch", [TINY, TINY_GLOBAL], ids=lambda arch: arch.name)
def test_all_tokens_are_the_dense_model(arch: ViTArch) -> None:
    vit, tokens = backbone(arch), torch.randn(2, 24, 32, dtype=torch.float64)
    found = masked_features(vit, tokens, GRID, torch.ones(24, dtype=torch.bool))
    torch.testing.assert_close(found, vit(tokens, GRID), atol=1e-9, rtol=0)


@pytest.mark.parametrize("arch", [TINY, TINY_GLOBAL], ids=lambda arch: arch.name)
def test_tokens_outside_play_no_part(arch: ViTArch) -> None:
    vit = backbone(arch)
    kept = torch.arange(24) % 3 == 0
    tokens = torch.randn(2, 24, 32, dtype=torch.float64, requires_grad=True)
    found = masked_features(vit, tokens, GRID, kept)
    assert not found[:, ~kept].any()
    assert found[:, kept].abs().sum() > 0
    changed = torch.where(kept[:, None], tokens.detach(), torch.tensor(7.0).double())
    torch.testing.assert_close(masked_features(vit, changed, GRID, kept), found)
    found.pow(2).sum().backward()
    assert tokens.grad is not None
    assert not tokens.grad[:, ~kept].any() and tokens.grad[:, kept].any()


def test_the_mask_lies_where_objects_are(tmp_path: Path) -> None:
    write_kitti(tmp_path / "kitti", frames=4, sequences=1)
    for file in (tmp_path / "kitti").rglob("*.txt"):
        rest = "-1 -1 -1 -1 -1 -1 -1"
        file.write_text(
            f"0 0 Car 0 0 0 0 0 32 16 {rest}\n0 1 Misc 0 0 0 64 48 80 64 {rest}\n"
            f"3 0 Car 0 0 0 0 0 96 64 {rest}\n"
        )
    recipe = load_training(write_recipe(tmp_path)).recipe
    kept = training_mask(training_frames(recipe), TrainingInput.of(recipe), 3 / 24, 16)
    assert kept.nonzero().squeeze(1).tolist() == [0, 1, 22]
    with pytest.raises(UsageError, match="keeps none of 24 tokens"):
        training_mask(training_frames(recipe), TrainingInput.of(recipe), 0.01, 16)
