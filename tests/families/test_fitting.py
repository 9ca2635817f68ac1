"""Which architecture a checkpoint has, told by shapes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.fitting import arch_differences, fitted_to, matching_archs
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.renaming import CheckpointError, Converted

SMALL = ViTArch(
    name="small",
    description="two windowed blocks and a global one",
    dim=8,
    heads=2,
    depth=3,
    patch=4,
    global_blocks=(1,),
    window=Size(2, 2),
    position_table=Size(3, 4),
    relative_table=Size(5, 5),
)
PLAIN = dataclasses.replace(
    SMALL,
    name="plain",
    global_blocks=(0, 1, 2),
    relative_table=None,
    class_token=True,
    final_norm=True,
)


def detector(arch: ViTArch, heads: HeadArch | None = None) -> Converted:
    if heads is None:
        heads = HeadArch(classes=3, channels=6, hidden=5, strides=(1, 2, 4, 8, 16))
    with torch.device("meta"):
        model = Detector(arch, heads, Size(8, 8))
    return Converted(dict(model.state_dict()), "own", {})


def backbone(arch: ViTArch, naming: str = "timm", embedding: bool = True) -> Converted:
    modules = torch.nn.ModuleDict({"backbone": VisionTransformer(arch)})
    if embedding:
        modules["embedding"] = PatchEmbedding(arch)
    return Converted(dict(modules.state_dict()), naming, {})


@pytest.mark.parametrize("name", sorted(ARCHS))
def test_a_detector_of_every_architecture_is_recognised(name: str) -> None:
    with torch.device("meta"):
        made = Detector(ARCHS[name], HeadArch(classes=30), Size(64, 64))
    converted = Converted(dict(made.state_dict()), "own", {})
    assert [arch.name for arch in matching_archs(converted)] == [name]


@pytest.mark.parametrize("arch", [SMALL, PLAIN], ids=lambda arch: arch.name)
def test_heads_of_any_width_fit(arch: ViTArch) -> None:
    assert arch_differences(detector(arch), arch) == []
    assert matching_archs(detector(arch)) == []


@pytest.mark.parametrize("embedding", [True, False])
def test_a_backbone_alone_needs_no_embedding(embedding: bool) -> None:
    assert arch_differences(backbone(PLAIN, embedding=embedding), PLAIN) == []


def test_class_token_and_norm_of_a_timm_backbone_are_dropped_where_there_are_none() -> None:
    target = dataclasses.replace(PLAIN, class_token=False, final_norm=False)
    fitted = fitted_to(backbone(PLAIN), target, "mae.pth")
    assert set(fitted.dropped) == {
        "backbone.class_token", "backbone.final_norm.weight", "backbone.final_norm.bias",
    }  # fmt: skip
    assert not fitted.tensors.keys() & fitted.dropped.keys()
    assert fitted_to(backbone(PLAIN), PLAIN, "mae.pth").dropped == {}
    with pytest.raises(CheckpointError, match=r"3 unexpected: backbone\.class_token"):
        fitted_to(backbone(PLAIN, naming="maskvd-nonwindowed"), target, "mae.pth")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 4, "heads": 1}, "backbone.blocks.0.qkv.weight is 24x8, expected 12x4"),
        ({"heads": 4}, "relative.rows is 3x4, expected 3x2"),
        ({"depth": 2}, "14 unexpected: backbone.blocks.2.norm1.weight"),
        ({"depth": 4}, "14 missing: backbone.blocks.3.norm1.weight"),
        ({"global_blocks": (2,)}, "4 of another shape: backbone.blocks.1.relative.rows is 9"),
        ({"window": Size(3, 2)}, "2 of another shape: backbone.blocks.0.relative.rows is 3"),
        ({"relative_table": Size(6, 5)}, "1 of another shape: backbone.blocks.1.relative.rows"),
        ({"relative_table": None}, "6 unexpected: backbone.blocks.0.relative.rows"),
        ({"position_table": Size(4, 3)}, "backbone.positions is 3x4x8, expected 4x3x8"),
        ({"patch": 8}, "embedding.conv.weight is 8x3x4x4, expected 8x3x8x8"),
        ({"mlp_ratio": 2}, "mlp_in.weight is 32x8, expected 16x8"),
        ({"final_norm": True}, "2 missing: backbone.final_norm.weight, backbone.final_norm.bias"),
    ],
    ids=str,
)  # fmt: skip
def test_every_number_of_the_architecture_is_checked(change: dict[str, object], said: str) -> None:
    other = dataclasses.replace(SMALL, name="other", **change)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=rf"^x\.pth: is no other: .*{said}"):
        fitted_to(detector(SMALL), other, "x.pth")


def test_heads_that_do_not_belong_together_are_told() -> None:
    converted = detector(SMALL)
    converted.tensors["box_head.deltas.weight"] = torch.zeros(16, 5)
    converted.tensors["box_head.fc.bias"] = torch.zeros(())
    (line,) = arch_differences(converted, SMALL)
    assert "box_head.deltas.weight is 16x5" in line
    assert "box_head.fc.bias is one number, expected 1" in line


def test_whole_numbers_are_no_weights() -> None:
    whole = detector(SMALL)
    tensors = {name: tensor.to(torch.int64) for name, tensor in whole.tensors.items()}
    with pytest.raises(CheckpointError, match=r"no floating-point numbers: .* and .* more"):
        fitted_to(Converted(tensors, "own", {}), SMALL, "file")
