"""Golden cases of rollout-guided pruning: they pass, and fail where one thing is otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskvd_cli.verify.run import verify

from .golden_cases import Arrays, changed, config, off

CASE = "rgtp_A_matvec_r1_p4"


def test_every_case_is_equal(newer: Path) -> None:
    cases = sorted(newer.glob("rgtp_*.npz"))
    assert len(cases) >= 6
    for path in cases:
        agreement = verify(path)
        assert agreement.passed, agreement
        assert agreement.deviation is not None
        assert agreement.deviation[torch.float64] < 1e-10
        frames = agreement.counted
        # In both precisions: order, tokens that went on, anchors.
        assert (frames, agreement.selections) == (12, 2 * 3 * 12)


@pytest.mark.parametrize(
    ("key", "by"),
    [
        ("outputs_f64", 2e-9),
        ("importance_f64", 1e-9),
        ("tracked_f64/5", 1e-9),
        ("importance", 1e-4),
        ("outputs", np.nan),
    ],
)
def test_one_number_off_fails(key: str, by: float, newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, CASE, off(key, by))
    assert (agreement.passed, agreement.problem) == (False, None)


@pytest.mark.parametrize("key", ["kept/5", "kept_f32/5"])
def test_two_tokens_in_another_order_fail(key: str, newer: Path, tmp_path: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays[key][[0, 1]] = arrays[key][[1, 0]]

    agreement = changed(newer, tmp_path, CASE, change)
    assert (agreement.mismatches, agreement.passed) == (1, False)


def test_one_other_anchor_or_operation_fails(newer: Path, tmp_path: Path) -> None:
    def anchor(arrays: Arrays) -> None:
        arrays["anchors"][4, 0] ^= True

    def operation(arrays: Arrays) -> None:
        counts = json.loads(str(arrays["counts"]))
        counts[2]["matmul_flops"] += 1
        arrays["counts"] = np.array(json.dumps(counts))

    assert changed(newer, tmp_path, CASE, anchor).mismatches == 2
    assert changed(newer, tmp_path, CASE, operation).miscounted == 1


def test_the_product_of_maps_gives_the_same_and_costs_more(newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, CASE, config(form="matrix"))
    assert (agreement.mismatches, agreement.miscounted) == (0, 12)
    assert agreement.deviation is not None
    assert agreement.deviation[torch.float64] < 1e-10


@pytest.mark.parametrize("news", [{"r": 0}, {"K": 28}, {"period": 8}, {"form": "pooled"}])
def test_another_setting_fails(news: dict[str, Any], newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, CASE, config(**news))
    assert not agreement.passed


def test_a_fusion_that_no_method_has_says_so(newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, CASE, config(rollout_head_fusion="max"))
    assert agreement.problem == "no method fuses heads by max"
