"""YOLOS: the library's weights and outputs, detections, and costs in closed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, WeightsFile, cost_of
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.checkpoints import load_into, shapes_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.yolos.archs import ARCHS, YolosArch, yolos
from maskvd_cli.families.yolos.family import YolosFamily
from maskvd_cli.families.yolos.model import Yolos
from maskvd_cli.families.yolos.renaming import library_shapes
from maskvd_cli.families.yolos.shape import HeadsShape
from maskvd_cli.methods.library import load

TINY = yolos(
    "tiny", "", dim=16, heads=2, depth=3, patch=8, table=Size(3, 4), detections=5,
    mid_positions=False,
)  # fmt: skip
MID = replace(TINY, name="mid", mid_positions=True)
BOTH = pytest.mark.parametrize("arch", [TINY, MID], ids=lambda arch: arch.name)
# Of another shape than the table, so that positions are resized.
INPUT = Size(40, 56)
SHAPE = HeadsShape(4)
NOWHERE = Path("yolos.safetensors")


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.3 * torch.randn(sides, generator=generator, dtype=torch.float64)
        for name, sides in shapes.items()
    }


def library_tensors(arch: YolosArch) -> dict[str, Tensor]:
    return drawn(library_shapes(arch, SHAPE.classes + 1))


def model(arch: YolosArch, size: Size = INPUT, dtype: torch.dtype = torch.float64) -> Yolos:
    file = WeightsFile(NOWHERE, library_tensors(arch), {})
    adopted = YolosFamily.adopted(arch, file)
    made = YolosFamily.build(arch, YolosFamily.shape_of(arch, adopted), size, seed=0).to(dtype)
    load_into(made, adopted.tensors, NOWHERE)
    return made.requires_grad_(False).eval()


def images(count: int = 2, size: Size = INPUT) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))


def normalised(frames: list[Tensor]) -> Tensor:
    """Pixels as the library gives them: scaled to 0..1, then by ImageNet's mean and deviation."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64)
    pixels = torch.stack(frames).double() / 255
    return (pixels - mean[:, None, None]) / std[:, None, None]


