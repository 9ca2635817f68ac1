"""Points of a report as lines: which rows a line joins, its label, its look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.parameters import column_of
from maskvd_cli.render.chart.description import Look
from maskvd_cli.render.styles import Style, style_of

# What tells lines of one method apart; what is left, a keep rate or r, runs along the line.
_APART = ("version", "mask", "period", "score_threshold", "margin", "update", "pool")
_SHORT = {"period": "P", "score_threshold": "threshold"}
_STAR = 1.9


@dataclass(frozen=True)
class Strand:
    """Rows of a report that one line joins, from few tokens to many, and how it looks.

    `group`: method, and model where there are several; `first`: whether its model is the first of
    several, None where there is but one; `number` counts the lines of its method on its model, and
    `site` the models.
    """

    method: str
    group: str
    label: str
    number: int
    first: bool | None
    rows: pd.DataFrame
    style: Style
    site: int = 0

    @property
    def look(self) -> Look:
        """Colour and mark of the method; filled marks belong to the first of several models.

        Dashes tell models after the second apart.
        """
        filled = self.number % 2 == 0 if self.first is None else self.first
        size = _STAR if self.style.mark == "*" else 1.0
        dash = self.number + max(self.site - 1, 0)
        return Look(self.style.colour, self.style.mark, not filled, dash, size)


def strands_of(rows: pd.DataFrame, legend: Legend) -> tuple[Strand, ...]:
    """Return the lines of these rows in their order.

    Model and input stand in a label only where the rows have several.
    """
    strands: list[Strand] = []
    sites = [name for name in ("model", "input") if rows[name].nunique(dropna=False) > 1]
    telling = [*_APART, *_words(rows, legend)]
    models = [str(model) for model in rows["model"].unique()]
    for method, of_method in rows.groupby("method", sort=False):
        apart = [name for name in telling if of_method[name].nunique(dropna=False) > 1]
        count: Counter[str] = Counter()
        for part in _parts(of_method, [*sites, *apart]):
            model = str(part["model"].iloc[0])
            several = len(models) > 1
            strands.append(
                Strand(
                    method=str(method),
                    group=f"{method}, {model}" if several else str(method),
                    label=", ".join([str(method), *_names(part.iloc[0], [*sites, *apart])]),
                    number=count[model],
                    first=model == models[0] if several else None,
                    rows=part.sort_values(["keep_rate", "gmacs"], kind="stable"),
                    style=style_of(str(method), legend),
                    site=models.index(model),
                )
            )
            count[model] += 1
    return tuple(strands)


def _words(rows: pd.DataFrame, legend: Legend) -> Iterator[str]:
    """Yield the columns of other parameters that hold words: numbers run along a line."""
    for column in map(column_of, legend.parameter_headers):
        if column not in _APART and any(isinstance(value, str) for value in rows[column]):
            yield column


def _parts(rows: pd.DataFrame, apart: Sequence[str]) -> Iterator[pd.DataFrame]:
    if not apart:
        yield rows
        return
    for _, part in rows.groupby(list(apart), sort=False, dropna=False):
        yield part


def _names(row: pd.Series[Any], apart: Sequence[str]) -> Iterator[str]:
    for name in apart:
        value = row[name]
        if pd.isna(value):
            continue
        is_number = isinstance(value, (int, float)) or hasattr(value, "__index__")
        yield f"{_SHORT.get(name, name)} = {value:g}" if is_number else str(value)
