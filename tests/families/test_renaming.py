"""Published names become ours, tensor by tensor, and nothing goes missing on the way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.checkpoints import read_tensors
from maskvd_cli.families.vitdet.namings import NAMINGS
from maskvd_cli.families.vitdet.renaming import CheckpointError, Converted, to_our_names

# What stands in the authors' names for what stands in ours, in this order.
EVENTFUL_TO_OURS = (
    ("backbone.position_encoding.encoding", "backbone.positions"),
    (".input_layer_norm.", ".norm1."),
    (".mlp_layer_norm.", ".norm2."),
    (".mlp_1.", ".mlp_in."),
    (".mlp_2.", ".mlp_out."),
    (".relative_position.y_embedding", ".relative.rows"),
    (".relative_position.x_embedding", ".relative.cols"),
    ("proposal_generator.rpn_head.conv.conv", "rpn.convs."),
    ("proposal_generator.rpn_head.objectness_logits", "rpn.objectness"),
    ("proposal_generator.rpn_head.anchor_deltas", "rpn.deltas"),
    ("roi_heads.box_head.conv1.norm", "box_head.norms.0"),
    ("roi_heads.box_head.conv2.norm", "box_head.norms.1"),
    ("roi_heads.box_head.conv3.norm", "box_head.norms.2"),
    ("roi_heads.box_head.conv4.norm", "box_head.norms.3"),
    ("roi_heads.box_head.conv1.weight", "box_head.convs.0.weight"),
    ("roi_heads.box_head.conv2.weight", "box_head.convs.1.weight"),
    ("roi_heads.box_head.conv3.weight", "box_head.convs.2.weight"),
    ("roi_heads.box_head.conv4.weight", "box_head.convs.3.weight"),
    ("roi_heads.box_head.fc1", "box_head.fc"),
    ("roi_heads.box_predictor.cls_score", "box_head.classes"),
    ("roi_heads.box_predictor.bbox_pred", "box_head.deltas"),
)
TIMM_BLOCK = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
OUR_BLOCK = ("norm1", "qkv", "projection", "norm2", "mlp_in", "mlp_out")


def ours_of_eventful(name: str) -> str:
    for theirs, ours in EVENTFUL_TO_OURS:
        name = name.replace(theirs, ours)
    return name


def numbered(shapes: Mapping[str, Iterable[int]], first: int = 0) -> dict[str, Tensor]:
    """Tensors of these shapes that hold nothing but their own number, and take no memory."""
    return {
        name: torch.tensor(float(first + number)).expand(*shape)
        for number, (name, shape) in enumerate(shapes.items())
    }


def number_of(tensor: Tensor) -> float:
    assert tensor.min() == tensor.max()
    return tensor.flatten()[0].item()


def keys(golden_root: Path, name: str) -> dict[str, list[int]]:
    entries = json.loads((golden_root / f"{name}.json").read_text("utf-8"))["keys"]
    return {key: shape for key, (shape, _) in entries.items()}


def detectron2_names(golden_root: Path) -> dict[str, str]:
    text = (golden_root / "vitdet_b_vid_detectron2_names.json").read_text("utf-8")
    return {theirs: eventful for theirs, (eventful, _) in json.loads(text)["names"].items()}


def timm_backbone(depth: int = 2, side: int = 2, dim: int = 4) -> dict[str, Tensor]:
    names = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + side * side, dim)}
    names |= {"patch_embed.proj.weight": (dim, 3, 2, 2), "patch_embed.proj.bias": (dim,)}
    for block in range(depth):
        for layer in TIMM_BLOCK:
            names |= {f"blocks.{block}.{layer}.{part}": (dim,) for part in ("weight", "bias")}
    names |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def own_backbone(depth: int = 2) -> dict[str, Tensor]:
    return to_our_names(timm_backbone(depth)).tensors


def refused(tensors: Mapping[str, Tensor], naming: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        to_our_names(tensors, naming, where="weights.pth")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("weights.pth: ")
    return str(caught.value)


def same(one: Converted, other: Mapping[str, Tensor]) -> bool:
    return one.tensors.keys() == other.keys() and all(
        torch.equal(one.tensors[name], other[name]) for name in other
    )


def test_every_name_of_the_converted_vid_checkpoint(golden_root: Path) -> None:
    source = numbered(keys(golden_root, "vitdet_b_vid_keys"))
    converted = to_our_names(source)
    assert (converted.naming, converted.contains, converted.dropped) == ("eventful", "detector", {})
    assert len(converted.tensors) == len(source) == 229
    assert sum(tensor.numel() for tensor in converted.tensors.values()) == 107_994_470
    for name, tensor in source.items():
        assert number_of(converted.tensors[ours_of_eventful(name)]) == number_of(tensor)
    assert converted.tensors["backbone.positions"].shape == (14, 14, 768)


def test_detectron2_names_give_what_the_converted_checkpoint_gives(golden_root: Path) -> None:
    shapes = keys(golden_root, "vitdet_b_vid_keys")
    to_eventful = detectron2_names(golden_root)
    source = {
        theirs: numbered(shapes)[eventful]
        for theirs, eventful in to_eventful.items()
        if theirs != "backbone.net.pos_embed"
    }
    rows = torch.arange(197.0)[None, :, None].expand(1, 197, 768)
    converted = to_our_names(source | {"backbone.net.pos_embed": rows})
    assert (converted.naming, converted.contains) == ("detectron2", "detector")
    assert list(converted.dropped) == ["row 0 of the position table"]
    positions = converted.tensors["backbone.positions"]
    assert positions.shape == (14, 14, 768)
    assert torch.equal(positions[:, :, 5], 1 + torch.arange(196.0).reshape(14, 14))
    reference = to_our_names(numbered(shapes)).tensors
    assert converted.tensors.keys() == reference.keys()
    for name in reference.keys() - {"backbone.positions"}:
        assert converted.tensors[name].shape == reference[name].shape
        assert number_of(converted.tensors[name]) == number_of(reference[name])


def detectron2_heads() -> dict[str, str]:
    """Weights of pyramid and heads in Detectron2's names, and ours, written out."""
    rpn, box = "proposal_generator.rpn_head", "roi_heads.box_head"
    return {
        "backbone.simfp_2.0": "pyramid.stages.0.0",
        "backbone.simfp_2.1": "pyramid.stages.0.1",
        "backbone.simfp_2.3": "pyramid.stages.0.3",
        "backbone.simfp_2.4": "pyramid.stages.0.4",
        "backbone.simfp_2.4.norm": "pyramid.stages.0.5",
        "backbone.simfp_2.5": "pyramid.stages.0.6",
        "backbone.simfp_2.5.norm": "pyramid.stages.0.7",
        "backbone.simfp_3.0": "pyramid.stages.1.0",
        "backbone.simfp_3.1": "pyramid.stages.1.1",
        "backbone.simfp_3.1.norm": "pyramid.stages.1.2",
        "backbone.simfp_3.2": "pyramid.stages.1.3",
        "backbone.simfp_3.2.norm": "pyramid.stages.1.4",
        "backbone.simfp_4.0": "pyramid.stages.2.0",
        "backbone.simfp_4.0.norm": "pyramid.stages.2.1",
        "backbone.simfp_4.1": "pyramid.stages.2.2",
        "backbone.simfp_4.1.norm": "pyramid.stages.2.3",
        "backbone.simfp_5.1": "pyramid.stages.3.1",
        "backbone.simfp_5.1.norm": "pyramid.stages.3.2",
        "backbone.simfp_5.2": "pyramid.stages.3.3",
        "backbone.simfp_5.2.norm": "pyramid.stages.3.4",
        f"{rpn}.conv.conv0": "rpn.convs.0",
        f"{rpn}.conv.conv1": "rpn.convs.1",
        f"{rpn}.objectness_logits": "rpn.objectness",
        f"{rpn}.anchor_deltas": "rpn.deltas",
        **{f"{box}.conv{k + 1}": f"box_head.convs.{k}" for k in range(4)},
        **{f"{box}.conv{k + 1}.norm": f"box_head.norms.{k}" for k in range(4)},
        f"{box}.fc1": "box_head.fc",
        "roi_heads.box_predictor.cls_score": "box_head.classes",
        "roi_heads.box_predictor.bbox_pred": "box_head.deltas",
    }


