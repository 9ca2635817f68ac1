"""What a point is worth: its speed-up, what it costs in quality, and whether another beats it.

Quality is the plan's headline, and the baseline the method that the plan calls so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.core.words import counted
from maskvd_cli.judge.baselines import control_noise
from maskvd_cli.judge.legend import Legend, capitalised
from maskvd_cli.judge.measured import estimate_text
from maskvd_cli.judge.rows import Report, has_tradeoff

ACCEPTED_LOSS = 1.0


def rule(legend: Legend) -> str:
    """Return how the points that speak for their methods are chosen, and what the front is."""
    quality = legend.quality
    return (
        f"Of each method the fastest point is named that {_keeps(legend)} with its whole 95 % "
        "interval; where none does, the fastest that does so in the mean only; where none does "
        "that, the one that loses least. The best of many points owes a part of its lead to "
        f"chance, which its interval does not show. Intervals of {quality} are paired over videos. "
        f"The Pareto front is that of {quality} against time as a share of the session's own "
        f"{_noun(legend)}, of the points of one model and input but controls; a point dominates "
        "another if it is better in one by more than noise, not slower by more than noise, and has "
        f"no {'lower' if legend.more_is_better else 'higher'} {quality}."
    )


def _keeps(legend: Legend) -> str:
    return f"keeps {legend.quality} within {ACCEPTED_LOSS:g} point of {legend.baseline}"


def _faster(legend: Legend) -> str:
    return f"faster than {legend.baseline} by more than noise"


def _noun(legend: Legend) -> str:
    """Return the baseline's name where an article would not do."""
    return legend.baseline_name or "baseline"


@dataclass(frozen=True)
class PointVerdict:
    """One point judged. Changes are in points of the headline, both they and speed-ups against the
    baseline."""

    key: str
    """The point's key in the report's rows."""
    label: str
    """What sentences call it, with model and input where the report has several."""
    method: str
    model: str
    """The backbone's name; empty where a run of an old version does not tell it."""
    speedup: Estimate | None
    """Mean of the baseline / mean, full frames weighted; None for the baseline itself."""
    change: Estimate | None
    """Headline minus that of the baseline of the same model and input; None for itself."""
    distinguishable: bool | None
    """Whether zero lies outside the interval of the change; None without an interval."""
    faster: bool | None
    """Whether 1 lies below the interval of the speed-up, and it is more than what the baseline
    against itself showed in the same session; None without an interval."""
    on_front: bool
    """Whether no point of the same model and input dominates it (`rule`); never of controls, which
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
    legend: Legend
    speedup: Estimate | None
    change: Estimate | None
    noise: float

    @property
    def is_baseline(self) -> bool:
        return self.legend.is_baseline(self.row)

    @property
    def quality(self) -> str:
        """The headline's name and value."""
        name = str(self.legend.headline)
        return f"{self.legend.quality} {self.legend.text(name, self.row[name])}"

    @property
    def gain(self) -> Estimate | None:
        """The change in the direction in which the headline is better."""
        if self.change is None or self.legend.more_is_better:
            return self.change
        low, high = self.change.low, self.change.high
        return Estimate(
            -self.change.value, None if high is None else -high, None if low is None else -low
        )

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
        """Whether the headline is distinguishably worse by more than `ACCEPTED_LOSS`."""
        if (gain := self.gain) is None:
            return None
        highest = gain.value if gain.high is None else gain.high
        return highest < -ACCEPTED_LOSS

    @property
    def keeps(self) -> bool:
        """Whether the whole interval of the change is an accepted loss."""
        gain = self.gain
        return gain is not None and gain.low is not None and gain.low >= -ACCEPTED_LOSS

    @property
    def keeps_in_mean(self) -> bool:
        """Whether the change itself is an accepted loss, whatever its interval."""
        gain = self.gain
        return gain is not None and gain.value >= -ACCEPTED_LOSS

    @property
    def untold(self) -> bool:
        """Whether one kind of frame, full or other, was not timed, so that no speed-up is known."""
        row = self.row
        kinds = row["latency_full_ms"], row["latency_masked_ms"]
        return row["speedup"] is None and (kinds[0] is None) != (kinds[1] is None)


def point_verdicts(report: Report) -> tuple[PointVerdict, ...]:
    """Return a verdict for each point that has headline and latency, in row order."""
    return tuple(_verdict(facts) for facts in _facts(report))


