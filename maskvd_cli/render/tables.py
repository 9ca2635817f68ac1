"""The table that people read: which columns, under which headers, how rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from maskvd_cli.core.shown import shown
from maskvd_cli.judge.columns import CONDITIONS, STATISTICS
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.measured import interval_text
from maskvd_cli.judge.parameters import column_of, shared_column
from maskvd_cli.judge.rows import Report
from maskvd_cli.store.schema import StoredQuantity


@dataclass(frozen=True)
class Column:
    """One column for people: its source, header and format, and when it gives way for want of room.

    The columns with the highest `spare` go first; 0 always stays. Text of `wraps` characters and
    more may be broken between words; 0: never. `narrow` takes the place of `wraps` where a line is
    still too long without the columns of a `spare` above `_LAST`; then headers may be broken
    between words, too, where the column `folds`. Where even that does not do, columns of text are
    `cut` anywhere.
    """

    source: str
    header: str
    show: Callable[[Any], str]
    spare: int = 0
    text: bool = False
    wraps: int = 0
    narrow: int = 0
    folds: bool = False
    cut: bool = False
    meaning: str = ""

    def least_width(self, cells: Sequence[str]) -> int:
        """Return how many characters the column needs."""
        widest = max(map(len, cells), default=0)
        if self.wraps:
            words = [word for cell in cells for word in cell.split()]
            widest = min(widest, max([self.wraps, *map(len, words)]))
        if self.cut:
            widest = min(widest, _CUT)
        header = self.header.split() if self.folds else [self.header]
        return max(widest, *map(len, header))


def _number(digits: int) -> Callable[[Any], str]:
    return lambda value: f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


# Up to here columns say what a point is and is worth, and go only from very narrow terminals.
_LAST = 4
_CUT = 7
# Behind the name of a quantity: the column that holds its value with its interval.
_TEXT = "_text"

_FIRST = (
    Column("method", "method", str, text=True),
    Column("model", "model", str, text=True),
    Column("input", "input", str, text=True),
)
_SETTING = Column(
    "setting",
    "setting",
    str,
    text=True,
    wraps=8,
    meaning="other parameters, where they differ from the method's defaults",
)
_DEVIATION = "deviation from the paper"
# What papers print of a quantity stands behind it.
_BEHIND = {
    "tokens": (
        Column("paper_tokens", "paper", _number(0), spare=5),
        Column("tokens_deviation_percent", "dev. %", _signed, spare=5, meaning=_DEVIATION),
    ),
    "keep_rate": (Column("paper_keep_rate", "paper", _percent, spare=8),),
    "gmacs_published_at_mean_tokens": (
        Column("paper_gmacs", "paper", _number(2), spare=5),
        Column("gmacs_deviation_percent", "dev. %", _signed, spare=5, meaning=_DEVIATION),
        Column(
            "gmacs_at_paper_tokens",
            "at paper's",
            _number(2),
            spare=11,
            meaning="GMACs under the papers' counter, evaluated at the paper's own token count",
        ),
    ),
    "tmacs_video": (
        Column("paper_tmacs_video", "paper", "{:g}".format, spare=5),
        Column("tmacs_video_deviation_percent", "dev. %", _signed, spare=5, meaning=_DEVIATION),
    ),
    "latency_ms": (Column("paper_latency_ms", "paper", _number(2), spare=12),),
    "peak_mib": (Column("paper_peak_mib", "paper", _number(0), spare=12),),
}
_LAST_COLUMNS = (
    Column(
        STATISTICS,
        "older statistics",
        str,
        spare=3,
        text=True,
        wraps=8,
        meaning="metrics whose intervals do not compare with those of the other rows",
    ),
    Column(
        CONDITIONS,
        "other conditions",
        str,
        spare=3,
        text=True,
        wraps=12,
        meaning="what differs from the conditions of the newest measurement",
    ),
    Column("status", "status", str, text=True),
    Column("error", "reason", str, text=True, wraps=30),
)
_ONLY_WHERE_VARIED = ("model", "input", "mask", "score_threshold", "margin")
_BESIDE = {"paper_latency_ms": "latency_ms", "paper_peak_mib": "peak_mib"}
# In this order, whatever the method that brings them; parameters of others follow.
_PARAMETERS = ("version", "mask", "period", "static_keep_rate", "score_threshold", "margin")
# Of other parameters, no more get a column: with all methods side by side they would crowd out what
# a point is worth, and stand in `setting` instead.
_MOST_OTHERS = 6


@dataclass(frozen=True)
class HumanTable:
    """The columns that were picked, and their cells as text."""

    columns: tuple[Column, ...]
    cells: list[list[str]]

    @property
    def headers(self) -> list[str]:
        """Column headers."""
        return [column.header for column in self.columns]

    @property
    def legend(self) -> str:
        """What the columns mean."""
        texts = (f"{column.header}: {column.meaning}" for column in self.columns if column.meaning)
        parts = list(dict.fromkeys(texts))
        return f"{'; '.join(parts)}." if parts else ""

    def width(self, gap: int) -> int:
        """Return how many characters a line takes with `gap` characters between columns."""
        widths = [
            column.least_width([row[index] for row in self.cells])
            for index, column in enumerate(self.columns)
        ]
        return sum(widths) + gap * len(widths)

    def roomy(self, width: int, gap: int) -> HumanTable:
        """Leave out columns that few need until a line fits into `width`, or none of them is left.

        What remains is neither folded nor cut.
        """
        return self._without(width, gap, _LAST)

    def fitted(self, width: int, gap: int, *, fold_headers: bool = False) -> HumanTable:
        """Leave out the most dispensable columns until a line fits into `width`."""
        table = self.roomy(width, gap)
        if table.width(gap) > width:
            columns = tuple(
                replace(
                    column,
                    wraps=column.narrow or column.wraps,
                    folds=fold_headers or column.narrow > 0,
                )
                for column in table.columns
            )
            table = HumanTable(columns, table.cells)._without(width, gap, 0)
        if table.width(gap) > width:
            columns = tuple(
                replace(column, wraps=_CUT, cut=True) if column.text else column
                for column in table.columns
            )
            table = HumanTable(columns, table.cells)
        return table

    def widths(self, width: int, gap: int) -> list[int]:
        """Return how wide each column is in lines of at most `width`: what it needs, and the rest
        to those that are whole with it, then to text.
        """
        cells = [[row[index] for row in self.cells] for index in range(len(self.columns))]
        pairs = list(zip(self.columns, cells, strict=True))
        widths = [column.least_width(found) for column, found in pairs]
        whole = [max([len(column.header), *map(len, found)]) for column, found in pairs]
        rest = width - sum(widths) - gap * len(widths)
        order = sorted(range(len(widths)), key=lambda index: whole[index] - widths[index])
        for takes_part in (False, True):
            for index in order:
                need = whole[index] - widths[index]
                if need <= rest or (takes_part and self.columns[index].text):
                    given = max(min(need, rest), 0)
                    widths[index] += given
                    rest -= given
        return widths

    def left_out(self, fitted: HumanTable, else_by: str = "--format markdown") -> str:
        """Return which columns a narrower table lacks and how to see them; empty for none."""
        kept = {column.source for column in fitted.columns}
        names = [column.header for column in self.columns if column.source not in kept]
        if not names:
            return ""
        return f"left out: {', '.join(names)}; a wider terminal or {else_by} shows them"

    def _without(self, width: int, gap: int, least: int) -> HumanTable:
        """Leave out columns whose `spare` is above `least` until a line fits."""
        table = self
        while table.width(gap) > width:
            spare = max(column.spare for column in table.columns)
            if spare <= least:
                return table
            kept = [i for i, column in enumerate(table.columns) if column.spare < spare]
            cells = [[row[i] for i in kept] for row in table.cells]
            table = HumanTable(tuple(table.columns[i] for i in kept), cells)
        return table


def human_table(report: Report) -> HumanTable:
    """Pick the columns that say something, round them, and leave what is unknown empty."""
    rows = report.rows.assign(setting=None)
    columns: list[Column] = [*_FIRST, *_parameter_columns(report.legend, rows), _SETTING]
    for quantity in report.legend.plan.quantities:
        columns += _columns_of(quantity, report.legend, rows)
    columns += _LAST_COLUMNS
    for column in columns:
        if column.source.endswith(_TEXT):
            name = column.source.removesuffix(_TEXT)
            rows[column.source] = _intervals(rows, name, _form(report.legend.quantities[name]))
    shown = {column.source for column in columns if _worth_showing(column, rows)}
    rows["setting"] = [shared_column(named, shown) for named in report.named]
    kept = tuple(column for column in columns if _worth_showing(column, rows))
    cells = [[_cell(row[column.source], column) for column in kept] for _, row in rows.iterrows()]
    return HumanTable(kept, cells)


def _parameter_columns(legend: Legend, rows: pd.DataFrame) -> list[Column]:
    """Return the columns of the parameters that methods of the plan want to see in one."""
    headers = legend.parameter_headers
    known = [_parameter_column(name, headers[name]) for name in _PARAMETERS if name in headers]
    others = [_parameter_column(name, headers[name]) for name in headers if name not in _PARAMETERS]
    crowded = sum(_worth_showing(column, rows) for column in others) > _MOST_OTHERS
    return known if crowded else known + others


def _parameter_column(name: str, header: str) -> Column:
    spare = _LAST if name in ("version", "score_threshold", "margin") else 0
    return Column(column_of(name), header, _plain, spare=spare, text=name in ("version", "mask"))


def _columns_of(quantity: StoredQuantity, legend: Legend, rows: pd.DataFrame) -> Iterator[Column]:
    """Yield the column of a quantity, and what papers print of it."""
    name, ends = quantity.name, f"{quantity.name}_low"
    has_interval = ends in rows and rows[ends].notna().any()
    if has_interval or name in (legend.change, "speedup"):
        yield Column(
            f"{name}{_TEXT}",
            quantity.header,
            str,
            spare=quantity.spare,
            narrow=8,
            meaning=quantity.meaning,
        )
    else:
        yield Column(
            name,
            quantity.header,
            lambda value: legend.text(name, value),
            spare=quantity.spare,
            meaning=quantity.meaning,
        )
    yield from _BEHIND.get(name, ())
    if name == legend.headline:
        show = _number(quantity.digits)
        yield Column(f"paper_{name}", f"paper {quantity.header}", show, spare=12)


def _form(quantity: StoredQuantity) -> str:
    sign = "+" if quantity.unit == "points" else ""
    return f"{sign}.{quantity.digits}f"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _intervals(rows: pd.DataFrame, name: str, form: str) -> list[str | None]:
    """Return `value [low, high]` of every row, None where there is no value."""
    if f"{name}_low" not in rows:
        return [None if pd.isna(value) else format(value, form) for value in rows[name]]
    columns = (rows[name], rows[f"{name}_low"], rows[f"{name}_high"])
    return [
        None if pd.isna(value) else interval_text(value, low, high, form)
        for value, low, high in zip(*columns, strict=True)
    ]


def _worth_showing(column: Column, rows: pd.DataFrame) -> bool:
    """Tell whether a column is shown: some need values beside them, some values that vary."""
    source = column.source
    values = rows[source].dropna()
    if values.empty or (source in _BESIDE and rows[_BESIDE[source]].isna().all()):
        return False
    if source in _ONLY_WHERE_VARIED:
        return values.nunique() > 1
    rule = _RULES.get(source)
    return rule is None or rule(rows)


def _statistics_differ(rows: pd.DataFrame) -> bool:
    """Tell whether some intervals, but not all, have other statistics; of all, a note says it."""
    ends = [name for name in rows if str(name).endswith("_low")]
    marks = rows.loc[rows[ends].notna().any(axis=1), STATISTICS]
    return marks.nunique(dropna=False) > 1


_RULES: dict[str, Callable[[pd.DataFrame], bool]] = {
    STATISTICS: _statistics_differ,
    "status": lambda rows: bool(rows["status"].ne("ok").any()),
    "paper_keep_rate": lambda rows: bool(
        (rows["paper_keep_rate"].notna() & rows["paper_tokens"].isna()).any()
    ),
    "gmacs_published_at_mean_tokens": lambda rows: bool(
        rows["paper_gmacs_evaluated"].eq("at-mean-tokens").any()
    ),
}


def _cell(value: Any, column: Column) -> str:
    return "" if value is None or pd.isna(value) else shown(column.show(value))