def detectron2_names_of_a_block() -> dict[str, str]:
    """All names of a detector of one block in Detectron2's naming but the positions, and ours."""
    names = {
        f"backbone.net.{name}.{part}": f"{ours}.{part}"
        for name, ours in [
            ("patch_embed.proj", "embedding.conv"),
            *[
                (f"blocks.0.{their}", f"backbone.blocks.0.{our}")
                for our, their in zip(OUR_BLOCK, TIMM_BLOCK, strict=True)
            ],
        ]
        for part in ("weight", "bias")
    }
    names["backbone.net.blocks.0.attn.rel_pos_h"] = "backbone.blocks.0.relative.rows"
    names["backbone.net.blocks.0.attn.rel_pos_w"] = "backbone.blocks.0.relative.cols"
    heads = detectron2_heads()
    for name, ours in heads.items():
        names[f"{name}.weight"] = f"{ours}.weight"
        if f"{name}.norm" not in heads:
            names[f"{name}.bias"] = f"{ours}.bias"
    return names


def detectron2_detector(*more: str) -> dict[str, Tensor]:
    rows = torch.arange(10.0)[None, :, None].expand(1, 10, 4)
    names = [*detectron2_names_of_a_block(), *more]
    return numbered(dict.fromkeys(names, (2,))) | {"backbone.net.pos_embed": rows}


