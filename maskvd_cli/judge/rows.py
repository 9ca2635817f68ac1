"""A run folder to one row per point, with the papers' values beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge import measured
from maskvd_cli.judge.baselines import control_noise
from maskvd_cli.judge.columns import CONDITIONS, STATISTICS, WHOLE, columns_of
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.measured import MeasuredPoint, read_measured
from maskvd_cli.judge.names import names_of
from maskvd_cli.judge.older import statistics_mark, statistics_notes
from maskvd_cli.judge.parameters import column_of, own_columns
from maskvd_cli.judge.pareto import Trade, dominating
from maskvd_cli.judge.published import Match, matches
from maskvd_cli.judge.surroundings import condition_notes, other_conditions
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics, Plan, PlannedPoint, PointRecord

if TYPE_CHECKING:
    from maskvd_cli.judge.kept_sets import KeptSets

_MEAN_MS = "latency_mean_ms"
# The ends of a speed-up change places where they become times.
_SPEEDUP = ("speedup", "speedup_high", "speedup_low")


@dataclass(frozen=True)
class Report:
    """Everything a renderer needs: rows (`columns_of`), facts about the run, notes, damaged files.

    `named`: for each row the parameters that name its point; `names`: for each row what sentences
    call the point. `environments`: of the run and of its points, each once, since points may come
    from a run on another machine or with other software. `settings`: of finished points, one for
    each model. `controls`: the ratio of the baseline to itself, by latency session; `disturbed`:
    what disturbed the sessions. `published`: the published row of a point, by key. `missing`: by
    metric, how many of the points that ran it has not measured. `kept_sets`: which tokens points
    keep, where that was asked for.
    """

    rows: pd.DataFrame
    named: tuple[dict[str, Any], ...]
    plan: Plan
    environments: tuple[dict[str, Any], ...]
    settings: dict[str, dict[str, Any]]
    run: Run
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    names: tuple[str, ...] = ()
    controls: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    disturbed: tuple[str, ...] = ()
    published: dict[str, Match] = field(default_factory=dict[str, Match])
    missing: dict[str, int] = field(default_factory=dict[str, int])
    kept_sets: KeptSets | None = None

    @cached_property
    def legend(self) -> Legend:
        """What the plan calls quantities and methods."""
        return Legend(self.plan)

    @property
    def setting(self) -> dict[str, Any]:
        """What the points share, with the first model; empty where none has run."""
        return next(iter(self.settings.values()), dict[str, Any]())

    def records(self) -> list[dict[str, Any]]:
        """Return the rows one by one, None where a value is missing."""
        return records_of(self.rows)

    def count(self, status: str) -> int:
        """Return how many points have this status: ok, failed or pending."""
        return int((self.rows["status"] == status).sum())


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table one by one, None where a value is missing."""
    rows = table.astype(object).where(table.notna(), None)
    return rows.to_dict(orient="records")  # pyright: ignore[reportReturnType]


def read_report(run: Run) -> Report:
    """Read all points of a run. Raises ResultError where its plan or environment is damaged.

    A damaged point file becomes a failed row and is named in `damaged`.
    """
    plan = run.plan()
    legend = Legend(plan)
    read = [_read(run, planned) for planned in plan.points]
    known = [
        (planned.model, record)
        for planned, record in zip(plan.points, read, strict=True)
        if isinstance(record, PointRecord)
    ]
    records = [record for _, record in known]
    match_of = dict(zip((record.key for record in records), matches(records), strict=True))
    passes = [read_measured(run, plan, planned.key) for planned in plan.points]
    others = other_conditions(passes)
    rows = [
        {
            **_planned(planned, plan, run, legend),
            **_outcome(result, match_of.get(planned.key), beside),
            # What the plan calls it: one model may stand there with several weights.
            **({"model": planned.model} if planned.model else {}),
            STATISTICS: statistics_mark(beside),
            CONDITIONS: other,
        }
        for planned, result, beside, other in zip(plan.points, read, passes, others, strict=True)
    ]
    table = _table(rows, legend)
    names = names_of(table)
    controls = measured.session_controls(passes)
    table = table.assign(**_front(table, names, controls, legend))
    environments = [run.environment(), *(record.environment for record in records)]
    environments += [record.environment for point in passes for record in point.records]
    damaged = [result for result in read if isinstance(result, ResultError)]
    damaged += [error for point in passes for error in point.damaged]
    ran = [point for result, point in zip(read, passes, strict=True) if _ran(result)]
    return Report(
        rows=table,
        named=tuple(_named(point) for point in plan.points),
        plan=plan,
        environments=tuple(_once(environments)),
        settings=_settings(known),
        run=run,
        notes=(
            *measured.control_notes(controls, legend.baseline),
            *condition_notes(others),
            *statistics_notes(passes),
            *dict.fromkeys([*plan.notes, *_paper_notes(match_of)]),
            *_data_note(table),
        ),
        damaged=tuple(map(str, damaged)),
        names=names,
        controls=controls,
        disturbed=tuple(measured.disturbance_warnings(passes)),
        published={key: match for key, match in match_of.items() if match is not None},
        missing=measured.missing_passes(plan, ran),
    )


