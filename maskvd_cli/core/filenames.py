"""Names that stand in result files and become names of files: never paths."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9._+=-]+")
# With the longest suffix it stays below the 255 bytes that file systems allow.
_LONGEST = 200


def file_name(text: str) -> str:
    """Return `text` where it can be the name of a file inside a folder of ours.

    Letters, digits and `._+=-`, at most 200 of them, no leading dot: so neither `..`, a path nor a
    hidden file. Raises ValueError for anything else.
    """
    if not _NAME.fullmatch(text) or text.startswith(".") or len(text) > _LONGEST:
        raise ValueError("is no name of a file: letters, digits and ._+=- only")
    return text
