"""Regions of pages that are written from the code, between two comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_REGION = re.compile(
    r"(?P<begin><!-- begin generated: (?P<kind>[a-z]+)(?: (?P<argument>\S+))? -->\n)"
    r".*?"
    r"(?P<end><!-- end generated -->)",
    re.DOTALL,
)
Writer = Callable[[str], str]


def filled(page: str, writers: Mapping[str, Writer]) -> str:
    """Return a page with every region written anew.

    A region stands between `<!-- begin generated: KIND ARGUMENT -->` and `<!-- end generated -->`;
    `writers` maps KIND to what turns ARGUMENT into Markdown. Raises ValueError for an unknown kind
    and for a region that does not end.
    """

    def write(region: re.Match[str]) -> str:
        kind = region["kind"]
        if kind not in writers:
            raise ValueError(f"nobody writes regions of kind '{kind}'; there are: {list(writers)}")
        content = writers[kind](region["argument"] or "").strip("\n")
        return f"{region['begin']}\n{content}\n\n{region['end']}"

    if page.count("<!-- begin generated") != len(_REGION.findall(page)):
        raise ValueError("a region does not end, or its first line has another form")
    return _REGION.sub(write, page)


def table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table; bars in cells are escaped."""
    lines = [headers, tuple(":--" for _ in headers), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
