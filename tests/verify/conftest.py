"""Where golden cases lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def newer(golden_root: Path) -> Path:
    """The folder of the cases of newer methods; the test is skipped where it is not."""
    folder = golden_root / "newer"
    if not folder.is_dir():
        pytest.skip("no newer golden cases")
    return folder