def method_verdicts(report: Report) -> tuple[PointVerdict, ...]:
    """Return the best point's verdict of each method but the baseline, model and input (`rule`)."""
    groups: dict[tuple[str, ...], list[_Facts]] = {}
    for facts in _facts(report):
        if not facts.is_baseline:
            of = tuple(str(facts.row[name]) for name in ("model", "input", "method"))
            groups.setdefault(of, []).append(facts)
    return tuple(_best(group) for group in groups.values())


def summary(report: Report) -> str | None:
    """Return one sentence for the whole report; None where neither quality nor time is known."""
    points = list(_facts(report))
    if points:
        return _summary(points)
    rows = report.rows
    if rows["latency_mean_ms"].notna().any():
        return _fastest_alone(report)
    headline = report.legend.headline
    if headline is not None and rows[headline].notna().any():
        what = f"{report.legend.quality} of {rows[headline].count()} points"
        return _marked(rows, f"{what}; no latency, so no speed-up to weigh it against.")
    return None


def _facts(report: Report, known: pd.Series[bool] | None = None) -> list[_Facts]:
    """Return what is known of the rows that are chosen, else of those with headline and latency."""
    known = has_tradeoff(report.rows, report.legend) if known is None else known
    rows = report.records()
    return [
        _of(row, name, report)
        for row, name, found in zip(rows, report.names, known, strict=True)
        if found
    ]


def _of(row: dict[Any, Any], name: str, report: Report) -> _Facts:
    noise = control_noise(report.controls.get(str(row["latency_session"])))
    legend = report.legend
    if legend.is_baseline(row):
        return _Facts(row, name, legend, None, None, noise)
    change = None if legend.change is None else _estimate(row, legend.change)
    return _Facts(row, name, legend, _estimate(row, "speedup"), change, noise)


def _estimate(row: dict[Any, Any], name: str) -> Estimate | None:
    """Return a value of a row with its interval; None where the row has none."""
    if row.get(name) is None:
        return None
    return Estimate(row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))


def _verdict(facts: _Facts, lead: str = "") -> PointVerdict:
    row = facts.row
    marked = "SUBSET: " if row["subset"] else ""
    return PointVerdict(
        key=row["key"],
        label=facts.name,
        method=row["method"],
        model=row["model"] or "",
        speedup=facts.speedup,
        change=facts.change,
        distinguishable=None if facts.change is None else facts.change.excludes(0.0),
        faster=facts.faster,
        on_front=bool(row["on_front"]),
        dominated_by=row["dominated_by"],
        sentence=f"{marked}{lead}{facts.name}: {_trade(facts)}; {_place(facts)}.",
    )


def _best(group: Sequence[_Facts]) -> PointVerdict:
    """Return the verdict of the point that speaks for a method."""
    accepted = _accepted(group)
    if accepted:
        return _verdict(min(accepted, key=_slowness))
    compared = [facts for facts in group if facts.change is not None]
    if not compared:
        return _verdict(max(group, key=_quality))
    least = max(compared, key=lambda facts: facts.gain.value if facts.gain else 0.0)
    lead = f"every setting loses more than {ACCEPTED_LOSS:g} point, the least "
    return _verdict(least, f"{least.row['method']}: {lead}")


def _quality(facts: _Facts) -> float:
    """Return the headline of a point, turned so that the higher is the better."""
    value = float(facts.row[str(facts.legend.headline)])
    return value if facts.legend.more_is_better else -value


def _accepted(group: Sequence[_Facts]) -> list[_Facts]:
    """Return those whose whole interval is an accepted loss, else those that are so in the mean."""
    sure = [facts for facts in group if facts.keeps]
    return sure or [facts for facts in group if facts.keeps_in_mean]


def _slowness(facts: _Facts) -> tuple[float, float]:
    """Order points of one model: those of other sessions by gain on their own baseline."""
    gained = 0.0 if facts.speedup is None else facts.speedup.value
    return -gained, float(facts.row["latency_mean_ms"])


def _trade(facts: _Facts) -> str:
    """Return speed-up and change in words."""
    if facts.is_baseline:
        return f"{facts.quality} at {facts.row['latency_mean_ms']:.1f} ms per frame"
    return f"{_speed(facts)}, {_change(facts)}"


def _speed(facts: _Facts) -> str:
    if facts.speedup is None:
        why = f"no {_noun(facts.legend)} measured beside it"
        if facts.untold:
            why = "not all kinds of frames timed, so no speed-up (time more: latency.frames)"
        return f"{facts.row['latency_mean_ms']:.1f} ms per frame, {why}"
    text = f"{_times(facts.speedup)} as fast as {facts.legend.baseline}"
    if facts.faster is None:
        return f"{text} (no interval)"
    if facts.faster:
        return text
    return f"{text}, slower" if facts.slower else f"{text}, within noise"


