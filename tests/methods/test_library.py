"""Three lines run a method on frames, and give what a sweep's own loop gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import maskvd_cli
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.resize import resized
from maskvd_cli.families.base import Model
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams

WEIGHTS = Path(__file__).parents[2] / "recipes/weights/vitdet-ti.safetensors"
NATIVE = Size(120, 300)


@pytest.fixture(scope="module")
def model() -> Model:
    return maskvd_cli.load(WEIGHTS, input="64x128", device="cpu")


def frames(count: int = 4, size: Size = NATIVE) -> list[NDArray[np.uint8]]:
    drawn = np.random.default_rng(0)
    return [drawn.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def test_a_file_says_its_model_and_input() -> None:
    made = maskvd_cli.load(WEIGHTS, device="cpu")
    assert made.arch.name == "vitdet-ti"
    assert made.input_size == Size(192, 640)
    assert not made.training


def test_it_gives_what_a_sweeps_loop_gives(model: Model) -> None:
    params: dict[str, Any] = {"period": 3, "mask": "dynamic", "score_threshold": 0.0}
    found = list(maskvd_cli.run(model, "maskvd", **params)(frames()))
    placed = placement(NATIVE, None, model.input_size)
    images = [resized(frame, placed.content) for frame in frames()]
    clip = ClipInput("c", images, ClipView(4, model.input_size, 16), placed.content, False)
    method = MaskVD(MaskVDParams(**params), model.backbone)
    expected = list(run_clip(model, method, clip))
    for ours, theirs in zip(found, expected, strict=True):
        scale = torch.tensor([placed.col_scale, placed.row_scale] * 2)
        assert torch.equal(ours.xyxy, theirs.output.xyxy / scale)
        assert torch.equal(ours.scores, theirs.output.scores)
        assert torch.equal(ours.labels, theirs.output.labels)


def test_each_call_is_a_clip_of_its_own(model: Model) -> None:
    runner = maskvd_cli.run(model, "eventful", r=8)
    one, other = list(runner(frames())), list(runner(frames()))
    assert all(torch.equal(a.scores, b.scores) for a, b in zip(one, other, strict=True))


def test_a_static_mask_takes_a_heatmap(model: Model) -> None:
    heatmap = np.zeros(model.input_size)
    heatmap[:16, :16] = 1
    runner = maskvd_cli.run(model, "maskvd", heatmap=heatmap, frame="48x128", period=2)
    assert len(list(runner(frames(2)))) == 2
    with pytest.raises(UsageError, match=r"shape \(3, 3\); give one value per pixel of the input"):
        maskvd_cli.run(model, "maskvd", heatmap=np.zeros((3, 3)))


def test_what_does_not_fit_is_told(model: Model) -> None:
    with pytest.raises(
        UsageError, match=r"maskvd with .* needs a heatmap; give heatmap=, or mask='dynamic'"
    ):
        maskvd_cli.run(model, "maskvd", period=8)
    with pytest.raises(UsageError, match=r"maskvd perod: Extra inputs .* its parameters: version"):
        maskvd_cli.run(model, "maskvd", perod=8)
    with pytest.raises(UsageError, match="oracle needs the annotated boxes of every frame"):
        maskvd_cli.run(model, "oracle")
    with pytest.raises(UsageError, match="evit drops tokens, and the windows of vitdet-ti"):
        maskvd_cli.run(model, "evit")
    runner = maskvd_cli.run(model, "dense")
    with pytest.raises(UsageError, match=r"frame 0 is \(2, 2\) uint8; give \(rows, columns, 3\)"):
        list(runner([np.zeros((2, 2), dtype=np.uint8)]))
    with pytest.raises(UsageError, match="frame 1 is 60x60, those before 120x300"):
        list(runner([*frames(1), *frames(1, Size(60, 60))]))
