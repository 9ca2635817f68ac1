"""What a point is worth: its speed-up, what it costs in mAP50, and whether another beats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.judge.baselines import CONTROLS, is_baseline
from maskvd_cli.judge.measured import Interval
from maskvd_cli.judge.rows import Report, has_tradeoff

ACCEPTED_LOSS = 1.0
RULE = (
    f"Of each method the fastest point is named that loses at most {ACCEPTED_LOSS:g} point of "
    "mAP50, by its value; where a method has no such point, the one that loses least. "
    "Intervals are 95 %: of mAP50 from a paired bootstrap over clips. The Pareto front is that of "
    "mAP50 against mean latency over all points of the report but controls, by their values."
)


@dataclass(frozen=True)
class Verdict:
    """One point judged. Changes are in points of mAP50, both they and speed-ups against dense."""

    key: str
    """The point's key in the report's rows."""
    label: str
    """What sentences call it, with model and input where the report has several."""
    method: str
    model: str
    """The backbone's name; empty where a run of an old version does not tell it."""
    speedup: Interval | None
    """Mean of dense / mean, full frames weighted; None for dense itself."""
    map50_change: Interval | None
    """mAP50 minus that of dense of the same model and input; None for dense itself."""
    distinguishable: bool | None
    """Whether zero lies outside the interval of the change; None without an interval."""
    faster: bool | None
    """Whether 1 lies below the interval of the speed-up and the speed-up is more than what dense
    against itself showed in the same session; None without an interval."""
    on_front: bool
    """Whether no point of any model is at least as fast and as good, and better in one; never of
    controls, which know the truth or know nothing."""
    dominated_by: str | None
    """The best point that dominates this one, by its label; None on the front."""
    sentence: str
    """All of it in words."""


@dataclass(frozen=True)
class _Facts:
    """What is known of one row, read from the table once."""

    row: dict[Any, Any]
    name: str
    speedup: Interval | None
    change: Interval | None
    noise: float

    @property
    def is_dense(self) -> bool:
        return is_baseline(self.row)

    @property
    def faster(self) -> bool | None:
        found = self._differs_from_1()
        return None if found is None or self.speedup is None else found and self.speedup.value > 1

    @property
    def slower(self) -> bool:
        found = self._differs_from_1()
        return bool(found) and self.speedup is not None and self.speedup.value < 1

    def _differs_from_1(self) -> bool | None:
        if self.speedup is None or (outside := self.speedup.excludes(1.0)) is None:
            return None
        return outside and abs(self.speedup.value - 1) > self.noise

    @property
    def loses(self) -> bool | None:
        """Whether mAP50 lies distinguishably more than `ACCEPTED_LOSS` below dense."""
        if self.change is None:
            return None
        highest = self.change.value if self.change.high is None else self.change.high
        return highest < -ACCEPTED_LOSS


def point_verdicts(report: Report) -> tuple[Verdict, ...]:
    """Return a verdict for each point that has mAP50 and latency, dense included, in row order."""
    return tuple(_verdict(facts) for facts in _facts(report))


def method_verdicts(report: Report) -> tuple[Verdict, ...]:
    """Return the best point's verdict of each method other than dense, model and input (`RULE`)."""
    groups: dict[tuple[str, ...], list[_Facts]] = {}
    for facts in _facts(report):
        if not facts.is_dense:
            of = tuple(str(facts.row[name]) for name in ("model", "input", "method"))
            groups.setdefault(of, []).append(facts)
    return tuple(_best(group) for group in groups.values())


def summary(report: Report) -> str | None:
    """Return one sentence for the whole report; None where neither mAP50 nor latency is known."""
    points = list(_facts(report))
    if points:
        return _summary(points)
    rows = report.rows
    if rows["latency_mean_ms"].notna().any():
        return _fastest_alone(report)
    if rows["map50"].notna().any():
        return _marked(report.rows, f"mAP50 of {rows['map50'].count()} points; no latency, so no "
                       "speed-up to weigh it against.")  # fmt: skip
    return None


def _facts(report: Report, known: pd.Series[bool] | None = None) -> list[_Facts]:
    """Return what is known of the rows that are chosen, else of those with mAP50 and latency."""
    known = has_tradeoff(report.rows) if known is None else known
    rows = report.rows.astype(object).where(report.rows.notna(), None).to_dict(orient="records")
    return [
        _of(row, name, report)
        for row, name, found in zip(rows, report.names, known, strict=True)
        if found
    ]


def _of(row: dict[Any, Any], name: str, report: Report) -> _Facts:
    control = report.controls.get(str(row["latency_session"]))
    ends = () if control is None else (control.value, control.low, control.high)
    noise = max((abs(end - 1) for end in ends if end is not None), default=0.0)
    compared = not is_baseline(row)
    speedup = _interval(row, "speedup") if compared else None
    change = _interval(row, "map50_change") if compared else None
    return _Facts(row, name, speedup, change, noise)


