"""OWLv2: the library's weights and outputs, detections, and costs in closed form."""

from __future__ import annotations

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
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.owlv2.archs import ARCHS, owlv2
from maskvd_cli.families.owlv2.family import Owlv2Family
from maskvd_cli.families.owlv2.model import Owlv2
from maskvd_cli.families.owlv2.renaming import QUERIES, library_shapes
from maskvd_cli.families.owlv2.shape import QueriesShape
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.methods.library import load

SMALL = owlv2(
    "small", "", dim=16, heads=2, depth=3, patch=8, table=Size(4, 4), query_dim=12,
)  # fmt: skip
# Of another shape than the table, so that positions are resized.
INPUT, NATIVE = Size(40, 56), Size(32, 32)
SHAPE = QueriesShape(4)
NOWHERE = Path("owlv2.safetensors")


def library_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.3 * torch.randn(sides, generator=generator, dtype=torch.float64)
        for name, sides in library_shapes(SMALL, SHAPE.classes).items()
    }


def model(size: Size = INPUT, dtype: torch.dtype = torch.float64) -> Owlv2:
    adopted = Owlv2Family.adopted(SMALL, WeightsFile(NOWHERE, library_tensors(), {}))
    made = Owlv2Family.build(SMALL, Owlv2Family.shape_of(SMALL, adopted), size, seed=0).to(dtype)
    load_into(made, adopted.tensors, NOWHERE)
    return made.requires_grad_(False).eval()


def images(count: int = 2, size: Size = INPUT) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))


def normalised(frames: list[Tensor]) -> Tensor:
    """Pixels as the library gives them: scaled to 0..1, then by CLIP's mean and deviation."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64)
    pixels = torch.stack(frames).double() / 255
    return (pixels - mean[:, None, None]) / std[:, None, None]


def library_model(dtype: torch.dtype) -> Any:
    """The library's model of the same numbers, with the same weights; its texts are not read."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    vision = {
        "hidden_size": SMALL.dim, "intermediate_size": 4 * SMALL.dim,
        "num_hidden_layers": SMALL.depth, "num_attention_heads": SMALL.heads,
        "image_size": NATIVE.rows, "patch_size": SMALL.patch,
    }  # fmt: skip
    text = {
        "hidden_size": SMALL.query_dim, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 50,
    }  # fmt: skip
    config = transformers.Owlv2Config(
        text_config=text, vision_config=vision, projection_dim=SMALL.query_dim
    )
    made = transformers.Owlv2ForObjectDetection(config).to(dtype).eval()
    tensors = library_tensors()
    del tensors[QUERIES]
    left_out, unknown = made.load_state_dict(tensors, strict=False)
    assert not unknown
    assert all(
        name.startswith(("owlv2.text_", "owlv2.visual_", "owlv2.logit_", "objectness_head."))
        for name in left_out
    )
    return made


@pytest.mark.parametrize("size", [NATIVE, INPUT], ids=str)
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["float32", "float64"]
)
def test_boxes_and_scores_are_the_librarys(size: Size, dtype: torch.dtype, most: float) -> None:
    theirs, ours = library_model(dtype), model(size, dtype)
    pixels, queries = normalised(images(size=size)).to(dtype), library_tensors()[QUERIES].to(dtype)
    with torch.no_grad():
        mapped, _ = theirs.image_embedder(pixels, interpolate_pos_encoding=True)
        tokens = mapped.flatten(1, 2)
        logits, _ = theirs.class_predictor(tokens, queries.expand(len(tokens), -1, -1))
        expected = theirs.box_predictor(tokens, mapped, interpolate_pos_encoding=True)
        boxes, scores = ours.scored(ours.backbone(ours.embedding(pixels), ours.grid))
    centre, sides = expected.split(2, dim=-1)
    corners = torch.cat([centre - sides / 2, centre + sides / 2], dim=-1)
    pixels_of = torch.tensor([size.cols, size.rows] * 2, dtype=dtype)
    assert (boxes / pixels_of - corners).abs().max() < most
    assert (scores - logits.sigmoid()).abs().max() < most


