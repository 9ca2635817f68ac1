"""The panels that reports draw: one column of the rows against another, as lines of methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from maskvd_cli.judge.measured import Interval
from maskvd_cli.render.chart.description import Axis, Line, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of

# What stands at an axis, by column; costs begin at zero, accuracies lie close together.
AXES: Mapping[str, Axis] = {
    "map50": Axis("mAP50 (%)", bounds=None),
    "gmacs": Axis("backbone GMACs per frame", from_zero=True),
    "gmacs_published": Axis("backbone GMACs per frame, papers' counter", from_zero=True),
    "latency_mean_ms": Axis("mean latency per frame (ms)", from_zero=True),
    "peak_mib": Axis("peak memory (MiB)", from_zero=True),
    "keep_rate": Axis("recomputed tokens (share of all)", bounds=(0, 1.05)),
    "static_keep_rate": Axis("static keep rate k_s"),
}
_INTERVAL_OF = {"map50": "map50_change"}


def panel_of(
    rows: pd.DataFrame, x: str, y: str, *, hover: bool = False, free: bool = False
) -> Panel:
    """Return the rows that have both columns as lines of methods.

    `rows` may have a column `name`, which hover texts begin with. `free`: costs need not begin at
    zero, where only the order matters and not the heights.
    """
    known = rows[rows[x].notna() & rows[y].notna()]
    lines = [line_of(strand, x, y, hover=hover) for strand in strands_of(known)]
    across, up = (Axis(AXES[name].title) if free else AXES[name] for name in (x, y))
    return Panel(across, up, lines)


def line_of(strand: Strand, x: str, y: str, *, hover: bool = False) -> Line:
    """Return a strand's places in two columns, with the interval of y where the rows have one."""
    records: list[dict[str, Any]] = strand.rows.to_dict(orient="records")  # pyright: ignore[reportAssignmentType]
    places = [_place(row, x, y, hover=hover) for row in records]
    return Line(strand.label, strand.group, strand.look, places)


def _place(row: dict[str, Any], x: str, y: str, *, hover: bool) -> Place:
    value = float(row[y])
    change = interval(row, _INTERVAL_OF[y]) if y in _INTERVAL_OF else None
    low = high = None
    if change is not None and change.low is not None and change.high is not None:
        low, high = value - change.value + change.low, value - change.value + change.high
    texts = (str(row["name"]), *hover_lines(row)) if hover else ()
    return Place(float(row[x]), value, low, high, hover=texts)


def hover_lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield the values that a row has, one a line."""
    if _has(row, "map50"):
        yield f"mAP50 {row['map50']:.2f} %"
    if change := interval(row, "map50_change"):
        yield f"change {change.text('+.2f')} points"
    if _has(row, "latency_mean_ms"):
        yield f"latency {row['latency_mean_ms']:.2f} ms, mean"
    if speedup := interval(row, "speedup"):
        yield f"speed-up {speedup.text('.2f')}"
    if _has(row, "gmacs"):
        yield f"{row['gmacs']:.2f} GMACs, {row['gmacs_published']:.2f} by the papers' counter"
        yield f"{row['tokens']:.1f} tokens ({100 * row['keep_rate']:.1f} %)"


def interval(row: dict[str, Any], name: str) -> Interval | None:
    """Return a row's value with its interval, None where there is no value."""
    if not _has(row, name):
        return None
    ends = (
        None if pd.isna(row[f"{name}_{end}"]) else row[f"{name}_{end}"] for end in ("low", "high")
    )
    return Interval(row[name], *ends)


def _has(row: dict[str, Any], name: str) -> bool:
    return row.get(name) is not None and not pd.isna(row[name])
