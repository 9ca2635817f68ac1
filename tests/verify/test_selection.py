"""Golden cases of learned selection pass, and fail where one number or token is another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.verify.run import verify

from .golden_cases import Arrays, changed, off

CASES = (
    "selector_svit_v0_det", "selector_svit_v0_gumbel", "selector_vpp_gumbel",
    "vpp_mapsm_noise", "vpp_mapsm_nosel", "vpp_mapsm_zero",
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cases_pass(name: str, newer: Path) -> None:
    agreement = verify(newer / f"{name}.npz")
    assert agreement.passed, agreement
    assert agreement.selections >= 2


@pytest.mark.parametrize(
    ("name", "key", "by"),
    [
        ("selector_svit_v0_det", "logprob", 3e-4),
        ("selector_svit_v0_det", "logprob_f64", 2e-9),
        ("selector_vpp_gumbel", "soft_f64", 2e-9),
        ("vpp_mapsm_zero", "mapped", 3e-4),
        ("vpp_mapsm_zero", "smooth_f64", 2e-9),
        ("vpp_mapsm_noise", "soft_f64", np.nan),
        ("vpp_mapsm_nosel", "phi_f64", 2e-9),
    ],
)
def test_one_number_off_fails(name: str, key: str, by: float, newer: Path, tmp_path: Path) -> None:
    agreement = changed(newer, tmp_path, name, off(key, by))
    assert not agreement.passed
    assert agreement.problem is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("selector_svit_v0_det", "selected"),
        ("selector_svit_v0_gumbel", "selected_f32"),
        ("vpp_mapsm_zero", "assoc"),
        ("vpp_mapsm_noise", "kept_mask_f64"),
    ],
)
def test_one_other_token_fails(name: str, key: str, newer: Path, tmp_path: Path) -> None:
    def change(arrays: Arrays) -> None:
        flat = arrays[key].reshape(-1)
        flat[5] = not flat[5] if flat.dtype == bool else flat[5] + 1

    agreement = changed(newer, tmp_path, name, change)
    assert not agreement.passed
    assert agreement.mismatches


def test_a_gap_elsewhere_fails(newer: Path, tmp_path: Path) -> None:
    def change(arrays: Arrays) -> None:
        phi = arrays["phi_f64"]
        phi.flat[int(np.flatnonzero(np.isneginf(phi))[0])] = 0.0

    assert not changed(newer, tmp_path, "vpp_mapsm_zero", change).passed


def with_class_token(arrays: Arrays) -> None:
    """Make version 1 of a case: a class token first, which is not asked and always kept."""
    config = json.loads(str(arrays["config"])) | {"version": 1}
    arrays["config"] = np.array(json.dumps(config))
    arrays["x"] = np.concatenate([arrays["x"][:, :1] + 3, arrays["x"]], axis=1)
    for key in ("selected", "selected_f32"):
        always = np.ones_like(arrays[key][:, :1])
        arrays[key] = np.concatenate([always, arrays[key]], axis=1)


def test_a_class_token_is_not_asked(newer: Path, tmp_path: Path) -> None:
    name = "selector_svit_v0_gumbel"
    assert changed(newer, tmp_path, name, with_class_token).passed


def test_missing_weights_are_named(newer: Path, tmp_path: Path) -> None:
    name = CASES[0]
    shutil.copyfile(newer / f"{name}.npz", tmp_path / f"{name}.npz")
    with np.load(newer / f"{name}.npz") as file:
        weights = json.loads(str(file["config"]))["weights"]
    with np.load(newer / weights) as file:
        rest = {key: file[key] for key in file.files if not key.startswith("mlp.fc2")}
    np.savez(tmp_path / weights, **rest)
    problem = verify(tmp_path / f"{name}.npz").problem
    assert problem is not None
    assert "2 missing: mlp_out.weight, mlp_out.bias" in problem
