"""One self-contained HTML page of a report: charts by plotly.js, tables, nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted
from maskvd_cli.judge.facts import facts, remarks, warnings
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.lines import Strand, strands_of
from maskvd_cli.render.chart.plotly import SYMBOLS
from maskvd_cli.render.charting import DARK, FRONT, MUTED, PAPER, Chart, point_table
from maskvd_cli.render.charts import charts
from maskvd_cli.render.sections import ReportSection, analysis
from maskvd_cli.render.tables import Column, human_table
from maskvd_cli.store.runs import RECIPE

_LARGEST_RECIPE = 1 << 20
_VERDICT = "Verdict"
# In a table that sorts, every header has to say by itself what it is of.
_HEADERS: dict[str, str] = {
    "paper_tokens": "paper's tokens", "tokens_deviation_percent": "dev. of tokens %",
    "paper_keep_rate": "paper's keep %", "gmacs_published_at_mean_tokens": "GMACs at mean",
    "gmacs_published": "GMACs, papers' counter", "paper_gmacs": "paper's GMACs",
    "gmacs_deviation_percent": "dev. of GMACs %", "gmacs_at_paper_tokens": "at paper's tokens",
    "paper_latency_ms": "paper's ms", "paper_peak_mib": "paper's MiB", "period": "P (frames)",
}  # fmt: skip
_SWATCHES = {
    "circle": "M6 1a5 5 0 1 0 .01 0z", "square": "M1.5 1.5h9v9h-9z",
    "diamond": "M6 .5 11.5 6 6 11.5.5 6z", "triangle-up": "M6 1l5.5 9.5H.5z",
    "triangle-down": "M6 11 .5 1.5h11z", "cross": "M4 1h4v3h3v4H8v3H4V8H1V4h3z",
    "x": "M3 .5l3 3 3-3L11.5 3l-3 3 3 3L9 11.5l-3-3-3 3L.5 9l3-3-3-3z",
    "x-thin": "M1.5 1.5l9 9M10.5 1.5l-9 9",
    "star": "M6 .2l1.5 4 4.3.2-3.4 2.7 1.2 4.2L6 8.9l-3.6 2.4 1.2-4.2L.2 4.4l4.3-.2z",
    "hexagon": "M3.2 1h5.6L11.6 6 8.8 11H3.2L.4 6z",
    "pentagon": "M6 .8l5.4 3.9-2.1 6.3H2.7L.6 4.7z", "diamond-tall": "M6 .2 9.6 6 6 11.8 2.4 6z",
    "triangle-left": "M1 6 10.5.5v11z", "triangle-right": "M11 6 1.5.5v11z",
    FRONT: "M0 6h4M7 6h4", PAPER: "M6 1a5 5 0 1 0 .01 0zM6 5a1 1 0 1 0 .01 0z",
}  # fmt: skip
_LINES = (FRONT, PAPER, "x-thin")


@dataclass(frozen=True)
class _Column:
    """A column of a table on the page; `hint` explains its header."""

    header: str
    number: bool
    hint: str = ""


@dataclass(frozen=True)
class _Entry:
    """One switch of the legend: the traces that it shows, and the mark that they wear."""

    group: str
    label: str
    path: str
    colour: str
    dark: str
    hollow: bool


def to_html(report: Report) -> str:
    """Return the page. What comes from result files is escaped; scripts run by their hash alone."""
    sections = analysis(report)
    drawn = charts(report)
    own, plotly = _part("page.js"), _plotly()
    return _template().render(
        title=report.plan.recipe,
        description=report.plan.description,
        verdict=next((section for section in sections if section.title == _VERDICT), None),
        sections=[(_columns(s), s) for s in sections if s.title != _VERDICT],
        warnings=[*warnings(report), *_more_warnings(report)],
        damaged=report.damaged,
        charts=drawn,
        legend=_legend(report, drawn),
        data={"figures": {chart.name: _shown(chart.figure) for chart in drawn}, "dark": DARK},
        dark=DARK,
        points=_points(report),
        facts=facts(report),
        remarks=remarks(report),
        recipe=_recipe(report),
        environments=[json.dumps(found, indent=2) for found in report.environments],
        css=_part("page.css"),
        own=own,
        plotly=plotly,
        hashes=[_hash(plotly), _hash(own)] if drawn else [_hash(own)],
    )


def _shown(data: Any) -> Any:
    """Return plain data whose texts hold nothing that steers or turns what is around them."""
    if isinstance(data, dict):
        return {name: _shown(value) for name, value in data.items()}  # pyright: ignore
    if isinstance(data, list):
        return [_shown(value) for value in data]  # pyright: ignore
    return shown(data) if isinstance(data, str) else data


def _shown_text(value: object) -> object:
    return shown(value, "\n") if type(value) is str else value


def _template() -> Any:
    environment = Environment(
        finalize=_shown_text,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A file that would hold NaN must not become a page whose data no browser can read.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.from_string(_part("page.html.j2"))


def _part(name: str) -> str:
    return files("maskvd_cli.render").joinpath("page", name).read_text("utf-8")


@cache
def _plotly() -> str:
    """Return plotly.js, which comes with plotly; within a page no part of it may end its script."""
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    return script.replace("</script", "<\\/script")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _columns(section: ReportSection) -> list[_Column]:
    return [
        _Column(header, not text)
        for header, text in zip(section.headers, section.text, strict=True)
    ]


def _points(report: Report) -> dict[str, Any]:
    """Return the table of all points: columns, rows with their method and status, methods."""
    table = human_table(report)
    kept = [i for i, column in enumerate(table.columns) if column.source != "method"]
    columns = [table.columns[i] for i in kept]
    described = zip(
        report.names, table.cells, report.rows["method"], report.rows["status"], strict=True
    )
    return {
        "columns": [
            _Column(_header(c, report.legend), not c.text, c.meaning)
            for c in columns
        ],
        "rows": [
            {"name": name, "cells": [cells[i] for i in kept], "method": method, "status": status}
            for name, cells, method, status in described
        ],
        "methods": list(dict.fromkeys(report.rows["method"])),
        "legend": table.legend,
    }  # fmt: skip


def _header(column: Column, legend: Legend) -> str:
    """Return a header that says by itself what a column is of."""
    if column.source in _HEADERS:
        return _HEADERS[column.source]
    if column.source == f"paper_{legend.headline}":
        return f"paper's {legend.quality}"
    quantity = legend.quantities.get(column.source)
    return f"{column.header} %" if quantity is not None and quantity.unit == "%" else column.header


def _legend(report: Report, drawn: list[Chart]) -> list[_Entry]:
    """Return the switches for the groups that the charts draw."""
    traces = [trace for chart in drawn if chart.grouped for trace in chart.figure["data"]]
    groups = {trace["legendgroup"] for trace in traces}
    entries: dict[str, _Entry] = {}
    for strand in strands_of(point_table(report), report.legend):
        if strand.group in groups and strand.group not in entries:
            entries[strand.group] = _entry(strand)
    others = ((FRONT, "Pareto front"), (PAPER, "papers' own points (other hardware and data)"))
    return [*entries.values()] + [
        _Entry(group, label, _SWATCHES[group], MUTED, DARK[MUTED], True)
        for group, label in others
        if group in groups
    ]


def _entry(strand: Strand) -> _Entry:
    look, symbol = strand.look, SYMBOLS[strand.look.mark]
    dark, hollow = DARK.get(look.colour, look.colour), look.hollow or symbol in _LINES
    return _Entry(strand.group, strand.group, _SWATCHES[symbol], look.colour, dark, hollow)


def _more_warnings(report: Report) -> list[str]:
    """Return warnings of sessions and points that were measured in part."""
    texts: list[str] = []
    sessions = report.rows["latency_session"].dropna().nunique()
    if sessions > 1:
        texts.append(
            f"Latency was measured in {sessions} sessions: milliseconds of different sessions may "
            "differ by what else the machine did; compare speed-ups."
        )
    partly = report.rows["status"].eq("ok") & report.rows["error"].notna()
    if count := int(partly.sum()):
        texts.append(
            f"{counted(count, 'point')} not measured wholly; the reasons stand in the table."
        )
    return list(dict.fromkeys(texts))


def _recipe(report: Report) -> str | None:
    """Return the run's recipe as it was written, None where it cannot be shown."""
    path = report.run.folder / RECIPE
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(_LARGEST_RECIPE).decode("utf-8", errors="replace")
