"""A run folder to one row per point, with the papers' values beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge import measured
from maskvd_cli.judge.baselines import CONTROLS, control_noise, is_baseline
from maskvd_cli.judge.measured import Interval, MeasuredPoint, read_measured
from maskvd_cli.judge.names import names_of
from maskvd_cli.judge.parameters import own_columns
from maskvd_cli.judge.pareto import Trade, dominating
from maskvd_cli.judge.published import Match, matches
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics, Plan, PlannedPoint, PointRecord

COLUMNS = (
    "method", "version", "backbone", "period", "static_keep_rate", "tokens", "keep_rate",
    "keep_rate_real", "full_frame_share", "gmacs", "gmacs_published", "state_mb", "paper_tokens",
    "paper_gmacs", "map50", "latency_ms", "peak_mib",
    "mask", "score_threshold", "margin",
    "gmacs_published_at_mean_tokens", "gmacs_at_paper_tokens",
    "tokens_deviation_percent", "gmacs_deviation_percent",
    "paper_keep_rate", "paper_map50", "paper_latency_ms", "paper_peak_mib",
    "paper", "paper_table", "paper_same_data",
    "clips", "frames", "dataset", "split", "protocol", "model", "input", "detections", "seed",
    "recipe", "run", "label", "key", "status", "error",
    "gmacs_detector", "r", "update", "pool", "param_keep_rate", "params",
    "paper_gmacs_evaluated",
    *measured.COLUMNS,
    "on_front", "dominated_by",
)  # fmt: skip
_TRADE = ("latency_mean_ms", "map50")
# The ends of a speed-up change places where they become times.
_SPEEDUP = ("speedup", "speedup_high", "speedup_low")
_CHANGE = ("map50_change", "map50_change_low", "map50_change_high")
WHOLE = ("period", "margin", "clips", "frames", "seed", "r", "pool")


@dataclass(frozen=True)
class Report:
    """Everything a renderer needs: rows (`COLUMNS`), facts about the run, notes, damaged files.

    `named`: for each row the parameters that name its point. `environments`: the run's own and
    those of its points, each once; points may be taken over from a run on another machine or with
    other software. `settings`: of the finished points, one for each model. `names`: for each row
    what sentences call its point. `controls`: what dense against itself gave, by latency session.
    `disturbed`: what disturbed the sessions. `published`: the published row of a point, by key.
    `missing`: of how many points that ran a pass has not run, by pass.
    """

    rows: pd.DataFrame
    named: tuple[dict[str, Any], ...]
    plan: Plan
    environments: tuple[dict[str, Any], ...]
    settings: tuple[dict[str, Any], ...]
    run: Run
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    names: tuple[str, ...] = ()
    controls: dict[str, Interval] = field(default_factory=dict[str, Interval])
    disturbed: tuple[str, ...] = ()
    published: dict[str, Match] = field(default_factory=dict[str, Match])
    missing: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def setting(self) -> dict[str, Any]:
        """What the points share, with the first model; empty where none has run."""
        return self.settings[0] if self.settings else {}

    def count(self, status: str) -> int:
        """Return how many points have this status: ok, failed or pending."""
        return int((self.rows["status"] == status).sum())


def read_report(run: Run) -> Report:
    """Read all points of a run. Raises ResultError where its plan or environment is damaged.

    A damaged point file becomes a failed row and is named in `damaged`.
    """
    plan = run.plan()
    read = [_read(run, planned) for planned in plan.points]
    records = [record for record in read if isinstance(record, PointRecord)]
    match_of = dict(zip((record.key for record in records), matches(records), strict=True))
    passes = [read_measured(run, plan, planned.key) for planned in plan.points]
    rows = [
        {**_planned(planned, plan, run), **_found(found, match_of.get(planned.key), beside)}
        for planned, found, beside in zip(plan.points, read, passes, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.astype({name: "Int64" for name in WHOLE})
    names = names_of(table)
    controls = measured.session_controls(passes)
    table = table.assign(**_front(table, names, controls))
    notes = [note for match in match_of.values() if match for note in match.notes]
    environments = [run.environment(), *(record.environment for record in records)]
    environments += [record.environment for point in passes for record in point.records]
    damaged = [found for found in read if isinstance(found, ResultError)]
    damaged += [error for point in passes for error in point.damaged]
    return Report(
        rows=table,
        named=tuple(_named(point) for point in plan.points),
        plan=plan,
        environments=tuple(e for i, e in enumerate(environments) if e not in environments[:i]),
        settings=_settings(records),
        run=run,
        notes=(
            *measured.control_notes(controls),
            *dict.fromkeys([*plan.notes, *notes]),
            *_data_note(table),
        ),
        damaged=tuple(map(str, damaged)),
        names=names,
        controls=controls,
        disturbed=tuple(measured.disturbance_warnings(passes)),
        published={key: match for key, match in match_of.items() if match is not None},
        missing=measured.missing_passes(
            plan, [p for r, p in zip(read, passes, strict=True) if _ran(r)]
        ),
    )


def _ran(record: PointRecord | ResultError | None) -> bool:
    return isinstance(record, PointRecord) and record.status == "ok"


def _front(
    table: pd.DataFrame, names: tuple[str, ...], controls: dict[str, Interval]
) -> dict[str, Any]:
    """Return `on_front` and `dominated_by`, among points of one model and input, controls aside.

    Milliseconds of two sessions also hold the machine's drift; so cost is time as a share of the
    session's own dense, and a point without a speed-up has no place.
    """
    known = has_tradeoff(table) & table["speedup"].notna() & ~table["method"].isin(CONTROLS)
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    groups: dict[tuple[Any, Any], list[int]] = {}
    for position in (position for position, one in enumerate(known) if one):
        row = rows[position]
        groups.setdefault((row["model"], row["input"]), []).append(position)
    on_front: list[Any] = [None] * len(table)
    dominated_by: list[Any] = [None] * len(table)
    for where in groups.values():
        trades = [_trade(rows[position], controls) for position in where]
        for position, by in zip(where, dominating(trades), strict=True):
            on_front[position] = by is None
            dominated_by[position] = None if by is None else names[where[by]]
    columns = {"on_front": on_front, "dominated_by": dominated_by}
    return {name: pd.Series(values, table.index, object) for name, values in columns.items()}


def _trade(row: dict[Any, Any], controls: dict[str, Interval]) -> Trade:
    """Return a row's time as a share of dense's and its mAP50; dense is what others are held to."""
    floor = control_noise(controls.get(str(row["latency_session"])))
    quality = float(row["map50"])
    if is_baseline(row):
        return Trade(Interval(1.0, 1.0, 1.0), Interval(quality, quality, quality), floor)
    cost = Interval(*(end and 1.0 / end for end in (row[name] for name in _SPEEDUP)))
    change, low, high = (row[name] for name in _CHANGE)
    if change is None or low is None or high is None:
        return Trade(cost, Interval(quality), floor)
    return Trade(cost, Interval(quality, quality + low - change, quality + high - change), floor)


def has_tradeoff(rows: pd.DataFrame) -> pd.Series[bool]:
    """Tell for each row whether it has both mAP50 and latency."""
    return rows[list(_TRADE)].notna().all(axis=1)


def _settings(records: list[PointRecord]) -> tuple[dict[str, Any], ...]:
    """Return the setting of the first record of each model."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        first.setdefault(record.setting["model"]["name"], record.setting)
    return tuple(first.values())


