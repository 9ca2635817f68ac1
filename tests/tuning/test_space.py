"""What `--space` means: values, ranges, fixed and default parameters, and its mistakes."""

from __future__ import annotations

import pytest

from maskvd_cli.core.errors import RecipeError, UsageError
from maskvd_cli.methods.registry import methods
from maskvd_cli.tuning.space import Space, declared_ranges, space_of


def space(method: str, *given: str, with_scores: bool = True) -> Space:
    declared = declared_ranges(method, 480, 16, with_scores=with_scores)
    return space_of(method, methods.load(method).params_type, declared, given)


def test_declared_ranges_stay_within_what_the_method_takes() -> None:
    others = ("eventful", "stgt", "evit", "random", "oracle", "rgtp", "boxes-k")
    for method in ("maskvd", "maskvd+evit", *others):
        found = space(method)
        assert found.size > 1
        kind = methods.load(method).params_type
        for place in ([0] * len(found.axes), [len(v) - 1 for v in found.axes.values()]):
            kind.model_validate(found.params(place))


def test_declared_ranges_follow_the_input() -> None:
    assert space("maskvd").axes["margin"] == (0, 8, 16, 24, 32)
    assert space("maskvd").axes["period"] == (2, 4, 8, 16, 32)
    assert space("eventful").axes["r"][-1] == 480
    assert len(space("stgt").axes["r"]) == 16


def test_every_method_that_has_axes_keeps_the_ones_it_had() -> None:
    kept = tuple(round(0.05 * step, 2) for step in range(1, 19))
    periods, margins = (2, 4, 8, 16, 32), (0, 8, 16, 24, 32)
    thresholds = tuple(round(0.1 * step, 1) for step in range(10))
    masked = {"period": periods, "static_keep_rate": kept, "score_threshold": thresholds}
    assert space("maskvd").axes == {**masked, "margin": margins}
    rates = tuple(round(0.05 * step, 2) for step in range(10, 20))
    assert space("maskvd+evit").axes == {**masked, "margin": margins, "keep_rate": rates}
    assert space("evit").axes == {"keep_rate": tuple(round(0.05 * s, 2) for s in range(6, 20))}
    counted = {"k": tuple(range(30, 481, 30)), "period": periods, "score_threshold": thresholds}
    assert space("rgtp").axes == {**counted, "radius": (0, 1, 2, 3)}
    assert space("boxes-k").axes == counted
    assert space("random").axes == {"period": periods, "keep_rate": kept}
    assert space("oracle").axes == {"period": periods, "margin": margins}
    for method in ("eventful", "stgt"):
        assert space(method).axes == {"r": tuple(range(30, 481, 30))}


def test_a_threshold_does_not_vary_where_boxes_have_no_scores() -> None:
    assert "score_threshold" in space("maskvd").axes
    assert "score_threshold" not in space("maskvd", with_scores=False).axes


def test_values_ranges_fixed_and_default() -> None:
    found = space(
        "maskvd", "period=8,2,4", "static_keep_rate=0.1:0.3", "margin=8", "mask=static",
        "score_threshold=default",
    )  # fmt: skip
    assert found.axes == {"period": (2, 4, 8), "static_keep_rate": (0.1, 0.15, 0.2, 0.25, 0.3)}
    assert found.fixed == {"margin": 8, "mask": "static"}
    assert found.params([2, 1]) == {
        "period": 8, "static_keep_rate": 0.15, "margin": 8, "mask": "static",
    }  # fmt: skip
    assert found.place(found.params([2, 1])) == (2, 1)


def test_a_range_may_have_a_step_and_whole_numbers_stay_whole() -> None:
    assert space("eventful", "r=60:240:60").axes["r"] == (60, 120, 180, 240)
    assert space("maskvd", "period=2:6").axes["period"] == (2, 3, 4, 5, 6)
    words = space("maskvd", "mask=static,combined").axes
    assert words["mask"] == ("static", "combined")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("perod=2,4", "did you mean 'period'"),
        ("period", "write NAME="),
        ("period=", "write NAME="),
        ("period=0,4", "greater than or equal to 1"),
        ("period=2.5", "period cannot be 2.5"),
        ("static_keep_rate=0.5:2", "less than or equal to 1"),
        ("static_keep_rate=0.6:0.1", "0.6 is not below 0.1"),
        ("static_keep_rate=0.1:0.6:0", "step must be above 0"),
        ("static_keep_rate=0:1:0.0001", "larger step"),
        ("static_keep_rate=a:b", "write LOW:HIGH"),
        ("mask=statc", "mask cannot be statc"),
        ("period=4,4", "stands here twice"),
    ],
)
def test_mistakes_are_told_with_the_option(text: str, reason: str) -> None:
    with pytest.raises(RecipeError, match="--space") as caught:
        space("maskvd", text)
    assert reason in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        space("maskvd", "perod=2", "margin=-1", "period=2", "period=4")
    assert len(caught.value.problems) == 3


def test_a_method_without_ranges_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="--space NAME=LOW:HIGH"):
        space("dense")
