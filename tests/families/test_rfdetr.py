"""RF-DETR: its windows, its parity with the library, its costs in closed form."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, WeightsFile, cost_of
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.counting import MacCounter, count_macs
from maskvd_cli.families.checkpoints import differences, load_into, shapes_of
from maskvd_cli.families.library_cases import redraw
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.archs import ARCHS, QueryArch, rfdetr
from maskvd_cli.families.rfdetr.backbone import TappedTransformer
from maskvd_cli.families.rfdetr.detector import RFDETR
from maskvd_cli.families.rfdetr.family import RFDETRFamily
from maskvd_cli.families.rfdetr.layout import cut, join
from maskvd_cli.families.rfdetr.library import check_version, whole_detector
from maskvd_cli.families.rfdetr.renaming import to_our_names
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.fit import unfit, unlike, unplanned
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.registry import methods

from .query_models import Sections, images

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf (transformers)"
)
SMALL = rfdetr(
    "small", "", side=8, decoder_layers=2, dim=24, heads=3, taps=(1, 2, 4), patch=4,
    channels=32, hidden=40,
)  # fmt: skip
SHAPE = QueryShape(classes=5, queries=12)
SQUARE, WIDE = Size(32, 32), Size(24, 56)


def drawn_backbone(spread: float = 0.3) -> TappedTransformer:
    """Every parameter is drawn, so that none hides behind a zero or a one."""
    made = TappedTransformer(SMALL)
    redraw(made, 3, spread)
    return made.requires_grad_(False).eval()


# The layout, stated once more without the tool's own cutting.


def place_of(row: int, col: int, grid: Size, aside: int) -> tuple[int, int]:
    """Window and place of a token: windows row by row, tokens row by row in them."""
    rows, cols = grid.rows // aside, grid.cols // aside
    return row // rows * aside + col // cols, row % rows * cols + col % cols


@pytest.mark.parametrize("grid", [Size(8, 8), Size(6, 14), Size(12, 4)])
@pytest.mark.parametrize("aside", [2, 1])
def test_windows_are_cut_row_by_row(grid: Size, aside: int) -> None:
    window, count = Size(grid.rows // aside, grid.cols // aside), aside**2
    leads = -1 - torch.arange(count).float()
    sequence = torch.cat([leads, torch.arange(grid.area).float()])[None, :, None]
    sequence = torch.cat([sequence, sequence + 1000])
    windows = cut(sequence, grid, window, count)
    assert windows.shape == (2 * count, 1 + window.area, 1)
    for image in range(2):
        for which in range(count):
            assert windows[image * count + which, 0, 0] == -1 - which + 1000 * image
        for row in range(grid.rows):
            for col in range(grid.cols):
                which, place = place_of(row, col, grid, aside)
                found = windows[image * count + which, 1 + place, 0]
                assert found == row * grid.cols + col + 1000 * image
    assert torch.equal(join(windows, grid, window, count), sequence)


def test_windows_without_class_tokens_are_cut_as_well() -> None:
    grid, window = Size(4, 6), Size(2, 3)
    sequence = torch.arange(48.0).view(2, 24, 1)
    assert torch.equal(join(cut(sequence, grid, window, 0), grid, window, 0), sequence)


@pytest.mark.parametrize("grid", [Size(8, 8), Size(6, 14)])
def test_a_token_is_heard_in_its_window_until_a_global_block(grid: Size) -> None:
    # Sharp attention, and float32, would not let every token hear of it.
    backbone = drawn_backbone(spread=0.1).double()
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(1, grid.area, SMALL.dim, generator=generator, dtype=torch.float64)
    changed = tokens.clone()
    row, col = grid.rows - 1, 1
    # In one channel: norms take a change of all away.
    changed[0, row * grid.cols + col, 0] += 1
    before, after = backbone(tokens, grid), backbone(changed, grid)
    moved = (before != after).view(grid.area, len(SMALL.taps), SMALL.dim).any(-1)
    own = place_of(row, col, grid, 2)[0]
    same = torch.tensor([
        place_of(r, c, grid, 2)[0] == own for r in range(grid.rows) for c in range(grid.cols)
    ])  # fmt: skip
    # The first reading lies before the first global block, the others behind one.
    assert torch.equal(moved[:, 0], same)
    assert moved[:, 1].all() and moved[:, 2].all()


@pytest.mark.parametrize("grid", [Size(8, 8), Size(6, 14)])
def test_the_steps_of_blocks_are_the_dense_path(grid: Size) -> None:
    backbone = drawn_backbone().double()
    tokens = torch.randn(2, grid.area, SMALL.dim, dtype=torch.float64)
    sequence = backbone.with_class_token(tokens + backbone.positions_on(grid))
    readings: list[Tensor] = []
    for done, block in enumerate(backbone.blocks, start=1):
        sequence = block(sequence, grid)
        if done in SMALL.taps:
            readings.append(backbone.finish(sequence))
    expected = backbone.side_by_side(readings)
    torch.testing.assert_close(backbone(tokens, grid), expected, rtol=0, atol=1e-12)


def test_class_tokens_differ_behind_the_first_block() -> None:
    backbone, grid = drawn_backbone(), Size(8, 8)
    sequence = backbone.with_class_token(torch.randn(1, 64, SMALL.dim))
    assert (sequence[0, :4] == sequence[0, 0]).all()
    assert sequence.shape[1] == 64 + SMALL.lead == 68
    leads = backbone.blocks[0](sequence, grid)[0, :4]
    assert len({tuple(lead.tolist()) for lead in leads}) == 4


def test_inputs_that_windows_do_not_cut_are_refused() -> None:
    assert SMALL.grid(WIDE) == Size(6, 14)
    assert SMALL.window_on(Size(6, 14)) == Size(3, 7)
    with pytest.raises(UsageError, match=r"28x32 is no multiple of 8.*use for example 32x32"):
        SMALL.grid(Size(28, 32))
    with pytest.raises(UsageError, match="8x8 has 4 tokens, fewer than the 12 queries"):
        RFDETR(SMALL, SHAPE, Size(8, 8))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"read_after": ()}, "no rising"),
        ({"read_after": (2, 2, 4)}, "no rising"),
        ({"read_after": (0, 4)}, "no rising"),
        ({"read_after": (1, 3)}, "not after 4 blocks"),
        ({"window": Size(3, 4)}, "not that of the table"),
    ],
)
def test_architectures_that_cannot_be(parts: dict[str, Any], reason: str) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match=reason):
        replace(SMALL, **parts)


# Parity with the library.


def library_and_ours(size: Size, dtype: torch.dtype, seed: int = 5) -> tuple[Any, RFDETR]:
    theirs = whole_detector(SMALL, SHAPE, groups=3)
    redraw(theirs, seed)
    theirs = theirs.requires_grad_(False).eval().to(dtype)
    ours = RFDETR(SMALL, SHAPE, size).requires_grad_(False).eval().to(dtype)
    load_into(ours, to_our_names(theirs.state_dict(), SMALL), "library")
    return theirs, ours


@needs_library
@pytest.mark.parametrize("size", [SQUARE, Size(40, 40), Size(24, 24)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_library_computes_the_same(size: Size, dtype: torch.dtype, close: float) -> None:
    theirs, ours = library_and_ours(size, dtype)
    given = images(2, size)
    pixels = to_input(given, size, torch.device("cpu")).to(dtype)
    with torch.inference_mode():
        maps = theirs.model.backbone.backbone(pixels).feature_maps
        expected = theirs(pixel_values=pixels)
        features = ours.backbone(ours.embed(given), ours.grid)
        logits, boxes = ours.predicted(features)
    taps = features.view(2, *ours.grid, len(SMALL.taps), SMALL.dim)
    assert len(maps) == len(SMALL.taps)
    for index, map_of_one in enumerate(maps):
        found = taps[..., index, :].permute(0, 3, 1, 2)
        torch.testing.assert_close(found, map_of_one, rtol=0, atol=close)
    assert expected.logits.std() > 0.1 and expected.pred_boxes.std() > 0.01
    torch.testing.assert_close(logits.sigmoid(), expected.logits.sigmoid(), rtol=0, atol=close)
    torch.testing.assert_close(boxes, expected.pred_boxes, rtol=0, atol=close)


@needs_library
def test_detections_are_those_of_the_library() -> None:
    from transformers import RfDetrImageProcessor

    theirs, ours = library_and_ours(SQUARE, torch.float32)
    given = images(2, SQUARE)
    with torch.inference_mode():
        outputs = theirs(pixel_values=to_input(given, SQUARE, torch.device("cpu")))
        found = ours(given)
    told = RfDetrImageProcessor().post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[tuple(SQUARE)] * 2
    )
    for one, expected in zip(found, told, strict=True):
        assert len(one) == SHAPE.queries
        torch.testing.assert_close(one.scores, expected["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(one.xyxy, expected["boxes"], rtol=1e-4, atol=1e-3)
        assert torch.equal(one.labels, expected["labels"])
        assert one.xyxy.dtype == one.scores.dtype == torch.float32
        assert one.scores.diff().le(0).all()


@needs_library
@pytest.mark.parametrize(
    ("name", "millions"), [("nano", 30.5), ("small", 32.1), ("medium", 33.7), ("large", 33.9)]
)
def test_the_library_has_as_many_parameters_as_published(name: str, millions: float) -> None:
    # The published heads tell 90 classes and one more apart.
    with torch.device("meta"):
        theirs = whole_detector(ARCHS[f"rfdetr-{name}"], QueryShape(91))
    count = sum(parameter.numel() for parameter in theirs.parameters())
    assert round(count / 1e6, 1) == millions


@needs_library
def test_the_state_dict_of_another_architecture_is_refused() -> None:
    theirs = whole_detector(SMALL, SHAPE, groups=1).state_dict()
    deeper = rfdetr("deep", "", side=8, decoder_layers=2, dim=24, heads=3, taps=(1, 2, 5), patch=4)
    with pytest.raises(CheckpointError, match=r"is no deep of transformers: no .*layer\.4\."):
        to_our_names(theirs, deeper)
    flatter = rfdetr("flat", "", side=8, decoder_layers=2, dim=24, heads=3, taps=(1, 2), patch=4)
    with pytest.raises(CheckpointError, match=r"is no flat of transformers: 36 unknown"):
        to_our_names(theirs, flatter)
    table = "model.backbone.backbone.embeddings.position_embeddings"
    with pytest.raises(CheckpointError, match="63 positions, which make up no square"):
        to_our_names({**theirs, table: theirs[table][:, :-1]}, SMALL)


# Costs.


@pytest.mark.parametrize(
    ("arch", "size"), [(SMALL, SQUARE), (SMALL, WIDE), (ARCHS["rfdetr-ti"], Size(96, 320))]
)
@needs_library
def test_closed_forms_are_what_is_counted(arch: QueryArch, size: Size) -> None:
    model = RFDETR(arch, SHAPE, size).requires_grad_(False).eval()
    parts = {stage.name: cost_of([stage], None, {stage.part}) for stage in model.stages}
    detr: Any = model.queries.detr
    inside = {
        detr.model.backbone.projector: "projector",
        detr.model.decoder: "decoder",
        detr.class_embed: "heads",
        detr.bbox_embed: "heads",
    }
    with torch.inference_mode(), MacCounter() as counter:
        with counter.section("embedding"):
            tokens = model.embed(images(1, size))
        with counter.section("backbone"):
            features = model.backbone(tokens, model.grid)
        with Sections(counter, inside), counter.section("behind"):
            model.finish(features)
    assert not counter.uncounted
    counted = dict(counter.sections)
    behind = counted.pop("behind")
    counted["proposals"] = behind - sum(counted[name] for name in ("projector", "decoder", "heads"))
    backbone = counted.pop("backbone")
    assert counted == parts
    assert backbone == costs.dense(arch, model.grid).matrix
    assert behind == cost_of(model.stages, None, {HEAD})


@pytest.mark.parametrize(
    ("name", "total", "backbone"),
    [
        ("rfdetr-nano", 15.92, 13.84),
        ("rfdetr-small", 29.81, 26.39),
        ("rfdetr-medium", 39.27, 34.80),
        ("rfdetr-large", 62.64, 56.94),
    ],
)
def test_costs_are_those_that_were_counted_on_the_library(
    name: str, total: float, backbone: float
) -> None:
    arch = ARCHS[name]
    grid = arch.position_table
    stages = RFDETRFamily.stages(arch, QueryShape(91), grid)
    # What the library calls its backbone embeds the patches, too.
    before, behind = cost_of(stages, None, {EMBED}), cost_of(stages, None, {HEAD})
    assert before is not None
    assert behind is not None
    own = float(costs.dense(arch, grid).matrix) + before
    assert own / 1e9 == pytest.approx(backbone, rel=5e-3)
    assert (own + behind) / 1e9 == pytest.approx(total, rel=5e-3)


# The family on its seams.


@needs_library
def test_dense_runs_and_is_counted() -> None:
    model = RFDETR(SMALL, SHAPE, WIDE, seed=1).requires_grad_(False).eval()
    clip = ClipInput("c", images(2, WIDE), ClipView(2, WIDE, SMALL.patch), WIDE, False)
    results = list(run_clip(model, Dense(DenseParams(), model.backbone), clip))
    with torch.inference_mode():
        expected = model([clip.images[1]])[0]
    assert torch.equal(results[1].output.xyxy, expected.xyxy)
    assert len(expected) == SHAPE.queries
    with torch.inference_mode():
        counted = count_macs(lambda: model.backbone(model.embed([clip.images[0]]), model.grid))
    trace = Dense.plan(DenseParams(), SMALL, clip.view)
    macs = Dense.macs(SMALL, model.grid, DenseParams(), trace)
    assert macs is not None
    embedding = cost_of(model.stages, None, {EMBED})
    assert [int(each) for each in macs.matrix + embedding] == [counted] * 2  # type: ignore[operator]


def test_methods_refuse_what_they_do_not_know_and_dense_is_planned() -> None:
    nano = ARCHS["rfdetr-nano"]
    assert nano.has == {"tokens", "windows", "taps", "window-class-tokens"}
    assert unfit(Dense, DenseParams(), nano) is None
    assert unplanned(Dense, nano) is None
    reason = unfit(Dense, DenseParams(pool=2), nano)
    assert reason is not None and "rfdetr-nano has class tokens among them" in reason
    willing = {name for name in methods.names() if unlike(methods.load(name), nano) is None}
    assert willing >= {
        "dense", "maskvd", "oracle", "random", "eventful", "stgt", "rgtp", "boxes-k",
    }  # fmt: skip
    for version in ("T", "H"):
        reason = unfit(MaskVD, MaskVDParams(version=version), nano)
        assert reason is not None and f"{version} is for windows without class tokens" in reason
    with pytest.raises(UsageError, match="pool 2 is for keys on the grid alone"):
        drawn_backbone()(torch.zeros(1, 64, SMALL.dim), Size(8, 8), 2)


@pytest.mark.parametrize("grid", [Size(8, 8), Size(6, 14)])
def test_masked_frames_are_what_caches_of_all_tokens_give(grid: Size) -> None:
    backbone = drawn_backbone(spread=0.1).double()
    generator = torch.Generator().manual_seed(4)
    frames = torch.randn(3, 1, grid.area, SMALL.dim, generator=generator, dtype=torch.float64)
    kept = torch.rand(3, grid.area, generator=generator) < 0.2
    kept[0] = True
    execution, caches = MaskedExecution(backbone, "C"), dict[int, Tensor]()
    expected = torch.zeros(1, grid.area, 3 * SMALL.dim, dtype=torch.float64)
    for tokens, mask in zip(frames, kept, strict=True):
        # Everything runs, what was not chosen is thrown away; class tokens are always chosen.
        sequence = backbone.with_class_token(tokens + backbone.positions_on(grid))
        rows = torch.cat([torch.ones(SMALL.lead, dtype=torch.bool), mask])[None, :, None]
        readings: list[Tensor] = []
        for number, block in enumerate(backbone.blocks):
            qkv = block.qkv(block.norm1(sequence))
            caches[number] = torch.where(rows, qkv, caches.setdefault(number, qkv))
            sequence = block.complete(sequence, block.attend(caches[number], grid))
            if number + 1 in SMALL.taps:
                readings.append(backbone.finish(sequence))
        expected = torch.where(mask[None, :, None], backbone.side_by_side(readings), expected)
        found, trace = execution.run(tokens, grid, mask)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        assert trace.tokens == int(mask.sum())
    assert sum(tensor.numel() for tensor in execution.state()) == SMALL.dim * (
        3 * SMALL.depth * (grid.area + SMALL.lead) + 3 * grid.area
    )


@needs_library
def test_weights_are_drawn_from_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (RFDETR(SMALL, SHAPE, SQUARE, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.backbone.positions, other.backbone.positions)


@needs_library
def test_a_weights_file_says_its_shape() -> None:
    tensors = RFDETR(SMALL, SHAPE, SQUARE).state_dict()
    assert RFDETRFamily.shape_of(SMALL, WeightsFile(Path("w"), tensors, {})) == SHAPE
    rebuilt = RFDETRFamily.build(SMALL, SHAPE, WIDE, seed=2)
    assert not differences(shapes_of(rebuilt.state_dict()), shapes_of(tensors))
    with pytest.raises(CheckpointError, match=r"w: holds no queries\.detr\.class_embed\.bias"):
        RFDETRFamily.shape_of(SMALL, WeightsFile(Path("w"), {}, {}))


@needs_library
def test_outputs_that_are_not_finite_are_told() -> None:
    model = RFDETR(SMALL, SHAPE, SQUARE)
    with pytest.raises(MaskvdError, match="not finite"):
        model.finish(torch.full((1, 64, 3 * SMALL.dim), float("nan")))


def test_a_library_that_was_not_tested_is_refused() -> None:
    check_version("5.24.0")
    check_version("5.24.1.dev0")
    with pytest.raises(UsageError, match=r"needs transformers; pip install 'maskvd\[hf\]'"):
        check_version(None)
    for version in ("5.25.0", "5.240", "4.57.1"):
        with pytest.raises(UsageError, match=r"is not the tested 5\.24\.\*"):
            check_version(version)
