"""A report on narrow terminals: what a point is worth stays, what few need goes, nothing is cut."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.render.console import print_report
from maskvd_cli.render.layout import laid_out
from maskvd_cli.render.safe_console import SafeConsole
from maskvd_cli.render.tables import Column, HumanTable, human_table
from maskvd_cli.store.runs import find_run

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
WORTH = {"method", "P", "k_s", "setting", "GMACs", "mAP50", "change of mAP50", "latency ms",
         "speed-up"}  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    """A measured run of two models."""
    return read_report(find_run(REFERENCE / "synthetic-full"))


def lines(report: Report, width: int) -> list[str]:
    out = io.StringIO()
    print_report(report, SafeConsole(file=out, width=width))
    return out.getvalue().split("setting: other parameters")[0].splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160, 300])
def test_two_models_keep_what_a_point_is_worth(width: int, report: Report) -> None:
    layout = laid_out(human_table(report), width)
    headers = {column.header for column in layout.table.columns}
    assert headers >= WORTH
    assert (headers > WORTH) == (width > 100)
    assert ("model" in headers) == (width == 300)
    shown = lines(report, width)
    assert max(map(len, shown)) <= width
    text = "\n".join(shown)
    assert "…" not in text
    for model in ("vitdet-ti", "vitdet-ti-global"):
        assert (f"\n{model}\n" in text) == (width < 300)
    # Not one value of the columns that stay is missing or broken.
    words = set(text.split())
    for row in layout.table.cells:
        assert words > {word for cell in row for word in cell.split()}


def test_what_is_left_out_is_named_and_each_column_goes_alone(report: Report) -> None:
    whole = human_table(report)
    for width in range(40, 240, 10):
        layout = laid_out(whole, width)
        kept = {column.source for column in layout.table.columns}
        names = [c.header for c in whole.columns if c.source not in {*kept, "model", "input"}]
        assert layout.left_out == (
            f"left out: {', '.join(names)}; a wider terminal or --format markdown shows them"
            if names else ""
        )  # fmt: skip
        assert max(map(len, lines(report, width))) <= width


def test_wider_terminals_show_no_fewer_columns(report: Report) -> None:
    whole = human_table(report)
    shown = [
        sum(column.source != "model" for column in laid_out(whole, width).table.columns)
        for width in range(40, 400, 5)
    ]
    assert shown == sorted(shown)
    assert len(laid_out(whole, 400).table.columns) == len(whole.columns)


def test_a_heading_stands_once_for_the_rows_below_it(report: Report) -> None:
    text = "\n".join(lines(report, 80))
    models = ["vitdet-ti", "vitdet-ti-global", "vitdet-ti-global-evit"]
    assert re.findall(r"^(vitdet\S*)$", text, re.MULTILINE) == models
    first, _, rest = text.partition("\nvitdet-ti-global\n")
    second, _, third = rest.partition("\nvitdet-ti-global-evit\n")
    counts = [(part.count("\nstgt "), part.count("evit ")) for part in (first, second, third)]
    assert counts == [(3, 0), (0, 5), (0, 3)]


def test_parameters_of_many_methods_stand_in_one_column(report: Report) -> None:
    table = human_table(report)
    assert {"K", "r", "fraction", "keep rate"} & set(table.headers) == set()
    setting = table.headers.index("setting")
    told = {row[setting] for row in table.cells}
    assert {"r=240", "keep_rate=0.7", "fraction=0.9 score=column"} <= told


def test_widths_go_first_to_what_is_whole_with_them() -> None:
    columns = (
        Column("a", "a", str, text=True),
        Column("b", "b", str, wraps=8),
        Column("c", "c", str, text=True, wraps=8),
    )
    table = HumanTable(columns, [["one", "12 [1.00, 2.00]", "two three four five six seven"]])
    assert table.widths(30, 2) == [3, 8, 13]
    assert table.widths(35, 2) == [3, 15, 11]
    assert table.widths(100, 2) == [3, 15, 29]
    assert table.widths(10, 2) == [3, 8, 8]
