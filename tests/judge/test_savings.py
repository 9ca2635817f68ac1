"""How far fewer GMACs became time, in numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.judge.savings import savings

from .measured_report import Measured, a_setting, with_dense


def saving_of(made: Measured, folder: Path):  # type: ignore[no-untyped-def]
    (found,) = savings(made.report(folder))
    return found


def timed(parts: dict[str, float], gmacs: float, **changes: object) -> Measured:
    return with_dense().point("a", parts=parts, counted={"gmacs": gmacs}, **changes)  # type: ignore[arg-type]


def test_every_step_from_gmacs_to_the_frame(tmp_path: Path) -> None:
    parts = {"mask": 1.0, "embed": 10.0, "backbone": 19.0, "head": 30.0}
    saving = saving_of(timed(parts, 34.8), tmp_path)
    assert saving.gmacs_ratio == pytest.approx(5.0)
    assert saving.backbone_ratio == pytest.approx(60 / 19)
    assert saving.frame_ratio == pytest.approx(100 / 60)
    assert saving.parts == pytest.approx(
        {"mask": -1.0, "embed": 0.0, "backbone": 41.0, "head": 0.0}
    )
    assert sum(saving.parts.values()) == pytest.approx(100 - 60)
    assert saving.limited_by == "head"
    assert saving.sentence == (
        "a: 5.0x fewer GMACs, backbone 3.16x faster, frame 1.67x faster: pyramid, RPN and box "
        "head, 30 % of dense's frame, take as long as before (30.0 ms); copying, normalising and "
        "embedding the frame, 10 % of dense's frame, take as long as before (10.0 ms); the "
        "backbone itself takes 19.0 ms, where its GMACs alone would leave 12.0 ms."
    )


@pytest.mark.parametrize(
    ("parts", "limit", "said"),
    [
        ({"mask": 0.0, "embed": 10.0, "backbone": 58.0, "head": 30.0}, "backbone",
         "the backbone itself takes 58.0 ms, where its GMACs alone would leave 12.0 ms"),
        ({"mask": 70.0, "embed": 10.0, "backbone": 12.0, "head": 30.0}, "mask",
         "frame slower (0.82x): the choice of tokens takes 70.0 ms"),
        ({"mask": 0.0, "embed": 2.0, "backbone": 12.0, "head": 20.0}, "head",
         "pyramid, RPN and box head, 30 % of dense's frame, take 20.0 ms after 30.0 ms."),
    ],
)  # fmt: skip
def test_the_part_that_limits_is_computed(
    parts: dict[str, float], limit: str, said: str, tmp_path: Path
) -> None:
    saving = saving_of(timed(parts, 34.8), tmp_path)
    assert saving.limited_by == limit
    assert said in saving.sentence


def test_nothing_limits_where_all_parts_follow_or_nothing_was_saved(tmp_path: Path) -> None:
    fifth = {"mask": 0.0, "embed": 2.0, "backbone": 12.0, "head": 6.0}
    assert saving_of(timed(fifth, 34.8), tmp_path / "1").limited_by is None
    same = {"mask": 0.0, "embed": 10.0, "backbone": 75.0, "head": 30.0}
    saving = saving_of(timed(same, 174.0), tmp_path / "2")
    assert saving.limited_by is None
    assert saving.sentence == "a: as many GMACs, backbone slower (0.80x), frame slower (0.87x)."
    assert "2.0x as many GMACs" in saving_of(timed(same, 348.0), tmp_path / "3").sentence


def test_only_times_of_one_session_and_one_model_are_compared(tmp_path: Path) -> None:
    parts = {"mask": 0.0, "embed": 10.0, "backbone": 30.0, "head": 30.0}
    made = with_dense().point("other-session", parts=parts, session="s2")
    made.point("other-model", parts=parts, setting=a_setting("vitdet-b-global"))
    made.point("untimed", map50=70.0)
    made.point("beside", parts=parts)
    assert [saving.key for saving in savings(made.report(tmp_path))] == ["beside"]


def test_subsets_are_marked(tmp_path: Path) -> None:
    part = a_setting(subset={"clips": 2})
    parts = {"mask": 0.0, "embed": 10.0, "backbone": 30.0, "head": 30.0}
    made = with_dense(setting=part).point("a", parts=parts, setting=part)
    assert saving_of(made, tmp_path).sentence.startswith("SUBSET: a: ")


def test_what_dense_showed_against_itself_is_one_note_for_all_sessions(tmp_path: Path) -> None:
    one = with_dense().report(tmp_path / "one").notes
    assert any("(A/A control): ratio 1.000 [0.980, 1.020]; speed-ups" in note for note in one)
    parts = {"mask": 0.0, "embed": 1.0, "backbone": 2.0, "head": 3.0}
    made = with_dense().point("other", parts=parts, session="s2", control=(0.99, 0.9, 1.01))
    told = made.report(tmp_path / "two").notes
    ratios = "ratio 1.000 [0.980, 1.020] and 0.990 [0.900, 1.010] in 2 sessions; speed-ups"
    assert sum("A/A control" in note for note in told) == 1
    assert any(ratios in note for note in told)
