"""The panels that reports draw: one column of the rows against another, as lines of methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.measured import estimate_text
from maskvd_cli.render.chart.description import Axis, Line, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of

# What stands at an axis, by column; costs begin at zero, accuracies lie close together.
_PERCENT = (0.0, 100.0)
_AXES: Mapping[str, Axis] = {
    "gmacs": Axis("backbone GMACs per frame", from_zero=True),
    "gmacs_published": Axis("backbone GMACs per frame, papers' counter", from_zero=True),
    "latency_mean_ms": Axis("mean latency per frame (ms)", from_zero=True),
    "peak_mib": Axis("peak memory (MiB)", from_zero=True),
    "keep_rate": Axis("recomputed tokens (share of all)", bounds=(0, 1.05)),
    "pruned": Axis("pruned tokens (share of all)", bounds=(0, 1.05)),
    "static_keep_rate": Axis("static keep rate k_s"),
}


def axis_of(name: str, legend: Legend) -> Axis:
    """Return the axis of a column, as it is known here or as the plan's quantity says."""
    if name in _AXES:
        return _AXES[name]
    if name == legend.headline:
        unit = legend.quantities[name].unit if name in legend.quantities else ""
        title = f"{legend.quality} ({unit})" if unit else legend.quality
        return Axis(title)
    return Axis(legend.axis_title(name), from_zero=True)


def bounds_of(legend: Legend) -> tuple[float, float] | None:
    """Return between what the headline can lie, None where that is not known."""
    headline = legend.quantities.get(legend.headline or "")
    return _PERCENT if headline is not None and headline.unit == "%" else None


def panel_of(  # noqa: PLR0913 - a panel, and what its axes and texts are to show
    rows: pd.DataFrame,
    x: str,
    y: str,
    legend: Legend,
    *,
    hover: bool = False,
    free: bool = False,
    noted: str | None = None,
) -> Panel:
    """Return the rows that have both columns as lines of methods.

    `rows` may have a column `name`, which hover texts begin with. `free`: costs need not begin at
    zero, where only the order matters and not the heights. `noted`: the column that is written
    beside the places.
    """
    known = rows[rows[x].notna() & rows[y].notna()]
    reading = _Reading(x, y, legend, hover, noted)
    lines = [reading.line(strand) for strand in strands_of(known, legend)]
    axes = [axis_of(name, legend) for name in (x, y)]
    across, up = (Axis(axis.title) if free else axis for axis in axes)
    return Panel(across, up, lines)


@dataclass(frozen=True)
class _Reading:
    """Which columns of rows become places, and which texts these have."""

    x: str
    y: str
    legend: Legend
    hover: bool
    noted: str | None

    def line(self, strand: Strand) -> Line:
        """Return a strand's places, with the interval of y where the rows have one."""
        records: list[dict[str, Any]] = strand.rows.to_dict(orient="records")  # pyright: ignore[reportAssignmentType]
        return Line(strand.label, strand.group, strand.look, [*map(self._place, records)])

    def _place(self, row: dict[str, Any]) -> Place:
        value = float(row[self.y])
        low, high = self._ends(row, value)
        texts = (str(row["name"]), *hover_lines(row, self.legend)) if self.hover else ()
        noted = self.noted
        note = f"{noted} = {row[noted]}" if noted and _has(row, noted) else ""
        return Place(float(row[self.x]), value, low, high, hover=texts, note=note)

    def _ends(self, row: dict[str, Any], value: float) -> tuple[float | None, float | None]:
        """Return the ends of y's interval; the headline has that of its change."""
        is_headline = self.y == self.legend.headline
        own = interval(row, str(self.legend.change) if is_headline else self.y)
        if own is None or own.low is None or own.high is None:
            return None, None
        shift = value - own.value
        return own.low + shift, own.high + shift


def hover_lines(row: dict[str, Any], legend: Legend) -> Iterator[str]:
    """Yield the values that a row has, one a line."""
    headline = legend.headline
    if headline is not None and _has(row, headline):
        unit = legend.quantities[headline].unit if headline in legend.quantities else ""
        yield f"{legend.quality} {legend.text(headline, row[headline])} {unit}".rstrip()
    if legend.change is not None and (change := interval(row, legend.change)):
        yield f"change {estimate_text(change, '+.2f')} points"
    if _has(row, "latency_mean_ms"):
        yield f"latency {row['latency_mean_ms']:.2f} ms, mean"
    if speedup := interval(row, "speedup"):
        yield f"speed-up {estimate_text(speedup, '.2f')}"
    if _has(row, "gmacs"):
        published = (
            f", {row['gmacs_published']:.2f} by the papers' counter"
            if _has(row, "gmacs_published")
            else ""
        )
        yield f"{row['gmacs']:.2f} GMACs{published}"
        yield f"{row['tokens']:.1f} tokens ({100 * row['keep_rate']:.1f} %)"


def interval(row: dict[str, Any], name: str) -> Estimate | None:
    """Return a row's value with its interval, None where there is no value."""
    if not _has(row, name):
        return None
    ends = (row[f"{name}_{end}"] if _has(row, f"{name}_{end}") else None for end in ("low", "high"))
    return Estimate(row[name], *ends)


def _has(row: dict[str, Any], name: str) -> bool:
    return row.get(name) is not None and not pd.isna(row[name])
