"""Text of files made harmless for where it goes: Markdown tables and spreadsheets."""

from __future__ import annotations

from maskvd_cli.core.shown import markdown_text

__all__ = ["inert_text", "markdown_text"]


# The wide forms are taken for the narrow ones where East Asian text is typed.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def inert_text(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