def _interval(row: dict[Any, Any], name: str) -> Interval | None:
    """Return an interval of a row without missing values."""
    if row[name] is None:
        return None
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _verdict(facts: _Facts, lead: str = "") -> Verdict:
    row = facts.row
    marked = "SUBSET: " if row["subset"] else ""
    return Verdict(
        key=row["key"],
        label=facts.name,
        method=row["method"],
        model=row["model"] or "",
        speedup=facts.speedup,
        map50_change=facts.change,
        distinguishable=None if facts.change is None else facts.change.excludes(0.0),
        faster=facts.faster,
        on_front=bool(row["on_front"]),
        dominated_by=row["dominated_by"],
        sentence=f"{marked}{lead}{facts.name}: {_trade(facts)}; {_place(row)}.",
    )


def _best(group: Sequence[_Facts]) -> Verdict:
    """Return the verdict of the point that speaks for a method."""
    accepted = [facts for facts in group if _keeps(facts)]
    if accepted:
        return _verdict(min(accepted, key=_slowness))
    compared = [facts for facts in group if facts.change is not None]
    if not compared:
        return _verdict(max(group, key=lambda facts: facts.row["map50"]))
    least = max(compared, key=lambda facts: facts.change.value if facts.change else 0.0)
    lead = f"every setting loses more than {ACCEPTED_LOSS:g} point, the least "
    return _verdict(least, f"{least.row['method']}: {lead}")


def _slowness(facts: _Facts) -> tuple[float, float]:
    """Order points of one model: those of other sessions by what they gain on their own dense."""
    gained = 0.0 if facts.speedup is None else facts.speedup.value
    return -gained, float(facts.row["latency_mean_ms"])


def _trade(facts: _Facts) -> str:
    """Return speed-up and change in words."""
    if facts.is_dense:
        row = facts.row
        return f"mAP50 {row['map50']:.2f} at {row['latency_mean_ms']:.1f} ms per frame"
    return f"{_speed(facts)}, {_change(facts)}"


def _speed(facts: _Facts) -> str:
    if facts.speedup is None:
        return f"{facts.row['latency_mean_ms']:.1f} ms per frame, no dense measured beside it"
    text = f"{_times(facts.speedup)} as fast as dense"
    if facts.faster is None:
        return f"{text} (no interval)"
    if facts.faster:
        return text
    return f"{text}, slower" if facts.slower else f"{text}, within noise"


def _times(speedup: Interval) -> str:
    ends = speedup.text(".2f").partition(" ")
    return f"{ends[0]}x {ends[2]}".rstrip()


def _change(facts: _Facts) -> str:
    change = facts.change
    if change is None:
        return f"mAP50 {facts.row['map50']:.2f} with no dense to compare"
    text = f"mAP50 {change.text('+.2f')} points"
    outside = change.excludes(0.0)
    if outside is None:
        return f"{text} (no interval)"
    by = _by_how_much(facts) if change.value < -ACCEPTED_LOSS else ""
    if outside:
        return f"{text}, distinguishably {'better' if change.value > 0 else 'worse'} than dense{by}"
    return f"{text}, not distinguishable from dense"


def _by_how_much(facts: _Facts) -> str:
    """Return what is known of a loss whose value is above the accepted one."""
    return f"{'' if facts.loses else ', likely'} by more than {ACCEPTED_LOSS:g} point"


def _place(row: dict[Any, Any]) -> str:
    if row["method"] in CONTROLS:
        return "a control, left out of the Pareto front"
    if row["on_front"]:
        return "on the Pareto front"
    return f"off the Pareto front, dominated by {row['dominated_by']}"


def _summary(points: Sequence[_Facts]) -> str:
    points = [facts for facts in points if facts.row["method"] not in CONTROLS] or points
    methods = [facts for facts in points if not facts.is_dense]
    gaining = [facts for facts in methods if facts.faster and _keeps(facts)]
    front = [facts for facts in points if facts.row["on_front"]]
    place = f"{len(front)} of {len(points)} points lie on the Pareto front"
    mark = "SUBSET: " if points[0].row["subset"] else ""
    if gaining:
        best = min(gaining, key=_slowness)
        return (
            f"{mark}Fastest that keeps mAP50 within {ACCEPTED_LOSS:g} point of dense: "
            f"{best.name}, {_trade(best)}; {place}."
        )
    if methods:
        return (
            f"{mark}No point is faster than dense by more than noise and keeps mAP50 within "
            f"{ACCEPTED_LOSS:g} point of it; {place}."
        )
    return f"{mark}Dense alone was measured: {_trade(points[0])}."


def _keeps(facts: _Facts) -> bool:
    """Tell whether the value itself is an accepted loss."""
    return facts.change is not None and facts.change.value >= -ACCEPTED_LOSS


def _fastest_alone(report: Report) -> str:
    """Return the sentence of a run that took latency but no mAP50."""
    known = report.rows["latency_mean_ms"].notna() & report.rows["speedup"].notna()
    compared = [facts for facts in _facts(report, known) if not facts.is_dense]
    if not compared:
        return _marked(report.rows, "Latency alone was measured, and of dense alone.")
    best = min(compared, key=_slowness)
    return _marked(report.rows, f"Fastest: {best.name}, {_speed(best)}; accuracy was not "
                   "measured, so what it costs is not known.")  # fmt: skip


def _marked(rows: pd.DataFrame, sentence: str) -> str:
    return f"SUBSET: {sentence}" if rows["subset"].notna().any() else sentence