def test_a_small_detectron2_checkpoint() -> None:
    names = detectron2_names_of_a_block()
    source = numbered(dict.fromkeys(names, (2,)))
    rows = torch.arange(10.0)[None, :, None].expand(1, 10, 4)
    converted = to_our_names(source | {"backbone.net.pos_embed": rows})
    assert (converted.naming, converted.contains) == ("detectron2", "detector")
    assert converted.tensors.keys() == {*names.values(), "backbone.positions"}
    for theirs, ours in names.items():
        assert number_of(converted.tensors[ours]) == number_of(source[theirs])
    assert converted.tensors["backbone.positions"][:, :, 0].tolist() == [
        [1, 2, 3], [4, 5, 6], [7, 8, 9],
    ]  # fmt: skip


def test_the_non_windowed_checkpoint_embeds_with_patch_embed_proj(golden_root: Path) -> None:
    source = numbered(keys(golden_root, "maskvd_nonwindowed_keys"))
    converted = to_our_names(source)
    assert (converted.naming, converted.contains) == ("maskvd-nonwindowed", "detector")
    assert sorted(converted.dropped) == [
        "backbone.head.bias", "backbone.head.weight", "embedding.conv.bias",
        "embedding.conv.weight",
    ]  # fmt: skip
    assert all(converted.dropped.values())
    ours = {
        "embedding.conv.weight": "backbone.patch_embed.proj.weight",
        "backbone.class_token": "backbone.cls_token",
        "backbone.positions": "backbone.pos_embed.encoding",
        "backbone.final_norm.bias": "backbone.norm.bias",
        "pyramid.stages.3.4.bias": "pyramid.stages.3.4.bias",
        "rpn.convs.1.bias": "proposal_generator.rpn_head.conv.conv1.bias",
        "box_head.norms.3.weight": "roi_heads.box_head.conv4.norm.weight",
    }
    for block in range(12):
        for our, their in zip(OUR_BLOCK, TIMM_BLOCK, strict=True):
            for part in ("weight", "bias"):
                name = f"backbone.blocks.{block}.{our}.{part}"
                ours[name] = f"backbone.blocks.{block}.{their}.{part}"
    for name, theirs in ours.items():
        assert number_of(converted.tensors[name]) == number_of(source[theirs])
    assert len(converted.tensors) == len(source) - 4
    assert converted.tensors["backbone.class_token"].shape == (1, 1, 768)


