"""The table that people read: which columns, under which headers, how rounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from maskvd_cli.judge.measured import interval_text
from maskvd_cli.judge.parameters import shared_column
from maskvd_cli.judge.rows import Report


@dataclass(frozen=True)
class Column:
    """One column for people: its source, header, format, and how late it goes for want of room.

    The columns with the highest `spare` go first; 0 always stays. Text of `wraps` characters and
    more may be broken between words; 0: never. `narrow` takes the place of `wraps` where a line is
    still too long without the columns of a `spare` above `_LAST`. Columns to `cut` may be broken
    anywhere: then those that wrap, and where even that does not do, all that hold text.
    """

    source: str
    header: str
    show: Callable[[Any], str]
    spare: int = 0
    text: bool = False
    wraps: int = 0
    narrow: int = 0
    cut: bool = False

    def least_width(self, cells: Sequence[str]) -> int:
        """Return how many characters the column needs."""
        widest = max(map(len, cells), default=0)
        if self.wraps:
            words = [word for cell in cells for word in cell.split()]
            widest = min(widest, max([self.wraps, *map(len, words)]))
        if self.cut:
            widest = min(widest, _CUT)
        header = self.header.split() if self.narrow and self.wraps else [self.header]
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

_HUMAN = (
    Column("method", "method", str, text=True),
    Column("model", "model", str, text=True, narrow=9),
    Column("input", "input", str, text=True),
    Column("version", "ver.", str, spare=4, text=True),
    Column("mask", "mask", str, text=True),
    Column("period", "P", str),
    Column("static_keep_rate", "k_s", "{:g}".format),
    Column("score_threshold", "threshold", "{:g}".format),
    Column("margin", "margin", str),
    Column("setting", "setting", str, text=True, wraps=8),
    Column("tokens", "tokens", _number(1), spare=4),
    Column("paper_tokens", "paper", _number(0), spare=5),
    Column("tokens_deviation_percent", "dev. %", _signed, spare=5),
    Column("keep_rate", "keep %", _percent, spare=8),
    Column("paper_keep_rate", "paper", _percent, spare=8),
    Column("keep_rate_real", "real %", _percent, spare=9),
    Column("full_frame_share", "full %", _percent, spare=10),
    Column("gmacs", "GMACs", _number(2), spare=2),
    Column("gmacs_detector", "detector GMACs", _number(2), spare=9),
    Column("gmacs_published", "publ. counter", _number(2), spare=4),
    Column("gmacs_published_at_mean_tokens", "at mean", _number(2), spare=7),
    Column("paper_gmacs", "paper", _number(2), spare=5),
    Column("gmacs_deviation_percent", "dev. %", _signed, spare=5),
    Column("gmacs_at_paper_tokens", "at paper's", _number(2), spare=11),
    Column("state_mb", "state MB", _number(1), spare=6),
    Column("map50", "mAP50", _number(2), spare=1),
    Column("paper_map50", "paper mAP50", _number(2), spare=12),
    Column("map", "mAP", _number(2), spare=8),
    Column("change_text", "change of mAP50", str, narrow=8),
    Column("latency_ms", "latency ms", _number(2), spare=3),
    Column("paper_latency_ms", "paper", _number(2), spare=12),
    Column("latency_mean_ms", "mean ms", _number(2), spare=6),
    Column("latency_p90_ms", "p90 ms", _number(2), spare=11),
    Column("latency_full_ms", "full ms", _number(2), spare=10),
    Column("latency_masked_ms", "masked ms", _number(2), spare=10),
    Column("mask_ms", "mask ms", _number(2), spare=11),
    Column("backbone_ms", "backbone ms", _number(2), spare=9),
    Column("head_ms", "head ms", _number(2), spare=11),
    Column("speedup_text", "speed-up", str, narrow=8),
    Column("peak_mib", "peak MiB", _number(0), spare=4),
    Column("paper_peak_mib", "paper", _number(0), spare=12),
    Column("energy_mj", "energy mJ", _number(0), spare=6),
    Column("status", "status", str, text=True),
    Column("error", "reason", str, text=True, wraps=30),
)
_ONLY_WHERE_VARIED = ("model", "input", "mask", "score_threshold", "margin")
_BESIDE = {"paper_latency_ms": "latency_ms", "paper_peak_mib": "peak_mib"}
LEGEND = {
    "setting": "setting: other parameters, where they differ from the method's defaults",
    "tokens": "tokens: recomputed per frame, mean over all frames, full ones included",
    "tokens_deviation_percent": "dev. %: deviation from the paper",
    "keep_rate": "keep %: of all tokens",
    "keep_rate_real": "real %: of the tokens that are not wholly padding",
    "full_frame_share": "full %: frames that recompute every token",
    "gmacs": "GMACs: 1e9 multiply-accumulates of the backbone per frame, matrix products only",
    "gmacs_detector": "detector GMACs: the same of the whole detector, at each frame's proposals "
    "where the model ran, else at the most",
    "gmacs_published": "publ. counter: GMACs under the counter of the papers",
    "gmacs_published_at_mean_tokens": "at mean: the same, evaluated once at the mean token count",
    "gmacs_at_paper_tokens": "at paper's: the same, evaluated at the paper's own token count",
    "state_mb": "state MB: kept between frames, 1e6 bytes, float32 unless another precision ran",
    "change_text": "change of mAP50: points against dense, 95 % interval of a bootstrap over clips",
    "latency_ms": "latency ms: median per timed frame, selection to detections; p90 likewise",
    "latency_mean_ms": "mean ms: full frames weighted by their share of all the data's frames",
    "latency_full_ms": "full, masked: medians of these frames alone",
    "mask_ms": "mask, backbone, head: such means of these parts; mask: choosing tokens ahead",
    "speedup_text": "speed-up: mean of dense / mean, measured side by side, 95 % interval over "
    "rounds, over frames where rounds are few",
    "peak_mib": "peak MiB: weights, state and activations",
    "energy_mj": "energy mJ: of the GPU's board per frame, idle power included",
}


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
        shown = [column.source for column in self.columns]
        parts = [text for source, text in LEGEND.items() if source in shown]
        return f"{'; '.join(parts)}." if parts else ""

    def width(self, gap: int) -> int:
        """Return how many characters a line takes with `gap` characters between columns."""
        widths = [
            column.least_width([row[index] for row in self.cells])
            for index, column in enumerate(self.columns)
        ]
        return sum(widths) + gap * len(widths)

    def fitted(self, width: int, gap: int) -> HumanTable:
        """Leave out the most dispensable columns until a line fits into `width`."""
        table = self._without(width, gap, _LAST)
        if table.width(gap) > width:
            columns = tuple(
                replace(column, wraps=column.narrow or column.wraps, cut=column.narrow > 0)
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

    def left_out(self, fitted: HumanTable) -> str:
        """Return which columns a narrower table lacks and how to see them; empty for none."""
        kept = {column.source for column in fitted.columns}
        names = [column.header for column in self.columns if column.source not in kept]
        if not names:
            return ""
        return f"left out: {', '.join(names)}; a wider terminal or --format markdown shows them"

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
    rows["change_text"] = _intervals(report.rows, "map50_change", "+.2f")
    rows["speedup_text"] = _intervals(report.rows, "speedup", ".2f")
    shown = {column.source for column in _HUMAN if _worth_showing(column, rows)}
    rows["setting"] = [shared_column(named, shown) for named in report.named]
    columns = tuple(column for column in _HUMAN if _worth_showing(column, rows))
    cells = [
        [_cell(row[column.source], column) for column in columns] for _, row in rows.iterrows()
    ]
    return HumanTable(columns, cells)


def _intervals(rows: pd.DataFrame, name: str, form: str) -> list[str | None]:
    """Return `value [low, high]` of every row, None where there is no value."""
    columns = (rows[name], rows[f"{name}_low"], rows[f"{name}_high"])
    return [
        None if pd.isna(value) else interval_text(value, low, high, form)
        for value, low, high in zip(*columns, strict=True)
    ]


def _worth_showing(column: Column, rows: pd.DataFrame) -> bool:
    """Tell whether a column says something; some do only beside others, or where they vary."""
    source = column.source
    values = rows[source].dropna()
    if values.empty or (source in _BESIDE and rows[_BESIDE[source]].isna().all()):
        return False
    if source in _ONLY_WHERE_VARIED:
        return values.nunique() > 1
    if source == "status":
        return bool((values != "ok").any())
    if source == "paper_keep_rate":
        return bool(rows.loc[values.index, "paper_tokens"].isna().any())
    if source == "gmacs_published_at_mean_tokens":
        return bool((rows["paper_gmacs_evaluated"] == "at-mean-tokens").any())
    return True


def _cell(value: Any, column: Column) -> str:
    return "" if value is None or pd.isna(value) else column.show(value)
