"""What methods say that pictures can show, and which of them all others are compared with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.masks.static import static_mask
from maskvd_cli.methods.base import ClipView, Method, Params
from maskvd_cli.methods.dense import Dense
from maskvd_cli.methods.illustration import Pictured
from maskvd_cli.methods.registry import baseline, methods

INPUT, PATCH = Size(64, 128), 16
BOXES = torch.tensor([[20.0, 10, 60, 40]], dtype=torch.float64)


class SecondBaseline(Dense):
    """Claims to be what others are compared with."""

    name = "second"


def view() -> ClipView:
    scores = torch.arange(32, dtype=torch.float64)
    return ClipView(6, INPUT, PATCH, region_scores=scores)


def loaded(name: str, **params: Any) -> tuple[type[Method[Params]], Params]:
    method = methods.load(name)
    return method, method.params_type.model_validate(params)


def test_the_masks_of_a_frame_have_names() -> None:
    method, params = loaded("maskvd", period=4, static_keep_rate=0.25, margin=3)
    masks = method.illustration(params, view(), 1, BOXES)
    assert masks is not None
    static = static_mask(torch.arange(32, dtype=torch.float64), 0.25)
    dynamic = dynamic_mask(BOXES, INPUT, PATCH, margin=3)
    assert torch.equal(masks["static"], static)
    assert torch.equal(masks["dynamic"], dynamic)
    assert torch.equal(masks["combined"], static | dynamic)
    assert 8 == int(static.sum()) < int(masks["combined"].sum()) < 32
    assert method.illustration(params, view(), 4, BOXES) is None, "a full frame"
    assert method.pictured(params) == Pictured(0.25, 4, 0.5, 3, frames=True)


@pytest.mark.parametrize(
    ("name", "params"),
    [("maskvd", {"mask": "static"}), ("maskvd+evit", {"keep_rate": 0.7})],
)
def test_where_no_mask_tells_the_tokens_of_a_frame_the_static_one_is_shown(
    name: str, params: dict[str, Any]
) -> None:
    method, made = loaded(name, static_keep_rate=0.5, **params)
    about, masks = method.pictured(made), method.illustration(made, view())
    assert about is not None and masks is not None
    assert (about.static_keep_rate, about.frames) == (0.5, False)
    assert {mask: int(kept.sum()) for mask, kept in masks.items()} == {"static": 16}
    assert method.illustration(made, view(), 1, BOXES) is None


def test_others_have_nothing_to_show() -> None:
    own = {"maskvd", "maskvd+evit"}
    for name in set(methods.names()) - own:
        method = methods.load(name)
        params = method.params_type.model_construct()
        assert method.pictured(params) is None
        assert method.illustration(params, view(), 1, BOXES) is None
    method, params = loaded("maskvd", mask="dynamic")
    assert method.pictured(params) is None
    assert method.illustration(params, view(), 1, BOXES) is None


def test_one_method_is_what_others_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert baseline() is Dense
    broken = {**methods._all(), "broken": "maskvd_cli.methods.nowhere:Broken"}
    monkeypatch.setattr(methods, "_targets", broken)
    assert baseline() is Dense, "a broken plug-in is told where it is used"
    second = {**methods._all(), "second": f"{__name__}:SecondBaseline"}
    monkeypatch.setattr(methods, "_targets", second)
    with pytest.raises(MaskvdError, match=r"have the role baseline, and 2 .*\(dense, second\)"):
        baseline()
    monkeypatch.setattr(methods, "_targets", {"stgt": second["stgt"]})
    with pytest.raises(MaskvdError, match=r"and 0 have it \(none\)"):
        baseline()