def test_a_timm_backbone_has_the_position_of_its_class_token_folded_in() -> None:
    source = timm_backbone()
    converted = to_our_names(source)
    assert (converted.naming, converted.contains, converted.dropped) == ("timm", "backbone", {})
    table = source["pos_embed"][0]
    assert torch.equal(
        converted.tensors["backbone.class_token"][0, 0], source["cls_token"][0, 0] + table[0]
    )
    assert torch.equal(converted.tensors["backbone.positions"][1, 0], table[3])
    for block in range(2):
        for our, their in zip(OUR_BLOCK, TIMM_BLOCK, strict=True):
            for part in ("weight", "bias"):
                mine = converted.tensors[f"backbone.blocks.{block}.{our}.{part}"]
                assert torch.equal(mine, source[f"blocks.{block}.{their}.{part}"])
    assert torch.equal(converted.tensors["embedding.conv.bias"], source["patch_embed.proj.bias"])
    assert torch.equal(converted.tensors["backbone.final_norm.bias"], source["norm.bias"])
    assert len(converted.tensors) == len(source)


def test_a_timm_class_token_without_a_position_stays_as_it_is() -> None:
    source = timm_backbone()
    source["pos_embed"] = source["pos_embed"][:, 1:]
    converted = to_our_names(source)
    assert torch.equal(converted.tensors["backbone.class_token"], source["cls_token"])
    assert torch.equal(converted.tensors["backbone.positions"][1, 1], source["pos_embed"][0, 3])


def test_classifier_and_decoder_of_mae_are_dropped_by_name() -> None:
    extra = (
        "head.weight", "mask_token", "decoder_pos_embed", "decoder_blocks.0.attn.qkv.weight",
    )  # fmt: skip
    converted = to_our_names(timm_backbone() | dict.fromkeys(extra, torch.zeros(3)))
    assert sorted(converted.dropped) == sorted(extra)
    assert converted.dropped["mask_token"] != converted.dropped["head.weight"]
    assert same(converted, own_backbone())


def test_the_golden_classifier_starts_from_the_folded_class_token(golden_root: Path) -> None:
    source = read_tensors(golden_root / "weights_93e667e45a.npz")
    converted = to_our_names(source)
    assert converted.naming == "timm"
    with np.load(golden_root / "evit_k5_drop.npz", allow_pickle=False) as file:
        tokens = torch.from_numpy(file["tokens"])
    assert torch.allclose(converted.tensors["backbone.class_token"][0], tokens[0, :1], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "naming", "side", "tensors"),
    [
        ("weights_A", "eventful", 12, 57),
        ("weights_B", "eventful", 7, 57),
        ("weights_753ffdc20e", "maskvd-nonwindowed", 14, 90),
        ("maskvd_vit_kr1", "maskvd-nonwindowed", 14, 54),
        ("pipeline_64", "eventful", 7, 103),
    ],
)
def test_the_small_golden_models(
    name: str, naming: str, side: int, tensors: int, golden_root: Path
) -> None:
    converted = to_our_names(read_tensors(golden_root / f"{name}.npz"))
    assert (converted.naming, len(converted.tensors)) == (naming, tensors)
    assert converted.contains == ("detector" if name == "pipeline_64" else "backbone")
    assert converted.tensors["backbone.positions"].shape[:2] == (side, side)
    with np.load(golden_root / f"{name}.npz", allow_pickle=False) as file:
        raw = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype == "f4"}
    if name == "weights_A":
        assert torch.equal(
            converted.tensors["backbone.blocks.2.relative.cols"],
            raw["blocks.2.relative_position.x_embedding"],
        )
        positions = raw["position_encoding.encoding"][0]
        assert torch.equal(converted.tensors["backbone.positions"][3, 7], positions[3 * 12 + 7])
    if name == "pipeline_64":
        weights = {key: value for key, value in raw.items() if key.startswith("sd/")}
        assert same(to_our_names(weights), converted.tensors)


