"""Names in files are names: never a way out of a folder."""

from __future__ import annotations

import pytest

from maskvd_cli.core.filenames import file_name


@pytest.mark.parametrize(
    "name", ["a", "maskvd-period-4-0b26", "period=16", "-0b26", "a..b", "A_9.json", "x" * 200]
)
def test_names(name: str) -> None:
    assert file_name(name) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", ".hidden", "a/b", "x/../../../../PWNED", "/etc/passwd", "a\\b", "C:a", "a b",
     "a\n", "a\0", "ü", "x" * 201, "\u202ea"],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a file"):
        file_name(text)
