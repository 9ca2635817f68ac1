"""What is said of points: speed-up, change of mAP50, and their place on the front."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.judge.verdicts import method_verdicts, point_verdicts, summary

from .measured_report import Ends, a_setting, times, with_dense
from .test_report import MASKVD, eventful, record, report_of
from .test_report import metrics as counts

GLOBAL = a_setting("vitdet-b-global")
SLOW, FAST = {**MASKVD, "period": 4}, {**MASKVD, "period": 16}


def test_each_measured_point_is_judged_in_row_order(tmp_path: Path) -> None:
    made = with_dense()
    made.point("slow", params=SLOW, map50=69.5, change=(-0.5, -1.5, 0.5), parts=times(80.0),
               speedup=(1.25, 1.2, 1.3))  # fmt: skip
    made.point("lossy", params=FAST, map50=60.0, change=(-10.0, -12.0, -8.0), parts=times(90.0),
               speedup=(1.11, 1.05, 1.2))  # fmt: skip
    made.point("planned", params=FAST)
    dense, slow, lossy = point_verdicts(made.report(tmp_path))
    assert (dense.key, slow.key, lossy.key) == ("dense", "slow", "lossy")
    assert (dense.speedup, dense.change, dense.faster) == (None, None, None)
    assert dense.sentence == "dense: mAP50 70.00 at 100.0 ms per frame; on the Pareto front."
    assert slow.sentence == (
        "slow: 1.25x [1.20, 1.30] as fast as dense, mAP50 -0.50 [-1.50, +0.50] points, "
        "not distinguishable from dense, within 1 point in the mean only; on the Pareto front."
    )
    assert lossy.sentence == (
        "lossy: 1.11x [1.05, 1.20] as fast as dense, mAP50 -10.00 [-12.00, -8.00] points, "
        "distinguishably worse than dense by more than 1 point; off the Pareto front, dominated "
        "by slow."
    )
    assert (slow.faster, slow.distinguishable, lossy.distinguishable) == (True, False, True)
    assert (lossy.on_front, lossy.dominated_by) == (False, "slow")


@pytest.mark.parametrize(
    ("speedup", "control", "faster", "said"),
    [
        ((1.05, 1.03, 1.07), (1.0, 0.98, 1.02), True, "as fast as dense, mAP50"),
        ((1.05, 1.03, 1.07), (1.01, 0.93, 1.02), False, "as fast as dense, within noise"),
        ((1.05, 0.99, 1.11), (1.0, 0.98, 1.02), False, "as fast as dense, within noise"),
        ((0.80, 0.75, 0.85), (1.0, 0.98, 1.02), False, "as fast as dense, slower"),
        ((1.05, None, None), (1.0, None, None), None, "as fast as dense (no interval)"),
        (None, None, None, "80.0 ms per frame, no dense measured beside it"),
    ],
)
def test_faster_is_more_than_chance_and_more_than_dense_against_itself(
    speedup: Ends | None, control: Ends | None, faster: bool | None, said: str, tmp_path: Path
) -> None:
    made = with_dense(control=control)
    made.point("a", map50=70.0, change=(0.0, -1.0, 1.0), parts=times(80.0), speedup=speedup,
               control=control)  # fmt: skip
    verdict = point_verdicts(made.report(tmp_path))[1]
    assert verdict.faster is faster
    assert said in verdict.sentence


@pytest.mark.parametrize(
    ("change", "distinguishable", "said"),
    [
        ((2.0, 1.0, 3.0), True, "distinguishably better than dense;"),
        ((-0.5, -0.9, -0.1), True, "distinguishably worse than dense;"),
        ((-0.5, -1.1, -0.1), True, "worse than dense, within 1 point in the mean only;"),
        ((-0.5, -1.1, 0.1), False, "from dense, within 1 point in the mean only;"),
        ((-4.0, -7.0, -0.5), True, "distinguishably worse than dense, likely by more than 1 point"),
        ((-4.0, -9.0, 0.5), False, "not distinguishable from dense;"),
        ((-4.0, None, None), None, "mAP50 -4.00 points (no interval);"),
        (None, None, "mAP50 66.00 with no dense to compare;"),
    ],
)
def test_changes_are_told_as_far_as_they_are_known(
    change: Ends | None, distinguishable: bool | None, said: str, tmp_path: Path
) -> None:
    made = with_dense()
    made.point("a", map50=66.0, change=change, parts=times(80.0), speedup=(1.25, 1.2, 1.3))
    verdict = point_verdicts(made.report(tmp_path))[1]
    assert verdict.distinguishable is distinguishable
    assert said in verdict.sentence


@pytest.mark.parametrize(
    ("changes", "best"),
    [
        # Of those accepted with their whole interval the fastest, though a third is so in the mean.
        ([(-0.1, -0.5, 0.3), (-0.5, -0.9, -0.1), (-0.9, -1.5, -0.3)], 1),
        ([(-0.1, -1.5, 0.3), (-0.5, -1.9, -0.1), (-0.9, -1.5, -0.3)], 2),
        ([(-0.1, -0.5, 0.3), (-0.5, None, None), (-0.9, -1.001, -0.3)], 0),
        ([(-0.1, -0.5, 0.3), (-2.0, -5.0, 0.9), (-3.0, -5.0, -1.1)], 0),
        ([(-0.1, None, None), (-0.9, None, None), (-1.1, None, None)], 1),
        # Nothing is accepted: the smallest loss.
        ([(-6.0, -7.0, -5.0), (-3.0, -4.0, -2.0), (-9.0, -9.5, -8.0)], 1),
        # Nothing to compare with: the best.
        ([None, None, None], 0),
    ],
)
def test_a_method_is_named_by_its_best_point(
    changes: list[Ends | None], best: int, tmp_path: Path
) -> None:
    made = with_dense()
    for number, change in enumerate(changes):
        speedup = 1.2 + number / 10
        made.point(f"m{number}", params={**MASKVD, "margin": number}, map50=69.0 - number,
                   change=change, parts=times(100 / speedup),
                   speedup=(speedup, speedup - 0.05, speedup + 0.05))  # fmt: skip
    (verdict,) = method_verdicts(made.report(tmp_path))
    assert verdict.key == f"m{best}"
    loses = changes[0] == (-6.0, -7.0, -5.0)
    assert ("every setting loses more than 1 point, the least m1" in verdict.sentence) is loses


def test_one_verdict_for_each_method_and_model(tmp_path: Path) -> None:
    made = with_dense()
    fine: Ends = (0.0, -0.1, 0.1)
    made.point("a", map50=70.0, change=fine, parts=times(80.0), speedup=(1.25, 1.2, 1.3))
    made.point("gd", "dense", map50=60.0, change=(0.0, None, None), parts=times(70.0),
               speedup=(1.0, None, None), session="s2", setting=GLOBAL)  # fmt: skip
    made.point("ga", map50=60.0, change=fine, parts=times(85.0), speedup=(0.82, 0.8, 0.84),
               session="s2", setting=GLOBAL)  # fmt: skip
    made.point("p", "dense", params={"pool": 2}, map50=50.0, change=(-20.0, -21.0, -19.0),
               parts=times(90.0), speedup=(1.1, 1.08, 1.12))  # fmt: skip
    report = made.report(tmp_path)
    assert [(v.method, v.model, v.label) for v in method_verdicts(report)] == [
        ("maskvd", "vitdet-b", "a (vitdet-b)"),
        ("maskvd", "vitdet-b-global", "ga (vitdet-b-global)"),
        ("dense", "vitdet-b", "p (vitdet-b)"),
    ]
    by = {v.key: v.dominated_by for v in point_verdicts(report)}
    assert by == {
        "dense": "a (vitdet-b)", "a": None, "p": "a (vitdet-b)",
        "gd": None, "ga": "gd (vitdet-b-global)",
    }  # fmt: skip


def test_planned_runs_get_no_verdict(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", counts()), eventful("b"))
    assert point_verdicts(report) == method_verdicts(report) == ()
    assert summary(report) is None
    assert report.rows["on_front"].isna().all() and report.rows["dominated_by"].isna().all()


def test_subsets_are_marked_in_every_sentence(tmp_path: Path) -> None:
    part = a_setting(subset={"clips": 2, "frames": None, "smoke": False})
    made = with_dense(setting=part)
    made.point("a", map50=70.0, change=(0.0, -0.1, 0.1), parts=times(80.0),
               speedup=(1.25, 1.2, 1.3), setting=part)  # fmt: skip
    report = made.report(tmp_path)
    told = [summary(report), *(verdict.sentence for verdict in point_verdicts(report))]
    assert len(told) == 3
    assert all(sentence and sentence.startswith("SUBSET: ") for sentence in told)


def test_the_summary_names_the_fastest_that_keeps_mAP50(tmp_path: Path) -> None:
    made = with_dense()
    made.point("kept", params=SLOW, map50=69.9, change=(-0.1, -0.5, 0.3), parts=times(80.0),
               speedup=(1.25, 1.2, 1.3))  # fmt: skip
    made.point("doubtful", params=FAST, map50=66.0, change=(-4.0, -8.0, 0.1), parts=times(50.0),
               speedup=(2.0, 1.9, 2.1))  # fmt: skip
    report = made.report(tmp_path)
    (verdict,) = method_verdicts(report)
    assert verdict.key == "kept"
    assert summary(report) == (
        "Fastest that keeps mAP50 within 1 point of dense: kept, 1.25x [1.20, 1.30] as fast as "
        "dense, mAP50 -0.10 [-0.50, +0.30] points, not distinguishable from dense; 3 of 3 points "
        "lie on the Pareto front."
    )


def test_the_summary_chooses_by_interval_first_and_says_what_is_so_in_the_mean(
    tmp_path: Path,
) -> None:
    made = with_dense()
    made.point("lucky", params=FAST, map50=69.9, change=(-0.1, -1.5, 1.3), parts=times(50.0),
               speedup=(2.0, 1.9, 2.1))  # fmt: skip
    assert str(summary(made.report(tmp_path / "1"))).startswith(
        "Fastest that keeps mAP50 within 1 point of dense, in the mean only: lucky, 2.00x"
    )
    made.point("sure", params=SLOW, map50=69.9, change=(-0.1, -0.5, 0.3), parts=times(80.0),
               speedup=(1.25, 1.2, 1.3))  # fmt: skip
    told = str(summary(made.report(tmp_path / "2")))
    assert told.startswith("Fastest that keeps mAP50 within 1 point of dense: sure, 1.25x")
    assert "; faster and so in the mean only: lucky; " in told


def test_the_summary_says_where_nothing_pays_or_dense_is_alone(tmp_path: Path) -> None:
    lossy = with_dense().point("a", map50=50.0, change=(-20.0, -22.0, -18.0), parts=times(50.0),
                               speedup=(2.0, 1.9, 2.1))  # fmt: skip
    assert str(summary(lossy.report(tmp_path / "1"))).startswith(
        "No point is faster than dense by more than noise and keeps mAP50 within 1 point of dense; "
    )
    slow = with_dense().point("a", map50=70.0, change=(0.0, -0.1, 0.1), parts=times(101.0),
                              speedup=(0.99, 0.9, 1.09))  # fmt: skip
    assert str(summary(slow.report(tmp_path / "2"))).startswith(
        "No point is faster than dense by more than noise; "
    )
    alone = with_dense().report(tmp_path / "3")
    assert summary(alone) == "Dense alone was measured: mAP50 70.00 at 100.0 ms per frame."


def test_without_accuracy_the_fastest_is_named_with_what_is_not_known(tmp_path: Path) -> None:
    made = with_dense(map50=None)
    made.point("a", parts=times(50.0), speedup=(2.0, 1.9, 2.1))
    made.point("b", parts=times(40.0), speedup=(2.5, 2.4, 2.6))
    report = made.report(tmp_path)
    assert method_verdicts(report) == ()
    assert summary(report) == (
        "Fastest: b, 2.50x [2.40, 2.60] as fast as dense; mAP50 was not measured, so what it "
        "costs is not known."
    )


@pytest.mark.parametrize(
    ("speedup", "named"),
    [
        ((0.97, 0.68, 1.31), False), ((0.8, 0.7, 0.9), False), ((1.05, 0.99, 1.1), False),
        ((1.01, 1.005, 1.015), False), ((0.9, None, None), False), ((1.5, None, None), True),
    ],
)  # fmt: skip
def test_nothing_is_called_fastest_that_is_not_faster_than_dense(
    speedup: Ends, named: bool, tmp_path: Path
) -> None:
    made = with_dense(map50=None)
    made.point("a", parts=times(100 / speedup[0]), speedup=speedup)
    told = str(summary(made.report(tmp_path)))
    assert told.startswith("Fastest: a" if named else "No point is faster than dense by more than")


def test_controls_are_never_the_fastest_of_a_run_without_accuracy(tmp_path: Path) -> None:
    made = with_dense(map50=None)
    made.point("a", parts=times(50.0), speedup=(2.0, 1.9, 2.1))
    made.point("truth", "oracle", params={"period": 8}, parts=times(40.0), speedup=(2.5, 2.4, 2.6))
    assert str(summary(made.report(tmp_path))).startswith("Fastest: a, ")


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.25])
def test_drift_between_sessions_changes_no_place(factor: float, tmp_path: Path) -> None:
    made = with_dense()
    fine: Ends = (0.0, -0.1, 0.1)
    made.point("a", map50=70.0, change=fine, parts=times(80.0), speedup=(1.25, 1.2, 1.3))
    made.point("b", params=SLOW, map50=69.0, change=(-1.0, -1.1, -0.9),
               parts=times(82.0 * factor), speedup=(1.22, 1.19, 1.25), session="s2")  # fmt: skip
    made.point("c", params=FAST, map50=72.0, change=(2.0, 1.9, 2.1),
               parts=times(90.0 * factor), speedup=(1.11, 1.08, 1.14), session="s2")  # fmt: skip
    report = made.report(tmp_path)
    assert {v.key: v.dominated_by for v in point_verdicts(report)} == {
        "dense": "c", "a": None, "b": "a", "c": None,
    }  # fmt: skip


def test_costs_that_noise_does_not_tell_apart_leave_both_on_the_front(tmp_path: Path) -> None:
    made = with_dense()
    made.point("a", map50=69.5, change=(-0.5, -1.0, 0.0), parts=times(80.0),
               speedup=(1.25, 1.22, 1.28))  # fmt: skip
    made.point("b", params=SLOW, map50=69.4, change=(-0.6, -1.1, -0.1), parts=times(81.3),
               speedup=(1.23, 1.20, 1.26))  # fmt: skip
    by = {v.key: v.on_front for v in point_verdicts(made.report(tmp_path))}
    assert by["a"] and by["b"]


def test_a_point_without_a_speedup_has_no_place(tmp_path: Path) -> None:
    made = with_dense()
    made.point("a", map50=70.0, change=(0.0, -0.1, 0.1), parts=times(80.0), speedup=None)
    verdict = point_verdicts(made.report(tmp_path))[1]
    assert (verdict.on_front, verdict.dominated_by) == (False, None)
    assert verdict.sentence.endswith("; no place on the Pareto front without a speed-up.")


def test_controls_are_judged_but_compete_with_nobody(tmp_path: Path) -> None:
    made = with_dense()
    made.point("kept", params=SLOW, map50=69.9, change=(-0.1, -0.5, 0.3), parts=times(80.0),
               speedup=(1.25, 1.2, 1.3))  # fmt: skip
    made.point("truth", "oracle", params={"period": 8}, map50=70.5, change=(0.5, 0.1, 0.9),
               parts=times(50.0), speedup=(2.0, 1.9, 2.1))  # fmt: skip
    report = made.report(tmp_path)
    by = {verdict.key: verdict for verdict in point_verdicts(report)}
    assert by["kept"].on_front and not by["truth"].on_front
    assert by["truth"].sentence.endswith("; a control, left out of the Pareto front.")
    assert str(summary(report)).startswith("Fastest that keeps mAP50 within 1 point of dense: kept")
    assert "2 of 2 points lie on the Pareto front" in str(summary(report))