@pytest.mark.parametrize("naming", [None, "own"])
def test_our_own_names_stay_as_they_are(naming: str | None) -> None:
    own = own_backbone()
    assert own.keys() >= {"backbone.class_token", "embedding.conv.bias"}
    again = to_our_names(own, naming)
    assert (again.naming, again.dropped) == ("own", {})
    assert same(again, own)


def test_our_own_names_of_a_whole_detector_stay_as_they_are(golden_root: Path) -> None:
    own = to_our_names(numbered(keys(golden_root, "vitdet_b_vid_keys"))).tensors
    again = to_our_names(own)
    assert (again.naming, again.contains) == ("own", "detector")
    assert same(again, own)


def test_wrappers_around_all_names_are_ignored() -> None:
    source = timm_backbone()
    wrapped = {f"module.{name}": tensor for name, tensor in source.items()}
    assert same(to_our_names(wrapped), to_our_names(source).tensors)
    assert "no known naming" in refused(wrapped | {"cls_token": source["cls_token"]})


def test_unknown_names_are_named() -> None:
    text = refused(timm_backbone() | {"blocks.0.ls1.gamma": torch.zeros(4)})
    assert "naming 'timm' does not know 1 of the names: blocks.0.ls1.gamma" in text
    assert "blocks.01.norm1.bias" in refused(
        timm_backbone() | {"blocks.01.norm1.bias": torch.zeros(4)}
    )
    many = {f"blocks.0.extra{number}": torch.zeros(1) for number in range(13)}
    text = refused(timm_backbone() | many)
    assert "13 of the names" in text
    assert "extra9 and 3 more" in text


def test_other_models_are_refused_with_all_namings(golden_root: Path) -> None:
    for name in ("vivit_b_kinetics400_keys", "vivit_b_epic_kitchens_keys"):
        text = refused(numbered(keys(golden_root, name)))
        assert "no known naming fits" in text
        assert "spatial_model.class_token" in text
        assert all(naming in text for naming in NAMINGS)
    assert "layer1.0.weight" in refused({"layer1.0.weight": torch.zeros(1)})
    assert "no tensors" in refused({})


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("blocks.1.mlp.fc2.bias", "backbone.blocks.1.mlp_out.bias"),
        ("pos_embed", "backbone.positions"),
        ("norm.weight", "backbone.final_norm.weight"),
        ("patch_embed.proj.bias", "embedding.conv.bias"),
    ],
)
def test_missing_names_are_named(lost: str, named: str) -> None:
    source = timm_backbone()
    del source[lost]
    text = refused(source)
    assert ": 1 missing" in text
    assert named in text


def test_a_lost_block_is_named() -> None:
    source = {
        name: tensor
        for name, tensor in timm_backbone(depth=3).items()
        if not name.startswith("blocks.1.")
    }
    text = refused(source)
    assert ": 12 missing" in text
    assert "backbone.blocks.1.norm1.weight" in text
    assert text.count("backbone.blocks.") == 10
    assert "and 2 more" in text


def test_no_name_of_a_detector_can_be_left_out(golden_root: Path) -> None:
    for list_name in ("vitdet_b_vid_keys", "maskvd_nonwindowed_keys"):
        shapes = keys(golden_root, list_name)
        dropped = to_our_names(numbered(shapes)).dropped
        for name in shapes.keys() - dropped.keys():
            rest = {key: shape for key, shape in shapes.items() if key != name}
            assert ": 1 missing" in refused(numbered(rest)), name