def library_model(arch: YolosArch, dtype: torch.dtype) -> Any:
    """The library's model of the same numbers, with the same weights."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    config = transformers.YolosConfig(
        hidden_size=arch.dim,
        num_hidden_layers=arch.depth,
        num_attention_heads=arch.heads,
        intermediate_size=arch.mlp_ratio * arch.dim,
        image_size=[side * arch.patch for side in arch.position_table],
        patch_size=arch.patch,
        num_detection_tokens=arch.detections,
        use_mid_position_embeddings=arch.mid_positions,
        num_labels=SHAPE.classes,
    )
    assert config.layer_norm_eps == arch.norm_eps
    made = transformers.YolosForObjectDetection(config).to(dtype).eval()
    made.load_state_dict(library_tensors(arch), strict=True)
    return made


@BOTH
@pytest.mark.parametrize("size", [Size(24, 32), INPUT], ids=str)
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["float32", "float64"]
)
def test_boxes_and_scores_are_the_librarys(
    arch: YolosArch, size: Size, dtype: torch.dtype, most: float
) -> None:
    theirs, ours = library_model(arch, dtype), model(arch, size, dtype)
    pixels = normalised(images(size=size)).to(dtype)
    with torch.no_grad():
        expected = theirs(pixels)
        boxes, scores = ours.scored(ours.backbone(ours.embedding(pixels), ours.grid))
    centre, sides = expected.pred_boxes.split(2, dim=-1)
    corners = torch.cat([centre - sides / 2, centre + sides / 2], dim=-1)
    pixels_of = torch.tensor([size.cols, size.rows] * 2, dtype=dtype)
    assert (boxes / pixels_of - corners).abs().max() < most
    assert (scores - expected.logits.softmax(-1)[..., :-1]).abs().max() < most


@pytest.mark.parametrize("arch", ARCHS.values(), ids=lambda arch: arch.name)
def test_published_shapes_are_the_librarys(arch: YolosArch) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    config = transformers.YolosConfig(
        hidden_size=arch.dim,
        num_attention_heads=arch.heads,
        intermediate_size=4 * arch.dim,
        # YOLOS-Ti was made for 1333 columns, which are no whole patches.
        image_size={"yolos-tiny": (800, 1333), "yolos-base": (800, 1344)}.get(
            arch.name, (512, 864)
        ),
        use_mid_position_embeddings=arch.name != "yolos-tiny",
        num_labels=91,
    )
    with torch.device("meta"):
        theirs = transformers.YolosForObjectDetection(config).state_dict()
    assert shapes_of(theirs) == library_shapes(arch, 92)


@BOTH
def test_images_become_patches_as_the_library_makes_them(arch: YolosArch) -> None:
    ours = model(arch)
    found, expected = ours.embed(images()), ours.embedding(normalised(images()))
    assert (found - expected).abs().max() < 1e-5


@BOTH
def test_every_detection_token_gives_one_detection_best_first(arch: YolosArch) -> None:
    ours = model(arch)
    features = ours.backbone(ours.embed(images()), ours.grid)
    assert features.shape == (2, arch.detections, arch.dim)
    boxes, scores = ours.scored(features)
    for found, xyxy, of_classes in zip(ours(images()), boxes, scores, strict=True):
        assert len(found) == arch.detections and found.xyxy.dtype == torch.float32
        assert (found.scores.diff() <= 0).all()
        best = of_classes.flatten().argmax().item()
        token, label = divmod(int(best), SHAPE.classes)
        assert found.labels[0] == label
        torch.testing.assert_close(found.xyxy[0], xyxy[token].float())
    with pytest.raises(MaskvdError, match="boxes or scores are not finite"):
        ours.finish(features * torch.nan)


def test_positions_between_blocks_follow_their_parameters() -> None:
    ours = model(MID)
    embedded = ours.embed(images())
    before = ours.backbone(embedded, ours.grid)
    assert ours.backbone.mid_positions is not None
    for parameter in ours.backbone.mid_positions.parameters():
        with torch.no_grad():
            parameter.mul_(3)
        after = ours.backbone(embedded, ours.grid)
        assert not torch.allclose(before, after)
        before = after


@BOTH
def test_stages_and_backbone_cost_what_is_counted(arch: YolosArch) -> None:
    ours = model(arch, dtype=torch.float32)
    counted = []
    with torch.no_grad():
        value: Any = images(1)
        for step in (ours.embed, lambda tokens: ours.backbone(tokens, ours.grid), ours.finish):
            with MacCounter() as counter:
                value = step(value)
            counted.append(counter.macs)
    stages = ours.stages
    expected = [
        cost_of(stages, None, (EMBED,)),
        costs.dense(arch, ours.grid).matrix,
        cost_of(stages, None, (HEAD,)),
    ]
    assert counted == expected


# Counted on transformers 5.24, in GMACs: the whole model, and its backbone with the embedding.
@pytest.mark.parametrize(
    ("name", "size", "whole", "backbone"),
    [
        ("yolos-tiny", Size(512, 864), 25.40, 25.12),
        ("yolos-small", Size(800, 1344), 263.1, 261.8),
    ],
)
def test_the_backbone_is_99_percent_of_the_model(
    name: str, size: Size, whole: float, backbone: float
) -> None:
    arch = ARCHS[name]
    grid = arch.grid(size)
    stages = YolosFamily.stages(arch, HeadsShape(91), grid)
    inner = costs.dense(arch, grid).matrix
    around = cost_of(stages, None, (EMBED, HEAD))
    assert around is not None
    assert (inner + around) / 1e9 == pytest.approx(whole, rel=4e-4)
    assert inner / 1e9 == pytest.approx(backbone, rel=4e-4)
    assert inner / (inner + around) > 0.989


@BOTH
def test_a_file_of_the_library_loads_strictly(arch: YolosArch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    small = replace(arch, name="yolos-tiny")
    tensors = {name: value.float() for name, value in library_tensors(arch).items()}
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"is no yolos-tiny: .*model.name"):
        load(path, name="yolos-tiny")
    file = WeightsFile(path, tensors, {})
    lacking = {name: value for name, value in tensors.items() if "key.bias" not in name}
    with pytest.raises(CheckpointError, match=r"3 missing: vit.encoder.layer.0.attention"):
        YolosFamily.adopted(small, replace(file, tensors=lacking))
    more = tensors | {"vit.pooler.dense.bias": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"1 unexpected: vit.pooler.dense.bias"):
        YolosFamily.adopted(small, replace(file, tensors=more))
    with pytest.raises(CheckpointError, match="so it is no YOLOS"):
        YolosFamily.shape_of(small, replace(file, tensors={"a": torch.zeros(1)}))
    # Our own names pass as they are.
    ours = model(arch).state_dict()
    assert YolosFamily.adopted(small, replace(file, tensors=ours)).tensors is ours


def test_the_published_model_is_built_and_loaded_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shapes = library_shapes(ARCHS["yolos-tiny"], 6)
    tensors = {name: torch.full(sides, 0.01) for name, sides in shapes.items()}
    safetensors.torch.save_file(tensors, path)
    made = load(path, name="yolos-tiny", input="64x96", device="cpu")
    assert made.grid == Size(4, 6) and isinstance(made, Yolos)
    assert made.heads == HeadsShape(5)
    # Their positions are part of these tokens.
    assert made.backbone.detection_tokens.unique().tolist() == pytest.approx([0.02])
