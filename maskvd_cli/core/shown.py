"""Text of files and users made harmless for a terminal, and for Markdown."""

from __future__ import annotations

import unicodedata

# Controls (Cc: ESC, C1), formats (Cf: bidi overrides, isolates, tags), lone surrogates (Cs), line
# and paragraph separators (Zl, Zp). Joiners are part of written words and of emoji.
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def shown(text: str, keep: str = "") -> str:
    r"""Return `text` with every character that could steer a terminal as an escape like `\x1b`.

    Characters of `keep`, such as a newline, stay. What comes back holds nothing to escape, so it
    may pass through here again.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_plain(c, keep) else escaped(c) for c in text)


def _is_plain(character: str, keep: str) -> bool:
    if character in keep or character in _JOINERS:
        return True
    return unicodedata.category(character) not in _ESCAPED


def escaped(character: str) -> str:
    r"""Return a character as an escape like `\n`, `\x1b` or `\u202e`."""
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
    if named is not None:
        return named
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def markdown_text(text: str) -> str:
    """Return text on one line, with what would break a table or turn into markup escaped."""
    for mark in ("\\", "|", "`", "*", "_", "<", ">", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def markdown_code(text: str) -> str:
    """Return text on one line as a span of code, also within a table."""
    plain = shown(" ".join(text.split())).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"