def _times(speedup: Estimate) -> str:
    ends = estimate_text(speedup, ".2f").partition(" ")
    return f"{ends[0]}x {ends[2]}".rstrip()


def _change(facts: _Facts) -> str:
    change = facts.change
    if change is None:
        return f"{facts.quality} with no {_noun(facts.legend)} to compare"
    text = f"{facts.legend.quality} {estimate_text(change, '+.2f')} points"
    outside = change.excludes(0.0)
    if outside is None:
        return f"{text} (no interval)"
    by = ""
    if not facts.keeps_in_mean:
        by = _by_how_much(facts)
    elif not facts.keeps:
        by = f", within {ACCEPTED_LOSS:g} point in the mean only"
    baseline = facts.legend.baseline
    if outside:
        is_better = (change.value > 0) == facts.legend.more_is_better
        than = f"{'better' if is_better else 'worse'} than {baseline}"
        return f"{text}, distinguishably {than}{by}"
    return f"{text}, not distinguishable from {baseline}{by if facts.keeps_in_mean else ''}"


def _by_how_much(facts: _Facts) -> str:
    """Return what is known of a loss whose value is above the accepted one."""
    return f"{'' if facts.loses else ', likely'} by more than {ACCEPTED_LOSS:g} point"


def _place(facts: _Facts) -> str:
    row = facts.row
    if row["method"] in facts.legend.controls:
        return "a control, left out of the Pareto front"
    if row["on_front"]:
        return "on the Pareto front"
    if row["dominated_by"] is None:
        return "no place on the Pareto front without a speed-up"
    return f"off the Pareto front, dominated by {row['dominated_by']}"


def _summary(points: Sequence[_Facts]) -> str:
    legend = points[0].legend
    points = [facts for facts in points if facts.row["method"] not in legend.controls] or points
    methods = [facts for facts in points if not facts.is_baseline]
    mark = "SUBSET: " if points[0].row["subset"] else ""
    if not methods:
        return f"{mark}{capitalised(legend.baseline)} alone was measured: {_trade(points[0])}."
    front = [facts for facts in points if facts.row["on_front"]]
    places = {(facts.row["model"], facts.row["input"]) for facts in points}
    of = "" if len(places) == 1 else " of their model and input"
    place = f"{len(front)} of {counted(len(points), 'point')} "
    place += f"{'lies' if len(front) == 1 else 'lie'} on the Pareto front{of}"
    return f"{mark}{_headline([facts for facts in methods if facts.faster], legend)}; {place}."


def _headline(faster: Sequence[_Facts], legend: Legend) -> str:
    """Return what the points that are faster than the baseline come to."""
    accepted, keeps = _accepted(faster), _keeps(legend)
    if not accepted:
        return f"No point is {_faster(legend)}" + (f" and {keeps}" if faster else "")
    best = min(accepted, key=_slowness)
    if not best.keeps:
        return f"Fastest that {keeps}, in the mean only: {best.name}, {_trade(best)}"
    lead = f"Fastest that {keeps}: {best.name}, {_trade(best)}"
    other = min((facts for facts in faster if facts.keeps_in_mean), key=_slowness)
    return lead if other.keeps else f"{lead}; faster and so in the mean only: {other.name}"


def _fastest_alone(report: Report) -> str:
    """Return the sentence of a run that took latency but no quality."""
    known = report.rows["latency_mean_ms"].notna() & report.rows["speedup"].notna()
    legend = report.legend
    compared = [facts for facts in _facts(report, known) if not facts.is_baseline]
    if not compared:
        return _marked(report.rows, f"Latency alone was measured, and of {legend.baseline} alone.")
    compared = [
        facts for facts in compared if facts.row["method"] not in legend.controls
    ] or compared
    best = min(compared, key=_slowness)
    unknown = best.faster is None and best.speedup is not None and best.speedup.value > 1
    lead = f"Fastest: {best.name}, {_speed(best)}"
    if not (best.faster or unknown):
        lead = f"No point is {_faster(legend)}"
    unsaid = f"{legend.quality} was not measured, so what it costs is not known"
    return _marked(report.rows, f"{lead}; {unsaid}.")


def _marked(rows: pd.DataFrame, sentence: str) -> str:
    return f"SUBSET: {sentence}" if rows["subset"].notna().any() else sentence