def _once(environments: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each environment that differs from those before, in order."""
    seen: set[str] = set()
    for environment in environments:
        text = json.dumps(environment, sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield environment


def _table(rows: Sequence[dict[str, Any]], legend: Legend) -> pd.DataFrame:
    """Return the rows under the plan's columns; intervals that have none of these stand last."""
    columns = columns_of(legend)
    columns += [
        f"{name}_{end}"
        for name in legend.quantities
        for end in ("low", "high")
        if f"{name}_{end}" not in columns and any(f"{name}_{end}" in row for row in rows)
    ]
    table = pd.DataFrame(rows, columns=columns)
    own = {column_of(name) for name in legend.parameter_headers} - set(WHOLE)
    whole = [name for name in own if _are_whole(rows, name)]
    return table.astype({name: "Int64" for name in (*WHOLE, *whole)})


def _are_whole(rows: Sequence[dict[str, Any]], name: str) -> bool:
    """Tell whether a column holds whole numbers, which stay whole where some rows have none."""
    values = [row[name] for row in rows if name in row]
    return bool(values) and all(isinstance(value, int) for value in values)


def _paper_notes(match_of: dict[str, Match | None]) -> Iterator[str]:
    for match in match_of.values():
        if match is not None:
            yield from match.notes


def _ran(record: PointRecord | ResultError | None) -> bool:
    return isinstance(record, PointRecord) and record.status == "ok"


def _front(
    table: pd.DataFrame, names: tuple[str, ...], controls: dict[str, Estimate], legend: Legend
) -> dict[str, Any]:
    """Return `on_front` and `dominated_by`, among points of one model and input, controls aside.

    Cost is time as a share of the session's own baseline, since milliseconds of two sessions also
    hold the machine's drift. A point without a speed-up has no place.
    """
    known = has_tradeoff(table, legend) & table["speedup"].notna()
    known &= ~table["method"].isin(legend.controls)
    rows = records_of(table)
    groups: dict[tuple[Any, Any], list[int]] = {}
    for position in (position for position, one in enumerate(known) if one):
        row = rows[position]
        groups.setdefault((row["model"], row["input"]), []).append(position)
    on_front: list[Any] = [None] * len(table)
    dominated_by: list[Any] = [None] * len(table)
    for where in groups.values():
        trades = [_trade(rows[position], controls, legend) for position in where]
        for position, by in zip(where, dominating(trades), strict=True):
            on_front[position] = by is None
            dominated_by[position] = None if by is None else names[where[by]]
    columns = {"on_front": on_front, "dominated_by": dominated_by}
    return {name: pd.Series(values, table.index, object) for name, values in columns.items()}


def _trade(row: dict[Any, Any], controls: dict[str, Estimate], legend: Legend) -> Trade:
    """Return a row's time as a share of the baseline's, and its headline, the higher the better.

    The baseline has no noise: others are compared with it.
    """
    floor = control_noise(controls.get(str(row["latency_session"])))
    sign = 1.0 if legend.more_is_better else -1.0
    quality = sign * float(row[str(legend.headline)])
    if legend.is_baseline(row):
        return Trade(Estimate(1.0, 1.0, 1.0), Estimate(quality, quality, quality), floor)
    value, *bounds = (row.get(name) for name in _SPEEDUP)
    assert value is not None, "a point without a speed-up has no place"
    cost = Estimate(1.0 / value, *(None if bound is None else 1.0 / bound for bound in bounds))
    change, *ends = (row.get(f"{legend.change}{end}") for end in ("", "_low", "_high"))
    if change is None or None in ends:
        return Trade(cost, Estimate(quality), floor)
    low, high = sorted(sign * (float(end) - float(change)) for end in ends if end is not None)
    return Trade(cost, Estimate(quality, quality + low, quality + high), floor)


def has_tradeoff(rows: pd.DataFrame, legend: Legend) -> pd.Series[bool]:
    """Tell for each row whether it has both the headline and latency."""
    if legend.headline is None:
        return pd.Series(False, rows.index)
    return rows[[_MEAN_MS, legend.headline]].notna().all(axis=1)


def _settings(known: Sequence[tuple[str | None, PointRecord]]) -> dict[str, dict[str, Any]]:
    """Return the setting of the first record of each model, by what the plan calls it."""
    first: dict[str, dict[str, Any]] = {}
    for model, record in known:
        first.setdefault(model or str(record.setting["model"]["name"]), record.setting)
    return first


def _read(run: Run, planned: PlannedPoint) -> PointRecord | ResultError | None:
    """Return a point's record, why it cannot be read, or None where it has not been run."""
    try:
        return run.point(planned.key)
    except ResultError as error:
        return error


def _planned(planned: PlannedPoint, plan: Plan, run: Run, legend: Legend) -> dict[str, Any]:
    return {
        "key": planned.key,
        "label": planned.label,
        "method": planned.method,
        "model": planned.model,
        "input": planned.input,
        "recipe": plan.recipe,
        "run": run.folder.name,
        "detections": plan.detections,
        "params": json.dumps(planned.params, separators=(",", ":"), allow_nan=False),
        **own_columns(planned.params, legend.columns_of(planned.method)),
    }


def _named(planned: PlannedPoint) -> dict[str, Any]:
    return {name: planned.params[name] for name in planned.named if name in planned.params}


def _outcome(
    result: PointRecord | ResultError | None, match: Match | None, beside: MeasuredPoint
) -> dict[str, Any]:
    if result is None:
        return {"status": "pending"}
    if isinstance(result, ResultError):
        return {"status": "failed", "error": f"damaged file: {result.message}"}
    row = {**_result(result), **_paper(result.metrics, match), **beside.columns()}
    return {**row, "error": row["error"] or beside.error()}


def _result(record: PointRecord) -> dict[str, Any]:
    dataset, model = record.setting["dataset"], record.setting["model"]
    shared = {
        "status": record.status,
        "error": record.failure.message if record.failure else None,
        "backbone": model["backbone"],
        "dataset": dataset["name"],
        "split": dataset["split"],
        "protocol": dataset["protocol"],
        "model": model["name"],
        "input": model["input"],
        "seed": record.setting["seed"],
        **measured.setting_columns(record.setting),
    }
    if record.metrics is None:
        return shared
    counts = record.metrics.model_dump(exclude={"cost_curve", "state_bytes"})
    known = {name: value for name, value in counts.items() if value is not None}
    return {**shared, **known, "state_mb": record.metrics.state_bytes / 1e6}


def _paper(metrics: Metrics | None, match: Match | None) -> dict[str, Any]:
    """Return the published values, and how far the point's lie from them on the same frames."""
    if metrics is None or match is None or match.table.incomparable is not None:
        return {}
    values = match.row.values
    published: dict[str, Any] = {f"paper_{name}": value for name, value in values.items()}
    published |= {
        "paper": match.paper,
        "paper_table": match.table.table,
        "paper_same_data": match.same_data,
        "paper_gmacs_evaluated": match.table.gmacs_evaluated,
    }
    tokens = values.get("tokens")
    if tokens is not None and metrics.cost_curve is not None:
        c0, c1, c2 = metrics.cost_curve
        published["gmacs_at_paper_tokens"] = c0 + c1 * tokens + c2 * tokens**2
    if match.video_difference is None:
        deviation = _deviation(metrics.tmacs_video, values.get("tmacs_video"))
        published["tmacs_video_deviation_percent"] = deviation
    if match.same_data:
        at_mean = match.table.gmacs_evaluated == "at-mean-tokens"
        gmacs = metrics.gmacs_published_at_mean_tokens if at_mean else metrics.gmacs_published
        published["tokens_deviation_percent"] = _deviation(metrics.tokens, tokens)
        published["gmacs_deviation_percent"] = _deviation(gmacs, values.get("gmacs"))
    return published


def _deviation(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else 100.0 * (ours / theirs - 1.0)


def _data_note(table: pd.DataFrame) -> list[str]:
    """Return the note that published values stand on other data or settings, where they do."""
    matched = table[table["paper_same_data"].notna()]
    other = matched[matched["paper_same_data"] == False]  # noqa: E712 - a column of objects
    if "tmacs_video_deviation_percent" in other:
        # What one video costs stands on no number of them.
        other = other[other["tmacs_video_deviation_percent"].isna()]
    if other.empty:
        return []
    first = other.iloc[0]
    return [
        f"The published values stand on the paper's own data and setting; this run "
        f"({first['clips']} clips, {first['frames']} frames) differs in model, frames, their size "
        f"or the heatmap, so no deviation is computed."
    ]
