"""Results of other statistics are marked as such, those of the current ones are not."""

from __future__ import annotations

from maskvd_cli.judge.older import MARK, older_statistics


def test_current_results_have_no_note_and_others_have_one() -> None:
    remedy = "maskvd sweep measures them again."
    assert older_statistics("speed-ups of 3 points", 3, 3, remedy) is None
    assert older_statistics("speed-ups of 3 points", 2, 3, remedy) == (
        "The speed-ups of 3 points stand on older statistics (version 2, now 3): their intervals "
        "are shown as they were stored, and do not compare with those of now. maskvd sweep "
        "measures them again."
    )
    unknown = str(older_statistics("changes of mAP50", None, 2, remedy))
    assert MARK in unknown and "of no known version" in unknown
    assert "newer statistics" in str(older_statistics("changes of mAP50", 5, 2, remedy))
