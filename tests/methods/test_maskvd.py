from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams

INPUT = Size(64, 64)


def view(boxes: list[list[float]], frame_of: list[int], frames: int) -> ClipView:
    return ClipView(
        frames=frames,
        input=INPUT,
        patch=16,
        boxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        frame_of=torch.tensor(frame_of, dtype=torch.int64),
        region_scores=torch.arange(16, dtype=torch.float64),
        real=real_tokens(Size(48, 64), INPUT, 16),
    )


def kept(params: dict[str, Any], clip: ClipView) -> list[list[int]]:
    mask = MaskVD.planned(MaskVDParams.model_validate(params), clip)
    return [row.nonzero().flatten().tolist() for row in mask]


ALL = list(range(16))
CLIP = view([[0, 0, 16, 16], [17, 0, 20, 5]], [0, 2], 4)


def test_dense_keeps_every_token() -> None:
    trace = Dense.plan(DenseParams(), get_arch("vitdet-b"), CLIP)
    assert trace.tokens.tolist() == [16.0] * 4
    assert trace.full.all()


def test_combined_takes_the_boxes_of_the_previous_frame() -> None:
    params = {"period": 8, "static_keep_rate": 0.125}
    # Frame 1 sees the box of frame 0; frame 1 itself has no box, so frame 2 is kept whole.
    assert kept(params, CLIP) == [ALL, [0, 14, 15], ALL, [1, 14, 15]]


def test_static_alone_knows_no_boxes_and_has_no_fallback() -> None:
    params = {"mask": "static", "period": 3, "static_keep_rate": 0.125}
    assert kept(params, CLIP) == [ALL, [14, 15], [14, 15], ALL]


def test_dynamic_alone_is_k_s_of_zero() -> None:
    assert kept({"mask": "dynamic", "period": 8}, CLIP) == [ALL, [0], ALL, [1]]
    assert kept({"period": 8, "static_keep_rate": 0.0}, CLIP) == [ALL, [0], ALL, [1]]


def test_margin_grows_boxes() -> None:
    params = {"mask": "dynamic", "period": 8, "margin": 1}
    assert kept(params, CLIP)[1] == [0, 1, 4, 5]


def test_labels_count_as_certain_whatever_the_threshold() -> None:
    assert kept({"mask": "dynamic", "score_threshold": 0.99}, CLIP)[1] == [0]


def test_no_heatmap_is_needed_without_a_static_mask() -> None:
    assert not MaskVD.needs_heatmap(MaskVDParams(mask="dynamic"))
    assert not MaskVD.needs_heatmap(MaskVDParams(static_keep_rate=0.0))
    assert MaskVD.needs_heatmap(MaskVDParams(static_keep_rate=0.1))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mask": "dynamic", "static_keep_rate": 0.3}, "mask: dynamic has no static mask"),
        ({"mask": "static", "static_keep_rate": 0}, "needs a static_keep_rate above 0"),
        ({"period": 0}, "greater than or equal to 1"),
        ({"static_keep_rate": 1.1}, "less than or equal to 1"),
        ({"margin": -1}, "greater than or equal to 0"),
        ({"margin": 2**62}, "less than or equal to 16384"),
        ({"period": 2**62}, "less than or equal to 1000000"),
        ({"keep_rate": 0.1}, "Extra inputs are not permitted"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaskVDParams.model_validate(params)


def test_version_belongs_to_windowed_backbones() -> None:
    windowed, plain = get_arch("vitdet-b"), get_arch("vitdet-b-global")
    assert MaskVD.resolve(MaskVDParams(), windowed).version == "C"
    assert MaskVD.resolve(MaskVDParams(version="T"), windowed).version == "T"
    assert MaskVD.resolve(MaskVDParams(), plain).version is None
    with pytest.raises(UsageError, match="version T is for windowed backbones"):
        MaskVD.resolve(MaskVDParams(version="T"), plain)