def test_relative_positions_are_needed_in_all_blocks_or_none(golden_root: Path) -> None:
    source = read_tensors(golden_root / "weights_A.npz")
    without = {name: value for name, value in source.items() if "relative" not in name}
    assert len(to_our_names(without).tensors) == 57 - 8
    del source["blocks.1.relative_position.x_embedding"]
    assert "backbone.blocks.1.relative.cols" in refused(source)


def test_two_names_for_one_parameter_are_refused(golden_root: Path) -> None:
    source = read_tensors(golden_root / "weights_A.npz")
    text = refused(source | {"backbone.blocks.0.qkv.bias": source["blocks.0.qkv.bias"]})
    assert "blocks.0.qkv.bias and backbone.blocks.0.qkv.bias are both" in text


@pytest.mark.parametrize("shape", [(1, 7, 4), (2, 5, 4), (5, 4), (4,), (1, 0, 4)])
def test_a_position_table_that_is_no_square_is_refused(shape: tuple[int, ...]) -> None:
    assert "position table is (" in refused(timm_backbone() | {"pos_embed": torch.zeros(shape)})


def test_a_row_of_a_class_token_is_refused_where_none_belongs(golden_root: Path) -> None:
    source = read_tensors(golden_root / "weights_A.npz")
    source["position_encoding.encoding"] = torch.zeros(1, 145, 64)
    assert "expected (1, S*S, D)" in refused(source)


def test_a_row_for_a_class_token_needs_the_class_token() -> None:
    source = timm_backbone()
    del source["cls_token"]
    assert "but there is none" in refused(source)
    assert "it is (1, 1, 3)" in refused(source | {"cls_token": torch.zeros(1, 1, 3)})


def test_a_naming_can_be_demanded() -> None:
    assert to_our_names(timm_backbone(), "timm").naming == "timm"
    assert "'detectron2' does not know 30 of the names: cls_token" in refused(
        timm_backbone(), "detectron2"
    )
    with pytest.raises(UsageError, match=r"unknown naming 'tim' \(did you mean 'timm'\?\)"):
        to_our_names(timm_backbone(), "tim")


MASK_HEAD = [
    f"roi_heads.mask_head.{layer}.{part}"
    for layer in ("mask_fcn1", "mask_fcn1.norm", "deconv", "predictor")
    for part in ("weight", "bias")
]


def test_the_mask_head_of_detectron2_is_left_out_with_the_reason() -> None:
    tensors = detectron2_detector(*MASK_HEAD)
    converted = to_our_names(tensors, where="model.pth")
    assert converted.naming == "detectron2"
    assert converted.contains == "detector"
    left_out = {name: why for name, why in converted.dropped.items() if "mask_head" in name}
    assert left_out == dict.fromkeys(MASK_HEAD, "of the mask head, which boxes do not need")
    without = to_our_names(detectron2_detector(), where="model.pth")
    assert converted.tensors.keys() == without.tensors.keys()


def test_cascades_of_box_heads_are_refused_with_the_reason() -> None:
    plain = detectron2_detector()
    cascade: dict[str, Tensor] = {}
    for name, value in plain.items():
        parts = name.split(".")
        if parts[:2] in (["roi_heads", "box_head"], ["roi_heads", "box_predictor"]):
            for stage in range(3):
                cascade[".".join([*parts[:2], str(stage), *parts[2:]])] = value
        else:
            cascade[name] = value
    for naming in (None, "detectron2"):
        with pytest.raises(CheckpointError) as caught:
            to_our_names(cascade, naming, where="model.pth")
        text = str(caught.value)
        assert text.startswith("model.pth: is a cascade of box heads (Cascade R-CNN), and maskvd")
        assert "54 of its tensors, as roi_heads.box_head.0." in text
        assert "\n" not in text and caught.value.remedy
