"""ViViT: published names, steps and looks, costs in closed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, WeightsFile, cost_of
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.checkpoints import (
    differences,
    load_into,
    read_metadata,
    read_tensors,
    shapes_of,
)
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vivit.archs import ARCHS, ViViTArch, vivit
from maskvd_cli.families.vivit.costs import conclusion
from maskvd_cli.families.vivit.family import ViViTFamily
from maskvd_cli.families.vivit.model import ViViT, normalised
from maskvd_cli.families.vivit.renaming import is_published, to_our_names
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.families.vivit.transformer import ClassTransformer
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, TokenTrace
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.registry import methods

SMALL = vivit(
    "small", "", dim=16, heads=2, depth=2, temporal_depth=2, patch=8, table=Size(3, 4),
    looks=Looks(frames=6, tubelet=2, along=2, across=3),
)  # fmt: skip
INPUT = Size(24, 32)
SHAPE = ClassifierShape(5)


def small(seed: int = 0) -> ViViT:
    return ViViT(SMALL, SHAPE, INPUT, seed=seed).requires_grad_(False).eval()


def images(count: int, size: Size = INPUT) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))


def published_names(arch: ViViTArch) -> dict[str, str]:
    """The published name of each of our parameters."""
    layers = {"norm1": "input_layer_norm", "qkv": "qkv", "projection": "projection",
              "norm2": "mlp_layer_norm", "mlp_in": "mlp_1", "mlp_out": "mlp_2"}  # fmt: skip
    names: dict[str, str] = {}
    with torch.device("meta"):
        ours = list(ViViT(arch, SHAPE, INPUT).state_dict())
    for name in ours:
        part, _, own = name.partition(".")
        if part in ("embedding", "classifier"):
            names[name] = name
            continue
        model = {"backbone": "spatial_model", "temporal": "temporal_model"}[part]
        words = own.split(".")
        if words[0] == "blocks":
            names[name] = f"{model}.backbone.blocks.{words[1]}.{layers[words[2]]}.{words[3]}"
        elif words[0] == "positions":
            names[name] = f"{model}.backbone.position_encoding.encoding"
        else:
            names[name] = f"{model}.{own.replace('final_norm', 'layer_norm')}"
    return names


def published(model: ViViT) -> dict[str, Tensor]:
    """Its tensors under the published names, with positions for the class tokens."""
    names, tensors = published_names(model.arch), dict[str, Tensor]()
    for name, tensor in model.state_dict().items():
        made = tensor
        if name.endswith("positions"):
            first = torch.full((1, 1, model.arch.dim), 0.25)
            made = torch.cat([first, tensor.flatten(0, 1)[None]], dim=1)
        elif name.endswith("class_token"):
            made = tensor - 0.25
        tensors[names[name]] = made
    return tensors


@pytest.mark.parametrize(
    ("file", "name", "classes"),
    [
        ("vivit_b_kinetics400_keys.json", "vivit-b-kinetics", 400),
        ("vivit_b_epic_kitchens_keys.json", "vivit-b-epic", 97),
    ],
)
def test_published_checkpoints_fit_strictly(
    file: str, name: str, classes: int, golden_root: Path
) -> None:
    told: dict[str, Any] = json.loads((golden_root / file).read_text("utf-8"))
    tensors = {key: torch.empty(shape, device="meta") for key, (shape, _) in told["keys"].items()}
    assert len(tensors) == told["n_tensors"] == 204
    assert is_published(tensors)
    arch = ARCHS[name]
    renamed = to_our_names(tensors)
    size = Size(*told["model"]["input_shape"][2:])
    shape = ViViTFamily.shape_of(arch, WeightsFile(Path(file), renamed, {}))
    with torch.device("meta"):
        model = ViViT(arch, shape, size)
    assert shape.classes == classes
    assert not differences(shapes_of(model.state_dict()), shapes_of(renamed))
    assert model.grid == arch.position_table
    # The file's tables hold a row for each class token.
    folded = 2 * arch.dim
    assert sum(p.numel() for p in model.parameters()) == told["n_params"] - folded
    config = told["model"]
    assert arch.looks == Looks(
        frames=config["input_shape"][0], tubelet=config["tubelet_shape"][0],
        stride=config["temporal_stride"], along=config["temporal_views"],
        across=config["spatial_views"],
    )  # fmt: skip


def test_values_come_back_under_our_names() -> None:
    model, other = small(), small(seed=3)
    renamed = to_our_names(
        {f"module.{k}": v for k, v in published(model).items()}, table=Size(3, 4)
    )
    load_into(other, renamed, "x")
    for name, tensor in model.state_dict().items():
        assert torch.allclose(other.state_dict()[name], tensor, atol=1e-7), name


@pytest.mark.parametrize("change", ["missing", "unknown", "table", "token"])
def test_what_is_no_whole_recogniser_is_refused(change: str) -> None:
    tensors = published(small())
    if change == "missing":
        del tensors["temporal_model.backbone.blocks.1.mlp_2.bias"]
    elif change == "unknown":
        tensors["spatial_model.backbone.blocks.1.relative_position.y_embedding"] = torch.zeros(1)
    elif change == "table":
        tensors["spatial_model.backbone.position_encoding.encoding"] = torch.zeros(1, 12, 16)
    else:
        tensors["temporal_model.class_token"] = torch.zeros(1, 16)
    expected = {
        "missing": r"1 missing: temporal_model\.backbone\.blocks\.1\.mlp_2\.bias",
        "unknown": r"1 unknown: spatial_model\.backbone\.blocks\.1\.relative",
        "table": r"backbone\.positions are \(1, 12, 16\)",
        "token": r"for a class token \(1, 16\)",
    }
    with pytest.raises(CheckpointError, match=expected[change]):
        to_our_names(tensors, where="f.pth", table=Size(3, 4) if change == "token" else None)


def test_convert_knows_a_recogniser(tmp_path: Path) -> None:
    arch = ARCHS["vivit-ti"]
    model = ViViT(arch, SHAPE, Size(96, 96), seed=1)
    torch.save({"model": published(model)}, tmp_path / "theirs.pth")
    out = tmp_path / "ours.safetensors"
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "theirs.pth"), str(out)])
    assert done.exit_code == 0, done.output
    assert read_metadata(out)["arch"] == "vivit-ti"
    assert read_metadata(out)["contains"] == "recogniser"
    load_into(model, read_tensors(out), out)
    words = ["convert", str(tmp_path / "theirs.pth"), str(out), "--force", "--arch"]
    for name, reason in (("vivit-b-epic", "of another shape"), ("vitdet-b", "it is a recogniser")):
        done = CliRunner().invoke(app, [*words, name])
        assert done.exit_code == 2
        assert f"is no {name}: " in done.output
        assert reason in done.output


def test_a_file_without_a_classifier_is_told() -> None:
    file = WeightsFile(Path("f.safetensors"), {}, {})
    with pytest.raises(CheckpointError, match=r"holds no classifier\.bias"):
        ViViTFamily.shape_of(SMALL, file)


def test_a_step_is_embedded_from_its_own_frames() -> None:
    model, frames = small(), images(4)
    both = model.embed(frames)
    assert both.shape == (2, 12, 16)
    assert torch.allclose(both[1:], model.embed(frames[2:]), atol=1e-6)
    # The kernel's first half sees the first frame.
    conv = model.embedding.conv
    pixels = normalised(torch.stack(frames[:2]) / 255)
    halves = [
        nn.functional.conv2d(pixels[frame][None], conv.weight[:, :, frame], stride=8)
        for frame in (0, 1)
    ]
    assert conv.bias is not None
    expected = (halves[0] + halves[1] + conv.bias[None, :, None, None]).flatten(2).mT
    assert torch.allclose(both[:1], expected, atol=1e-5)


@pytest.mark.parametrize(("count", "size"), [(3, INPUT), (0, INPUT), (2, Size(24, 24))])
def test_images_that_are_no_steps_are_refused(count: int, size: Size) -> None:
    with pytest.raises(UsageError, match=r"no whole steps of 2|not \(3, 24, 32\)"):
        small().embed(images(count, size))


def features_of(model: ViViT, frames: list[Tensor]) -> Tensor:
    steps = model.embed(frames)
    return model.backbone(steps, model.grid)


def test_a_look_concludes_with_the_logits_of_all_its_steps() -> None:
    model = small()
    outputs = model.finish(features_of(model, images(6)))
    assert [output.logits for output in outputs] == [None] * 3
    concluded = model.conclude(outputs)
    assert concluded.logits is not None
    features = torch.stack([output.features for output in outputs])[None]
    assert torch.allclose(concluded.logits, model.logits(features)[0])
    assert concluded.features is outputs[-1].features
    with pytest.raises(UsageError, match="a look has 2 steps, small takes 3"):
        model.conclude(outputs[:2])


def test_the_order_of_steps_matters() -> None:
    model = small()
    outputs = model.finish(features_of(model, images(6)))
    forward, backward = model.conclude(outputs), model.conclude(outputs[::-1])
    assert forward.logits is not None and backward.logits is not None
    assert not torch.allclose(forward.logits, backward.logits, atol=1e-6)


def test_features_that_are_not_finite_are_told() -> None:
    with pytest.raises(MaskvdError, match="not finite"):
        small().finish(torch.full((1, 1, 16), torch.nan))


def test_only_a_transformer_with_a_class_token_is_read_there() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="no class token, or no final norm"):
        ClassTransformer(replace(SMALL, class_token=False))


def test_closed_forms_are_what_runs() -> None:
    model = small()
    stages = ViViTFamily.stages(SMALL, SHAPE, model.grid)
    with MacCounter() as counter:
        with counter.section("embed"):
            tokens = model.embed(images(2))
        with counter.section("backbone"):
            features = model.backbone(tokens, model.grid)
        outputs = model.finish(features) * 3
        with counter.section("conclude"):
            concluded = model.conclude(outputs)
    assert counter.sections["embed"] == cost_of(stages, outputs[0], (EMBED,))
    assert counter.sections["conclude"] == cost_of(stages, concluded, (HEAD,))
    assert counter.sections["conclude"] == conclusion(SMALL, SHAPE).matrix
    assert cost_of(stages, outputs[0], (HEAD,)) == 0
    planned = cost_of(stages, None, (HEAD,))
    assert planned is not None
    assert planned * SMALL.looks.steps == pytest.approx(counter.sections["conclude"])
    dense = methods.load("dense")
    macs = dense.macs(SMALL, model.grid, dense.params_type(), TokenTrace.of([]))
    assert macs is not None
    whole = dense.published_at(SMALL, model.grid, dense.params_type(), 0)
    n, d = 13, 16
    assert counter.sections["backbone"] == 2 * (12 * n * d**2 + 2 * n**2 * d)
    assert whole == counter.sections["backbone"] + 2 * (9 * n * d + 2 * n * d) + n * d


def test_the_class_token_passes_the_gates() -> None:
    model = small()
    method = Eventful(EventfulParams(r=13), model.backbone)
    frames = images(6)
    for index in range(3):
        tokens = model.embed(frames[2 * index : 2 * index + 2])
        found = method.step(tokens, FrameContext(index, INPUT, INPUT, 8))
        assert torch.allclose(found, model.backbone(tokens, model.grid), atol=1e-5)
        assert method.trace is not None
        assert method.trace.selected["blocks.0.qkv"].shape == (1, 13)
    with pytest.raises(UsageError, match="r 14 is more than the sequence's 13 tokens"):
        Eventful(EventfulParams(r=14), model.backbone).step(
            model.embed(frames[:2]), FrameContext(0, INPUT, INPUT, 8)
        )


@pytest.mark.parametrize("update", ["full", "qk", "tokenwise"])
def test_gates_execute_what_their_closed_form_says(update: str) -> None:
    model = small()
    params = EventfulParams(r=5, update=update)  # pyright: ignore[reportArgumentType]
    method, frames, counted = Eventful(params, model.backbone), images(6), list[int]()
    traces: list[FrameTrace] = []
    for index in range(3):
        tokens = model.embed(frames[2 * index : 2 * index + 2])
        with MacCounter() as counter:
            method.step(tokens, FrameContext(index, INPUT, INPUT, 8))
        counted.append(counter.macs)
        assert method.trace is not None
        traces.append(method.trace)
    macs = method.macs(SMALL, model.grid, params, TokenTrace.of(traces))
    assert np.asarray(macs.matrix).tolist() == counted
    view = ClipView(3, INPUT, 8)
    planned = method.macs(SMALL, model.grid, params, method.plan(params, SMALL, view))
    assert np.asarray(planned.published).tolist() == np.asarray(macs.published).tolist()


def test_methods_that_need_the_grid_refuse() -> None:
    reason = unlike(methods.load("maskvd"), SMALL)
    assert reason == "maskvd does not know the class-features of small"
    for name in ("dense", "eventful", "stgt"):
        assert unlike(methods.load(name), SMALL) is None


def test_a_setting_tells_how_a_video_is_looked_at() -> None:
    setting = json.loads(json.dumps(ViViTFamily.setting(ARCHS["vivit-b-epic"])))
    assert setting["family"] == "vivit"
    assert setting["backbone"] == "non-windowed"
    assert setting["looks"] == {"frames": 32, "tubelet": 2, "stride": 1, "along": 4, "across": 3}
