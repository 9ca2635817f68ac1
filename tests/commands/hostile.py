"""Names that would steer a terminal, break a table, run in a page or a sheet, or leave a folder."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from maskvd_cli.core.shown import shown
from maskvd_cli.store.sealed import sealed_text

# Begins as a formula; holds markup of rich, HTML, Markdown and LaTeX, mathematics, ends of lines, a
# title and a clipboard for the terminal, C1 and bidirectional controls, half a character, a path.
NASTY = (
    "=1+1;{}[red]x[/red] [/] `c`|d|<script>alert(1)</script> $y_2^3$ \\input{/etc/passwd} 100% #1 "
    "&amp; ~ \n- item\n\n# head\r\x1b]52;c;aGk=\x07\x9b2J\u202e\u2028../../up \"q\" 'q' ${x"
)
# What a file may be called, without what a path cannot hold.
NASTY_FILE = "=1+1 [red]x `c`|d|<b> $y_2^3$ 100% ~\n- item\r\x1b]52;c;aGk=\x07\u202e ${x"
_TEX = re.compile(
    r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar)\{\}"
    r"|\\[&%$#_{}]|\{[\[\]*]\}"
)


def renamed(content: Any, names: dict[str, str]) -> Any:
    """Return JSON with other texts in place of those that are in `names`, keys and values alike."""
    if isinstance(content, dict):
        return {names.get(key, key): renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, names) for value in content]
    return names.get(content, content) if isinstance(content, str) else content


def rename_in(path: Path, names: dict[str, str]) -> None:
    """Write a JSON result file anew with other names."""
    content = json.loads(path.read_text("utf-8"))
    path.write_bytes(sealed_text(renamed(content, names)))


def check_terminal(text: str) -> None:
    """Nothing in the text steers a terminal, and no stray end of a line is in it."""
    assert shown(text, keep="\n") == text
    assert not [line for line in text.splitlines() if line.startswith(("- item", "# head"))]


def check_markdown(text: str) -> None:
    """Tables have as many cells in every row, no text begins a line, no tag is one."""
    check_terminal(text)
    plain = re.sub(r"\\.", "", text)
    assert not re.search(r"<\w|`", plain)
    assert not re.search(r"\]\(", plain)
    for block in re.findall(r"(?:^\|.*\n)+", plain, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def check_csv(text: str) -> None:
    """No cell is a formula, and each row has the cells of the header."""
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")) or _is_number(
            cell
        ), cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_latex(text: str) -> None:
    """Cells hold no command, comments end where their line ends."""
    check_terminal(text)
    comments, _, body = text.partition("% needs ")
    assert all(line.startswith("%") for line in comments.splitlines())
    assert "^^" not in comments
    rows = [line.removesuffix(r"\\") for line in body.splitlines() if line.endswith(r"\\")]
    assert rows
    columns: set[int] = set()
    for row in rows:
        bare = _TEX.sub("", row)
        columns.add(bare.count("&"))
        assert not set(bare) & set("\\^~$#%{}"), row
    assert len(columns) == 1


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        events = [name for name, _ in attrs if name.startswith("on")]
        self.found.update([tag, *events])


def tags_of(page: str) -> Counter[str]:
    """Return how often each tag, and each attribute that runs a script, stands in a page."""
    parser = _Tags()
    parser.feed(page)
    return parser.found


def check_html(page: str, plain: str) -> None:
    """The page is built as that of a run with plain names."""
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\x9b" not in page
    ours, theirs = tags_of(page), tags_of(plain)
    # Other names may lengthen or group a table, but bring no tag of their own.
    assert set(ours) <= set(theirs)
    assert ours["script"] == theirs["script"]


def texts_of(picture: Path) -> Iterator[str]:
    """Yield all texts of an SVG, which must be whole XML without a script."""
    root = ET.fromstring(picture.read_text("utf-8"))
    for element in root.iter():
        assert not element.tag.endswith("script")
        if element.text:
            yield element.text
