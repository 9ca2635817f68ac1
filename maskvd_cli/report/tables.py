"""The table that people read: which columns, under which headers, how rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskvd_cli.report.rows import Report


@dataclass(frozen=True)
class Column:
    """One column for people: its source, header, format, and how late it goes for want of room.

    The columns with the highest `spare` go first; 0 always stays.
    """

    source: str
    header: str
    show: Callable[[Any], str]
    spare: int = 0
    text: bool = False


def _number(digits: int) -> Callable[[Any], str]:
    return lambda value: f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


_HUMAN = (
    Column("method", "method", str, text=True),
    Column("version", "ver.", str, text=True),
    Column("mask", "mask", str, text=True),
    Column("period", "P", str),
    Column("static_keep_rate", "k_s", "{:g}".format),
    Column("score_threshold", "threshold", "{:g}".format),
    Column("margin", "margin", str),
    Column("tokens", "tokens", _number(1)),
    Column("paper_tokens", "paper", _number(0), spare=1),
    Column("tokens_deviation_percent", "dev. %", _signed, spare=1),
    Column("keep_rate", "keep %", _percent, spare=4),
    Column("paper_keep_rate", "paper", _percent, spare=4),
    Column("keep_rate_real", "real %", _percent, spare=5),
    Column("full_frame_share", "full %", _percent, spare=6),
    Column("gmacs", "GMACs", _number(2), spare=3),
    Column("gmacs_published", "publ. counter", _number(2)),
    Column("gmacs_published_at_mean_tokens", "at mean", _number(2), spare=3),
    Column("paper_gmacs", "paper", _number(2), spare=1),
    Column("gmacs_deviation_percent", "dev. %", _signed, spare=1),
    Column("gmacs_at_paper_tokens", "at paper's", _number(2), spare=7),
    Column("state_mb", "state MB", _number(1), spare=2),
    Column("map50", "mAP50", _number(2)),
    Column("paper_map50", "paper mAP50", _number(2), spare=8),
    Column("latency_ms", "latency ms", _number(2)),
    Column("paper_latency_ms", "paper", _number(2), spare=8),
    Column("peak_mib", "peak MiB", _number(0)),
    Column("paper_peak_mib", "paper", _number(0), spare=8),
    Column("status", "status", str, text=True),
    Column("error", "reason", str, text=True),
)
_VISIBLE = 0.005
_ONLY_WHERE_VARIED = ("mask", "score_threshold", "margin")
_BESIDE = {"paper_latency_ms": "latency_ms", "paper_peak_mib": "peak_mib"}
LEGEND = {
    "tokens": "tokens: kept per frame, mean over all frames, full ones included",
    "tokens_deviation_percent": "dev. %: deviation from the paper",
    "keep_rate": "keep %: kept of all tokens",
    "keep_rate_real": "real %: kept of the tokens that are not wholly padding",
    "full_frame_share": "full %: frames that keep every token",
    "gmacs": "GMACs: 1e9 multiply-accumulates of the backbone per frame, matrix products only",
    "gmacs_published": "publ. counter: GMACs under the counter of the papers",
    "gmacs_published_at_mean_tokens": "at mean: the same, evaluated once at the mean token count",
    "gmacs_at_paper_tokens": "at paper's: the same, evaluated at the paper's own token count",
    "state_mb": "state MB: kept between frames, float32, 1e6 bytes",
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
            max(len(column.header), *(len(row[index]) for row in self.cells))
            for index, column in enumerate(self.columns)
        ]
        return sum(widths) + gap * len(widths)

    def fitted(self, width: int, gap: int) -> HumanTable:
        """Leave out the most dispensable columns until a line fits into `width`."""
        table = self
        while table.width(gap) > width:
            spare = max(column.spare for column in table.columns)
            if spare == 0:
                return table
            kept = [i for i, column in enumerate(table.columns) if column.spare < spare]
            cells = [[row[i] for i in kept] for row in table.cells]
            table = HumanTable(tuple(table.columns[i] for i in kept), cells)
        return table


def human_table(report: Report) -> HumanTable:
    """Pick the columns that say something, round them, and leave what is unknown empty."""
    rows = report.rows
    columns = tuple(column for column in _HUMAN if _worth_showing(column, rows))
    cells = [
        [_cell(row[column.source], column) for column in columns] for _, row in rows.iterrows()
    ]
    return HumanTable(columns, cells)


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
        return bool(rows["paper_tokens"].isna().any())
    if source == "gmacs_published_at_mean_tokens":
        return bool(((values - rows["gmacs_published"]).abs() > _VISIBLE).any())
    return True


def _cell(value: Any, column: Column) -> str:
    return "" if value is None or pd.isna(value) else column.show(value)


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what a reader must know to judge or repeat the table, in order."""
    plan = report.plan

    def each(of: Callable[[dict[str, Any]], str]) -> str:
        return "; ".join(dict.fromkeys(of(environment) for environment in report.environments))

    found = [("recipe", f"{plan.recipe} ({plan.description})" if plan.description else plan.recipe)]
    if report.setting:
        found += list(_setting_facts(report))
    found += [
        ("masks from", f"{plan.detections}: {plan.detections_reason}"),
        ("command", each(lambda environment: str(environment.get("command")))),
        ("date", plan.created),
        ("machine", each(_machine)),
        ("software", each(_software)),
        ("run", report.run.folder.name),
    ]
    return found


def _setting_facts(report: Report) -> list[tuple[str, str]]:
    dataset, model = report.setting["dataset"], report.setting["model"]
    done = report.rows[report.rows["status"] == "ok"]
    extent = ""
    if not done.empty:
        extent = f", {done.iloc[0]['clips']} clips, {done.iloc[0]['frames']} frames"
    return [
        (
            "dataset",
            f"{dataset['name']} {dataset['split']}, protocol {dataset['protocol']}{extent}",
        ),
        (
            "model",
            f"{model['name']} ({model['backbone']}), input {model['input']}, "
            f"frame {model['frame']} (rows x columns)",
        ),
        ("seed", str(report.setting["seed"])),
    ]


def _machine(environment: dict[str, Any]) -> str:
    memory = environment.get("memory_gib")
    text = f"{environment.get('processor')}, {environment.get('cores')} cores"
    return f"{text}, {memory} GiB" if memory else text


def _software(environment: dict[str, Any]) -> str:
    packages: dict[str, Any] = environment.get("packages") or {}
    text = f"maskvd {environment.get('tool_version')}"
    if environment.get("git"):
        text += f" (git {environment['git']})"
    return f"{text}, Python {environment.get('python')}, torch {packages.get('torch')}"


def closing_notes(report: Report) -> list[str]:
    """Return the notes below the table: unfinished or failed points first."""
    notes: list[str] = []
    if pending := report.count("pending"):
        notes.append(
            f"{pending} of {len(report.rows)} points have not been run yet; the same sweep command "
            "goes on with them."
        )
    if failed := report.count("failed"):
        notes.append(
            f"{failed} of {len(report.rows)} points failed; their reasons stand in the table."
        )
    if report.rows["map50"].isna().all():
        notes.append(
            "Planned from annotations: mAP50, latency and peak memory are not measured and stay "
            "empty."
        )
    return [*notes, *report.notes]