def _read(run: Run, planned: PlannedPoint) -> PointRecord | ResultError | None:
    """Return a point's record, why it cannot be read, or None where it has not been run."""
    try:
        return run.point(planned.key)
    except ResultError as error:
        return error


def _planned(planned: PlannedPoint, plan: Plan, run: Run) -> dict[str, Any]:
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
        **own_columns(planned.params),
    }


def _named(planned: PlannedPoint) -> dict[str, Any]:
    return {name: planned.params[name] for name in planned.named if name in planned.params}


def _found(
    found: PointRecord | ResultError | None, match: Match | None, beside: MeasuredPoint
) -> dict[str, Any]:
    if found is None:
        return {"status": "pending"}
    if isinstance(found, ResultError):
        return {"status": "failed", "error": f"damaged file: {found.message}"}
    row = {**_result(found), **_paper(found.metrics, match), **beside.columns()}
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
    return {**shared, **counts, "state_mb": record.metrics.state_bytes / 1e6}


def _paper(metrics: Metrics | None, match: Match | None) -> dict[str, Any]:
    """Return the published values, and how far the point's lie from them on the same frames."""
    if metrics is None or match is None:
        return {}
    values = match.row.values
    published: dict[str, Any] = {
        f"paper_{name}": value for name, value in values.model_dump().items()
    }
    published |= {
        "paper": match.paper,
        "paper_table": match.table.table,
        "paper_same_data": match.same_data,
        "paper_gmacs_evaluated": match.table.gmacs_evaluated,
    }
    if values.tokens is not None and metrics.cost_curve is not None:
        c0, c1, c2 = metrics.cost_curve
        published["gmacs_at_paper_tokens"] = c0 + c1 * values.tokens + c2 * values.tokens**2
    if match.same_data:
        at_mean = match.table.gmacs_evaluated == "at-mean-tokens"
        gmacs = metrics.gmacs_published_at_mean_tokens if at_mean else metrics.gmacs_published
        published["tokens_deviation_percent"] = _deviation(metrics.tokens, values.tokens)
        published["gmacs_deviation_percent"] = _deviation(gmacs, values.gmacs)
    return published


def _deviation(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else 100.0 * (ours / theirs - 1.0)


def _data_note(table: pd.DataFrame) -> list[str]:
    """Return the note that published values stand on other data or settings, where they do."""
    matched = table[table["paper_same_data"].notna()]
    other = matched[matched["paper_same_data"] == False]  # noqa: E712 - a column of objects
    if other.empty:
        return []
    first = other.iloc[0]
    return [
        f"The published values stand on the paper's own data and setting; this run "
        f"({first['clips']} clips, {first['frames']} frames) differs in model, frames, their size "
        f"or the heatmap, so no deviation is computed."
    ]
