"""Text of files made harmless for where it goes: Markdown tables and spreadsheets."""

from __future__ import annotations


def markdown_text(text: str) -> str:
    """Escape what would break a table or turn into markup."""
    for mark in ("\\", "|", "`", "*", "_", "<", ">", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


# The wide forms are taken for the narrow ones where East Asian text is typed.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def inert_text(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
