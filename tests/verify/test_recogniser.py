"""Golden cases of recognisers pass, and each kind of difference alone fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.verify.run import verify

from .golden_cases import Arrays, changed, config, off


def test_every_case_passes_with_all_its_parts(newer: Path) -> None:
    cases = sorted(newer.glob("vivit_*.npz"))
    assert len(cases) >= 4
    for path in cases:
        agreement = verify(path)
        assert agreement.passed, (path.stem, agreement)
        assert agreement.counted == 1
        assert (agreement.selections > 0) == (agreement.method != "dense")


@pytest.mark.parametrize(
    ("name", "key", "by"),
    [
        ("vivit_dense", "probs", 3e-4),
        ("vivit_dense", "spatial_tokens_f64", 2e-9),
        ("vivit_temporal_r8", "class_features", np.nan),
        ("vivit_views_r8", "temporal_features_f64", 2e-9),
        ("vivit_views_r8", "logits", 3e-4),
    ],
)
def test_one_number_off_fails(name: str, key: str, by: float, newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, name, off(key, by))
    assert not agreement.passed
    assert agreement.problem is None


def test_another_token_or_count_fails(newer: Path, tmp_path: Path) -> None:
    def token(arrays: Arrays) -> None:
        arrays["index/3/spatial_model.backbone.blocks.1.mlp_gate"][2] += 1

    def count(arrays: Arrays) -> None:
        counts = json.loads(str(arrays["counts"]))
        arrays["counts"] = np.array(json.dumps(counts | {"add_flops": counts["add_flops"] + 1}))

    agreement = changed(newer, tmp_path, "vivit_temporal_r8", token)
    # Once in each precision.
    assert (agreement.mismatches, agreement.passed) == (2, False)
    agreement = changed(newer, tmp_path, "vivit_views_r8", count)
    assert (agreement.counted, agreement.miscounted, agreement.passed) == (1, 1, False)


def test_other_looks_fail(newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, "vivit_views_r8", config(temporal_stride=1))
    assert agreement.problem is None
    assert not agreement.passed


def test_a_fraction_of_tokens_is_known(newer: Path, tmp_path: Path) -> None:
    """8 of 37 tokens, as a fraction that is rounded down."""
    agreement = changed(newer, tmp_path, "vivit_temporal_r8", config(policy=["fraction", 0.23]))
    assert agreement.passed
    assert agreement.method == "eventful policy=top_fraction update=full fraction=0.23"


def test_cases_that_cannot_be_run_say_why(newer: Path, tmp_path: Path) -> None:
    for news, message in (
        ({"policy": ["learned", 8]}, "no gate has the policy"),
        ({"policy": None}, "no gate has the policy None"),
        ({"tubelet_shape": [2, 8, 4]}, "patches are not square"),
        ({"temporal_views": 2}, "has 6 steps, the looks 12"),
        ({"input_shape": [8, 3, 48, 48]}, "other places than a look has steps"),
    ):
        agreement = changed(newer, tmp_path, "vivit_temporal_r8", config(**news))
        assert agreement.problem is not None, news
        assert message in agreement.problem
