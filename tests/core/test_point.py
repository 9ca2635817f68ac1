from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.point import Point, label_of

POINT = Point(
    label="maskvd period=8 static_keep_rate=0.5",
    method="maskvd",
    revision=1,
    params={"period": 8, "static_keep_rate": 0.5, "static": True, "order": [1, 2]},
    setting={"dataset": {"name": "kitti", "split": "val-half"}, "heatmap": None, "seed": 0},
)
KEY = "maskvd-period-8-static_keep_rate-0.5-7ad58bfc227e"


def digest(point: Point) -> str:
    return point.key.rpartition("-")[2]


def test_the_key_of_a_point_never_changes() -> None:
    """Result files carry this key: another one makes every stored result be measured again."""
    assert POINT.key == KEY


def test_the_order_of_names_does_not_matter() -> None:
    params = dict(reversed(list(POINT.params.items())))
    setting = dict(reversed(list(POINT.setting.items())))
    assert list(params) != list(POINT.params)
    assert replace(POINT, params=params, setting=setting).key == KEY


@pytest.mark.parametrize(
    "other",
    [
        replace(POINT, method="dense"),
        replace(POINT, revision=2),
        replace(POINT, params={**POINT.params, "period": 9}),
        replace(POINT, params={**POINT.params, "period": "8"}),
        replace(POINT, params={**POINT.params, "order": [2, 1]}),
        replace(POINT, params={**POINT.params, "extra": None}),
        replace(POINT, setting={**POINT.setting, "seed": 1}),
        replace(POINT, setting={**POINT.setting, "dataset": {"name": "kitti", "split": "train"}}),
        replace(POINT, params=POINT.setting, setting=POINT.params),
    ],
)
def test_whatever_decides_the_result_changes_the_digest(other: Point) -> None:
    assert digest(other) != digest(POINT)


def test_the_label_decides_only_the_readable_part() -> None:
    renamed = replace(POINT, label="another name")
    assert renamed.key == f"another-name-{digest(POINT)}"


@given(st.text(max_size=300))
def test_keys_are_safe_file_names(label: str) -> None:
    key = replace(POINT, label=label).key
    assert re.fullmatch(r"[A-Za-z0-9._-]+", key)
    assert not key.startswith(".")
    assert len(key) < 100
    assert key.endswith(f"-{digest(POINT)}")


@pytest.mark.parametrize(
    ("label", "readable"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a  b\n=c", "a-b-c"),
        ("rate=[0.5, 0.25]", "rate-0.5-0.25"),
        ("n" * 300, "n" * 80),
    ],
)
def test_what_is_left_of_a_label(label: str, readable: str) -> None:
    assert replace(POINT, label=label).key == f"{readable}-{digest(POINT)}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_have_no_key(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = replace(POINT, params={"rate": value}).key


def test_label_of_names_the_given_parameters_in_order() -> None:
    assert label_of("maskvd", {"period": 8, "static_keep_rate": 0.5}) == (
        "maskvd period=8 static_keep_rate=0.5"
    )
    assert label_of("dense", {}) == "dense"


def test_the_key_is_computed_once() -> None:
    point = replace(POINT)
    assert point.key is point.key