def test_embeddings_of_the_librarys_text_model_are_the_queries() -> None:
    theirs, ours = library_model(torch.float64), model(NATIVE)
    words = torch.tensor([[1, 5, 6, 49], [1, 7, 49, 2], [1, 8, 9, 49], [1, 49, 3, 3]])
    pixels, seen = normalised(images(1, NATIVE)), torch.ones_like(words)
    with torch.no_grad():
        queries = theirs.owlv2.get_text_features(input_ids=words, attention_mask=seen)
        ours.class_head.queries.copy_(queries.pooler_output)
        expected = theirs(input_ids=words, pixel_values=pixels, attention_mask=seen)
        _, scores = ours.scored(ours.backbone(ours.embedding(pixels), ours.grid))
    # The library masks its logits in float32.
    assert (scores - expected.logits.sigmoid()).abs().max() < 1e-5


def test_images_become_patches_as_the_library_makes_them_padded_with_black() -> None:
    ours = model()
    small = images(size=Size(24, 48))
    padded = [torch.zeros(3, *INPUT, dtype=torch.uint8) for _ in small]
    for canvas, image in zip(padded, small, strict=True):
        canvas[:, :24, :48] = image
    found, expected = ours.embed(small), ours.embedding(normalised(padded))
    assert (found - expected).abs().max() < 1e-5


def test_the_best_tokens_give_detections() -> None:
    ours = model()
    features = ours.backbone(ours.embed(images()), ours.grid)
    boxes, scores = ours.scored(features)
    for found, xyxy, of_classes in zip(ours(images()), boxes, scores, strict=True):
        assert len(found) == INPUT.tiles(SMALL.patch).area
        assert (found.scores.diff() <= 0).all()
        token, label = divmod(int(of_classes.flatten().argmax().item()), SHAPE.classes)
        assert found.labels[0] == label
        torch.testing.assert_close(found.xyxy[0], xyxy[token].float())
    with pytest.raises(MaskvdError, match="boxes or scores are not finite"):
        ours.finish(features * torch.nan)


def test_stages_and_backbone_cost_what_is_counted() -> None:
    ours = model(dtype=torch.float32)
    counted = []
    with torch.no_grad():
        value: Any = images(1)
        for step in (ours.embed, lambda tokens: ours.backbone(tokens, ours.grid), ours.finish):
            with MacCounter() as counter:
                value = step(value)
            counted.append(counter.macs)
    assert counted == [
        cost_of(ours.stages, None, (EMBED,)),
        costs.dense(SMALL, ours.grid).matrix,
        cost_of(ours.stages, None, (HEAD,)),
    ]


def test_the_vision_tower_costs_what_was_counted_on_the_library() -> None:
    """547.0 GMACs at 960 x 960 with the patch embedding, counted on transformers 5.24."""
    arch = ARCHS["owlv2-base"]
    grid = arch.grid(Size(960, 960))
    embedding = cost_of(Owlv2Family.stages(arch, SHAPE, grid), None, (EMBED,))
    assert embedding is not None
    assert (costs.dense(arch, grid).matrix + embedding) / 1e9 == pytest.approx(547.0, rel=1e-4)


def test_a_file_needs_queries_and_all_of_the_vision_tower(tmp_path: Path) -> None:
    tensors = library_tensors()
    beside = {"owlv2.text_model.final_layer_norm.bias": torch.zeros(3)}
    file = WeightsFile(NOWHERE, tensors | beside, {})
    assert Owlv2Family.shape_of(SMALL, Owlv2Family.adopted(SMALL, file)) == SHAPE
    without = {name: value for name, value in tensors.items() if name != QUERIES}
    with pytest.raises(CheckpointError, match="holds no embeddings of texts under queries"):
        Owlv2Family.adopted(SMALL, WeightsFile(NOWHERE, without, {}))
    lacking = {name: value for name, value in tensors.items() if "fc1.bias" not in name}
    with pytest.raises(CheckpointError, match=r"3 missing: owlv2.vision_model.encoder.layers.0"):
        Owlv2Family.adopted(SMALL, WeightsFile(NOWHERE, lacking, {}))
    with pytest.raises(CheckpointError, match="so it is no OWLv2 of maskvd"):
        Owlv2Family.shape_of(SMALL, WeightsFile(NOWHERE, {"a": torch.zeros(1)}, {}))
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({n: v.float().contiguous() for n, v in tensors.items()}, path)
    with pytest.raises(CheckpointError, match=r"is no owlv2-base: .*model.name"):
        load(path, name="owlv2-base")
