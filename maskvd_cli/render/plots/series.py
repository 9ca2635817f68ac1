"""Points of a run as lines: one per method and setting, drawn alike in every figure."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from maskvd_cli.render.styles import style_of

# What tells lines of one method apart; what is left, a keep rate or r, runs along the line.
_APART = ("version", "mask", "period", "score_threshold", "margin", "update", "pool")
_SHORT = {"period": "P", "score_threshold": "threshold"}
_DASHES = ("-", "--", ":", "-.")
_STAR = 1.9


@dataclass(frozen=True)
class Series:
    """Rows of a report that form one line, from few tokens to many, and how it looks.

    `number` counts the lines of its method on its model, `first` tells whether that model is the
    first of several, None where there is but one.
    """

    method: str
    label: str
    number: int
    first: bool | None
    rows: pd.DataFrame

    def look(self, linestyle: str | None = None) -> dict[str, Any]:
        """Return colour, mark and dashes as matplotlib takes them."""
        style = style_of(self.method)
        filled = self.number % 2 == 0 if self.first is None else self.first
        return {
            "color": style.colour,
            "marker": style.mark,
            "markersize": 4.0 * (_STAR if style.mark == "*" else 1.0),
            "markerfacecolor": style.colour if filled else "white",
            "linestyle": linestyle or _DASHES[self.number % len(_DASHES)],
        }

    def handle(self) -> Line2D:
        """Return the entry of a legend."""
        single = len(self.rows) == 1
        return Line2D([], [], label=self.label, **self.look("none" if single else None))

    def draw(self, axis: Any, x: str, y: str, scale: float = 1.0) -> None:
        """Draw column `y` over column `x` times `scale`; points that lack one are left out."""
        known = self.rows[self.rows[x].notna() & self.rows[y].notna()]
        across = known[x].astype(float) * scale
        axis.plot(across, known[y].astype(float), clip_on=False, zorder=3, **self.look())


def series_of(rows: pd.DataFrame) -> tuple[Series, ...]:
    """Return the lines of these rows in their order.

    Model and input stand in a label only where the rows have several.
    """
    made: list[Series] = []
    sites = [name for name in ("model", "input") if rows[name].nunique(dropna=False) > 1]
    models = [str(model) for model in rows["model"].unique()]
    for method, group in rows.groupby("method", sort=False):
        apart = [name for name in _APART if group[name].nunique(dropna=False) > 1]
        own = [*sites, *apart]
        count: Counter[str] = Counter()
        for part in _parts(group, own):
            model = str(part["model"].iloc[0])
            label = ", ".join([str(method), *_told(part.iloc[0], own)])
            ordered = part.sort_values(["keep_rate", "gmacs"], kind="stable")
            first = model == models[0] if len(models) > 1 else None
            made.append(Series(str(method), label, count[model], first, ordered))
            count[model] += 1
    return tuple(made)


def _parts(group: pd.DataFrame, own: Sequence[str]) -> Iterator[pd.DataFrame]:
    if not own:
        yield group
        return
    for _, part in group.groupby(list(own), sort=False, dropna=False):
        yield part


def _told(row: pd.Series[Any], own: Sequence[str]) -> Iterator[str]:
    for name in own:
        if pd.isna(row[name]):
            continue
        if name in ("model", "input", "mask", "update"):
            yield str(row[name])
        else:
            yield f"{_SHORT.get(name, name)} = {row[name]:g}" if name != "version" else row[name]
