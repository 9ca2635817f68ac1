"""What a point is worth: its speed-up, what it costs in mAP50, and whether another beats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.judge.baselines import CONTROLS, control_noise, is_baseline
from maskvd_cli.judge.measured import Interval
from maskvd_cli.judge.rows import Report, has_tradeoff

ACCEPTED_LOSS = 1.0
# What points are judged by besides time: its name in sentences, and the columns that hold it.
_QUALITY, _VALUE, _CHANGE_OF = "mAP50", "map50", "map50_change"
_KEEPS = f"keeps {_QUALITY} within {ACCEPTED_LOSS:g} point of dense"
_FASTER = "faster than dense by more than noise"
RULE = (
    f"Of each method the fastest point is named that {_KEEPS} with its whole 95 % interval; where "
    "none does, the fastest that does so in the mean only; where none does that, the one that "
    "loses least. The best of many points owes a part of its lead to chance, which its interval "
    f"does not show. Intervals of {_QUALITY} are paired over clips. The Pareto front is that of "
    f"{_QUALITY} against time as a share of the session's own dense, of the points of one model "
    "and input but controls; a point dominates another if it is better in one by more than "
    f"noise, not slower by more than noise, and has no lower {_QUALITY}."
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
    """Whether no point of the same model and input dominates it (`RULE`); never of controls, which
    know the truth or know nothing, nor of points without a speed-up."""
    dominated_by: str | None
    """The best point that dominates this one, by its label; None where none does."""
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

    @property
    def keeps(self) -> bool:
        """Whether the whole interval of the change is an accepted loss."""
        return self.change is not None and (
            self.change.low is not None and self.change.low >= -ACCEPTED_LOSS
        )

    @property
    def keeps_in_mean(self) -> bool:
        """Whether the change itself is an accepted loss, whatever its interval."""
        return self.change is not None and self.change.value >= -ACCEPTED_LOSS

    @property
    def untold(self) -> bool:
        """Whether only full frames, or only others, were timed, so that no speed-up is known."""
        row = self.row
        kinds = row["latency_full_ms"], row["latency_masked_ms"]
        return row["speedup"] is None and (kinds[0] is None) != (kinds[1] is None)


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
    if rows[_VALUE].notna().any():
        what = f"{_QUALITY} of {rows[_VALUE].count()} points"
        return _marked(rows, f"{what}; no latency, so no speed-up to weigh it against.")
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
    noise = control_noise(report.controls.get(str(row["latency_session"])))
    compared = not is_baseline(row)
    speedup = _interval(row, "speedup") if compared else None
    change = _interval(row, _CHANGE_OF) if compared else None
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
    accepted = _accepted(group)
    if accepted:
        return _verdict(min(accepted, key=_slowness))
    compared = [facts for facts in group if facts.change is not None]
    if not compared:
        return _verdict(max(group, key=lambda facts: facts.row[_VALUE]))
    least = max(compared, key=lambda facts: facts.change.value if facts.change else 0.0)
    lead = f"every setting loses more than {ACCEPTED_LOSS:g} point, the least "
    return _verdict(least, f"{least.row['method']}: {lead}")


def _accepted(group: Sequence[_Facts]) -> list[_Facts]:
    """Return those whose whole interval is an accepted loss, else those that are so in the mean."""
    sure = [facts for facts in group if facts.keeps]
    return sure or [facts for facts in group if facts.keeps_in_mean]


def _slowness(facts: _Facts) -> tuple[float, float]:
    """Order points of one model: those of other sessions by what they gain on their own dense."""
    gained = 0.0 if facts.speedup is None else facts.speedup.value
    return -gained, float(facts.row["latency_mean_ms"])


def _trade(facts: _Facts) -> str:
    """Return speed-up and change in words."""
    if facts.is_dense:
        row = facts.row
        return f"{_QUALITY} {row[_VALUE]:.2f} at {row['latency_mean_ms']:.1f} ms per frame"
    return f"{_speed(facts)}, {_change(facts)}"


def _speed(facts: _Facts) -> str:
    if facts.speedup is None:
        why = "no dense measured beside it"
        if facts.untold:
            why = "not all kinds of frames timed, so no speed-up (time more: latency.frames)"
        return f"{facts.row['latency_mean_ms']:.1f} ms per frame, {why}"
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
        return f"{_QUALITY} {facts.row[_VALUE]:.2f} with no dense to compare"
    text = f"{_QUALITY} {change.text('+.2f')} points"
    outside = change.excludes(0.0)
    if outside is None:
        return f"{text} (no interval)"
    by = ""
    if not facts.keeps_in_mean:
        by = _by_how_much(facts)
    elif not facts.keeps:
        by = f", within {ACCEPTED_LOSS:g} point in the mean only"
    if outside:
        return f"{text}, distinguishably {'better' if change.value > 0 else 'worse'} than dense{by}"
    return f"{text}, not distinguishable from dense{by if facts.keeps_in_mean else ''}"


def _by_how_much(facts: _Facts) -> str:
    """Return what is known of a loss whose value is above the accepted one."""
    return f"{'' if facts.loses else ', likely'} by more than {ACCEPTED_LOSS:g} point"


def _place(row: dict[Any, Any]) -> str:
    if row["method"] in CONTROLS:
        return "a control, left out of the Pareto front"
    if row["on_front"]:
        return "on the Pareto front"
    if row["dominated_by"] is None:
        return "no place on the Pareto front without a speed-up"
    return f"off the Pareto front, dominated by {row['dominated_by']}"


def _summary(points: Sequence[_Facts]) -> str:
    points = [facts for facts in points if facts.row["method"] not in CONTROLS] or points
    methods = [facts for facts in points if not facts.is_dense]
    mark = "SUBSET: " if points[0].row["subset"] else ""
    if not methods:
        return f"{mark}Dense alone was measured: {_trade(points[0])}."
    front = [facts for facts in points if facts.row["on_front"]]
    places = {(facts.row["model"], facts.row["input"]) for facts in points}
    of = "" if len(places) == 1 else " of their model and input"
    place = f"{len(front)} of {len(points)} points lie on the Pareto front{of}"
    return f"{mark}{_headline([facts for facts in methods if facts.faster])}; {place}."


def _headline(faster: Sequence[_Facts]) -> str:
    """Return what the points that are faster than dense come to."""
    accepted = _accepted(faster)
    if not accepted:
        return f"No point is {_FASTER}" + (f" and {_KEEPS}" if faster else "")
    best = min(accepted, key=_slowness)
    if not best.keeps:
        return f"Fastest that {_KEEPS}, in the mean only: {best.name}, {_trade(best)}"
    lead = f"Fastest that {_KEEPS}: {best.name}, {_trade(best)}"
    other = min((facts for facts in faster if facts.keeps_in_mean), key=_slowness)
    return lead if other.keeps else f"{lead}; faster and so in the mean only: {other.name}"


def _fastest_alone(report: Report) -> str:
    """Return the sentence of a run that took latency but no quality."""
    known = report.rows["latency_mean_ms"].notna() & report.rows["speedup"].notna()
    compared = [facts for facts in _facts(report, known) if not facts.is_dense]
    if not compared:
        return _marked(report.rows, "Latency alone was measured, and of dense alone.")
    compared = [facts for facts in compared if facts.row["method"] not in CONTROLS] or compared
    best = min(compared, key=_slowness)
    unknown = best.faster is None and best.speedup is not None and best.speedup.value > 1
    lead = f"Fastest: {best.name}, {_speed(best)}"
    if not (best.faster or unknown):
        lead = f"No point is {_FASTER}"
    unsaid = "accuracy was not measured, so what it costs is not known"
    return _marked(report.rows, f"{lead}; {unsaid}.")


def _marked(rows: pd.DataFrame, sentence: str) -> str:
    return f"SUBSET: {sentence}" if rows["subset"].notna().any() else sentence
