"""Nothing in a label, a class or a path reaches the terminal as a control."""

from __future__ import annotations

import io

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from maskvd_cli.render.formats import _comment, _tex  # pyright: ignore[reportPrivateUsage]
from maskvd_cli.render.safe_console import SafeConsole

HOSTILE = "car\x1b]52;c;aGk=\x07\x9b2J\u202egnp"
SHOWN = r"car\x1b]52;c;aGk=\x07\x9b2J\u202egnp"


def printed(thing: object) -> str:
    out = io.StringIO()
    SafeConsole(file=out, width=120, force_terminal=True, color_system=None).print(thing)
    return out.getvalue()


@pytest.mark.parametrize("form", ["text", "cell", "header", "Text"])
def test_controls_are_shown_as_escapes(form: str) -> None:
    table = Table()
    table.add_column(HOSTILE if form == "header" else "name")
    table.add_row(HOSTILE if form == "cell" else "x")
    thing = {"text": HOSTILE, "Text": Text(HOSTILE)}.get(form, table)
    text = printed(thing)
    # Rich itself takes the bell out of a Text.
    assert (SHOWN.replace(r"\x07", "") if form == "Text" else SHOWN) in text
    assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_tables_are_laid_out_with_what_is_shown() -> None:
    table = Table()
    table.add_column("name")
    table.add_row(HOSTILE)
    table.add_row("plain")
    assert len({len(line) for line in printed(table).splitlines()}) == 1


def test_lines_and_styles_stay() -> None:
    out = io.StringIO()
    SafeConsole(file=out, force_terminal=True).print("[bold]two\nlines[/bold]")
    assert out.getvalue() == "\x1b[1mtwo\x1b[0m\n\x1b[1mlines\x1b[0m\n"


def test_progress_shows_escapes_too() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, width=120)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(HOSTILE)
    assert r"car\x1b]52;c;" in out.getvalue()
    assert "\x1b]52" not in out.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5% #1 $x$ {y}", r"a\_b \& 5\% \#1 \$x\$ \{y\}"),
        ("^^5cinput", r"\textasciicircum{}\textasciicircum{}5cinput"),
        ("~/x", r"\textasciitilde{}/x"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("[2pt] *", "{[}2pt{]} {*}"),
        ("a<b>|c", r"a\textless{}b\textgreater{}\textbar{}c"),
        ("\x1b[2J\nnext", r"\textbackslash{}x1b{[}2J\textbackslash{}nnext"),
    ],
)
def test_every_special_character_of_latex(text: str, expected: str) -> None:
    assert _tex(text) == expected


def test_a_comment_stays_one() -> None:
    assert _comment("a ^^M\\input{x}\n\\input{y}") == r"a ^ ^ M\input{x}\n\input{y}"
