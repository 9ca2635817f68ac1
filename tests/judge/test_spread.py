"""Several seeds of one setting: mean, spread and their number, in every format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskvd_cli.judge.rows import Report
from maskvd_cli.judge.spread import sentences, spreads
from maskvd_cli.render.console import print_report
from maskvd_cli.render.formats import to_json, to_markdown

from .measured_report import Measured, a_setting, with_dense

RATES = {0: 61.0, 1: 62.0, 2: 66.0}


def noisy(made: Measured, *, bias: float = 0.0, label: str = "svit noise=True") -> Measured:
    for seed, map50 in RATES.items():
        params = {"selector": None, "noise": True, "bias": bias, "seed": seed}
        made.point(
            f"svit-{bias:g}-{seed}", "svit", label=f"{label} seed={seed}", params=params,
            map50=map50, change=(map50 - 70.0, None, None),
            counted={"tokens": 100.0 + seed, "gmacs": 10.0},
        )  # fmt: skip
    return made


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return noisy(with_dense()).report(tmp_path)


def test_seeds_of_one_setting_are_taken_together(report: Report) -> None:
    found = {one.quantity: one for one in spreads(report)}
    assert set(found) == {"tokens", "gmacs", "map50"}
    of = found["map50"]
    assert (of.label, of.seeds) == ("svit noise=true", (0, 1, 2))
    # (61 + 62 + 66) / 3 = 63; squared distances 4 + 1 + 9 = 14, over n - 1 = 2: 7.
    assert (of.mean, of.low, of.high) == (63.0, 61.0, 66.0)
    assert of.deviation == pytest.approx(7**0.5)
    assert (found["tokens"].mean, found["tokens"].deviation) == (101.0, 1.0)
    assert found["gmacs"].deviation == 0.0


def test_other_settings_and_models_are_apart(tmp_path: Path) -> None:
    made = noisy(noisy(with_dense()), bias=0.5, label="svit noise=True bias=0.5")
    params = {"selector": None, "noise": True, "bias": 0.0, "seed": 3}
    other = a_setting("vitdet-b-global")
    made.point("other", "svit", label="svit noise=True seed=3 model=vitdet-b-global",
               params=params, map50=10.0, setting=other)  # fmt: skip
    made.point("quiet", "svit", params={**params, "noise": False, "seed": 9}, map50=50.0)
    found = [one for one in spreads(made.report(tmp_path)) if one.quantity == "map50"]
    assert [one.mean for one in found] == [63.0, 63.0]
    assert [len(one.seeds) for one in found] == [3, 3]
    assert found[1].label.startswith("svit noise=true bias=0.5")


def test_what_a_point_lacks_is_no_part_of_it(tmp_path: Path) -> None:
    made = noisy(with_dense())
    params: dict[str, Any] = {"selector": None, "noise": True, "bias": 0.0, "seed": 7}
    made.point("fourth", "svit", params=params)
    counted = {one.quantity: len(one.seeds) for one in spreads(made.report(tmp_path))}
    # The headline of the fourth is not measured, its tokens are counted.
    assert counted == {"tokens": 4, "gmacs": 4, "map50": 3}


def test_a_single_seed_has_no_spread(tmp_path: Path) -> None:
    assert spreads(with_dense().report(tmp_path)) == ()
    params = {"selector": None, "noise": True, "bias": 0.0, "seed": 1}
    one = with_dense().point("one", "svit", params=params, map50=60.0)
    report = one.report(tmp_path / "one")
    assert spreads(report) == ()
    assert "Spread over seeds" not in to_markdown(report)


def test_every_format_tells_it(report: Report) -> None:
    sentence = "svit noise=true: mAP50 63.00 ± 2.65, from 61.00 to 66.00 over 3 seeds"
    assert sentences(report) == (sentence,)
    out = io.StringIO()
    print_report(report, Console(file=out, width=200))
    assert f"spread  {sentence}" in out.getvalue()
    text = to_markdown(report)
    assert "## Spread over seeds" in text
    assert "| svit noise=true | 3 | mAP50 | 63.00 | 2.65 | 61.00 | 66.00 |" in text
    assert f"- {sentence}" in text
    of = [one for one in json.loads(to_json(report))["spread"] if one["quantity"] == "map50"]
    assert [(one["seeds"], one["mean"]) for one in of] == [([0, 1, 2], 63.0)]
