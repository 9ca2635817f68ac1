"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Tests keep nothing in the cache of whoever runs them; those about it name a folder of their own.
os.environ["MASKVD_CACHE"] = "off"

# Shells start background jobs with Ctrl-C ignored; commands that tests interrupt would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("maskvd", deadline=None)
settings.load_profile("maskvd")


@pytest.fixture(scope="session")
def kitti_root() -> Path:
    """The folder of the real KITTI tracking labels; the test is skipped where it is not given."""
    root = os.environ.get("MASKVD_KITTI")
    if not root:
        pytest.skip("MASKVD_KITTI is not set: no KITTI tracking labels here")
    return Path(root)


@pytest.fixture(scope="session")
def golden_root() -> Path:
    """The folder of the golden cases; the test is skipped where it is not given."""
    root = os.environ.get("MASKVD_GOLDEN")
    if not root:
        pytest.skip("MASKVD_GOLDEN is not set: no golden cases here")
    return Path(root)


@pytest.fixture(scope="session")
def real_root() -> Path:
    """The folder of small real images and videos; the test is skipped where it is not given."""
    root = os.environ.get("MASKVD_REAL")
    if not root:
        pytest.skip("MASKVD_REAL is not set: no real images and videos here")
    return Path(root)
