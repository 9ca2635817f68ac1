"""Where the speed-up went: from GMACs saved over backbone time saved to frame time saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskvd_cli.judge.baselines import baseline_of
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.rows import Report

PARTS = ("mask", "embed", "backbone", "head")

_CALLED = {
    "mask": "the choice of tokens",
    "embed": "copying, normalising and embedding the frame",
    "backbone": "the backbone itself",
    "head": "pyramid, RPN and box head",
}
# Ratios nearer to 1 than this count as none.
_NEGLIGIBLE = 0.01
# Parts that take less than this share of the frame beyond what is foreseen explain little.
_NOTABLE = 0.03
# A part whose time changes by no more than this counts as unchanged; rounds differ by as much.
_SAME = 0.05


@dataclass(frozen=True)
class Saving:
    """How far fewer GMACs of one point became time saved, against its model's own baseline."""

    key: str
    """The point's key in the report's rows."""
    label: str
    """What sentences call it."""
    gmacs_ratio: float
    """GMACs of the baseline's backbone / the point's, means over all frames."""
    backbone_ratio: float
    """Backbone time of the baseline / the point's, weighted means over the timed frames."""
    frame_ratio: float
    """Total time of the baseline / the point's, the sum of the parts over the same timed frames."""
    parts: dict[str, float]
    """Milliseconds saved per timed frame by part: mask, embed, backbone, head; below 0: added."""
    limited_by: str | None
    """The part that kept the frame from being as much faster as its GMACs are fewer, or None."""
    sentence: str
    """All of it in words."""


def savings_legend(legend: Legend) -> str:
    """Return what stands below the table."""
    own = f"{legend.baseline}'s"
    return (
        "GMACs are means over all frames, times means over the timed ones, in which full frames "
        f"weigh as in all of the data; {own} are those of the same session. Named are the parts "
        f"that take more than {own} time of them divided by the ratio of GMACs, what limits most "
        "first."
    )


def savings(report: Report) -> tuple[Saving, ...]:
    """Return the saving of each point whose parts were timed in one session with the baseline.

    In row order. Left out are the baseline itself, points without times or GMACs, and those of
    another session than their baseline, whose parts are not stored beside them.
    """
    rows = report.records()
    return tuple(
        _saving(rows[position], rows[baseline], report.names[position], report.legend.baseline)
        for position, baseline in enumerate(baseline_of(report.rows, report.legend))
        if baseline not in (None, position) and _comparable(rows[position], rows[baseline])
    )


def _comparable(row: dict[Any, Any], baseline: dict[Any, Any]) -> bool:
    same_session = row["latency_session"] is not None and (
        row["latency_session"] == baseline["latency_session"]
    )
    needed = [
        side[name] for side in (row, baseline) for name in ("gmacs", "backbone_ms", "head_ms")
    ]
    return same_session and all(value is not None and value > 0 for value in needed)


def _saving(row: dict[Any, Any], baseline: dict[Any, Any], label: str, called: str) -> Saving:
    ours, theirs = _parts(row), _parts(baseline)
    gmacs = float(baseline["gmacs"]) / float(row["gmacs"])
    backbone = theirs["backbone"] / ours["backbone"]
    frame = sum(theirs.values()) / sum(ours.values())
    limits = _limits(ours, theirs, gmacs)
    ratios = f"{_fewer(gmacs)}, backbone {_faster(backbone)}, frame {_faster(frame)}"
    marked = "SUBSET: " if row["subset"] else ""
    because = "; ".join(_because(part, ours, theirs, gmacs, called) for part in limits)
    return Saving(
        key=row["key"],
        label=label,
        gmacs_ratio=gmacs,
        backbone_ratio=backbone,
        frame_ratio=frame,
        parts={part: theirs[part] - ours[part] for part in PARTS},
        limited_by=limits[0] if limits else None,
        sentence=f"{marked}{label}: {ratios}{because and f': {because}'}.",
    )


def _parts(row: dict[Any, Any]) -> dict[str, float]:
    """Return the mean milliseconds of each part, full frames weighted; 0 where there is none."""
    return {part: float(row[f"{part}_ms"] or 0.0) for part in PARTS}


def _limits(ours: dict[str, float], theirs: dict[str, float], gmacs: float) -> list[str]:
    """Return the parts that take more time than the saving in GMACs would leave, the most first."""
    if gmacs <= 1 + _NEGLIGIBLE:
        return []
    beyond = {part: ours[part] - theirs[part] / gmacs for part in PARTS}
    limiting = [part for part in PARTS if beyond[part] > _NOTABLE * sum(ours.values())]
    return sorted(limiting, key=lambda part: -beyond[part])


def _because(
    part: str, ours: dict[str, float], theirs: dict[str, float], gmacs: float, called: str
) -> str:
    spent, before = _ms(ours[part]), _ms(theirs[part])
    if part == "backbone":
        alone = _ms(theirs[part] / gmacs)
        return f"{_CALLED[part]} takes {spent}, where its GMACs alone would leave {alone}"
    share = f"{100 * theirs[part] / sum(theirs.values()):.0f} % of {called}'s frame"
    if part == "mask":
        return f"{_CALLED[part]} takes {spent}"
    if abs(ours[part] - theirs[part]) <= _SAME * theirs[part]:
        return f"{_CALLED[part]}, {share}, take as long as before ({spent})"
    return f"{_CALLED[part]}, {share}, take {spent} after {before}"


def _ms(value: float) -> str:
    return f"{value:.{1 if value >= 10 else 2}f} ms"


def _fewer(ratio: float) -> str:
    if ratio > 1 + _NEGLIGIBLE:
        return f"{ratio:.1f}x fewer GMACs"
    return "as many GMACs" if ratio > 1 - _NEGLIGIBLE else f"{1 / ratio:.1f}x as many GMACs"


def _faster(ratio: float) -> str:
    return f"{ratio:.2f}x faster" if ratio >= 1 else f"slower ({ratio:.2f}x)"
